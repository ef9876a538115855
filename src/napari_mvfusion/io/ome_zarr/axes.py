"""The axes of an OME-Zarr by what they are, t, c, z, y and x, whatever they are called and in any order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_mvfusion.errors import InputError

SPACE = ("z", "y", "x")
_BY_TYPE = {"time": "t", "channel": "c"}
# The axes of images before version 0.4, which name no types.
_OLDEST = ("t", "c", *SPACE)


def axes_of(path: Path, stated: Sequence[Any] | None) -> tuple[str, ...]:
    """The axes in the order of the file; those that are neither time, channel nor space keep their names.

    Axes of space that are not called z, y and x are these in their order, as the specification has them.

    Parameters
    ----------
    path : of the image, for messages
    stated : its axes: objects, or the bare names of version 0.3; None where it names none, as before that version

    Raises
    ------
    InputError
        If it has not the three axes of space, or two axes are the same.
    """
    if stated is None:
        return _OLDEST
    found: list[str] = []
    for axis in stated:
        name = str(axis["name"] if isinstance(axis, Mapping) else axis)
        kind = str(axis.get("type", "")) if isinstance(axis, Mapping) else ""
        short = name.lower()
        if kind == "space" and short not in SPACE:
            short = f"space {name}"
        found.append(_BY_TYPE.get(kind, short if short in _OLDEST or kind == "space" else name))
    others = [axis for axis in found if axis.startswith("space ")]
    if others and len(others) + sum(axis in SPACE for axis in found) == len(SPACE):
        free = iter(axis for axis in SPACE if axis not in found)
        found = [next(free) if axis in others else axis for axis in found]
    names = ", ".join(axis.removeprefix("space ") for axis in found)
    if len(set(found)) != len(found):
        raise InputError(f"{path} is damaged: it names the axes {names}, of which two are the same")
    if not set(SPACE) <= set(found):
        raise InputError(
            f"{path} has {f'the axes {names}' if names else 'no axes'}: a volume needs z, y and x; save it with all three"
        )
    return tuple(found)


def units_of(stated: Sequence[Any] | None, count: int) -> list[str]:
    """The unit of each axis as the file writes it, "" where it names none."""
    if stated is None:
        return [""] * count
    found = [axis.get("unit") if isinstance(axis, Mapping) else None for axis in stated]
    return ["" if unit is None else str(unit) for unit in found]
