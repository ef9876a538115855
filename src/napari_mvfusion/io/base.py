"""What a format is, and what it tells of a file: alike for all formats, and without reading pixels.

Adding a format is one file with a class that derives from `Format`, and one line in `napari_mvfusion.io.formats`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from napari_mvfusion.data.geometry import (
    ALL_KNOWN,
    NO_SIZE,
    Box,
    FloatTriple,
    Grid,
    Known,
    StatedSize,
    Triple,
    assumed_size,
    refuse_impossible_size,
)
from napari_mvfusion.data.views import RegisteredViews, VolumeLike
from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.io.streaming import LeadingAxis
from napari_mvfusion.io.volume_choice import OutsideError, ProjectChoice, VolumeChoice, choose
from napari_mvfusion.system.file_checks import is_folder


@dataclass(frozen=True, eq=False)
class StoredVolumes:
    """The volumes in a file: one, or one for each time point and channel.

    Attributes
    ----------
    path : as it was named
    shape : voxels (z, y, x) of each volume
    dtype : of the pixels
    at : gives the lazy (z, y, x) volume at a position along the leading axes
    leading : "t" and "c" with the number of volumes along them, in the order of the file; {} for a single volume
    voxel_size_um : (z, y, x), None along axes for which the file does not say it
    in_um : along which axes that is in micrometres; elsewhere the file names no unit, or none that is a length
    origin_um : (z, y, x) of the middle of the first voxel, None where the file does not say
    affine_um : 4 x 4 matrix from voxel index (z, y, x, 1) to the world, where the file turns, shears or mirrors the volume;
        its columns are as long as the voxel size
    time_step : seconds from one time point to the next; 1 where the file does not say
    recipe : what made it, where the file says so
    notes : what the file says of itself and could not be used, in words
    stage_um : (z, y, x), where the stage was, which is no place of a registered view; None where the file does not say
    channel_names : of all channels, "" for one without a name; () where the file names none
    levels : gives the volume at a position from fine to coarse, where the file holds coarser ones too; it is what `at`
        gives, first
    units : of the voxel size along each axis, as the file writes them; () where its format has one
    """

    path: Path
    shape: Triple
    dtype: np.dtype[Any]
    at: Callable[[Mapping[str, int]], VolumeLike]
    leading: Mapping[str, int] = field(default_factory=dict)
    voxel_size_um: StatedSize = NO_SIZE
    origin_um: FloatTriple | None = None
    time_step: float = 1.0
    recipe: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    in_um: Known = ALL_KNOWN
    affine_um: np.ndarray | None = None
    stage_um: FloatTriple | None = None
    channel_names: tuple[str, ...] = ()
    levels: Callable[[Mapping[str, int]], Sequence[VolumeLike]] | None = None
    units: tuple[str, ...] = ()

    @property
    def grid(self) -> Grid:
        """Its own voxels, from 0 on where the file states no origin.

        Raises
        ------
        InputError
            If the file turns the volume, which then has no grid in the world.
        """
        self.refuse_turned()
        size, stated = assumed_size(self.voxel_size_um)
        refuse_impossible_size(size, str(self.path), self.units)
        z, y, x = (a and b for a, b in zip(stated, self.in_um, strict=True))
        return Grid(self.shape, size, self.origin_um or (0.0, 0.0, 0.0), (z, y, x))

    def refuse_turned(self) -> None:
        """Refuse a volume that its file turns, where only upright ones can be used.

        Raises
        ------
        InputError
            If it does.
        """
        if self.affine_um is not None:
            raise InputError(
                f"{self.path} is turned, sheared or mirrored by the affine in its metadata, which is applied to views "
                "only: name it as one of the views, or resample it"
            )

    @property
    def size_um(self) -> FloatTriple | None:
        """Voxel size (z, y, x), None where it is not known along every axis."""
        z, y, x = self.voxel_size_um
        return (z, y, x) if z is not None and y is not None and x is not None and all(self.in_um) else None

    def position(self, index: tuple[int, ...]) -> tuple[int | None, int | None]:
        """Time point and channel at a position along the leading axes."""
        chosen = dict(zip(self.leading, index, strict=True))
        return chosen.get("t"), chosen.get("c")

    def volume(self, timepoint: int | None = None, channel: int | None = None) -> VolumeLike:
        """One of the volumes, lazily; see `napari_mvfusion.io.volume_choice.choose` for its errors."""
        return self.at(choose(str(self.path), self.leading, timepoint, channel, self.channel_names))


def parts_of(index: Any) -> tuple[Any, ...]:
    """What an index of a (z, y, x) volume asks for along each axis, whatever form it has."""
    parts = index if isinstance(index, tuple) else (index,)
    if any(part is Ellipsis for part in parts):
        place = next(i for i, part in enumerate(parts) if part is Ellipsis)
        parts = (*parts[:place], *[slice(None)] * (4 - len(parts)), *parts[place + 1 :])
    return (*parts, *[slice(None)] * (3 - len(parts)))


@dataclass(frozen=True)
class Absent:
    """Pieces of a volume, chunks or blocks, that its files leave out.

    Attributes
    ----------
    count, of : how many are not there, of how many
    value : that their pixels have
    """

    count: int
    of: int
    value: float = 0.0


class LazyVolume(ABC):
    """A (z, y, x) volume whose pixels are read when they are asked for; all of them where numpy makes an array of it.

    Its file is open only while pixels are read, so that it can be pickled, sent to another process, and forked.

    Attributes
    ----------
    shape : voxels (z, y, x)
    dtype : of the pixels, in the byte order of this machine
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    ndim = 3

    @property
    @abstractmethod
    def files(self) -> tuple[Path, ...]:
        """The files or folders that its pixels lie in: no output may replace them."""

    @property
    def stored_bytes(self) -> int:
        """How much its pixels are, unpacked; of one that is computed, those that it is made of."""
        return int(math.prod(self.shape) * np.dtype(self.dtype).itemsize)

    def absent(self, most: int) -> Absent | None:
        """How many of its pieces its files leave out; no pixel is read.

        Parameters
        ----------
        most : pieces that may be looked for

        Returns
        -------
        None where that cannot be told from their names, or there are more.
        """
        del most
        return None

    @abstractmethod
    def __getitem__(self, index: Any, /) -> np.ndarray:
        """Pixels of a box."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All pixels, in memory.

        Raises
        ------
        ValueError
            If numpy asks for no copy, which is not possible.
        """
        if copy is False:
            raise ValueError("pixels in a file cannot become an array without a copy")
        return np.asarray(self[:], dtype)


def bytes_of(volume: VolumeLike) -> int:
    """How much the pixels of a volume are, unpacked; see `LazyVolume.stored_bytes`."""
    if isinstance(volume, LazyVolume):
        return volume.stored_bytes
    return int(math.prod(volume.shape) * np.dtype(volume.dtype).itemsize)


@dataclass(frozen=True, eq=False)
class SmallVolume:
    """All values of a small file, a PSF or the like: (z, y, x), and the voxel size (z, y, x) in um where it says that."""

    values: np.ndarray
    voxel_size_um: FloatTriple | None


@dataclass(frozen=True)
class BoxContents:
    """A box of a project: its name, and its first and last voxel, (z, y, x) in units of the project's world."""

    name: str
    first: Triple
    last: Triple


@dataclass(frozen=True)
class ProjectContents:
    """What a project holds, before anything of it is chosen.

    Attributes
    ----------
    kept : where its pixels are kept, in words
    world_unit : what one unit of its world is, or why that is not clear, in words
    timepoints : numbers of its time points
    channels, angles, illuminations, tiles : their numbers, with their names where these say more
    boxes : that it defines
    views, missing, psfs : how many views were recorded and were not, over all time points, and how many have a PSF
    channel_numbers : by which its channels are chosen, in the order of `channels`; () where it has none to choose
    unit : whether it is clear what one unit of its world is, or has to be said; "not stated" counts in voxels until it is
    unit_um : what that is, micrometres, where it is clear
    likely_um : what it may be, micrometres, by what that would be in words, where it has to be said
    registrations : names of those that say where views lie, where one has to be chosen
    images : names of the images that are its views, where these have no angles, illuminations or tiles
    """

    kept: str
    world_unit: str
    timepoints: tuple[int, ...]
    channels: tuple[str, ...]
    angles: tuple[str, ...]
    illuminations: tuple[str, ...]
    tiles: tuple[str, ...]
    boxes: tuple[BoxContents, ...]
    views: int
    missing: int
    psfs: int
    channel_numbers: tuple[int, ...] = ()
    unit: Literal["clear", "not stated", "unclear"] = "clear"
    unit_um: float = 1.0
    likely_um: Mapping[str, float] = field(default_factory=dict)
    registrations: tuple[str, ...] = ()
    images: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ListedView:
    """A view of a project at a time point and channel, as it can be chosen.

    Attributes
    ----------
    name : by which it is chosen where all views stay apart
    fused_as : by which it is chosen where illuminations and tiles of one angle are one view
    parts : its angle, illumination and tile in words, where it has them
    shape : voxels (z, y, x) at the level that is asked for, None where that is not known
    affine : 4 x 4, from those voxels (z, y, x, 1) to micrometres, None where that is not known
    has_psf : whether the project has a PSF of it
    unusable : why it cannot be opened, "" where it can
    recorded : whether it was recorded at this time point
    """

    name: str
    fused_as: str
    parts: Mapping[str, str] = field(default_factory=dict)
    shape: Triple | None = None
    affine: np.ndarray | None = None
    has_psf: bool = False
    unusable: str = ""
    recorded: bool = True


@dataclass(frozen=True, eq=False)
class ViewListing:
    """The views of a project at a time point and channel.

    Attributes
    ----------
    views : those that were not recorded, too
    levels : resolution levels that all of them have
    outside : where the project leads outside of its own folder, None where it does not, or that was allowed
    """

    views: tuple[ListedView, ...]
    levels: int = 1
    outside: Path | None = None


class Growing(Protocol):
    """A volume on the disk that is filled box by box: a kill loses at most the boxes that were just written.

    Attributes
    ----------
    volume : all of it, (z, y, x), read lazily
    description : digest of what is written about the volume beside its pixels
    """

    volume: VolumeLike
    description: str

    def write(self, box: Box, pixels: np.ndarray) -> None:
        """Store the pixels of a box, which is made of whole chunks; may be called from one thread at a time."""

    def read(self, box: Box) -> np.ndarray:
        """The pixels of a box as they are on the disk; raises whatever a damaged file makes its library raise."""

    def forget(self, box: Box) -> None:
        """Remove what is stored of a box, damaged or not, so that it can be written anew."""

    def finish(self, into: Path, recipe: Mapping[str, Any] | None) -> None:
        """Make it a complete volume of its format, which has its place at `into`; safe to repeat until it is there.

        It may move there, or stay and be written there once more, for which the disk then needs room.
        """


class Filling(Protocol):
    """A volume on the disk that another process has begun to fill, and that this one helps to."""

    def write(self, box: Box, pixels: np.ndarray) -> None:
        """Store the pixels of a box, which is made of whole chunks; see `Growing`."""


class Gathering(Protocol):
    """Volumes with axes before z on the disk, made of finished ones: whatever ends it, no volume is lost.

    An index is the position of a volume along the axes before z.
    """

    def take(self, index: tuple[int, ...], volume: Path) -> None:
        """Move a finished volume of the same format to its place; safe to repeat until all of it is there."""

    def forget(self, index: tuple[int, ...]) -> None:
        """Remove what is stored of a volume, damaged or not: it is 0 then."""

    def volume(self, index: tuple[int, ...]) -> VolumeLike:
        """One of the volumes (z, y, x), read lazily; raises whatever a damaged file makes its library raise."""

    def flaw(self, index: tuple[int, ...]) -> str:
        """What is wrong with a volume beside its pixels; "" for nothing."""

    def finish(self, recipe: Mapping[str, Any]) -> None:
        """Make it a complete file of its format with its recipe; safe to repeat."""


class Format(ABC):
    """A kind of files or folders that hold volumes. One that can be written also has `written`, `new_suffix` and `write`.

    Attributes
    ----------
    name : what messages call it
    suffixes : endings of its names in lower case, the usual one first
    is_folder : whether it is a folder of files
    written : what messages call what is written; "" where files are only read
    new_suffix : ending of the name that a new file is given
    grows : whether `grow` makes a volume that survives a kill half-way; what other formats hold is gathered in one that
        does, and written at the end
    holds_views : whether the channels of one volume are views, with their PSFs
    is_project : whether it holds no volume, but names views and says where each lies
    has_addresses : whether it can lie at an address (http, https, s3), where nothing can be listed
    own_psfs : whether PSFs that are named for views of a project are in the frame of their view, as those of files are
    """

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    is_folder: ClassVar[bool] = False
    written: ClassVar[str] = ""
    new_suffix: ClassVar[str] = ""
    grows: ClassVar[bool] = False
    holds_views: ClassVar[bool] = False
    is_project: ClassVar[bool] = False
    own_psfs: ClassVar[bool] = False
    has_addresses: ClassVar[bool] = False

    def place(self, path: Path) -> Path:
        """The file or folder on the disk that holds what is named; a name may go on inside a file."""
        return path

    def elsewhere(self, path: Path, place: Path) -> Path:
        """What is named, where the file or folder that holds it is another one."""
        return place

    def check_replaced(self, path: Path) -> None:
        """Look at what would be lost if what is named were written over what is there.

        Raises
        ------
        OutputError
            If that is more than a volume of this name, as where a file holds several.
        """
        del path

    def takes(self, folder: Path) -> bool:
        """Whether a folder is a container to which a volume is added under any name, also one without an ending.

        Raises
        ------
        OutputError
            If it is of the format, and cannot take one.
        """
        del folder
        return False

    def enter(self, path: Path) -> None:
        """Let the container in which a volume was written know of it, where it keeps a list; safe to repeat.

        Raises
        ------
        OSError
            If that cannot be written.
        """
        del path

    def recognises(self, path: Path) -> bool:
        """Whether this is of the format, by its name and, at most, its first bytes."""
        return path.name.lower().endswith(self.suffixes) and is_folder(path) == self.is_folder

    def views_in(self, path: Path) -> Mapping[str, Path]:
        """Views that a file holds which is named alone: names, which are angles where these are known, and what opens each.

        Returns
        -------
        {} where it is one volume, as files of most formats.

        Raises
        ------
        InputError
            If it cannot be used.
        """
        del path
        return {}

    def parts(self, path: Path) -> tuple[Path, ...]:
        """The files that the one volume of a set is spread over, any of which opens it; () where it lies in one file."""
        del path
        return ()

    @abstractmethod
    def open(self, path: Path) -> StoredVolumes:
        """Look at what is inside; no pixel is read.

        Raises
        ------
        InputError
            If it is missing, damaged, larger than it may be, or holds anything but (z, y, x) volumes of grey values.
        """

    def open_at(self, path: Path, at: VolumeChoice) -> StoredVolumes:
        """The same at a resolution level and in the place of a registration; formats without these refuse both.

        Raises
        ------
        InputError
            As `open`; or what is chosen is not there, or has to be chosen.
        """
        at.refuse_unknown(path)
        return self.open(path)

    def plane(self, path: Path) -> Triple | None:
        """Shape (1, y, x) of a file that holds a single plane, one of a volume whose planes are files; None otherwise."""
        del path
        return None

    def read_small(self, path: Path, check_size: Callable[[tuple[int, ...]], None]) -> SmallVolume:
        """All values of a small volume; a plane gets the length 1 along z.

        Parameters
        ----------
        path : of the file
        check_size : refuses a shape before its pixels are read

        Raises
        ------
        InputError
            As `open`, or if there are several volumes.
        """
        stored = self.open(path)
        check_size(stored.shape)
        if stored.leading:
            raise InputError(f"{path} holds several volumes: save the one that is meant in a file of its own")
        stored.refuse_turned()
        return SmallVolume(np.asarray(stored.volume()[:]), stored.size_um)

    def write(
        self,
        path: Path,
        data: VolumeLike,
        grid: Grid,
        *,
        recipe: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        dtype: str | None = None,
        leading: Sequence[LeadingAxis] = (),
    ) -> None:
        """Write a volume, or a series of them, piece by piece, aside, and put it into its place when it is complete.

        Parameters
        ----------
        path : what is written
        data : (z, y, x), read piece by piece; with leading axes before z where there are some
        grid : voxel size and origin, um
        recipe : JSON types
        overwrite : replace what is there
        dtype : of the pixels, that of `data` when None; kept as `kept_as` says
        leading : the axes before z, () for a single volume

        Raises
        ------
        OutputError
            If there is something already, it cannot be written, or a value is not finite or does not fit into `dtype`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how it is written")

    def flaw(self, path: Path) -> str:
        """What is wrong with a volume that was written, beside its pixels and what makes it unreadable; "" for nothing."""
        del path
        return ""

    def open_views(self, path: Path, at: VolumeChoice) -> RegisteredViews:
        """Open a volume whose channels are views, where `holds_views`; pixels are read when they are needed.

        Parameters
        ----------
        path : of the file or folder
        at : time point, resolution level and registration that are wanted; its channels are the views

        Raises
        ------
        InputError
            If it, or what it says of a view, cannot be used.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how views are opened")

    def open_project(self, path: Path, choice: ProjectChoice, *, clean: bool) -> RegisteredViews:
        """Open views of a project, where `is_project`; pixels are read when they are needed.

        Parameters
        ----------
        path : of the project
        choice : which views, and on which grid
        clean : make PSFs ready to fuse with

        Raises
        ------
        InputError
            If something is not chosen that has to be, or the project, or a file of it, cannot be used.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how its views are opened")

    def describe(self, path: Path) -> ProjectContents:
        """What a project holds, where `is_project`; only the project itself is looked at.

        Raises
        ------
        InputError
            If it cannot be used.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what it holds")

    def list_views(self, path: Path, choice: ProjectChoice) -> ViewListing:
        """The views of a project from which some can be chosen, where `is_project`; no pixel is read.

        Parameters
        ----------
        path : of the project
        choice : time point, channel, level and unit, and whether files may lie elsewhere; all else does not matter

        Raises
        ------
        InputError
            If time point or channel are not chosen where there are several, or the project cannot be used.
        """
        every = replace(choice, views=None, box=None, box_um=None, voxel_size_um=None, apart=True, own_psfs=True)
        try:
            opened = self.open_project(path, every, clean=False)
        except OutsideError as error:
            return ViewListing((), outside=error.place)
        found = [
            ListedView(
                view.name,
                view.name,
                {} if view.angle is None else {"angle": f"{view.angle:g}"},
                view.shape,
                opened.grid.affine if view.affine is None else view.affine,
                view.psf is not None,
            )
            for view in opened.views
        ]
        return ViewListing(tuple(found))

    def write_views(
        self, path: Path, views: RegisteredViews, *, truth: VolumeLike | None = None, overwrite: bool = False
    ) -> None:
        """Write views with their names, angles and PSFs as one volume, where `holds_views`.

        Parameters
        ----------
        path : what is written
        views : on one grid
        truth : (z, y, x), where it is known
        overwrite : replace what is there

        Raises
        ------
        OutputError
            If a view has what one volume cannot hold, there is something already, or it cannot be written.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how views are written")

    def kept_as(self, dtype: Any) -> np.dtype[Any]:
        """The type that pixels of a type are kept as.

        Raises
        ------
        OutputError
            If the format has none that holds all their values.
        """
        kind: np.dtype[Any] = np.dtype(dtype)
        if kind.kind not in "buif":
            raise OutputError(f"pixels of type {kind} cannot be saved as {self.written}: real numbers are needed")
        return kind

    def grow(self, place: Path, grid: Grid, chunk: Triple, *, name: str, known: str | None) -> Growing:
        """Begin a float32 volume that is filled box by box, or go on with one, where `grows`.

        Parameters
        ----------
        place : the file or folder
        grid : shape, voxel size in um and origin
        chunk : voxels (z, y, x) that boxes are whole multiples of
        name : what it will be called
        known : its description, where an earlier run has begun it; what does not fit is begun anew
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how it is filled box by box")

    def join(self, place: Path, known: str, aside: Path) -> Filling:
        """Help to fill a volume that `grow` has begun in another process, where `grows`.

        Parameters
        ----------
        place : the file or folder
        known : its description
        aside : folder on the same disk in which files are written before they get their names; once it is there no more,
            nothing is written to `place`, whatever lies there by then

        Raises
        ------
        OutputError
            If another one lies there.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how it is filled by several")

    def gather(
        self, place: Path, leading: Sequence[LeadingAxis], channel_names: Sequence[str], *, name: str
    ) -> Gathering:
        """Begin, or go on with, a series that is made of finished volumes, where `grows`.

        Parameters
        ----------
        place : the file or folder, which the first volume makes
        leading : the axes before z, at least one
        channel_names : of the channels, where "c" is one of the axes and they have names; else ()
        name : what it will be called
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how it is gathered")
