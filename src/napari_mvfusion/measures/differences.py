"""Differences of volumes and residuals of views, as volumes: what the Difference tab computes in a thread."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any

import dask.array as da
import numpy as np

from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.measures.brightness import fit_brightness
from napari_mvfusion.measures.placed_volume import PlacedVolume, Report, require_one_grid
from napari_mvfusion.measures.residuals import Residual, reprojection, residual_map
from napari_mvfusion.measures.used_attenuation import UsedAttenuation
from napari_mvfusion.system.devices import pick_device

_SAMPLED_PLANES = 7
_SHOWN_PERCENT = 99.5
_LEAST_LIMIT = 5.0
_TOLD_DEPTH = 0.05


@dataclass(frozen=True, eq=False)
class Difference:
    """A minus B, B brought to the brightness of A by `scale * B + offset`; `limit` is what most voxels stay within."""

    data: da.Array
    scale: float
    offset: float
    limit: float

    @property
    def words(self) -> str:
        """What was done, as a sentence."""
        return f"B × {self.scale:.4g} {self.offset:+.4g} is taken from A."


@dataclass(frozen=True, eq=False)
class ResidualVolume:
    """Where a fused volume fails to explain a view, in units of the expected noise, float32 (z, y, x).

    `limit` is what most voxels stay within, at least 5, so that noise stays dim and errors are not all one colour.
    `attenuation` says what was taken for the attenuation of the view.
    """

    data: np.ndarray
    residual: Residual
    limit: float
    attenuation: str

    @property
    def words(self) -> str:
        """How large it is, and how much light the view lost on its way, in sentences."""
        transmission = self.residual.transmission
        depth = 0.0 if transmission is None else transmission.depth
        noise = f"{self.residual.rms:.2f} times the expected noise (1 is the noise itself)."
        said = f"{noise} Attenuation: {self.attenuation}."
        if depth < _TOLD_DEPTH:
            return said
        return f"{said} Up to {depth:.0%} of the light is attenuated in this view, which is allowed for."


def difference(a: PlacedVolume, b: PlacedVolume, report: Report) -> Generator[Difference, None, None]:
    """A minus B, which is computed where it is looked at.

    Raises
    ------
    InputError
        If the two lie on different grids, or have no voxel with a value in common.
    """
    require_one_grid([a, b])
    scale, offset = fit_brightness(b.data, a.data, progress=partial(report, "Fitting brightness"))
    first, second = (_as_dask(volume.data).astype(np.float32) for volume in (a, b))
    data = first - (second * np.float32(scale) + np.float32(offset))
    depth = data.shape[0]
    planes = np.unique(np.linspace(0, depth - 1, min(depth, _SAMPLED_PLANES)).astype(int))
    values = []
    for z in planes:
        report("Choosing the contrast", 1.0)
        values.append(np.abs(np.asarray(data[int(z)])).ravel())
    known = np.concatenate(values)
    known = known[np.isfinite(known)]
    limit = float(np.percentile(known, _SHOWN_PERCENT)) if known.size else 0.0
    yield Difference(data, scale, offset, limit if limit > 0 else 1.0)


def residual(
    fused: PlacedVolume,
    views: RegisteredViews,
    name: str,
    allowing: Callable[[RegisteredViews], UsedAttenuation],
    report: Report,
) -> Generator[ResidualVolume, None, None]:
    """The residual of one view.

    Parameters
    ----------
    fused : on the grid of the views
    views : those that it was fused from, among them the one that is called `name`, with its PSF
    allowing : tells what is taken for their attenuation

    Raises
    ------
    InputError
        If they do not belong together, or the view has no PSF.
    """
    device = pick_device("auto")
    report("Finding how much light was lost", 0.0)
    used = allowing(views)
    one = views.select([name])
    (found,) = reprojection(
        fused.data,
        one,
        device,
        attenuation=used.fitted,
        transmission=used.of([name]),
        progress=partial(report, f"Blurring with the PSF of view {name}"),
    )
    data = residual_map(fused.data, one, found, device, progress=partial(report, "Computing the residual"))
    limit = max(_LEAST_LIMIT, float(np.percentile(np.abs(data), _SHOWN_PERCENT)))
    yield ResidualVolume(data, found, limit, used.words)


def _as_dask(data: Any) -> da.Array:
    if isinstance(data, da.Array):
        return data
    chunks = getattr(data, "chunks", None) or -1
    return da.from_array(data, chunks=chunks, name=False)
