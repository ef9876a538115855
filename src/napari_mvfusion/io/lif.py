"""LIF files of LAS X: series of one file, each with its axes, found by `liffile` and read where they lie.

The XML of a file says how many bytes lie between neighbours along each axis, so that whatever its order, a box is read
without the rest.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

import numpy as np

from napari_mvfusion.data.geometry import NO_SIZE, FloatTriple, StatedSize, float_triple, triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.base import LazyVolume, StoredVolumes, parts_of
from napari_mvfusion.io.extra_libraries import library
from napari_mvfusion.io.lengths import micrometres
from napari_mvfusion.io.numbered_images import NumberedImages, choose_image
from napari_mvfusion.system.file_checks import check_file, parsing
from napari_mvfusion.system.xml_tree import parse_xml

_HEADER = struct.Struct("<IIBI")
_NEXT = struct.Struct("<IIB")
_MAGIC, _TEXT_FOLLOWS = 0x70, 0x2A
_MOST_XML_BYTES = 2**28
_AGAIN = "copy or export it again"
_UNSIGNED, _FLOAT = 0, 1
_AXES = {1: "x", 2: "y", 3: "z", 4: "t"}
# Other axes, by the numbers of the format, in words; one of length 1 does not matter.
_OTHERS = {5: "wavelengths", 6: "rotations", 9: "excitation wavelengths", 10: "tiles"}


@dataclass(frozen=True)
class _Axis:
    """Elements along an axis, bytes between neighbours, and the distance of these, which is None where it is not said."""

    count: int
    step: int
    spacing: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class _Channel:
    dtype: np.dtype[Any]
    place: int
    name: str


class LIF(NumberedImages):
    """LIF files of Leica's LAS X."""

    name: ClassVar[str] = "LIF"
    suffixes: ClassVar[tuple[str, ...]] = (".lif",)

    def open(self, path: Path) -> StoredVolumes:
        """Look at a series.

        Raises
        ------
        InputError
            If `liffile` is not installed, the file is missing, damaged, or holds anything but (z, y, x) volumes of grey
            values, or holds several series and none is named.
        """
        file, number = self.split(path)
        liffile = library("liffile", file, "LIF")
        count = _count_images(file)
        with parsing(f"{file} cannot be read as a LIF file", _AGAIN), liffile.LifFile(file) as opened:
            everything = list(opened.images)
            images = [image for image in everything if not image.is_flim]
            if not images:
                raise InputError(f"{file} holds no image: check its name")
            image = images[choose_image(file, number, [_called(each) for each in images])]
            block, element = image.memory_block, image.xml_element
            offset, size, name = int(block.offset), int(block.size), str(image.path)
            axes, channels = _axes_of(element, f"{file} ('{name}')"), _channels_of(element)
        _check_pixels(f"{file} ('{name}')", axes, channels, size)
        if not 0 <= offset <= check_file(file).st_size - size:
            raise InputError(f"{file} is truncated: the pixels of '{name}' end behind its end; {_AGAIN}")
        _check_end(file, offset + size, name)
        said = (
            f"{file} holds {count} images, of which {len(everything)} are told apart by their names: rename the others"
        )
        dtype = np.result_type(*(channel.dtype for channel in channels))
        shape = triple(axes[axis].count for axis in "zyx")

        def at(chosen: Mapping[str, int]) -> LIFVolume:
            channel = channels[chosen.get("c", 0)]
            start = offset + channel.place + chosen.get("t", 0) * axes["t"].step
            return LIFVolume(file, start, tuple(axes[axis].step for axis in "zyx"), shape, channel.dtype, dtype)

        voxel_size, in_um = _voxel_size(axes)
        times = axes["t"].spacing if axes["t"].unit == "s" else None
        names = tuple(channel.name for channel in channels)
        return StoredVolumes(
            path,
            shape,
            dtype.newbyteorder("="),
            at,
            {axis: n for axis, n in (("t", axes["t"].count), ("c", len(channels))) if n > 1},
            voxel_size,
            time_step=times or 1.0,
            notes=(f"{said} in LAS X",) if count > len(everything) else (),
            in_um=in_um,
            stage_um=_stage(element),
            channel_names=names if any(names) else (),
        )


class LIFVolume(LazyVolume):
    """One volume of a series, mapped while it is read.

    Parameters
    ----------
    file : that it lies in
    place : of its first pixel in the file
    steps : bytes between neighbours along z, y and x
    shape : (z, y, x)
    stored : type of the pixels as they lie there
    dtype : of the pixels, which holds those of other channels too
    """

    def __init__(
        self,
        file: Path,
        place: int,
        steps: tuple[int, ...],
        shape: tuple[int, int, int],
        stored: np.dtype[Any],
        dtype: np.dtype[Any],
    ) -> None:
        self._file, self._place, self._steps, self._stored = file, place, steps, stored
        self.shape = shape
        self.dtype = dtype.newbyteorder("=")

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self._file,)

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """Pixels of a box.

        Raises
        ------
        InputError
            If the file is gone or was cut short meanwhile.
        """
        length = sum((n - 1) * step for n, step in zip(self.shape, self._steps, strict=True)) + self._stored.itemsize
        with parsing(f"{self._file} cannot be read any more", "check that the file is still there, and copy it again"):
            mapped = np.memmap(self._file, np.uint8, mode="r", offset=self._place, shape=(length,))
            pixels: np.ndarray = np.ndarray(self.shape, self._stored, buffer=mapped, strides=self._steps)
            return np.array(pixels[parts_of(index)], dtype=self.dtype)


def _count_images(file: Path) -> int:
    """How many images the XML of a file describes; it is looked at before others do, as it could grow without end."""
    length = check_file(file).st_size
    with file.open("rb") as opened:
        content = opened.read(_HEADER.size)
        first, _, second, letters = _HEADER.unpack(content) if len(content) == _HEADER.size else (0, 0, 0, 0)
        if (first, second) != (_MAGIC, _TEXT_FOLLOWS):
            raise InputError(f"{file} is no LIF file: it does not begin as one; check its name, or {_AGAIN}")
        if 2 * letters > min(length, _MOST_XML_BYTES):
            raise InputError(f"{file} is truncated: its description should have {2 * letters:,} bytes; {_AGAIN}")
        text = opened.read(2 * letters)
    root = parse_xml(text.decode("utf-16-le", "replace").encode(), file, "LIF file")
    return sum(element.find("./Data/Image") is not None for element in root.iter("Element"))


def _check_end(file: Path, end: int, name: str) -> None:
    """Refuse a block behind which neither the next one begins nor the file ends: it lost bytes, or has some too many."""
    with file.open("rb") as opened:
        opened.seek(end)
        content = opened.read(_NEXT.size)
    if content and (len(content) < _NEXT.size or _NEXT.unpack(content)[::2] != (_MAGIC, _TEXT_FOLLOWS)):
        raise InputError(
            f"{file} is damaged: no block begins where the pixels of '{name}' end, so bytes of it are lost or too many; "
            f"{_AGAIN}"
        )


def _called(image: Any) -> str:
    sizes = " x ".join(str(n) for n in image.sizes.values())
    return f"'{image.path}', {sizes}"


def _axes_of(element: ElementTree.Element, named: str) -> dict[str, _Axis]:
    """Axes z, y, x and t of a series, with one element where it has none."""
    found: dict[str, _Axis] = {}
    for dimension in element.iterfind("./Data/Image/ImageDescription/Dimensions/DimensionDescription"):
        number, count = int(dimension.attrib["DimID"]), int(dimension.attrib["NumberOfElements"])
        axis = _AXES.get(number)
        if axis is None:
            if count != 1:
                what = _OTHERS.get(number, f"elements of an axis that is not known here (number {number} of LIF)")
                raise InputError(
                    f"{named} has {count} {what}: a view is one (z, y, x) volume; save what is meant, or the merged image, "
                    "as a series of its own"
                )
            continue
        if axis in found or count < 1:
            raise InputError(f"{named} is damaged: its axis {axis} has no length; {_AGAIN}")
        length = float(dimension.get("Length", "nan"))
        # From the middle of the first element to that of the last one.
        spacing = abs(length) / (count - 1) if count > 1 and math.isfinite(length) and length else None
        found[axis] = _Axis(count, int(dimension.attrib["BytesInc"]), spacing, dimension.get("Unit", ""))
    if "x" not in found or "y" not in found:
        raise InputError(
            f"{named} is a scan along {' and '.join(found) or 'nothing'}: a view has the axes y and x at least"
        )
    return {"z": _Axis(1, 0), "t": _Axis(1, 0)} | found


def _channels_of(element: ElementTree.Element) -> list[_Channel]:
    found = []
    for channel in element.iterfind("./Data/Image/ImageDescription/Channels/ChannelDescription"):
        kind, bits = int(channel.attrib["DataType"]), int(channel.attrib["Resolution"])
        letter = {_UNSIGNED: "u", _FLOAT: "f"}[kind]
        size = next(size for size in (1, 2, 4, 8) if bits <= 8 * size)
        found.append(
            _Channel(np.dtype(f"<{letter}{size}"), int(channel.attrib["BytesInc"]), channel.get("LUTName", "").strip())
        )
    return found


def _check_pixels(named: str, axes: Mapping[str, _Axis], channels: list[_Channel], size: int) -> None:
    """Refuse colours, and pixels that would not lie in their block."""
    if not channels:
        raise InputError(f"{named} has no channel: {_AGAIN}")
    if axes["x"].step > max(channel.dtype.itemsize for channel in channels):
        raise InputError(f"{named} has colour samples: a view is one volume of grey values; save one of them alone")
    if min(axis.step for axis in axes.values()) < 0 or min(channel.place for channel in channels) < 0:
        raise InputError(f"{named} is damaged: its pixels lie before its beginning; {_AGAIN}")
    end = sum((axis.count - 1) * axis.step for axis in axes.values())
    end += max(channel.place + channel.dtype.itemsize for channel in channels)
    steps = sorted((axis.step, axis.count) for axis in axes.values() if axis.count > 1)
    overlap = any(step * count > after for (step, count), (after, _) in pairwise(steps))
    if end > size or overlap or any(step == 0 for step, _ in steps):
        raise InputError(f"{named} is damaged: it says that its pixels take {end:,} bytes and holds {size:,}; {_AGAIN}")


def _voxel_size(axes: Mapping[str, _Axis]) -> tuple[StatedSize, tuple[bool, bool, bool]]:
    """Voxel size (z, y, x) in um, None along axes where it is not said, and along which it is a length at all."""
    sizes, known = [], []
    for axis in "zyx":
        in_um = micrometres(axes[axis].unit)
        spacing = axes[axis].spacing
        sizes.append(None if spacing is None else float(f"{spacing * (in_um or 1.0):.10g}"))
        known.append(spacing is None or in_um is not None)
    z, y, x = sizes
    return ((z, y, x) if any(sizes) else NO_SIZE), (known[0], known[1], known[2])


def _stage(element: ElementTree.Element) -> FloatTriple | None:
    """Where the stage was, (z, y, x) in um; None where that is not said."""
    setting = next((each for each in element.iterfind(".//Attachment/*") if "StagePosX" in each.attrib), None)
    if setting is None:
        return None
    try:
        places = [float(setting.attrib[name]) * 1e6 for name in ("ZPosition", "StagePosY", "StagePosX")]
    except (KeyError, ValueError):
        return None
    return float_triple(places) if all(map(math.isfinite, places)) else None
