"""Volumes whose planes are files of their own, named with {z} in the place of their numbers: "img_z{z}.tif"."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_mvfusion.data.geometry import StatedSize, Triple
from napari_mvfusion.errors import DamagedError, InputError
from napari_mvfusion.io.base import StoredVolumes
from napari_mvfusion.io.tiff.checked_files import opened_tiff
from napari_mvfusion.io.tiff.lazy_pixels import PagedTiff
from napari_mvfusion.io.tiff.micro_manager import size_beside
from napari_mvfusion.io.tiff.voxel_sizes import voxel_size_of
from napari_mvfusion.system.file_checks import check_there

NUMBER = "{z}"
MOST_PLANES = 2**16
"""Of one volume, as files of their own."""
_SHOWN = 3


def is_planes(path: Path) -> bool:
    """Whether a name stands for the planes of a volume, each in a file of its own."""
    return path.name.count(NUMBER) == 1 and path.suffix.lower() in (".tif", ".tiff")


def plane_files(path: Path) -> dict[int, Path]:
    """The files of the planes by their numbers, in order; {} where there are none.

    Parameters
    ----------
    path : with {z} in its name

    Raises
    ------
    InputError
        If the folder cannot be read, or two names say one number.
    """
    before, behind = path.name.split(NUMBER)
    name = re.compile(rf"{re.escape(before)}([0-9]{{1,9}}){re.escape(behind)}", re.IGNORECASE)
    try:
        inside = sorted(path.parent.iterdir())
    except OSError as error:
        raise InputError(f"the folder {path.parent} cannot be read: {error.strerror or error}") from error
    found: dict[int, Path] = {}
    for file in inside:
        if match := name.fullmatch(file.name):
            other = found.setdefault(int(match[1]), file)
            if other != file:
                raise InputError(f"{other} and {file.name} are the same plane by their numbers: remove one of them")
    return dict(sorted(found.items()))


def open_planes(path: Path) -> StoredVolumes:
    """Look at the files of planes; no pixel is read.

    Parameters
    ----------
    path : with {z} in its name

    Raises
    ------
    InputError
        If there are none, a number is lacking between others, or a file is no plane of the same shape and type.
    """
    check_there(path.parent, "check its name")
    files = plane_files(path)
    if not files:
        raise InputError(f"{path.parent} holds no planes {path.name}: check the name, in which {NUMBER} is the number")
    _refuse_gaps(path, list(files))
    return stack_of(path, list(files.values()))


def stack_of(path: Path, files: Sequence[Path]) -> StoredVolumes:
    """The volume whose planes some files are, in their order; no pixel is read.

    Parameters
    ----------
    path : what stands for all of them
    files : a plane each, at least one

    Raises
    ------
    InputError
        If a file is no plane of the same shape and type as the first.
    """
    if len(files) > MOST_PLANES:
        raise InputError(f"{path} has {len(files):,} planes: name fewer, or save them as OME-Zarr")
    first, *rest = files
    shape, dtype, size_um = _plane(first)
    for file in rest:
        own = _plane(file, size=False)[:2]
        if own != (shape, dtype):
            raise InputError(
                f"{file} has {_said(*own)} and {first.name} has {_said(shape, dtype)}: planes of one volume are alike; "
                "leave it out, or name planes that are"
            )
    z, y, x = (one if one is not None else other for one, other in zip(size_um, size_beside(path.parent), strict=True))
    places = [(file, 0) for file in files]
    volume = (len(files), *shape)
    return StoredVolumes(
        path, volume, dtype, lambda _: PagedTiff(first, places, volume, dtype), voxel_size_um=(z, y, x)
    )


def plane_shape(file: Path) -> Triple:
    """Shape (1, y, x) of a plane that is a file.

    Raises
    ------
    InputError
        If the file is none.
    """
    return (1, *_plane(file, size=False)[0])


def _refuse_gaps(path: Path, numbers: list[int]) -> None:
    steps = np.diff(numbers)
    step = int(steps.min()) if len(steps) else 1
    lacking = sorted(set(range(numbers[0], numbers[-1] + 1, step)) - set(numbers)) if len(steps) else []
    if lacking or (len(steps) and (steps % step).any()):
        shown = ", ".join(map(str, lacking[:_SHOWN])) + (f" and {len(lacking) - _SHOWN} more" * (len(lacking) > _SHOWN))
        raise InputError(
            f"{path} lacks planes between {numbers[0]} and {numbers[-1]}: there is no file of number {shown}; copy or "
            "export them again"
        )


def _plane(file: Path, *, size: bool = True) -> tuple[tuple[int, int], np.dtype[Any], StatedSize]:
    """Shape (y, x) and type of a plane, and the voxel size that its file states."""
    with opened_tiff(file) as tiff:
        page = tiff.pages.first
        _refuse_cut(file, page)
        if page.dtype is None or len(page.shape) != 2 or len(tiff.pages) != 1 or _promised(tiff) != 1:
            raise InputError(
                f"{file} is not one plane of grey values (axes {page.axes}, {len(tiff.pages)} pages): name it as a volume, "
                "or save its planes alone"
            )
        height, width = page.shape
        return (height, width), np.dtype(page.dtype), voxel_size_of(tiff) if size else (None, None, None)


def _promised(tiff: tifffile.TiffFile) -> int:
    """How many planes a file says that it holds, which may have been cut off."""
    page = tiff.pages.first
    if tiff.is_imagej and tiff.imagej_metadata:
        # Bio-Formats counts the planes of all files in each; those of a stack lie behind the first one.
        behind = tiff.filehandle.size - page.dataoffsets[0] - page.nbytes
        return int(tiff.imagej_metadata.get("images", 1)) if behind >= page.nbytes else 1
    said = tiff.shaped_metadata
    return math.prod(said[0].get("shape", (1, 1))[:-2]) if said else 1


def _refuse_cut(file: Path, page: tifffile.TiffPage) -> None:
    end = max((a + n for a, n in zip(page.dataoffsets, page.databytecounts, strict=True)), default=0)
    size = file.stat().st_size
    if end > size:
        raise DamagedError(
            f"{file} is truncated: it should have at least {end} bytes and has {size}; copy or export it again"
        )


def _said(shape: tuple[int, int], dtype: np.dtype[Any]) -> str:
    return f"{shape[0]} x {shape[1]} pixels of type {dtype}"
