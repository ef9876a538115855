"""The universal generator: any number of views with any PSFs, in any order.

Physics comes first. The Wiener filter of all views undoes the blur in closed form, at several strengths: the weak ones
are smooth, the strong ones sharp and noisy. Blurred again, its result says what each view should look like. Both know
the PSFs, so the network need not: it tells structure from noise, and light that was absorbed from light that was not
there. It looks at every view with the same weights, joins the views by their mean and their largest response, chooses
how much each strength counts in each voxel, and adds what none of them has. All this happens to the roots of the images:
there, photon noise is the same everywhere.

No layer depends on the size of a block. The network sees blocks of 2 x 2 x 2 voxels as channels: PSFs of light-sheet
microscopes are wider than two voxels, and eight times fewer places leave room for wide layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn import functional

_FACTOR = 2
_CELL = _FACTOR**3
# Of each view: how it blurs, how it differs from what is expected, and how much light passed, where that is known.
_VIEW_INPUTS = 2
_LIGHT_INPUTS = 1
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
    levels : of the Wiener filter, falling; see `napari_mvfusion.imaging.WienerBank`
    base : index of the level that training starts from, and that is compared with the views
    light : whether lost light is looked for, and undone before the filter
    updates : how often the filter goes on from what it made before, without what is negative
    by_noise : whether it does so less often where views have more noise, and `updates` is the most
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["universal"] = "universal"
    view_maps: int = Field(default=24, ge=1, le=512)
    maps: int = Field(default=48, ge=1, le=512)
    deep_maps: int = Field(default=96, ge=1, le=512)
    blocks: int = Field(default=1, ge=0, le=16)
    deep_blocks: int = Field(default=2, ge=0, le=16)
    levels: tuple[float, ...] = Field(default=(0.03, 0.006, 0.0012, 0.00025, 0.00005), min_length=1, max_length=8)
    base: int = Field(default=1, ge=0, le=7)
    light: bool = False
    updates: int = Field(default=0, ge=0, le=8)
    by_noise: bool = False


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
class Known:
    """What the network knows of the filtered images: their cells, and their roots (batch, level, z, y, x)."""

    cells: torch.Tensor
    roots: torch.Tensor


@dataclass(frozen=True, eq=False)
class Seen:
    """What the network saw in the views so far: sum and maximum of the responses, and how many there were."""

    total: torch.Tensor
    largest: torch.Tensor
    count: int


class UniversalGenerator(nn.Module):
    """Turns Wiener-filtered images into the latent image, with an eye on the views.

    Parameters
    ----------
    architecture : sizes
    """

    stride = 4
    """Sides of a block are multiples of this, counted from the corner of the volume."""

    def __init__(self, architecture: UniversalArchitecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        sharp = len(a.levels) * _CELL
        inputs = _VIEW_INPUTS + _LIGHT_INPUTS * a.light
        self.of_view = nn.Conv3d(inputs * _CELL, a.view_maps, 3, padding=1)
        self.of_view_2 = nn.Conv3d(a.view_maps, a.view_maps, 1)
        self.join = nn.Conv3d(2 * a.view_maps + sharp, a.maps, 3, padding=1)
        self.before = nn.Sequential(*(_Residual(a.maps) for _ in range(a.blocks)))
        self.down = nn.Conv3d(a.maps, a.deep_maps, 2, stride=2)
        self.deep = nn.Sequential(*(_Residual(a.deep_maps) for _ in range(a.deep_blocks)))
        self.up = nn.ConvTranspose3d(a.deep_maps, a.maps, 2, stride=2)
        self.after = nn.Sequential(*(_Residual(a.maps) for _ in range(a.blocks)))
        self.out = nn.Conv3d(a.maps, sharp, 3, padding=1)
        for layer in (self.of_view, self.of_view_2, self.join, self.down, self.up):
            nn.init.kaiming_normal_(layer.weight, a=_SLOPE)
        # The first step of training starts from the filtered image itself.
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
        self, views: torch.Tensor, blurred: torch.Tensor, sharp: torch.Tensor, passed: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Generate the latent image of a block.

        Parameters
        ----------
        views : (batch, view, z, y, x), brightness divided by the common scale of the views; sides multiples of 4
        blurred : the same shape, the filtered image blurred with each PSF
        sharp : (batch, level, z, y, x), the filtered images
        passed : as the views, the share of the light that each of them got; all of it when None

        Returns
        -------
        (batch, 1, z, y, x), not negative, in the brightness of the views
        """
        known = self.know(sharp)
        seen = None
        for v in range(views.shape[1]):
            seen = self.see(seen, known, views[:, v], blurred[:, v], None if passed is None else passed[:, v])
        assert seen is not None
        return self.correct(seen, known)

    def know(self, sharp: torch.Tensor) -> Known:
        """Take in the filtered images, (batch, level, z, y, x)."""
        roots = signed_root(sharp)
        # What each level adds to the one before is small beside it: made as large, the first layer learns at once.
        added = torch.cat([roots[:, :1], roots.diff(dim=1).mul_(_GAIN)], dim=1).clamp_(-_MOST, _MOST)
        return Known(to_cells(added), roots)

    def see(
        self,
        seen: Seen | None,
        known: Known,
        view: torch.Tensor,
        blurred: torch.Tensor,
        passed: torch.Tensor | None = None,
    ) -> Seen:
        """Look at one more view, (batch, z, y, x), and what it should look like; only what views share is kept."""
        expected = signed_root(blurred)
        base = known.roots[:, self.architecture.base]
        if passed is None:
            inputs = [expected - base, signed_root(view) - expected]
        else:
            inputs = [expected - base, signed_root(view) - signed_root(passed * blurred)]
        if self.architecture.light:
            inputs.append(torch.zeros_like(view) if passed is None else passed.sqrt() - 1)
        cells = to_cells(torch.stack(inputs, dim=1).mul_(_GAIN).clamp_(-_MOST, _MOST))
        response = functional.leaky_relu(self.of_view(cells), _SLOPE)
        response = functional.leaky_relu(self.of_view_2(response), _SLOPE)
        if seen is None:
            return Seen(response, response, 1)
        return Seen(seen.total + response, torch.maximum(seen.largest, response), seen.count + 1)

    def correct(self, seen: Seen, known: Known) -> torch.Tensor:
        """Join the filtered images by what was seen in all views: (batch, 1, z, y, x)."""
        half = self.before(self.join(torch.cat([seen.total / seen.count, seen.largest, known.cells], dim=1)))
        half = self.after(half + self.up(self.deep(self.down(half))))
        change, *shares = to_voxels(self.out(functional.leaky_relu(half, _SLOPE))).float().unbind(dim=1)
        root = known.roots[:, 0] + change
        for level, (share, added) in enumerate(zip(shares, known.roots.diff(dim=1).unbind(dim=1), strict=True), 1):
            root = root + (share + (level <= self.architecture.base)) * added
        return rise(root)[:, None]


def carried_over(
    state: Mapping[str, torch.Tensor], given: BaseModel, wanted: BaseModel
) -> Mapping[str, torch.Tensor] | None:
    """Weights of a network for another that differs only in what is done before it.

    Lost light may be looked for where it was not, and the filter may go on for longer or shorter. None where
    architectures differ in anything else.
    """
    if given == wanted:
        return state
    if not (isinstance(given, UniversalArchitecture) and isinstance(wanted, UniversalArchitecture)):
        return None
    before = {name: getattr(wanted, name) for name in ("light", "updates", "by_noise")}
    if given.model_copy(update=before) != wanted or (given.light and not wanted.light):
        return None
    return state if given.light == wanted.light else with_light(state)


def with_light(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of a network that does not look for lost light, for one that does: so far it makes nothing of it."""
    first = state["of_view.weight"]
    more = first.new_zeros(first.shape[0], _LIGHT_INPUTS * _CELL, *first.shape[2:])
    return {**state, "of_view.weight": torch.cat([first, more], dim=1)}


def rise(root: torch.Tensor) -> torch.Tensor:
    """The square of a root; where that is negative, smoothly to 0 from above, so that training can bring light back."""
    return (0.5 * (root + (root.square() + _KNEE).sqrt())).square()


def signed_root(x: torch.Tensor) -> torch.Tensor:
    """The root of the magnitude, with the sign."""
    return x.sign() * x.abs().sqrt()


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
