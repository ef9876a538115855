"""Values of volumes that are measured: what is no number is named, with its file and what to do."""

from __future__ import annotations

import numpy as np

from napari_mvfusion.data.field_of_view import VolumeLike
from napari_mvfusion.data.geometry import Box, triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.overlap import files_of


def finite_values(volume: VolumeLike, box: Box, called: str) -> np.ndarray:
    """Read a box of a volume.

    Parameters
    ----------
    volume : (z, y, x) of any real dtype; numpy, dask or zarr
    box : voxels of it
    called : what a message calls it, "the fused volume"; its file is added where it has one

    Returns
    -------
    float32 (z, y, x) of the box.

    Raises
    ------
    InputError
        If a value is NaN or infinite; names the volume, its file, the value and its voxel.
    """
    values = np.asarray(volume[box.slices]).astype(np.float32)
    odd = ~np.isfinite(values)
    if odd.any():
        place = np.argwhere(odd)[0]
        file = "".join(f" ({path})" for path in files_of(volume)[:1])
        raise InputError(
            f"{called}{file} has a NaN or infinite value at (z, y, x) = {triple(place + box.start)}: replace such voxels, "
            "by 0 where nothing was recorded"
        )
    return values
