"""One volume from one TIFF file: lazily, with its voxel size, and checked before it is used."""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from napari_mvfusion.errors import InputError
from napari_mvfusion.geometry import FloatTriple, Triple, float_triple, triple
from napari_mvfusion.views import VolumeLike
from napari_mvfusion.voxel_sizes import ome_pixels, voxel_size_of

_AXIS_WORDS = {"T": "time points", "C": "channels", "S": "colour samples"}
_DECODING_ERRORS = (OSError, RuntimeError, ValueError, IndexError, zlib.error)


@dataclass(frozen=True, eq=False)
class TiffVolume:
    """A volume in a TIFF file.

    Attributes
    ----------
    path : the file
    data : lazy (z, y, x)
    voxel_size_um : (z, y, x), or None where the file does not say
    origin_um : (z, y, x), where our own annotation says it
    recipe : what made it, where the file says so
    """

    path: Path
    data: VolumeLike
    voxel_size_um: FloatTriple | None
    origin_um: FloatTriple = (0.0, 0.0, 0.0)
    recipe: dict[str, Any] | None = None


class MappedTiff:
    """Pixels that lie in one piece: only the box that is asked for is read, through a map that is closed again."""

    def __init__(self, path: Path, offset: int, shape: Triple, dtype: np.dtype[Any]) -> None:
        self.shape: tuple[int, ...] = shape
        self.dtype = dtype.newbyteorder("=")
        self.ndim = 3
        self._path, self._offset, self._stored = path, offset, dtype

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """Pixels of a box, in memory and in the byte order of this machine."""
        mapped = np.memmap(self._path, self._stored, mode="r", offset=self._offset, shape=self.shape)
        pixels: np.ndarray = np.array(mapped[index], dtype=self.dtype)
        return pixels


class PagedTiff:
    """Pixels that are compressed or scattered: only the planes that are asked for are decoded."""

    def __init__(self, path: Path, shape: Triple, dtype: np.dtype[Any]) -> None:
        self.shape: tuple[int, ...] = shape
        self.dtype = dtype.newbyteorder("=")
        self.ndim = 3
        self._path = path

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """Pixels of a box.

        Raises
        ------
        InputError
            If a plane cannot be decoded; names the file and the plane.
        """
        parts = index if isinstance(index, tuple) else (index,)
        planes, rest = parts[0], parts[1:]
        if planes is Ellipsis:
            planes, rest = slice(None), ()
        wanted = range(self.shape[0])[planes]
        numbers = [wanted] if isinstance(wanted, int) else list(wanted)
        height, width = self.shape[1:]
        decoded = np.empty((len(numbers), height, width), self.dtype)
        with tifffile.TiffFile(self._path) as tiff:
            pages = tiff.series[0].pages
            for slot, number in enumerate(numbers):
                try:
                    decoded[slot] = pages[number].asarray().reshape(height, width)
                except _DECODING_ERRORS as error:
                    raise InputError(
                        f"{self._path} is damaged: plane {number} cannot be decoded ({error}); copy or export it again"
                    ) from error
        block: np.ndarray = decoded[(slice(None), *rest)]
        wanted_block: np.ndarray = block[0] if isinstance(wanted, int) else block
        return wanted_block


def open_tiff(path: str | Path) -> TiffVolume:
    """Open a TIFF file that holds one volume; no pixel is read.

    Raises
    ------
    InputError
        If the file is missing, empty, no TIFF, truncated, or holds anything but one (z, y, x) volume.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist, or is no file")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes): copy or export it again")
    try:
        with tifffile.TiffFile(path) as tiff:
            return _describe(path, tiff)
    except (tifffile.TiffFileError, *_DECODING_ERRORS) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be read as a TIFF file ({error}): copy or export it again") from error


def _describe(path: Path, tiff: tifffile.TiffFile) -> TiffVolume:
    _refuse_entities(path, tiff)
    if not tiff.series:
        raise InputError(f"{path} holds no picture: copy or export it again")
    series = tiff.series[0]
    promised, held = _promised_planes(tiff), math.prod(series.shape[:-2])
    if promised is not None and promised > held:
        raise InputError(
            f"{path} is truncated: it promises {promised} planes and holds {held}; copy or export it again"
        )
    sizes = [(axis, n) for axis, n in zip(series.axes, series.shape, strict=True) if n > 1]
    axes = "".join(axis for axis, _ in sizes)
    for axis, words in _AXIS_WORDS.items():
        if axis in axes:
            count = dict(sizes)[axis]
            raise InputError(
                f"{path} has {count} {words} (axes {series.axes}): a view is one (z, y, x) volume; "
                "save one of them alone, or, if these are planes, label the axis Z"
            )
    shape = [n for _, n in sizes]
    if len(shape) < 3 and len(series.shape) >= 3:
        shape = list(series.shape[-3:])
    if len(shape) != 3:
        raise InputError(
            f"{path} has the shape {tuple(series.shape)} (axes {series.axes}): a view needs three axes z, y, x"
        )
    volume = triple(shape)
    _refuse_truncated(path, series, volume)
    dtype = np.dtype(series.dtype)
    data: VolumeLike
    if series.dataoffset is not None:
        data = MappedTiff(path, int(series.dataoffset), volume, dtype.newbyteorder(tiff.byteorder))
    elif len(series.pages) == volume[0]:
        data = PagedTiff(path, volume, dtype)
    else:
        data = series.asarray().reshape(volume)
    notes = _notes(tiff)
    origin = json.loads(notes.get("origin_um", "null")) or (0.0, 0.0, 0.0)
    return TiffVolume(path, data, voxel_size_of(tiff), float_triple(origin), json.loads(notes.get("recipe", "null")))


def _refuse_entities(path: Path, tiff: tifffile.TiffFile) -> None:
    """Descriptions may be XML from anywhere: a document type could define entities that grow or reach out."""
    description = tiff.pages[0].description or ""
    if "<!DOCTYPE" in description or "<!ENTITY" in description:
        raise InputError(f"{path} has a description with XML entities, which is refused: save it again without")


def _refuse_truncated(path: Path, series: Any, shape: Triple) -> None:
    size = path.stat().st_size
    end = 0
    if series.dataoffset is not None:
        end = int(series.dataoffset) + math.prod(shape) * np.dtype(series.dtype).itemsize
    else:
        for page in series.pages:
            if page is None:
                raise InputError(f"{path} is truncated: planes are missing; copy or export it again")
            end = max([end, *(a + n for a, n in zip(page.dataoffsets, page.databytecounts, strict=True))])
    if end > size:
        raise InputError(
            f"{path} is truncated: it should have at least {end} bytes and has {size}; copy or export it again"
        )


def _promised_planes(tiff: tifffile.TiffFile) -> int | None:
    """Number of planes that the description of the file speaks of."""
    if tiff.is_imagej and tiff.imagej_metadata:
        images = tiff.imagej_metadata.get("images")
        return None if images is None else int(images)
    if tiff.is_ome and tiff.ome_metadata:
        pixels = ome_pixels(tiff.ome_metadata)
        if pixels is not None:
            return math.prod(int(pixels.get(f"Size{axis}", "1")) for axis in "ZCT")
    return None


def _notes(tiff: tifffile.TiffFile) -> dict[str, str]:
    """Our own map annotation."""
    if not (tiff.is_ome and tiff.ome_metadata):
        return {}
    root = ElementTree.fromstring(tiff.ome_metadata)
    return {
        entry.get("K", ""): entry.text or ""
        for note in root.iterfind(".//{*}MapAnnotation[@Namespace='napari-mvfusion']")
        for entry in note.iterfind(".//{*}M")
    }
