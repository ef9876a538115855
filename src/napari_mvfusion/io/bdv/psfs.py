"""PSFs of a project: in the pixels of their raw views, brought into the frame of the fused volume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_mvfusion.data.view import View
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.bdv.n5 import N5Volume, open_n5
from napari_mvfusion.io.bdv.places import Places
from napari_mvfusion.io.bdv.project import StoredPath, ViewId
from napari_mvfusion.io.tiff.format import TIFF
from napari_mvfusion.psf import check_size, prepare_values, resample_psf
from napari_mvfusion.psf.frames import is_same_frame
from napari_mvfusion.psf.kernel import as_float32

_FOLDER = "psf"
_CONTAINER = "psf.n5"


def with_psf(view: View, place: ViewId, to_grid: np.ndarray | None, places: Places, *, clean: bool) -> View:
    """A view with its PSF on the voxels of the fused volume, with what keeps it from being used, or as it is without one.

    Parameters
    ----------
    view : without a PSF
    place : its time point and setup
    to_grid : 3 x 3, from offsets in the pixels of its full resolution, which those of the PSF are, to offsets in voxels of
        the fused volume; None to leave the PSF as it is
    places : finds the files of the project
    clean : make the PSF ready to fuse with, else only turn and resample it
    """
    name = places.project.psfs.get(place)
    if name is None:
        return view
    try:
        file, values = _read(name, places)
        notes: tuple[str, ...] = ()
        if clean:
            prepared = prepare_values(values, name=str(file))
            values, notes = prepared.psf, prepared.notes
        if to_grid is not None:
            values = resample_psf(values, to_grid, centre=np.array(values.shape) // 2)
            notes = (*notes, *_said(to_grid))
    except InputError as error:
        return replace(view, psf_flaw=f"the PSF of {view.label} cannot be used: {error}")
    return replace(view, psf=values, psf_notes=notes, psf_source=str(file))


def _said(to_grid: np.ndarray) -> list[str]:
    """What is done to a PSF that is brought onto the grid, in words; nothing where its pixels lie as voxels do."""
    if is_same_frame(to_grid):
        return []
    upright = np.array_equal(to_grid, np.diag(np.diag(to_grid)))
    return [f"{'' if upright else 'turned and '}resampled from the pixels of its raw view"]


def _read(name: str, places: Places) -> tuple[Path, np.ndarray]:
    """The file or dataset of a PSF, and its values: float32 (z, y, x)."""
    base = places.find(StoredPath(".", True))

    def check(file: Path) -> Callable[[tuple[int, ...]], None]:
        return lambda shape: check_size(shape, f"the PSF {file}")

    if name.lower().endswith((".tif", ".tiff")):
        file = places.below(base / _FOLDER, name)
        values = TIFF().read_small(file, check(file)).values
    else:
        file = places.below(base / _CONTAINER, name)
        dataset = open_n5(file)
        check(file)(dataset.shape)
        values = N5Volume(dataset)[:]
    if values.ndim != 3 or values.dtype.kind not in "buif":
        raise InputError(f"{file} has shape {values.shape} and type {values.dtype}: a (z, y, x) volume is needed")
    return file, as_float32(values)
