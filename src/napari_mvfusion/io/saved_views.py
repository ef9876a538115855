"""Registered views as a folder of files that `open_views` opens again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_mvfusion.data.geometry import Grid, triple
from napari_mvfusion.data.views import RegisteredViews, VolumeLike
from napari_mvfusion.errors import OutputError
from napari_mvfusion.io.atomic import writing
from napari_mvfusion.io.formats import write_volume


def write_views_folder(
    folder: str | Path,
    views: RegisteredViews,
    tag: str,
    *,
    truth: VolumeLike | None = None,
    overwrite: bool = False,
    ending: str = ".tif",
) -> None:
    """Write views as `tag_view_ANGLE.tif`, `psf_ANGLE.tif` and `tag_groundtruth.tif`.

    Parameters
    ----------
    folder : made when it is missing; other tags may lie there already
    views : on one grid; each needs an angle
    tag : name of the sample
    truth : (z, y, x), when it is known
    overwrite : replace files that exist
    ending : of the files: of a format that can be written and is no folder

    Raises
    ------
    OutputError
        If a view has no angle, its own affine, a mask or trust, a PSF that lies there differs, or a file cannot be written.
    """
    folder = Path(folder)
    for view in views.views:
        if view.angle is None or view.affine is not None:
            raise OutputError(
                f"{view.label} needs an angle, and no affine, to be written into a folder of files: use a .zarr"
            )
        if view.mask is not None or view.trust is not None:
            raise OutputError(
                f"{view.label} has a mask or trust, which a folder of files does not hold: save it without"
            )
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for view in views.views:
        write_volume(folder / f"{tag}_view_{view.angle:g}{ending}", view.data, views.grid, overwrite=overwrite)
        psf_path = folder / f"psf_{view.angle:g}{ending}"
        if view.psf is not None and (overwrite or not psf_path.exists()):
            psf_grid = Grid(triple(view.psf.shape), views.grid.voxel_size_um, known=views.grid.known)
            write_volume(psf_path, view.psf.astype(np.float32), psf_grid, overwrite=overwrite)
    if truth is not None:
        write_volume(folder / f"{tag}_groundtruth{ending}", truth, views.grid, overwrite=overwrite)
