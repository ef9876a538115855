"""Which of the volumes in a file with time points or channels is meant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from napari_mvfusion.errors import InputError

WORDS = {"t": ("time points", "timepoint"), "c": ("channels", "channel")}


class NotChosenError(InputError):
    """A file has several time points or channels, and none is chosen.

    Parameters
    ----------
    message : names the file and the option
    axis : "t" or "c"
    """

    def __init__(self, message: str, axis: str) -> None:
        super().__init__(message)
        self.axis = axis


@dataclass(frozen=True)
class VolumeChoice:
    """Time point and channel of every file, counted from 0; None where files have one."""

    timepoint: int | None = None
    channel: int | None = None

    def among(self, leading: Mapping[str, int] | None) -> VolumeChoice:
        """What of it a file with these counts along "t" and "c" asks for; all of it where they are None."""
        if leading is None:
            return self
        return VolumeChoice(
            self.timepoint if leading.get("t", 1) > 1 else None,
            self.channel if leading.get("c", 1) > 1 else None,
        )

    def first(self, axis: str) -> VolumeChoice:
        """The same with the first volume along "t" or "c"."""
        return replace(self, **{WORDS[axis][1]: 0})


def choose(source: str, leading: Mapping[str, int], timepoint: int | None, channel: int | None) -> dict[str, int]:
    """The position along the axes before z.

    Parameters
    ----------
    source : the file, for messages
    leading : number of volumes along "t" and "c", where the file has these axes
    timepoint, channel : counted from 0; None where there is one only

    Returns
    -------
    The position on each of the axes.

    Raises
    ------
    InputError
        If there are several and none is chosen, or what is chosen is not there.
    """
    chosen: dict[str, int] = {}
    for axis, wanted in (("t", timepoint), ("c", channel)):
        count = leading.get(axis, 1)
        words, option = WORDS[axis]
        if wanted is None and count > 1:
            said = f"{source} has {count} {words}: choose one with --{option} 0 to {count - 1} ({option}=)"
            raise NotChosenError(said, axis)
        if wanted is not None and not 0 <= wanted < count:
            there = f"{count} {words}" if count > 1 else f"one of the {words} only"
            raise InputError(f"{source} has {there}: --{option} {wanted} is not there; they are counted from 0")
        if axis in leading:
            chosen[axis] = wanted or 0
    return chosen
