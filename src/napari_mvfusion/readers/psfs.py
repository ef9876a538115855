"""PSF files as views take them: on the voxels of the views, with what was done to them, or why they cannot be used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_mvfusion.errors import InputError
from napari_mvfusion.geometry import FloatTriple
from napari_mvfusion.psf import load_psf, prepare_psf, read_psf

_NOT_SAID = (1.0, 1.0, 1.0)


@dataclass(frozen=True, eq=False)
class ViewPSF:
    """The PSF of a view.

    Attributes
    ----------
    psf : (z, y, x), or None
    notes : what was done to it, in words
    flaw : why the file cannot be used; methods that need no PSF fuse the view without it
    """

    psf: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    flaw: str = ""


def open_psf(file: Path | None, size_um: FloatTriple | None, *, clean: bool) -> ViewPSF:
    """Open the PSF of a view.

    Parameters
    ----------
    file : a TIFF file, or None for a view without a PSF
    size_um : voxel size (z, y, x) of the views, None where it is not known
    clean : make it ready to fuse with, else take it as it is

    Raises
    ------
    InputError
        If there is no such file.
    """
    if file is None:
        return ViewPSF()
    if not file.exists():
        raise InputError(f"the PSF {file} does not exist")
    try:
        if not clean:
            return ViewPSF(load_psf(file))
        stored = read_psf(file)
        # 1 um is what stands for voxels of unknown size: two of them are of one size.
        both_unknown = stored.voxel_size_um is None and size_um == _NOT_SAID
        prepared = prepare_psf(
            stored.values,
            name=str(file),
            voxel_size_um=stored.voxel_size_um,
            grid_size_um=None if both_unknown else size_um,
        )
    except InputError as error:
        return ViewPSF(flaw=str(error))
    notes = prepared.notes
    if size_um is None and stored.voxel_size_um is not None:
        notes += ("used voxel for voxel, as the voxel size of the views is not known",)
    return ViewPSF(prepared.psf, notes)
