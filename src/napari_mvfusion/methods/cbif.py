"""Content-based image fusion: a mean in which each view counts where it has detail."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from napari_mvfusion.data.events import Event
from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.measures.attenuation import Transmission
from napari_mvfusion.methods.average import mean_bytes, weighted_mean
from napari_mvfusion.methods.base import OneStage, TileInput
from napari_mvfusion.methods.coarse import CoarseGrid
from napari_mvfusion.methods.content import (
    entropy_content,
    entropy_grid,
    gaussian_content,
    gaussian_grid,
    window_shape,
)
from napari_mvfusion.methods.lost_light import (
    Attenuation,
    attenuation_field,
    known_transmission,
    look_at_transmissions,
)

# What all views get beside their content, relative to the largest: where no view has any it is the plain mean. Above
# the rounding of float32, in which squares are summed.
_FLOOR = 1e-6
_ENTROPY_BASE = 100.0
# A preview looks this many sigmas of the weights' smoothing around its region.
_CONTEXT_SIGMAS = 1.5


class CBIF(OneStage):
    """Content-based image fusion.

    `fused = sum_v w_v x_v / sum_v w_v` with the weight `w_v = G_s2 (x) (x_v - G_s1 (x) x_v)^2`, or `100^H` with the local
    entropy H, times the blending weight of the view. The weights are smooth: they are computed on a coarse grid for
    the whole volume and interpolated, so tiles need no halo. Lost light is allowed for as
    `napari_mvfusion.methods.average.weighted_mean` says.

    References
    ----------
    Preibisch et al., Mosaicing of single plane illumination microscopy images using groupwise registration and fast
    content-based image fusion, SPIE 6914 (2008).
    """

    name: ClassVar[str] = "cbif"
    title: ClassVar[str] = "Content-based fusion"
    summary: ClassVar[str] = "A mean in which each view counts where it has detail: quick, but not deblurred."
    stage: ClassVar[str] = "weighting"
    unsaid: ClassVar[Mapping[str, Any]] = {"attenuation": "none"}

    weights: Literal["gaussian", "entropy"] = Field(
        "gaussian",
        title="Detail measure",
        description="How detail is found: by local contrast (gaussian, fast) or local entropy (slow).",
    )
    sigma1: float = Field(
        20.0,
        gt=0,
        le=500,
        title="Detail size",
        description="Structures smaller than this many voxels count as detail (gaussian).",
    )
    sigma2: float = Field(
        40.0,
        gt=0,
        le=1000,
        title="Smoothness of weights",
        description="More voxels make smoother transitions between the views (gaussian).",
    )
    window: int = Field(
        19,
        ge=3,
        le=99,
        title="Entropy window",
        description="Side of the window in voxels in which entropy is measured (entropy).",
    )
    blending_range: float = Field(
        40.0,
        gt=0,
        le=1000,
        title="Blending width",
        description="Over this many voxels a view fades towards the border of its field, where fields differ.",
    )
    attenuation: Attenuation = attenuation_field("none")

    def check(self, views: RegisteredViews) -> list[str]:
        """Look at the number of views, and at transmissions that are given."""
        return [*super().check(views), *look_at_transmissions(views, self.attenuation)]

    def context(self, views: RegisteredViews) -> Triple:
        """As far as the weights reach."""
        if self.weights == "entropy":
            return triple(n // 2 for n in window_shape(views, self.window))
        reach = _CONTEXT_SIGMAS * self.sigma2
        return triple(ceil(reach / ratio) for ratio in views.grid.anisotropy)

    def precompute(self, views: RegisteredViews, device: torch.device) -> Generator[Event, None, ContentWeights]:
        """Measure the content of the whole volume; a hot pixel is none."""
        spared = views.without_hot()
        if self.weights == "gaussian":
            grid = gaussian_grid(views, self.sigma1)
            content = yield from gaussian_content(spared, grid, self.sigma1, self.sigma2, device)
            largest = float(content.max())
            content = content / largest if largest > 0 else content
            content += _FLOOR
        else:
            grid = entropy_grid(views, self.window)
            entropy = yield from entropy_content(spared, grid, self.window)
            content = _ENTROPY_BASE**entropy / _ENTROPY_BASE
        transmission = yield from known_transmission(views, self.attenuation)
        return ContentWeights(grid, torch.from_numpy(content.astype(np.float32)).to(device), transmission)

    def fuse_tile(self, tile: TileInput, views: RegisteredViews, precomputed: ContentWeights) -> torch.Tensor:
        """Fuse one tile."""

        def weight(view: int, box: Box) -> torch.Tensor:
            return precomputed.grid.interpolate(precomputed.content[view], box)

        return weighted_mean(views, tile, self.blending_range, weight, precomputed.transmission)

    def tile_bytes(self, tile_shape: Triple, views: RegisteredViews, precomputed: ContentWeights) -> int:
        """Those of the mean, the coarse weights, and three steps of their interpolation to a few planes."""
        return mean_bytes(views, tile_shape) + 4 * precomputed.content.numel()


@dataclass(frozen=True, eq=False)
class ContentWeights:
    """Weights of the whole volume: (view, z, y, x) on the points of a coarse grid; and how much light each view got."""

    grid: CoarseGrid
    content: torch.Tensor
    transmission: Transmission | None
