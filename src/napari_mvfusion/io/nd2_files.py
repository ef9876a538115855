"""ND2 files of NIS-Elements: `nd2` says what their frames are, and these are read where they lie."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from napari_mvfusion.data.geometry import FloatTriple, StatedSize, Triple, float_triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.base import StoredVolumes
from napari_mvfusion.io.extra_libraries import library
from napari_mvfusion.io.nd2_chunks import enter_frame, read_frames, unpacked
from napari_mvfusion.io.numbered_images import NumberedImages, choose_image
from napari_mvfusion.io.plane_volume import PlaneVolume
from napari_mvfusion.system.file_checks import parsing

_AGAIN = "copy or export it again"
_LARGEST_FRAME = 2**30
# Streams of zlib hold at most so many times their length.
_MOST_GAIN = 1032
_COLOURS = 3
# A recording may have been stopped soon; numbers far beyond what is there are made up.
_MOST_ABSENT = 1000
# What does not get smaller may get a little larger.
_OVERHEAD = 2**16


@dataclass(frozen=True)
class _Layout:
    """How a frame is kept: rows one after the other, in each all channels of a pixel beside each other."""

    height: int
    width: int
    channels: int
    row_bytes: int
    dtype: np.dtype[Any]
    compressed: bool

    @property
    def whole(self) -> int:
        """Bytes of a frame, whose last row may lack what fills it up."""
        return (self.height - 1) * self.row_bytes + self.width * self.channels * self.dtype.itemsize


class ND2(NumberedImages):
    """ND2 files of Nikon's NIS-Elements."""

    name: ClassVar[str] = "ND2"
    suffixes: ClassVar[tuple[str, ...]] = (".nd2",)

    def open(self, path: Path) -> StoredVolumes:
        """Look at a position.

        Raises
        ------
        InputError
            If `nd2` is not installed, the file is missing, damaged, or holds anything but (z, y, x) volumes of grey values,
            or holds several positions and none is named.
        """
        file, number = self.split(path)
        nd2 = library("nd2", file, "ND2")
        with parsing(f"{file} cannot be read as an ND2 file", _AGAIN):
            places = read_frames(file)
            with nd2.ND2File(file) as opened:
                sizes = dict(opened.sizes)
                planned = math.prod(sizes.get(axis, 1) for axis in "PTZU")
                if planned > _MOST_ABSENT * max(len(places), 1):
                    raise InputError(
                        f"{file} is damaged: it speaks of {planned:,} frames and holds {len(places):,}; {_AGAIN}"
                    )
                layout = _layout(file, opened)
                indices = [dict(each) for each in opened.loop_indices] or [{}]
                loops, channels = list(opened.experiment), opened.metadata.channels
                voxel_size = _voxel_size(channels[0].volume)
                names = tuple(str(each.channel.name or "") for each in channels)
        _check_frames(file, layout, places)
        positions = _positions(file, sizes, indices)
        points: Sequence[Any] = next((loop.parameters.points for loop in loops if loop.type == "XYPosLoop"), [])
        chosen = choose_image(file, number, [_called(n, points, sizes, layout) for n in range(len(positions))])
        frames = positions[chosen]
        depth = sizes.get("Z", 1)

        def at(chosen: Mapping[str, int]) -> ND2Volume:
            t = chosen.get("t", 0)
            numbers = [frames[t, z] for z in range(depth)]
            missing = sum(n not in places for n in numbers)
            if missing:
                raise InputError(
                    f"{file} lacks {missing} of {depth} planes of time point {t}, as where a recording was stopped: choose "
                    "another time point, or record it again"
                )
            return ND2Volume(file, [places[n] for n in numbers], layout, chosen.get("c", 0))

        return StoredVolumes(
            path,
            (depth, layout.height, layout.width),
            layout.dtype,
            at,
            {axis: n for axis, n in (("t", sizes.get("T", 1)), ("c", layout.channels)) if n > 1},
            voxel_size,
            time_step=_time_step(loops),
            stage_um=_stage(points, chosen),
            channel_names=names if len(names) == layout.channels and any(names) else (),
        )


class ND2Volume(PlaneVolume):
    """A volume of which every plane is one channel of a frame.

    Parameters
    ----------
    file : that it lies in
    places : where the chunks of its frames begin
    layout : of each frame
    channel : which of the channels
    """

    def __init__(self, file: Path, places: Sequence[int], layout: _Layout, channel: int) -> None:
        shape: Triple = (len(places), layout.height, layout.width)
        super().__init__(file, shape, layout.dtype)
        self._places, self._layout, self._channel = tuple(places), layout, channel

    def opened(self) -> AbstractContextManager[Any]:
        """The file."""
        return self._file.open("rb")

    def plane(self, opened: BinaryIO, number: int, rows: slice) -> np.ndarray:
        """Rows of a frame; of one that is not compressed no others are read."""
        layout = self._layout
        frame = enter_frame(opened, self._file, self._places[number])
        first, count = (0, layout.height) if layout.compressed else (rows.start, rows.stop - rows.start)
        wanted = (count - 1) * layout.row_bytes + layout.width * layout.channels * layout.dtype.itemsize
        opened.seek(frame.place + first * layout.row_bytes)
        if layout.compressed:
            if frame.length > layout.whole + layout.whole // 2 + _OVERHEAD:
                raise ValueError(f"it is stored in {frame.length:,} bytes, and its pixels are {layout.whole:,}")
            content = unpacked(opened.read(frame.length), layout.height * layout.row_bytes)
        else:
            content = opened.read(min(wanted, max(frame.length - first * layout.row_bytes, 0)))
        if len(content) < wanted:
            raise ValueError(
                f"it has {frame.length:,} bytes, which are too few for its {layout.whole:,} bytes of pixels"
            )
        step = layout.channels * layout.dtype.itemsize
        pixels: np.ndarray = np.ndarray(
            (count, layout.width),
            layout.dtype,
            buffer=content,
            offset=self._channel * layout.dtype.itemsize,
            strides=(layout.row_bytes, step),
        )
        return pixels[rows] if layout.compressed else pixels


def _layout(file: Path, opened: Any) -> _Layout:
    said = opened.attributes
    dtype = np.dtype(opened.dtype)
    channels = int(said.componentCount)
    if opened.sizes.get("S", 1) != 1 or (opened.is_rgb and channels % _COLOURS == 0):
        raise InputError(f"{file} has colour samples: a view is one volume of grey values; save one of them alone")
    if said.compressionType == "lossy":
        raise InputError(f"{file} is compressed with loss: save it again in NIS-Elements without")
    height, width = int(said.heightPx), int(said.widthPx or 0)
    row = int(said.widthBytes or 0) or width * channels * dtype.itemsize
    if min(height, width, channels) < 1 or row < width * channels * dtype.itemsize or dtype.kind not in "uif":
        raise InputError(f"{file} is damaged: its frames have no size, or rows that overlap; {_AGAIN}")
    return _Layout(height, width, channels, row, dtype, said.compressionType == "lossless")


def _check_frames(file: Path, layout: _Layout, places: Mapping[int, int]) -> None:
    """Refuse frames that are larger than what the file holds."""
    if not places:
        raise InputError(f"{file} holds no frame: check its name, or {_AGAIN}")
    with file.open("rb") as opened:
        length = enter_frame(opened, file, min(places.values())).length
    most = min(_MOST_GAIN * length, _LARGEST_FRAME) if layout.compressed else length
    if layout.whole > most:
        raise InputError(
            f"{file} says that its frames have {layout.height:,} x {layout.width:,} pixels, which do not fit into "
            f"{length:,} bytes: {_AGAIN}"
        )


def _positions(file: Path, sizes: Mapping[str, int], indices: Sequence[Mapping[str, int]]) -> list[dict[Any, int]]:
    """For each position, the numbers of its frames by time point and plane."""
    if sizes.get("U", 1) != 1:
        raise InputError(f"{file} has a loop that is not known here: save one volume of it alone")
    count = [sizes.get(axis, 1) for axis in "PTZ"]
    found: list[dict[Any, int]] = [{} for _ in range(count[0])]
    for number, index in enumerate(indices):
        position = index.get("P", 0)
        place = (index.get("T", 0), index.get("Z", 0))
        if position >= len(found) or place in found[position]:
            raise InputError(f"{file} has loops within loops that are not known here: save one volume of it alone")
        found[position][place] = number
    if any(len(frames) != count[1] * count[2] for frames in found):
        raise InputError(f"{file} is damaged: its loops do not give {math.prod(count):,} frames; {_AGAIN}")
    return found


def _called(number: int, points: Sequence[Any], sizes: Mapping[str, int], layout: _Layout) -> str:
    name = points[number].name if number < len(points) else None
    shape = f"{sizes.get('Z', 1)} x {layout.height} x {layout.width}"
    return f"'{name}', {shape}" if name else f"position {number}, {shape}"


def _voxel_size(volume: Any) -> StatedSize:
    """Voxel size (z, y, x) in um, None along axes that are not calibrated."""
    x, y, z = (
        float(size) if known and math.isfinite(size) and size > 0 else None
        for size, known in zip(volume.axesCalibration, volume.axesCalibrated, strict=True)
    )
    return z, y, x


def _time_step(loops: Sequence[Any]) -> float:
    """Seconds from one time point to the next, planned or as they were; 1 where the file does not say, or these differ."""
    for loop in loops:
        periods = [loop.parameters] if loop.type == "TimeLoop" else []
        periods = list(loop.parameters.periods) if loop.type == "NETimeLoop" else periods
        if len(periods) == 1:
            # One that is as short as possible is planned as 0.
            step = float(periods[0].periodMs or periods[0].periodDiff.avg) / 1000
            return step if math.isfinite(step) and step > 0 else 1.0
    return 1.0


def _stage(points: Sequence[Any], number: int) -> FloatTriple | None:
    """Where the stage was at a position, (z, y, x) in um; None where there was no choice of positions."""
    if number >= len(points):
        return None
    place = points[number].stagePositionUm
    return float_triple((place.z, place.y, place.x))
