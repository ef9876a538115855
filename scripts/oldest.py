"""Print the lowest versions that pyproject.toml allows, one `name==version` a line: constraints of an environment of them.

Usage: python scripts/oldest.py EXTRA...    (for example: all test)
torch is left out: constraints.txt says which one, as its builds are large and differ from machine to machine.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?>=(?P<version>[0-9.]+)")
_LEFT_OUT = ("torch",)


def lowest(extras: list[str]) -> list[str]:
    """Constraints for the dependencies of the package and some of its extras.

    Raises
    ------
    SystemExit
        If a dependency has no lower bound, or there is no such extra.
    """
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    if unknown := [extra for extra in extras if extra not in optional]:
        raise SystemExit(f"pyproject.toml has no extra {', '.join(unknown)}: choose from {', '.join(optional)}")
    wanted = [*project["dependencies"], *(each for extra in extras for each in optional[extra])]
    found: dict[str, str] = {}
    for requirement in wanted:
        match = _REQUIREMENT.match(requirement)
        if match is None:
            raise SystemExit(f"'{requirement}' in pyproject.toml has no lower bound: write NAME>=VERSION")
        found[match["name"]] = match["version"]
    return [f"{name}=={version}" for name, version in found.items() if name not in _LEFT_OUT]


if __name__ == "__main__":
    print("\n".join(lowest(sys.argv[1:])))
