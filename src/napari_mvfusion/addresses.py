"""Names of what lies on other computers: http, https and s3.

`Path` keeps all of such a name but one slash: `http://host/a.zarr` becomes `http:/host/a.zarr`. So paths stand for addresses
too, with all that can be done with their parts, and only here is the slash put back.
"""

from __future__ import annotations

import re
from pathlib import Path

_ADDRESS = re.compile(r"(https?|s3):[/\\]+(.+)", re.DOTALL)
_IN_TEXT = re.compile(r"\b(https?|s3):/(?=[^/\s])")


def address_of(path: str | Path) -> str | None:
    """The address that a path stands for, None where it is one on this computer."""
    found = _ADDRESS.fullmatch(str(path))
    return None if found is None else f"{found[1]}://" + found[2].replace("\\", "/").rstrip("/")


def absolute(path: str | Path) -> str:
    """A name that means the same from any folder: an address as it is, a path of this computer with links followed."""
    return address_of(path) or str(Path(path).resolve())


def with_addresses(text: str) -> str:
    """A message in which addresses have both of their slashes again."""
    return _IN_TEXT.sub(r"\1://", text)
