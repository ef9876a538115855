"""How far an update of EBMD moves the estimate, voxel by voxel."""

from __future__ import annotations

import numpy as np
import torch

from napari_mvfusion.data.geometry import Box
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.measures.attenuation import Transmission
from napari_mvfusion.methods.blending import blending_weights

_RANGE_VOXELS = 12.0
_BORDER_VOXELS = -8.0
_PLANE_VOXELS = 2**18


class UpdateWeights:
    """Weights of the updates with each view.

    With the blending weight u_v (range 12, border -8 voxels) times the trust in the view, and S the sum over the
    views, the weight is `min(1, osem u_v / max(S, 1))`. Trust is `View.weight` over its mean: only ratios count.

    Masks do not change them: with half of one of four views missing, weights that knew the mask made the result worse at its
    edge, and smooth ones changed it by less than half a percent.

    Where the transmission T_v of the views is known, the weight is multiplied by T_v over the mean of all views, trust
    counted, and kept below 1.

    Weights of a whole volume are kept for the next iteration, those of tiles are computed anew.

    Parameters
    ----------
    views : the views
    osem : factor on all weights
    device : where the weights lie
    transmission : how much of the light each view got; None for all
    """

    def __init__(
        self, views: RegisteredViews, osem: float, device: torch.device, transmission: Transmission | None = None
    ) -> None:
        self._views = views
        self._osem = osem
        self._device = device
        weights = np.array([view.weight for view in views.views])
        self._trust = weights / weights.mean()
        # Views without an affine fill the grid and blend alike: the first of them stands for all.
        own = [v for v, view in enumerate(views.views) if view.affine is None]
        self._like = [own[0] if v in own else v for v in range(len(views))]
        self._light = transmission
        self._mean_light = None if transmission is None else transmission.mean(self._trust.tolist())
        self._kept: dict[tuple[int, float], torch.Tensor] = {}

    def of(self, v: int, box: Box) -> torch.Tensor:
        """Weight of an update with view v: float32 of the shape of the box, not to be written to."""
        if box != self._views.grid.box:
            return self._make(v, box)
        key = self._key(v)
        if key not in self._kept:
            self._kept[key] = self._make(v, box)
        return self._kept[key]

    def working_bytes(self, box: Box) -> int:
        """An upper bound of the memory that the weights of a box take, with what is kept of them."""
        different = {self._key(v) for v in range(len(self._views))}
        kept = len(different) if box == self._views.grid.box else 1
        # The transmission of a tile, and two steps of its interpolation.
        kept += 0 if self._light is None else 3
        planes = max(_PLANE_VOXELS, box.shape[1] * box.shape[2])
        # Positions along three axes and the distances made of them are float64 where a view is resampled.
        return 4 * box.size * (kept + 1) + planes * (64 + 4 * len(self._views))

    def release(self) -> None:
        """Drop what is kept."""
        self._kept.clear()

    def _key(self, v: int) -> tuple[int, float]:
        """Views of one key have the same weights."""
        return (self._like[v] if self._light is None else v), float(self._trust[v])

    def _make(self, v: int, box: Box) -> torch.Tensor:
        weight = np.empty(box.shape, np.float32)
        step = max(1, _PLANE_VOXELS // max(1, box.shape[1] * box.shape[2]))
        for z in range(0, box.shape[0], step):
            planes = weight[z : z + step]
            (z0, y0, x0), (_, y1, x1) = box.start, box.stop
            part = Box((z0 + z, y0, x0), (z0 + z + len(planes), y1, x1))
            blending = {
                like: blending_weights(
                    self._views, like, part, range_voxels=_RANGE_VOXELS, border_voxels=_BORDER_VOXELS
                )
                for like in set(self._like)
            }
            planes[...] = 0
            for like, trust in zip(self._like, self._trust, strict=True):
                planes += np.float32(trust) * blending[like]
            np.maximum(planes, 1, out=planes)
            np.divide(np.float32(self._osem * self._trust[v]) * blending[self._like[v]], planes, out=planes)
            np.minimum(planes, 1, out=planes)
        made = torch.from_numpy(weight).to(self._device)
        if self._light is not None and self._mean_light is not None:
            # One after the other, and interpolated before they are divided: cells of any size give the same.
            made.mul_(self._light.of(v, self._views.in_frame(box), self._device))
            made.div_(self._mean_light.of(0, self._views.in_frame(box), self._device)).clamp_(max=1)
        return made
