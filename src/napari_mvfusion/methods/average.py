"""The plain mean of the views."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, ClassVar

import numpy as np
import torch

from napari_mvfusion.data.events import Event
from napari_mvfusion.data.geometry import Box, Triple
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.imaging.threads import share
from napari_mvfusion.measures.attenuation import Transmission
from napari_mvfusion.methods.base import OneStage, TileInput
from napari_mvfusion.methods.blending import blending_weights
from napari_mvfusion.methods.lost_light import (
    Attenuation,
    attenuation_field,
    known_transmission,
    look_at_transmissions,
)

_BLENDING_RANGE = 40.0
_PLANE_VOXELS = 2**17


class Average(OneStage):
    """Mean over the views that have data, weighted with `View.weight`.

    Where fields differ, a view counts less near the border of its field, so that borders leave no seams. Lost light is
    allowed for as `weighted_mean` says.
    """

    name: ClassVar[str] = "average"
    title: ClassVar[str] = "Average"
    summary: ClassVar[str] = "The mean of the views: a quick look, as blurred as they are."
    stage: ClassVar[str] = "averaging"
    unsaid: ClassVar[Mapping[str, Any]] = {"attenuation": "none"}

    attenuation: Attenuation = attenuation_field("none")

    def check(self, views: RegisteredViews) -> list[str]:
        """Look at the number of views, and at transmissions that are given."""
        return [*super().check(views), *look_at_transmissions(views, self.attenuation)]

    def precompute(self, views: RegisteredViews, device: torch.device) -> Generator[Event, None, Transmission | None]:
        """Find the transmission of the views."""
        return (yield from known_transmission(views, self.attenuation))

    def fuse_tile(self, tile: TileInput, views: RegisteredViews, precomputed: Transmission | None) -> torch.Tensor:
        """Average one tile."""
        return weighted_mean(views, tile, _BLENDING_RANGE, transmission=precomputed)

    def tile_bytes(self, tile_shape: Triple, views: RegisteredViews, precomputed: Any) -> int:
        """Inputs, the sum of weighted views, and a few planes of weights."""
        return mean_bytes(views, tile_shape)


def weighted_mean(
    views: RegisteredViews,
    tile: TileInput,
    blending_range: float,
    content: Callable[[int, Box], torch.Tensor] | None = None,
    transmission: Transmission | None = None,
) -> torch.Tensor:
    """Sum of weight times view over the sum of weight times transmission, a few planes at a time.

    The weight of a view is the product of its coverage, `View.weight`, its blending weight where the fields of the
    views differ, and its content weight. Where all weights are zero it is the plain mean of the views that have data,
    and zero where none has.

    With the transmission T_v, a view shows X_v = T_v I of the specimen I. Photon noise has the variance of its mean: that of
    X_v / T_v is I / T_v, so the mean with the least noise counts each X_v / T_v by T_v. It is `sum_v w_v T_v (X_v / T_v) /
    sum_v w_v T_v = sum_v w_v X_v / sum_v w_v T_v`: a view that lost light is brought to its brightness and counts less.

    Parameters
    ----------
    views : the views
    tile : what the stage reads, without halo
    blending_range : voxels over which a view fades at its border
    content : gives the content weight of a view (its index) over a box, (z, y, x) or what broadcasts to it
    transmission : how much of the light each view got; None for all

    Returns
    -------
    float32 (z, y, x) of the tile.
    """
    result = torch.empty(tile.tile.shape, dtype=torch.float32, device=tile.values.device)
    differ = any(view.affine is not None for view in views.views)
    (z, y, x), (_, y1, x1) = tile.tile.start, tile.tile.stop

    def fuse_planes(planes: slice) -> None:
        box = Box((z + planes.start, y, x), (z + planes.stop, y1, x1))
        total = torch.zeros(box.shape, device=result.device)
        amount = torch.zeros(box.shape, device=result.device)
        for v, view in enumerate(views.views):
            weight = torch.full((1, 1, 1), view.weight, device=result.device)
            if differ:
                blend = blending_weights(views, v, box, range_voxels=blending_range)
                weight = weight * torch.from_numpy(np.ascontiguousarray(blend)).to(result.device)
            if content is not None:
                weight = weight * content(v, box)
            if tile.coverage is not None:
                weight = weight * tile.coverage[v, planes]
            total.addcmul_(tile.values[v, planes], weight.expand(box.shape))
            if transmission is None:
                amount += weight
            else:
                amount.addcmul_(transmission.of(v, views.in_frame(box), result.device), weight.expand(box.shape))
        torch.div(total, amount, out=result[planes])
        empty = amount <= 0
        if bool(empty.any()):
            light = None if transmission is None else transmission.over(views.in_frame(box), result.device)
            result[planes][empty] = _plain_mean(tile, planes, light)[empty]

    step = max(1, _PLANE_VOXELS // max(1, tile.tile.shape[1] * tile.tile.shape[2]))
    groups = [slice(start, min(start + step, result.shape[0])) for start in range(0, result.shape[0], step)]
    if result.device.type == "cpu":
        share(groups, lambda: fuse_planes)
    else:
        for planes in groups:
            fuse_planes(planes)
    return result


def mean_bytes(views: RegisteredViews, tile_shape: Triple) -> int:
    """What `weighted_mean` takes at most: its inputs, its result, and some copies of a few planes."""
    voxels = tile_shape[0] * tile_shape[1] * tile_shape[2]
    covered = views.coverage(Box((0, 0, 0), (1, 1, 1))) is not None
    planes = max(_PLANE_VOXELS, tile_shape[1] * tile_shape[2])
    return 4 * (voxels * len(views) * (2 if covered else 1) + voxels + 12 * planes * torch.get_num_threads())


def _plain_mean(tile: TileInput, planes: slice, light: torch.Tensor | None) -> torch.Tensor:
    if tile.coverage is None:
        mean = tile.values[:, planes].mean(dim=0)
        return mean if light is None else mean / light.mean(dim=0)
    seen = tile.coverage[:, planes]
    amount = (seen if light is None else seen * light).sum(dim=0)
    return (tile.values[:, planes] * seen).sum(dim=0) / torch.where(amount > 0, amount, 1)
