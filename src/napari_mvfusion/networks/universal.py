"""The universal generator: any number of views with any PSFs, in any order.

Physics comes first: a few iterations of multi-view deconvolution give an estimate of the latent image, its blur with each
PSF says what each view should look like, and the ratio of view and blur, carried back, says where the estimate should
rise or fall. All three know the PSFs, so the network need not. It looks at every view with the same weights, joins
the views by their mean and their largest response, and changes the root of the estimate: there, photon noise is the same
everywhere.

No layer depends on the size of a block. The network sees blocks of 2 x 2 x 2 voxels as channels: PSFs of light-sheet
microscopes are wider than two voxels, and eight times fewer places leave room for wide layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn import functional

_FACTOR = 2
_CELL = _FACTOR**3
_VIEW_INPUTS = 3
_FLOOR = 1e-4
_KNEE = 1e-4
_GAIN = 4.0
_MOST = 8.0
_SLOPE = 0.1


class UniversalArchitecture(BaseModel):
    """What the universal generator is built from.

    Attributes
    ----------
    kind : tells architectures apart in a model card
    view_maps : feature maps of each view
    maps, deep_maps : feature maps at half and at quarter resolution
    blocks, deep_blocks : residual blocks before and after the deep level, and in it
    kernel, iterations, lambda_ : of the deconvolution that gives the estimate, see `napari_mvfusion.methods.EBMD`
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    kind: Literal["universal"] = "universal"
    view_maps: int = Field(default=32, ge=1, le=512)
    maps: int = Field(default=48, ge=1, le=512)
    deep_maps: int = Field(default=96, ge=1, le=512)
    blocks: int = Field(default=1, ge=0, le=16)
    deep_blocks: int = Field(default=2, ge=0, le=16)
    kernel: Literal["independent", "efficient_bayesian", "optimisation_1", "optimisation_2"] = "optimisation_1"
    iterations: int = Field(default=12, ge=1, le=200)
    lambda_: float = Field(default=0.004, ge=0, le=1, alias="lambda")


class _Residual(nn.Module):
    """Two 3x3x3 convolutions beside the identity."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(maps, maps, 3, padding=1)
        self.second = nn.Conv3d(maps, maps, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(torch.as_tensor(self.second.bias))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        change: torch.Tensor = self.second(functional.leaky_relu(self.first(functional.leaky_relu(x, _SLOPE)), _SLOPE))
        return x + change


@dataclass(frozen=True, eq=False)
class Seen:
    """What the network saw in the views so far: sum and maximum of the responses, and how many there were."""

    total: torch.Tensor
    largest: torch.Tensor
    count: int


class UniversalGenerator(nn.Module):
    """Corrects an estimate of the latent image from the views and what the PSFs say about them.

    Parameters
    ----------
    architecture : sizes
    """

    stride = 4
    """Sides of a block are multiples of this, counted from the corner of the volume."""

    def __init__(self, architecture: UniversalArchitecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        self.of_view = nn.Conv3d((_VIEW_INPUTS + 1) * _CELL, a.view_maps, 3, padding=1)
        self.of_view_2 = nn.Conv3d(a.view_maps, a.view_maps, 1)
        self.join = nn.Conv3d(2 * a.view_maps + _CELL, a.maps, 3, padding=1)
        self.before = nn.Sequential(*(_Residual(a.maps) for _ in range(a.blocks)))
        self.down = nn.Conv3d(a.maps, a.deep_maps, 2, stride=2)
        self.deep = nn.Sequential(*(_Residual(a.deep_maps) for _ in range(a.deep_blocks)))
        self.up = nn.ConvTranspose3d(a.deep_maps, a.maps, 2, stride=2)
        self.after = nn.Sequential(*(_Residual(a.maps) for _ in range(a.blocks)))
        self.out = nn.Conv3d(a.maps, _CELL, 3, padding=1)
        for layer in (self.of_view, self.of_view_2, self.join, self.down, self.up):
            nn.init.kaiming_normal_(layer.weight, a=_SLOPE)
        # The first step of training starts from the estimate itself.
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(torch.as_tensor(self.out.bias))

    @property
    def reach(self) -> int:
        """Voxels round a block beyond which nothing can change it, for blocks that begin at multiples of `stride`."""
        # Radius in cells of 2 voxels: first, joining and last convolution, two a block, those of the deep level
        # twice as wide, and the rest of a deep cell.
        cells = 3 + 2 * 2 * self.architecture.blocks + 2 * 2 * self.architecture.deep_blocks + 1
        return self.stride * -(-_FACTOR * cells // self.stride)

    def forward(
        self, views: torch.Tensor, blurred: torch.Tensor, correction: torch.Tensor, estimate: torch.Tensor
    ) -> torch.Tensor:
        """Correct an estimate.

        Parameters
        ----------
        views : (batch, view, z, y, x), brightness divided by the common scale of the views; sides multiples of 4
        blurred : the same shape, the estimate blurred with each PSF
        correction : the same shape, the ratio of view and blurred estimate, carried back
        estimate : (batch, 1, z, y, x), above 0

        Returns
        -------
        (batch, 1, z, y, x), above 0, in the brightness of the estimate
        """
        known = self.know(estimate)
        seen = None
        for v in range(views.shape[1]):
            seen = self.see(seen, known, estimate[:, 0], views[:, v], blurred[:, v], correction[:, v])
        assert seen is not None
        return self.correct(seen, known, estimate)

    def know(self, estimate: torch.Tensor) -> torch.Tensor:
        """What the network knows of the estimate (batch, 1, z, y, x), for `see` and `correct`."""
        return to_cells(estimate.clamp(min=0).sqrt())

    def see(
        self,
        seen: Seen | None,
        known: torch.Tensor,
        estimate: torch.Tensor,
        view: torch.Tensor,
        blurred: torch.Tensor,
        correction: torch.Tensor,
    ) -> Seen:
        """Look at one more view, (batch, z, y, x) each, as the estimate; what all views have in common is kept."""
        of_estimate, of_blur, of_view = (values.clamp(min=0).sqrt() for values in (estimate, blurred, view))
        carried = of_estimate * correction.clamp(min=_FLOOR).log()
        # Differences are small beside what they are differences of: made as large, the first layer learns at once.
        inputs = (
            torch.stack([of_blur - of_estimate, of_view - of_blur, carried], dim=1).mul_(_GAIN).clamp_(-_MOST, _MOST)
        )
        response = functional.leaky_relu(self.of_view(torch.cat([to_cells(inputs), known], dim=1)), _SLOPE)
        response = functional.leaky_relu(self.of_view_2(response), _SLOPE)
        if seen is None:
            return Seen(response, response, 1)
        return Seen(seen.total + response, torch.maximum(seen.largest, response), seen.count + 1)

    def correct(self, seen: Seen, known: torch.Tensor, estimate: torch.Tensor) -> torch.Tensor:
        """Correct the estimate by what was seen in all views."""
        half = self.before(self.join(torch.cat([seen.total / seen.count, seen.largest, known], dim=1)))
        half = self.after(half + self.up(self.deep(self.down(half))))
        change = to_voxels(self.out(functional.leaky_relu(half, _SLOPE))).float()
        root = estimate.sqrt() + change
        # Smoothly to 0 from above where the root would be negative, so that training can bring light back.
        return (0.5 * (root + (root.square() + _KNEE).sqrt())).square()


def to_cells(x: torch.Tensor) -> torch.Tensor:
    """Blocks of 2 x 2 x 2 voxels as channels: (n, c, z, y, x) to (n, 8 c, z / 2, y / 2, x / 2)."""
    n, c, z, y, x_ = x.shape
    blocks = x.reshape(n, c, z // 2, 2, y // 2, 2, x_ // 2, 2)
    return blocks.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(n, 8 * c, z // 2, y // 2, x_ // 2)


def to_voxels(cells: torch.Tensor) -> torch.Tensor:
    """The inverse of `to_cells`."""
    n, c, z, y, x = cells.shape
    blocks = cells.reshape(n, c // 8, 2, 2, 2, z, y, x)
    return blocks.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(n, c // 8, 2 * z, 2 * y, 2 * x)
