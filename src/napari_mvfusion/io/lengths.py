"""Units of length and time as files write them, in micrometres and seconds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

# What pint does not know, or takes for something else: a pint of beer, a link, a microyear, a pixel of a web page.
_OTHERWISE = {
    "Âµm": "um", "\\u00b5m": "um", "\\u00B5m": "um", "å": "angstrom", "pt": "point", "li": "line", "ua": "au", "px": "",
}  # fmt: skip
# What nearly all files say; loading the library takes longer than reading them.
_USUAL = ("micrometer", "µm", "um")
_LONGEST_NAME = 32
# What stands where nobody measured.
_NOT_MEASURED = ("", "pixel", "pixels", "px", "voxel", "voxels", "reference frame")
# Shorter names are symbols, whose capital letters count: mm and Mm, pm and Pm.
_SHORTEST_WORD = 4


@cache
def micrometres(unit: str) -> float | None:
    """How many micrometres a unit is; None where it is no unit of length: "pixel", "", or a name that nobody knows.

    Parameters
    ----------
    unit : name or symbol, as those of OME, OME-Zarr, ImageJ and BigDataViewer: "µm", "nanometer", "Angstrom", "inch"
    """
    name = unit.strip()
    if name in _USUAL:
        return 1.0
    return _in_units(_OTHERWISE.get(name, name), "[length]", "um")


@cache
def seconds(unit: str) -> float | None:
    """How many seconds a unit is; None where it is no unit of time: "frame", "", or a name that nobody knows.

    Parameters
    ----------
    unit : name or symbol, as those of OME, OME-Zarr and ImageJ: "s", "sec", "minute", "d", "µs"
    """
    return _in_units(unit.strip(), "[time]", "s")


def unknown_units(path: Path, units: Sequence[str]) -> tuple[str, ...]:
    """A line for each word that stands where a unit of length is expected and is none that is known.

    Parameters
    ----------
    path : of the file, for messages
    units : of the voxel size along z, y and x, as the file writes them
    """
    axes: dict[str, list[str]] = {}
    for axis, unit in zip("zyx", units, strict=True):
        if unit.strip().lower() not in _NOT_MEASURED and micrometres(unit) is None:
            axes.setdefault(unit, []).append(axis)
    return tuple(
        f"{path} states its voxel size along {', '.join(along)} in '{unit[:_LONGEST_NAME]}', no unit of length that is "
        "known: correct it there, or say the size with --voxel-size Z,Y,X (voxel_size_um=)"
        for unit, along in axes.items()
    )


def _in_units(name: str, dimension: str, wanted: str) -> float | None:
    # Words only: pint would compute what stands there.
    if len(name) > _LONGEST_NAME or not name.isalpha():
        return None
    found = _by_pint(name, dimension, wanted)
    if found is None and len(name) >= _SHORTEST_WORD:
        found = _by_pint(name.lower(), dimension, wanted)
    return found


def _by_pint(name: str, dimension: str, wanted: str) -> float | None:
    import pint

    known = _registry()
    try:
        quantity = known.Quantity(1.0, name)
    except (pint.PintError, AssertionError):  # the latter is what its parser raises for odd letters
        return None
    if not quantity.check(dimension):
        return None
    # Conversions leave 304799.99999999994 of 304800.
    return float(f"{quantity.to(wanted).magnitude:.14g}")


@cache
def _registry() -> Any:
    import pint

    known: Any = pint.UnitRegistry()
    known.define("line = inch / 12")
    return known
