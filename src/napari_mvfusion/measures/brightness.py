"""Bringing volumes to the brightness of another, whose units may be different."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial

import numpy as np

from napari_mvfusion.data.moments import PairMoments
from napari_mvfusion.data.views import VolumeLike
from napari_mvfusion.errors import InputError
from napari_mvfusion.measures.placed_volume import PlacedVolume, Report

# Larger volumes are fitted on some of their planes, which is enough for two numbers.
_ALL_VOXELS = 2**25


def fit_brightness(
    volume: VolumeLike,
    reference: VolumeLike,
    *,
    most_voxels: int = _ALL_VOXELS,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[float, float]:
    """Scale and offset of least squares, `reference = scale * volume + offset`.

    Parameters
    ----------
    volume, reference : (z, y, x) of one shape and any real dtype; numpy, dask or zarr. Read plane by plane.
    most_voxels : volumes that are larger are fitted on evenly spaced planes with about so many voxels
    progress : called with the share that is done, 0 to 1; an error that it raises ends the fit

    Returns
    -------
    Scale and offset. Voxels where either volume is not finite do not count. The scale is 0 where the volume is
    constant.

    Raises
    ------
    InputError
        If shapes disagree, or no voxel is finite in both.
    """
    if tuple(volume.shape) != tuple(reference.shape):
        raise InputError(
            f"volumes of shape {tuple(volume.shape)} and {tuple(reference.shape)} cannot be brought to one brightness: "
            "compare volumes on one grid"
        )
    depth, height, width = volume.shape
    count = min(depth, max(1, most_voxels // (height * width)))
    planes = (
        np.unique(np.linspace(0, depth - 1, count + 2)[1:-1].round().astype(int)) if count < depth else range(depth)
    )
    moments = PairMoments()
    for number, z in enumerate(planes, 1):
        target = np.asarray(reference[int(z) : int(z) + 1, :, :]).astype(np.float32)
        predictor = np.asarray(volume[int(z) : int(z) + 1, :, :]).astype(np.float32)
        known = np.isfinite(target) & np.isfinite(predictor)
        moments.add(target[known], predictor[known])
        progress(number / len(planes))
    if moments.count == 0:
        raise InputError("there is no voxel with a value in both volumes: has the fusion finished?")
    return moments.fit()


def fit_each(
    volumes: Sequence[PlacedVolume], reference: PlacedVolume, report: Report
) -> Generator[tuple[tuple[float, float], str], None, None]:
    """Scale and offset that bring each volume to a reference, and why one is left as it is, by (1, 0); "" for the others.

    One that falls where the reference rises is left as it is too.
    """
    for volume in volumes:
        if not volume.on_grid_of(reference):
            words = f"'{volume.name}' lies on another grid than '{reference.name}': its brightness is left as it is"
            yield (1.0, 0.0), words
            continue
        try:
            fit = fit_brightness(volume.data, reference.data, progress=partial(report, "Fitting brightness"))
        except InputError as error:
            yield (1.0, 0.0), f"The brightness of '{volume.name}' is left as it is: {error}"
        else:
            yield fit if fit[0] > 0 else (1.0, 0.0), ""
