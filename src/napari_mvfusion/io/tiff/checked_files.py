"""TIFF files, opened so that damaged and hostile ones end in words: what a file declares is weighed first."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from napari_mvfusion.errors import InputError
from napari_mvfusion.io.tiff.ome_sets import (
    OMESet,
    check_neighbour,
    files_in,
    is_companion,
    refuse_entities,
    set_of,
    set_of_companion,
)
from napari_mvfusion.io.volume_choice import SeveralImagesError
from napari_mvfusion.system.file_checks import check_file, parsing, refuse_other

LARGEST_PIECE = 2**28
"""Bytes of what has to be decoded in one go: a compressed plane, or a chunk of a zarr."""

_MOST_PLANES = 2**20
# The strongest compression of pixels that hold any image is far below this.
_MOST_GAIN = 500
_SMALL = 2**29
_PLANE = 2
# As all TIFF files begin; EP is that of Philips.
_BYTE_ORDERS = (b"II", b"MM", b"EP")
_SHOWN = 3
# A colon cannot be part of a name in Windows, and a number after it is seldom one elsewhere.
_NAMED = re.compile(r"(?P<file>.+\.(?:tiff?|companion\.ome)):(?P<image>\d{1,6})", re.IGNORECASE | re.DOTALL)


@contextmanager
def opened_tiff(path: Path, called: str = "") -> Iterator[tifffile.TiffFile]:
    """Open a TIFF file after a look at what it is and says.

    Whatever goes wrong inside the block counts as damage of the file, so only what reads it belongs there.

    Parameters
    ----------
    path : of the file; a companion.ome stands for the set that it describes
    called : what it is, for the message, for example "the PSF"

    Yields
    ------
    The opened file, whose `series` are of bounded length; of a set, one that describes all of its images.

    Raises
    ------
    InputError
        If it is no plain file, no TIFF, is damaged, or declares more than any microscope records.
    """
    check_file(path, called)
    named = set_of_companion(path) if is_companion(path) else OMESet(path)
    with named.file.open("rb") as file:
        if file.read(2) not in _BYTE_ORDERS:
            refuse_other(named.file, "TIFF", called)
    with (
        parsing(f"{called} {path} cannot be read as a TIFF file".strip(), "copy or export it again"),
        ExitStack() as opened,
    ):
        tiff = opened.enter_context(_as_described(named))
        described = named if named.xml else set_of(path, tiff.pages.first.description or "")
        if described != named:
            tiff = opened.enter_context(_as_described(described))
        # Where planes lie is looked at more than once.
        tiff.pages.cache = True
        _check_description(path, tiff)
        if len(tiff.pages) > _MOST_PLANES:
            raise InputError(f"{path} has more than {_MOST_PLANES:,} planes: split it, or save it as OME-Zarr")
        try:
            yield tiff
        except InputError:
            raise
        except (IndexError, KeyError, ValueError, struct.error, tifffile.TiffFileError) as error:
            # What is read of a file that was cut off contradicts itself somewhere.
            if not _ends_early(tiff):
                raise
            raise InputError(
                f"{path} is truncated: its planes go on beyond its end; copy or export it again"
            ) from error


def _as_described(known: OMESet) -> tifffile.TiffFile:
    """A TIFF file, described by itself or a companion."""
    # Micro-Manager's own index numbers planes as no other file does; its OME-XML says the same.
    return tifffile.TiffFile(known.file, is_mmstack=False, omexml=known.xml or None)


def split(path: Path) -> tuple[Path, int | None]:
    """A file, and which of its images is named, counted from 0, as in "views.ome.tif:1"; None where none is."""
    named = _NAMED.fullmatch(str(path))
    if named is None or path.is_file():
        return path, None
    return Path(named["file"]), int(named["image"])


def image_of(path: Path, tiff: tifffile.TiffFile, number: int | None) -> tuple[Any, tuple[str, ...]]:
    """The image that is meant among those that hold pixels of this very file, weighed before it is decoded.

    OME-TIFF files of one set all describe all of its images, so images without pixels in this file do not count, nor do
    coarser copies of others.

    Parameters
    ----------
    path : of the file
    tiff : the opened file
    number : which one, counted from 0; None for the only one, or the only one of several planes

    Returns
    -------
    Its series, and what is left out, in words.

    Raises
    ------
    InputError
        If there is no image, none of that number, or it has no type, no pixels, or unpacks to far more than the file could
        hold; a `SeveralImagesError` where there are several and none is named.
    """
    whole = is_companion(path)
    own = [series for series in tiff.series if whole or any(_lies_in(page, path) for page in series.pages)]
    own = [series for series in own if not series.keyframe.is_reduced] or own
    if not own:
        raise InputError(f"{path} holds no picture: copy or export it again")
    said: tuple[str, ...] = ()
    if number is None:
        stacks = [index for index, series in enumerate(own) if len(series.pages) > 1 or len(series.shape) > _PLANE]
        if len(own) > 1 and len(stacks) == 1:
            said = (f"{path} holds {len(own)} images: {path}:{stacks[0]} is taken, the only one of several planes",)
        elif len(own) > 1:
            names = [Path(f"{path}:{index}") for index in range(len(own))]
            shown = " or ".join(
                f"{name} ({_called(series)})" for name, series in zip(names[:_SHOWN], own, strict=False)
            )
            more = f" (there are {len(own)})" if len(own) > _SHOWN else ""
            raise SeveralImagesError(f"{path} holds several images: name one of them, as {shown}{more}", names)
        number = stacks[0] if said else 0
    if number >= len(own):
        raise InputError(f"{path} holds {len(own)} images, counted from 0: {path}:{number} is not there")
    _weigh(path, tiff, own[number])
    return own[number], said


def _called(series: Any) -> str:
    name = f"'{series.name}', " if series.name else ""
    return f"{name}{_sizes(series.shape)}"


def image_number(tiff: tifffile.TiffFile, series: Any) -> int | None:
    """Which of the images in the OME-XML of a file a series is, None where that is not clear."""
    images = len(ome_images(tiff))
    return list(tiff.series).index(series) if images == len(tiff.series) else 0 if images == 1 else None


def ome_images(tiff: tifffile.TiffFile) -> list[ElementTree.Element]:
    """The `Pixels` of every image that the OME-XML of a file describes; none where it has no OME-XML."""
    if not (tiff.is_ome and tiff.ome_metadata):
        return []
    return ElementTree.fromstring(tiff.ome_metadata).findall("{*}Image/{*}Pixels")


def files_of_image(path: Path, tiff: tifffile.TiffFile) -> tuple[Path, ...]:
    """The files that the OME-XML of a file names, where it describes one image in several; else ().

    Parameters
    ----------
    path : of the file
    tiff : the opened file
    """
    if len(ome_images(tiff)) != 1:
        return ()
    names = files_in(ElementTree.fromstring(tiff.ome_metadata or ""))
    return tuple(path.parent / name for name in names) if len(names) > 1 else ()


def planes_beside(tiff: tifffile.TiffFile, series: Any) -> tuple[int, int]:
    """Planes of a file, and those of them that its OME-XML, or that of its set, tells of; none, where there is none.

    Coarser copies, and pages of another shape, are no planes.

    Parameters
    ----------
    tiff : the opened file
    series : the image that is taken of it
    """
    if series.kind != "ome":
        return 0, 0
    path = Path(tiff.filehandle.path)
    used = {page.index for each in tiff.series for page in each.pages if page is not None and _lies_in(page, path)}
    if len(tiff.pages) <= len(used):
        return len(used), len(used)
    others = (tiff.pages.get(number, aspage=True) for number in range(len(tiff.pages)) if number not in used)
    alike = [page for page in others if page.shape == series.keyframe.shape and not page.is_reduced]
    return len(used) + len(alike), len(used)


def by_bio_formats(tiff: tifffile.TiffFile) -> bool:
    """Whether Bio-Formats wrote a file."""
    return "Bio-Formats" in (tiff.pages.first.software or "")


def is_cut_off(tiff: tifffile.TiffFile) -> bool:
    """Whether the last page of a file leads to another beyond its end, as where the file was cut off.

    Those of Bio-Formats may lead to their very end.
    """
    known, file = tiff.tiff, tiff.filehandle
    file.seek(tiff.pages[-1].offset)
    (tags,) = struct.unpack(known.tagnoformat, file.read(known.tagnosize))
    file.seek(tags * known.tagsize, 1)
    (following,) = struct.unpack(known.offsetformat, file.read(known.offsetsize))
    return bool(following > file.size or (following == file.size and not by_bio_formats(tiff)))


def _ends_early(tiff: tifffile.TiffFile) -> bool:
    """As `is_cut_off`, of a file that could not be read; False where not even that can be told."""
    try:
        return is_cut_off(tiff)
    except (IndexError, KeyError, ValueError, struct.error, tifffile.TiffFileError):
        return False


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
    refuse_entities(path, page.description or "")
    if math.prod(page.shape) > 2**40:
        raise InputError(f"{path} is damaged: it says that a plane has {_sizes(page.shape)} pixels; export it again")
    promised = 0
    for pixels in ome_images(tiff):
        sizes = {axis: max(1, int(pixels.get(f"Size{axis}", "1"))) for axis in "XYZCT"}
        # As many as would hold all pixels that are spoken of.
        pages = max(1, sizes["X"] * sizes["Y"] // max(1, math.prod(page.shape)))
        promised += pages * sizes["Z"] * sizes["C"] * sizes["T"]
        for data in pixels.iterfind("{*}TiffData"):
            numbers = [
                int(data.get(key, "0")) for key in ("PlaneCount", "NumPlanes", "IFD", "FirstZ", "FirstC", "FirstT")
            ]
            if max(numbers) > _MOST_PLANES or min(numbers) < 0:
                raise InputError(f"{path} is damaged: it speaks of plane {max(numbers):,}; export it again")
            for uuid in data.iterfind("{*}UUID"):
                check_neighbour(path, uuid.get("FileName"))
    if tiff.is_imagej and tiff.imagej_metadata:
        promised = max(promised, int(tiff.imagej_metadata.get("images", 1)))
    if promised > _MOST_PLANES:
        raise InputError(f"{path} says that it has {promised:,} planes: export it again")


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)


def _bytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
