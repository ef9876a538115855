"""Volumes from Imaris files: a dataset for each level, time point and channel, padded to whole chunks.

Numbers are text there, often one letter an entry. The image has an extent in the world, from the outer face of its first
voxel to that of its last, which gives the voxel size and the origin.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from napari_mvfusion.data.geometry import ALL_KNOWN, NO_SIZE, FloatTriple, StatedSize, Triple, float_triple, triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.base import StoredVolumes
from napari_mvfusion.io.hdf5.chunks import refuse_filters
from napari_mvfusion.io.hdf5.reader import (
    DAMAGED,
    Hdf5Volume,
    attribute,
    inside,
    opened_file,
    refuse_elsewhere,
    weigh_dataset,
)
from napari_mvfusion.io.lengths import micrometres
from napari_mvfusion.io.numbered_images import choose_image
from napari_mvfusion.system.file_checks import check_file, parsing

_IMAGE = re.compile(r"DataSet(\d*)")
_AXES = "zyx"
# Of x, y and z in the names of extents.
_EXTENT = {"x": 0, "y": 1, "z": 2}
_MOST_LEVELS = 32
_MOST_VOLUMES = 100_000


@dataclass(frozen=True)
class _Image:
    """An image of a file: the group of its pixels and of what is said of them, and how many levels and volumes it has."""

    file: Path
    pixels: str
    said: str
    levels: int
    timepoints: int
    channels: int

    def channel(self, level: int, chosen: Mapping[str, int]) -> str:
        """Name of the group of a volume."""
        place = f"TimePoint {chosen.get('t', 0)}/Channel {chosen.get('c', 0)}"
        return f"/{self.pixels}/ResolutionLevel {level}/{place}"

    def volume(self, opened: Any, level: int, chosen: Mapping[str, int]) -> Hdf5Volume:
        """A volume without its padding, weighed before it is read."""
        name = self.channel(level, chosen)
        group, dataset = (inside(opened, place, self.file) for place in (name, f"{name}/Data"))
        named = f"{self.file}:{name}/Data"
        if len(getattr(dataset, "shape", ())) != len(_AXES) or dataset.dtype.kind not in "uif":
            raise InputError(f"{named} is damaged: it is no volume of numbers; {DAMAGED}")
        refuse_elsewhere(dataset, named)
        weigh_dataset(dataset, named)
        refuse_filters(dataset, named)
        stored = dict(zip(_AXES, map(int, dataset.shape), strict=True))
        sizes = {axis: _count(group, f"ImageSize{axis.upper()}", stored[axis]) for axis in _AXES}
        if not all(1 <= sizes[axis] <= stored[axis] for axis in _AXES):
            raise InputError(
                f"{named} is damaged: it says that it has {tuple(sizes.values())} voxels (z, y, x) and holds "
                f"{tuple(stored.values())}; {DAMAGED}"
            )
        return Hdf5Volume(self.file, f"{name}/Data", sizes, {}, dataset.dtype)


def open_imaris(path: Path, file: Path, number: int | None) -> StoredVolumes:
    """Look at an image; no pixel is read.

    Parameters
    ----------
    path : as it was named
    file : the file
    number : which of its images, counted from 0; None for the only one

    Raises
    ------
    InputError
        If it is missing, damaged, larger than it may be, keeps pixels in other files, or is no file of Imaris 5.5 or later;
        or if the file holds several images, and none is named.
    """
    check_file(file)
    with (
        parsing(f"{file} cannot be read as an Imaris file", f"{DAMAGED}, as Imaris 5.5 or later"),
        opened_file(file) as opened,
    ):
        image = _image(opened, file, number)
        volumes = [image.volume(opened, level, {}) for level in range(image.levels)]
        shape, dtype = triple(volumes[0].shape), volumes[0].dtype
        place = _placement(opened, image, shape)
        step = _time_step(opened, image)
        names = _channel_names(opened, image)

    def at(chosen: Mapping[str, int], coarsest: int = 0) -> tuple[Hdf5Volume, ...]:
        with parsing(f"{file} cannot be read as an Imaris file", DAMAGED), opened_file(file) as opened:
            found = tuple(image.volume(opened, level, chosen) for level in range(coarsest + 1))
        for volume, first in zip(found, volumes, strict=False):
            if (volume.shape, volume.dtype) != (first.shape, first.dtype):
                raise InputError(
                    f"{file} has volumes of different shapes or types ({first.shape} {first.dtype} and {volume.shape} "
                    f"{volume.dtype}): save what is meant in a file of its own"
                )
        return found

    return StoredVolumes(
        path,
        shape,
        dtype,
        lambda chosen: at(chosen)[0],
        {axis: n for axis, n in (("t", image.timepoints), ("c", image.channels)) if n > 1},
        place.size,
        place.origin,
        step,
        notes=place.notes,
        in_um=ALL_KNOWN if place.in_um else (False, False, False),
        channel_names=names,
        levels=lambda chosen: at(chosen, image.levels - 1),
    )


def _image(opened: Any, file: Path, number: int | None) -> _Image:
    """The image that is meant."""
    found = sorted(
        (int(match[1] or 0), name) for name in opened if (match := _IMAGE.fullmatch(name)) and len(match[1]) <= 6
    )
    if not found:
        raise InputError(f"{file} is no Imaris file: it holds no 'DataSet'; check its name, or {DAMAGED}")
    chosen, name = found[choose_image(file, number, [f"'{name}'" for _, name in found])]
    said = f"DataSetInfo{chosen or ''}"
    levels = _numbered(opened, f"/{name}", "ResolutionLevel", file)
    timepoints = _numbered(opened, f"/{name}/ResolutionLevel 0", "TimePoint", file)
    channels = _numbered(opened, f"/{name}/ResolutionLevel 0/TimePoint 0", "Channel", file)
    if levels > _MOST_LEVELS or timepoints * channels > _MOST_VOLUMES:
        raise InputError(
            f"{file} says that it has {levels:,} levels and {timepoints * channels:,} volumes, which is too many: {DAMAGED}"
        )
    return _Image(file, name, said, levels, timepoints, channels)


def _numbered(opened: Any, place: str, called: str, file: Path) -> int:
    """How many groups "TimePoint 0", "TimePoint 1" and so on there are."""
    group = inside(opened, place, file)
    count = sum(1 for name in group if name.startswith(f"{called} "))
    for index in range(max(1, count)):
        if f"{called} {index}" not in group:
            raise InputError(f"{file} is damaged: its '{place.strip('/')}' lacks '{called} {index}'; {DAMAGED}")
    return count


@dataclass(frozen=True)
class _Placement:
    """Voxel size and origin (z, y, x), whether these are micrometres, and what could not be used."""

    size: StatedSize = NO_SIZE
    origin: FloatTriple | None = None
    in_um: bool = True
    notes: tuple[str, ...] = ()


def _placement(opened: Any, image: _Image, shape: Triple) -> _Placement:
    """Where an image lies, by its extent."""
    said = _said_of(opened, image, "Image")
    if said is None:
        return _Placement()
    unit = _text(said, "Unit")
    in_um = 1.0 if unit is None else micrometres(unit)
    ends = [[_number(said, f"Ext{end}{_EXTENT[axis]}") for end in ("Min", "Max")] for axis in _AXES]
    if all(end is None for axis in ends for end in axis):
        return _Placement()
    sizes: list[float | None] = []
    for (start, stop), count in zip(ends, shape, strict=True):
        size = math.nan if start is None or stop is None else (stop - start) / count * (in_um or 1.0)
        sizes.append(size if math.isfinite(size) and size > 0 else None)
    notes = []
    if None in sizes:
        axes = " and ".join(axis for axis, size in zip(_AXES, sizes, strict=True) if size is None)
        notes.append(f"{image.file} states an extent along {axes} that cannot be one, and is not used")
    if in_um is None:
        notes.append(f"{image.file} states its extent in '{unit}', which is no known length")
    z, y, x = sizes
    origin = None
    if None not in sizes:
        # The extent begins at the outer face of a voxel, an origin is the middle of one.
        starts = [(start or 0.0) * (in_um or 1.0) for start, _ in ends]
        origin = float_triple(start + (size or 0.0) / 2 for start, size in zip(starts, sizes, strict=True))
    return _Placement((z, y, x), origin, in_um is not None, tuple(notes))


def _time_step(opened: Any, image: _Image) -> float:
    """Seconds from the first time point to the next; 1 where the file does not say."""
    said = _said_of(opened, image, "TimeInfo")
    times = [None if said is None else _text(said, f"TimePoint{number}") for number in (1, 2)]
    try:
        first, second = (datetime.fromisoformat(time or "") for time in times)
        step = (second - first).total_seconds()
    except (TypeError, ValueError):  # one of them has a time zone, or is no time
        return 1.0
    return step if step > 0 else 1.0


def _channel_names(opened: Any, image: _Image) -> tuple[str, ...]:
    groups = [_said_of(opened, image, f"Channel {number}") for number in range(image.channels)]
    names = ["" if group is None else _text(group, "Name") or "" for group in groups]
    return tuple(names) if any(names) else ()


def _said_of(opened: Any, image: _Image, name: str) -> Any | None:
    """The group of what is said of something, None where there is none."""
    group = opened.get(image.said)
    if not hasattr(group, "keys") or name not in group:
        return None
    return inside(opened, f"/{image.said}/{name}", image.file)


def _text(group: Any, name: str) -> str | None:
    """What a group says under a name: text, or letters one by one; None where it says nothing."""
    said = attribute(group, name)
    if said is None:
        return None
    letters: Sequence[Any] = np.ravel(np.asarray(said)).tolist()
    data = b"".join(part if isinstance(part, bytes) else str(part).encode() for part in letters)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return text.strip("\0 \t\r\n") or None


def _number(group: Any, name: str) -> float | None:
    try:
        number = float(_text(group, name) or "nan")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _count(group: Any, name: str, otherwise: int) -> int:
    """A number of voxels, or what there is where none is said; 0 where that is no number."""
    said = _text(group, name)
    if said is None:
        return otherwise
    return int(said) if said.isdecimal() and len(said) < 10 else 0
