"""TIFF files, opened so that damaged and hostile ones end in words: what a file declares is weighed first."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from napari_mvfusion.errors import InputError
from napari_mvfusion.system.file_checks import check_file, parsing

LARGEST_PIECE = 2**28
"""Bytes of what has to be decoded in one go: a compressed plane, or a chunk of a zarr."""

_MOST_PLANES = 2**20
# The strongest compression of pixels that hold any image is far below this.
_MOST_GAIN = 500
_SMALL = 2**29


@contextmanager
def opened_tiff(path: Path, called: str = "") -> Iterator[tifffile.TiffFile]:
    """Open a TIFF file after a look at what it is and says.

    Whatever goes wrong inside the block counts as damage of the file, so only what reads it belongs there.

    Parameters
    ----------
    path : of the file
    called : what it is, for the message, for example "the PSF"

    Yields
    ------
    The opened file, whose `series` are of bounded length.

    Raises
    ------
    InputError
        If it is no plain file, no TIFF, is damaged, or declares more than any microscope records.
    """
    check_file(path, called)
    with (
        parsing(f"{called} {path} cannot be read as a TIFF file".strip(), "copy or export it again"),
        tifffile.TiffFile(path) as tiff,
    ):
        _check_description(path, tiff)
        if len(tiff.pages) > _MOST_PLANES:
            raise InputError(f"{path} has more than {_MOST_PLANES:,} planes: split it, or save it as OME-Zarr")
        yield tiff


def series_of(path: Path, tiff: tifffile.TiffFile) -> list[Any]:
    """The series of images in a file that hold pixels of this very file, each weighed before it is decoded.

    OME-TIFF files of one set all describe all of its images.

    Raises
    ------
    InputError
        If there is no image, or the first one has no type, no pixels, or unpacks to far more than the file could hold.
    """
    own = [series for series in tiff.series if any(_lies_in(page, path) for page in series.pages)]
    if not own:
        raise InputError(f"{path} holds no picture: copy or export it again")
    for series in own[:1]:
        _weigh(path, tiff, series)
    return own


def image_number(tiff: tifffile.TiffFile, series: Any) -> int | None:
    """Which of the images in the OME-XML of a file a series is, None where that is not clear."""
    images = len(ome_images(tiff))
    return list(tiff.series).index(series) if images == len(tiff.series) else 0 if images == 1 else None


def ome_images(tiff: tifffile.TiffFile) -> list[ElementTree.Element]:
    """The `Pixels` of every image that the OME-XML of a file describes; none where it has no OME-XML."""
    if not (tiff.is_ome and tiff.ome_metadata):
        return []
    return ElementTree.fromstring(tiff.ome_metadata).findall("{*}Image/{*}Pixels")


def file_of(page: Any) -> Path:
    """The file that a page lies in, which is another than the opened one where a set has several."""
    return Path(page.parent.filehandle.path)


def is_compressed(page: Any) -> bool:
    """Whether a page must be decoded whole."""
    return not page.is_final


def _lies_in(page: Any, path: Path) -> bool:
    return page is not None and file_of(page).name in (path.name, path.resolve().name)


def _weigh(path: Path, tiff: tifffile.TiffFile, series: Any) -> None:
    """Refuse what would not fit into memory, before anything is decoded."""
    if series.dtype is None or 0 in series.shape:
        raise InputError(f"{path} is damaged: its pixels have no type or no size; copy or export it again")
    page = series.keyframe
    item = np.dtype(series.dtype).itemsize
    whole = math.prod(series.shape) * item
    size = max(tiff.filehandle.size, sum(file.stat().st_size for file in {file_of(p) for p in series.pages if p}))
    if series.dataoffset is None and math.prod(page.shape) * item > LARGEST_PIECE:
        raise InputError(
            f"{path} has compressed planes of {_sizes(page.shape)} pixels, {_bytes(math.prod(page.shape) * item)} each, "
            f"and at most {_bytes(LARGEST_PIECE)} are decoded in one go: save it uncompressed, or as OME-Zarr"
        )
    if whole > _SMALL and whole > _MOST_GAIN * size:
        raise InputError(
            f"{path} says that its {_bytes(size)} unpack to {_bytes(whole)} ({_sizes(series.shape)} pixels), as no "
            "picture does: export it again"
        )


def _check_description(path: Path, tiff: tifffile.TiffFile) -> None:
    """Descriptions may be text from anywhere."""
    page = tiff.pages.first
    description = page.description or ""
    # A document type could define entities that grow or reach out.
    if "<!DOCTYPE" in description or "<!ENTITY" in description:
        raise InputError(f"{path} has a description with XML entities, which is refused: save it again without")
    if math.prod(page.shape) > 2**40:
        raise InputError(f"{path} is damaged: it says that a plane has {_sizes(page.shape)} pixels; export it again")
    promised = 0
    for pixels in ome_images(tiff):
        promised += math.prod(max(1, int(pixels.get(f"Size{axis}", "1"))) for axis in "ZCT")
        for data in pixels.iterfind("{*}TiffData"):
            numbers = [
                int(data.get(key, "0")) for key in ("PlaneCount", "NumPlanes", "IFD", "FirstZ", "FirstC", "FirstT")
            ]
            if max(numbers) > _MOST_PLANES or min(numbers) < 0:
                raise InputError(f"{path} is damaged: it speaks of plane {max(numbers):,}; export it again")
            for uuid in data.iterfind("{*}UUID"):
                _check_neighbour(path, uuid.get("FileName"))
    if tiff.is_imagej and tiff.imagej_metadata:
        promised = max(promised, int(tiff.imagej_metadata.get("images", 1)))
    if promised > _MOST_PLANES:
        raise InputError(f"{path} says that it has {promised:,} planes: export it again")


def _check_neighbour(path: Path, name: str | None) -> None:
    """A file of the same set must be a plain file in the same folder."""
    if name is None or name == path.name:
        return
    if PureWindowsPath(name).name != name:
        raise InputError(f"{path} names a file outside of its folder ({name}), which is refused: export it again")
    other = path.parent / name
    if other.exists():
        check_file(other)


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)


def _bytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
