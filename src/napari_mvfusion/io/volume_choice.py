"""Which of the volumes in a file with time points or channels is meant, and what of a project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_mvfusion.data.fused_grid import Voxels, WorldBox
from napari_mvfusion.data.geometry import FloatTriple
from napari_mvfusion.errors import InputError

_SHOWN = 8
WORDS = {"t": ("time points", "timepoint"), "c": ("channels", "channel")}
_ASKED = {"t": "timepoint", "c": "channel", "registration": "registration"}


class NotChosenError(InputError):
    """A file has several time points, channels or registrations, and none is chosen.

    Parameters
    ----------
    message : names the file and the option
    axis : "t", "c" or "registration"
    first : the first one that there is, or the one that is most likely meant
    """

    def __init__(self, message: str, axis: str, first: int | str = 0) -> None:
        super().__init__(message)
        self.axis = axis
        self.first = first


class SeveralImagesError(InputError):
    """A file or container holds several images, and none is named.

    Parameters
    ----------
    message : names some of them
    names : of all of them, in the words that open each
    """

    def __init__(self, message: str, names: Sequence[Path]) -> None:
        super().__init__(message)
        self.names = tuple(names)


class OutsideError(InputError):
    """A project leads to files outside of its own folder, and nobody has said that these may be read.

    Parameters
    ----------
    message : names the project and the option
    place : where it leads
    """

    def __init__(self, message: str, place: Path) -> None:
        super().__init__(message)
        self.place = place


@dataclass(frozen=True)
class VolumeChoice:
    """What is taken of every file.

    Attributes
    ----------
    timepoint, channel : counted from 0; None where files have one
    level : resolution level, 0 for the full resolution
    registration : name of the one that says where a volume lies, where files hold several
    in_names : which of "t" and "c" the names of the files say, so that a file has one
    """

    timepoint: int | None = None
    channel: int | None = None
    level: int = 0
    registration: str | None = None
    in_names: frozenset[str] = frozenset()

    def among(self, leading: Mapping[str, int] | None) -> VolumeChoice:
        """What of it a file with these counts along "t" and "c" asks for; all of it where they are None."""
        if leading is None:
            return self
        return replace(
            self,
            timepoint=self.timepoint if leading.get("t", 1) > 1 else None,
            channel=self.channel if leading.get("c", 1) > 1 else None,
        )

    def at(self, axis: str, which: Any) -> VolumeChoice:
        """The same with another volume along "t" or "c", or another "registration"."""
        return replace(self, **{_ASKED[axis]: which})

    def refuse_said_twice(self, path: Path, leading: Mapping[str, int]) -> None:
        """Refuse a file of several volumes along what its name says.

        Raises
        ------
        InputError
            If it has.
        """
        for axis in sorted(self.in_names, reverse=True):
            words, option = WORDS[axis]
            if leading.get(axis, 1) > 1:
                raise InputError(
                    f"{path} has {leading[axis]} {words} of its own, and its name says one too: write what it says in place "
                    f"of {{{option}}} in the pattern (pattern=), then --{option} ({option}=) chooses in the files"
                )

    def refuse_unknown(self, path: Path) -> None:
        """Refuse what a file of one resolution level and one place cannot answer.

        Raises
        ------
        InputError
            If any of it is asked for.
        """
        check_level(path, self.level, 1)
        if self.registration is not None:
            raise InputError(
                f"{path} has one place and no registrations by name: leave --registration (registration=) out"
            )


@dataclass(frozen=True)
class ProjectChoice:
    """What of a project is opened, and on which grid.

    Attributes
    ----------
    timepoint, channel : by the numbers that the project gives them; None where it has one
    views : names of the views, in this order; all of them when None
    box : name of the bounding box that is covered; all views when None
    voxel_size_um : (z, y, x) of the fused volume; cubes of the finest size of the views when None
    level : resolution level that is read, 0 for the full resolution
    world_unit_um : what one unit of the project's world is, where the project leaves that open
    outside : files may lie outside of the folder of the project
    voxels : of the fused volume, where no size is named
    box_um : a part of the world that is covered, where no box is named
    apart : every illumination and tile is a view of its own, in place of one view an angle
    own_psfs : PSFs stay in the pixels of their views, for whoever brings them into a frame of their own
    registration : name of the registration, or coordinate system, that says where views lie, where there are several
    """

    timepoint: int | None = None
    channel: int | None = None
    views: tuple[str, ...] | None = None
    box: str | None = None
    voxel_size_um: FloatTriple | None = None
    level: int = 0
    world_unit_um: float | None = None
    outside: bool = False
    apart: bool = False
    own_psfs: bool = False
    voxels: Voxels = "isotropic"
    box_um: WorldBox | None = None
    registration: str | None = None

    def refuse_elsewhere(self) -> None:
        """Refuse what only a project could answer, where views lie in files of their own.

        Raises
        ------
        InputError
            If any of it is asked for.
        """
        asked = [
            ("--box (box=)", self.box is not None),
            ("--world-unit (world_unit_um=)", self.world_unit_um is not None),
            ("--outside (outside=)", self.outside),
            ("--apart (apart=)", self.apart),
        ]
        for option, given in asked:
            if given:
                raise InputError(
                    f"{option} is for projects of BigStitcher (dataset.xml): leave it out, or name the project"
                )


def check_level(path: Path, level: int, count: int) -> None:
    """Refuse a resolution level that is not there.

    Raises
    ------
    InputError
        If it is not; says how many there are.
    """
    if not 0 <= level < max(count, 1):
        there = f"{count} resolution levels" if count > 1 else "one resolution level only"
        raise InputError(f"{path} has {there}: --level {level} (level=) is not there; 0 is the full resolution")


def choose(
    source: str,
    leading: Mapping[str, int],
    timepoint: int | None,
    channel: int | None,
    channel_names: Sequence[str] = (),
) -> dict[str, int]:
    """The position along the axes before z.

    Parameters
    ----------
    source : the file, for messages
    leading : number of volumes along "t" and "c", where the file has these axes
    timepoint, channel : counted from 0; None where there is one only
    channel_names : for messages; () where they are not known

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
            named = f" ({', '.join(channel_names[:_SHOWN])})" if axis == "c" and any(channel_names) else ""
            said = f"{source} has {count} {words}{named}: choose one with --{option} 0 to {count - 1} ({option}=)"
            raise NotChosenError(said, axis)
        if wanted is not None and not 0 <= wanted < count:
            there = f"{count} {words}" if count > 1 else f"one of the {words} only"
            raise InputError(f"{source} has {there}: --{option} {wanted} is not there; they are counted from 0")
        if axis in leading:
            chosen[axis] = wanted or 0
    return chosen
