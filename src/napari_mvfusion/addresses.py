"""Names of what lies on other computers: http, https and s3.

`Path` keeps all of such a name but one slash: `http://host/a.zarr` becomes `http:/host/a.zarr`. So paths stand for addresses
too, with all that can be done with their parts, and only here is the slash put back.

Names and keys in an address would end in recipes and messages: `flaw_of` refuses such addresses, and no message shows them.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

_ADDRESS = re.compile(r"(https?|s3):[/\\]+(.+)", re.DOTALL | re.IGNORECASE)
_OTHERS = "ftps?|sftp|ssh|scp|smb|nfs|davs?|webdavs?|gs|gcs|az|abfss?|adl|wasbs?|hdfs|oss|ipfs|file"
_OTHER = re.compile(rf"({_OTHERS}):([/\\]+)(.*)", re.DOTALL | re.IGNORECASE)
_IN_TEXT = re.compile(rf"\b(https?|s3|{_OTHERS.removesuffix('|file')}):/(?=[^/\s])", re.IGNORECASE)
# A user before the name of a computer, also with a password that holds a slash; and what follows a question mark.
_USER = re.compile(r"(?i)\b([a-z][a-z0-9+-]+:[/\\]+)(?:[^\s/\\@]*|[^\s/\\@:\[]+:(?!\d*[/\\])\S*)@")
_QUERY = re.compile(r"(?i)\b([a-z][a-z0-9+-]+:[/\\]+[^\s?#]+[?#])[^\s'\")]+")
_HIDDEN = "…"


def address_of(path: str | Path) -> str | None:
    """The address that a path stands for, None where it is one on this computer."""
    found = _ADDRESS.fullmatch(str(path))
    return None if found is None else f"{found[1].lower()}://" + found[2].replace("\\", "/").rstrip("/")


def absolute(path: str | Path) -> str:
    """A name that means the same from any folder: an address as it is, a path of this computer with links followed."""
    return address_of(path) or str(Path(path).resolve())


def flaw_of(path: str | Path) -> str:
    """Why an address is not used, with what to do instead; "" for one that can be asked, and for a path of this computer."""
    other = _OTHER.fullmatch(str(path))
    if other is not None and not Path(path).exists():
        kind, slashes, rest = other[1].lower(), other[2], other[3]
        if kind == "file":
            return f"file://{'/' if slashes else ''}{rest} is a file of this computer: name its path alone, /{rest}"
        return (
            f"{hidden(f'{kind}://{rest}')} cannot be read: only https:// and s3:// addresses are, so download it first"
        )
    address = address_of(path)
    if address is None:
        return ""
    if hidden(address) != address:
        return f"{hidden(address)} {_instead(address)}"
    try:
        parts = urlsplit(address)
        # Two colons would chain addresses.
        known = bool(parts.hostname) and parts.port != 0 and "::" not in address
    except ValueError:
        known = False
    return "" if known else f"{address} is no address: check how it is written"


def _instead(address: str) -> str:
    kept = "and recipes, results and messages would keep it: leave it out"
    if address.startswith("s3:"):
        return f"holds a key, {kept}, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE"
    if _USER.search(address) is not None:
        return f"holds a user or a password, {kept}, and write both into the file .netrc of your home folder"
    return f"has a part after the ? or #, which may be a key, {kept}, or download the data first"


def hidden(text: str) -> str:
    """A text whose addresses name no user, password or key."""
    return _QUERY.sub(rf"\1{_HIDDEN}", _USER.sub(rf"\1{_HIDDEN}@", text))


def with_addresses(text: str) -> str:
    """A message in which addresses have both of their slashes again, and name no user, password or key."""
    return hidden(_IN_TEXT.sub(r"\1://", text))
