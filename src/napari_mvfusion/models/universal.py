"""The universal generator: any number of views with any PSFs, in any order.

Physics comes first. The Wiener filter of all views undoes the blur in closed form, at several strengths: the weak ones
are smooth, the strong ones sharp and noisy; it may begin with what the method `wiener` makes. Blurred again, its result
says what each view should look like. Both know the PSFs, so the network need not: it tells structure from noise, and
light that was absorbed from light that was not there. It looks at every view with the same weights, joins the views by
their mean and their largest response, chooses how much each strength counts in each voxel, and adds what none of them
has. All this happens to the roots of the images: there, photon noise is the same everywhere.

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
# Of each view: how it blurs, how it differs from what is expected, and its transmission, where that is known.
_VIEW_INPUTS = 2
_TRANSMISSION_INPUTS = 1
# How much noise there is, and how a view differs from what is expected in units of it; and what brings both near 1.
_NOISE_INPUTS = 2
_USUAL_NOISE = 0.03
_NOISE_SHARE = 0.25
_KNEE = 1e-4
_GAIN = 4.0
_MOST = 8.0
_SLOPE = 0.1
# What weights can be brought to a network with more of, but not with less.
_ONLY_MORE = ("light", "blocks", "deep_blocks", "uncertainty", "noise")
# Light below which an error counts no less for being in the dark, and bounds of the logarithm of a relative error.
_DARK = 0.03
_LEAST_ERROR, _MOST_ERROR, _FIRST_ERROR = -7.0, 2.0, -3.0
_CHANNELS_LAST = torch.channels_last_3d


class UniversalArchitecture(BaseModel):
    """What the universal generator is built from.

    Attributes
    ----------
    kind : tells architectures apart in a model card
    view_maps : feature maps of each view
    maps, deep_maps : feature maps at half and at quarter resolution
    blocks, deep_blocks : residual blocks before and after the deep level, and in it
    levels : of the Wiener filter, falling; see `napari_mvfusion.imaging.WienerBank`
    starts_from : "filter" brings the views back at every level; "wiener" begins with what the method of that name makes,
        its first image, and brings back at every level what that lacks
    base : index of the image that training starts from, and that is compared with the views
    light : whether the transmission of each view is looked for, and undone before the filter
    updates : how often the filter goes on from what it made before, without what is negative
    by_noise : whether it does so less often where views have more noise, and `updates` is the most
    uncertainty : whether it says too how far it may be off
    noise : whether it is told how noisy each view is
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["universal"] = "universal"
    view_maps: int = Field(default=24, ge=1, le=512)
    maps: int = Field(default=48, ge=1, le=512)
    deep_maps: int = Field(default=96, ge=1, le=512)
    blocks: int = Field(default=1, ge=0, le=16)
    deep_blocks: int = Field(default=2, ge=0, le=16)
    levels: tuple[float, ...] = Field(default=(0.03, 0.006, 0.0012, 0.00025, 0.00005), min_length=1, max_length=8)
    starts_from: Literal["filter", "wiener"] = "filter"
    base: int = Field(default=1, ge=0, le=7)
    light: bool = False
    updates: int = Field(default=0, ge=0, le=8)
    by_noise: bool = False
    uncertainty: bool = False
    noise: bool = False

    @property
    def images(self) -> int:
        """How many filtered images there are."""
        return len(self.levels) + (self.starts_from == "wiener")


class _Residual(nn.Module):
    """Two 3x3x3 convolutions beside the identity."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(maps, maps, 3, padding=1)
        self.second = nn.Conv3d(maps, maps, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(torch.as_tensor(self.second.bias))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # In place where nothing else reads what a convolution made: on a CPU, memory costs more than the sum.
        inner = functional.leaky_relu(self.first(functional.leaky_relu(x, _SLOPE)), _SLOPE, inplace=True)
        change: torch.Tensor = self.second(inner)
        return change.add_(x)


@dataclass(frozen=True, eq=False)
class EncodedImages:
    """The filtered images as the network takes them in: features at half resolution, and roots (batch, level, z, y, x)."""

    features: torch.Tensor
    roots: torch.Tensor


@dataclass(frozen=True, eq=False)
class PooledViews:
    """Responses to the views so far, pooled over them: their sum and maximum, and how many there were."""

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
        sharp = a.images * _CELL
        inputs = _VIEW_INPUTS + _TRANSMISSION_INPUTS * a.light + _NOISE_INPUTS * a.noise
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
            if not layer.weight.is_meta:  # see `build`
                nn.init.kaiming_normal_(layer.weight, a=_SLOPE)
        # The first step of training starts from the filtered image itself.
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(torch.as_tensor(self.out.bias))
        if a.uncertainty:
            self.of_error = nn.Conv3d(a.maps, _CELL, 3, padding=1)
            nn.init.zeros_(self.of_error.weight)
            nn.init.constant_(torch.as_tensor(self.of_error.bias), _FIRST_ERROR)

    @property
    def reach(self) -> int:
        """Voxels round a block beyond which nothing can change it, for blocks that begin at multiples of `stride`."""
        # Radius in cells of 2 voxels: first, joining and last convolution, two a block, those of the deep level
        # twice as wide, and the rest of a deep cell.
        cells = 3 + 2 * 2 * self.architecture.blocks + 2 * 2 * self.architecture.deep_blocks + 1
        return self.stride * -(-_FACTOR * cells // self.stride)

    @property
    def widest(self) -> float:
        """How many volumes as large as a block a pass holds where it takes most memory, without what it is given."""
        a, of_levels = self.architecture, _CELL * self.architecture.images
        joining = 2 * a.view_maps + of_levels + 2 * (3 * a.view_maps + of_levels) + a.maps
        decoding = a.maps + max(3 * a.maps, 2 * a.maps + 3 * of_levels)
        # Beside them stand the roots, and what an earlier pass gave.
        return max(joining, decoding) / _CELL + a.images + 1 + 3 * a.uncertainty

    def forward(
        self,
        views: torch.Tensor,
        blurred: torch.Tensor,
        sharp: torch.Tensor,
        transmission: torch.Tensor | None = None,
        noise: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Generate the latent image of a block.

        Parameters
        ----------
        views : (batch, view, z, y, x), brightness divided by the common scale of the views; sides multiples of 4
        blurred : the same shape, the filtered image blurred with each PSF
        sharp : (batch, level, z, y, x), the filtered images
        transmission : as the views, the share of the light that each of them got; all of it when None
        noise : (batch, view, 1, 1, 1) or as the views, standard deviation of the roots of the views; not known when None

        Returns
        -------
        (batch, 1, z, y, x), not negative, in the brightness of the views
        """
        return self.generate(views, blurred, sharp, transmission, noise)[0]

    def generate(
        self,
        views: torch.Tensor,
        blurred: torch.Tensor,
        sharp: torch.Tensor,
        transmission: torch.Tensor | None = None,
        noise: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What a call gives, and how far it may be off; see `decode`."""
        encoded = self.encode(sharp)
        pooled = None
        for v in range(views.shape[1]):
            share = None if transmission is None else transmission[:, v]
            spread = None if noise is None else noise[:, v]
            pooled = self.accumulate(pooled, encoded, views[:, v], blurred[:, v], share, spread)
        assert pooled is not None
        return self.decode(self.joined(pooled, encoded), encoded.roots)

    def encode(self, sharp: torch.Tensor) -> EncodedImages:
        """Encode the filtered images, (batch, level, z, y, x)."""
        roots = signed_root(sharp)
        # What each level adds to the one before is small beside it: made as large, the first layer learns at once.
        added = torch.cat([roots[:, :1], roots.diff(dim=1).mul_(_GAIN)], dim=1).clamp_(-_MOST, _MOST)
        features = space_to_depth(added)
        if self.join.weight.is_contiguous(memory_format=_CHANNELS_LAST):
            # As the responses to the views come, which these are joined with.
            features = features.contiguous(memory_format=_CHANNELS_LAST)
        return EncodedImages(features, roots)

    def accumulate(
        self,
        pooled: PooledViews | None,
        encoded: EncodedImages,
        view: torch.Tensor,
        blurred: torch.Tensor,
        transmission: torch.Tensor | None = None,
        noise: torch.Tensor | None = None,
    ) -> PooledViews:
        """Add one more view, (batch, z, y, x), and what it should look like, to the pooled responses."""
        expected = signed_root(blurred)
        base = encoded.roots[:, self.architecture.base]
        if transmission is None:
            inputs = [expected - base, signed_root(view) - expected]
        else:
            inputs = [expected - base, signed_root(view) - signed_root(transmission * blurred)]
        if self.architecture.light:
            inputs.append(torch.zeros_like(view) if transmission is None else transmission.sqrt() - 1)
        if self.architecture.noise:
            known = torch.full_like(view, _USUAL_NOISE) if noise is None else noise.expand_as(view)
            inputs += [(known / _USUAL_NOISE).log() / _GAIN, inputs[1] / known * (_NOISE_SHARE / _GAIN)]
        cells = space_to_depth(torch.stack(inputs, dim=1).mul_(_GAIN).clamp_(-_MOST, _MOST))
        response = functional.leaky_relu(self.of_view(cells), _SLOPE, inplace=True)
        response = functional.leaky_relu(self.of_view_2(response), _SLOPE, inplace=True)
        if pooled is None:
            return PooledViews(response, response, 1)
        return PooledViews(pooled.total + response, torch.maximum(pooled.largest, response), pooled.count + 1)

    def joined(self, pooled: PooledViews, encoded: EncodedImages) -> torch.Tensor:
        """Features of the block from the filtered images and the pooled responses, at half resolution."""
        joined: torch.Tensor = self.join(
            torch.cat([pooled.total / pooled.count, pooled.largest, encoded.features], dim=1)
        )
        return joined

    def decode(self, half: torch.Tensor, roots: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The latent image from what `joined` gives and the roots of the filtered images: (batch, 1, z, y, x).

        And, where the architecture has it, the error that two thirds of the voxels stay below, likewise; it is found from
        the same features, which do not learn from it.
        """
        half = self.before(half)
        half = self.up(self.deep(self.down(half))).add_(half)
        half = functional.leaky_relu(self.after(half), _SLOPE)
        change, *shares = depth_to_space(self.out(half)).float().unbind(dim=1)
        root = roots[:, 0] + change
        for level, (share, added) in enumerate(zip(shares, roots.diff(dim=1).unbind(dim=1), strict=True), 1):
            root = root + (share + (level <= self.architecture.base)) * added
        image = smooth_square(root)[:, None]
        if not self.architecture.uncertainty:
            return image, None
        relative = depth_to_space(self.of_error(half.detach())).float().clamp(_LEAST_ERROR, _MOST_ERROR).exp()
        return image, relative * (image.detach().sqrt() + _DARK)


def adapted_weights(
    state: Mapping[str, torch.Tensor], given: BaseModel, wanted: BaseModel
) -> Mapping[str, torch.Tensor] | None:
    """Weights of a network for another that differs in what is done before it, or has more blocks.

    Transmission may be looked for where it was not, the filter may go on for longer or shorter, or begin with what `wiener`
    makes in the place of its first level: then the last layer begins anew, and with it the network from that image.
    Blocks that are added change nothing at first; their weights, and all that begin anew, are left out.

    Returns
    -------
    What is to be loaded, or None where architectures differ in anything else.
    """
    if given == wanted:
        return state
    if not (isinstance(given, UniversalArchitecture) and isinstance(wanted, UniversalArchitecture)):
        return None
    free = ("updates", "by_noise", "levels", "starts_from", "base", *_ONLY_MORE)
    if given.model_copy(update={name: getattr(wanted, name) for name in free}) != wanted:
        return None
    if any(getattr(given, name) > getattr(wanted, name) for name in _ONLY_MORE):
        return None
    if given.light != wanted.light:
        state = with_transmission_input(state)
    if given.noise != wanted.noise:
        state = _with_inputs(state, _NOISE_INPUTS)
    if (given.starts_from, given.levels, given.base) == (wanted.starts_from, wanted.levels, wanted.base):
        return state
    if (given.starts_from, wanted.starts_from) == ("filter", "wiener") and given.levels[1:] == wanted.levels:
        return {name: values for name, values in state.items() if not name.startswith("out.")}
    return None


def with_transmission_input(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of a network without the transmission as an input, for one with it: so far it makes nothing of it."""
    return _with_inputs(state, _TRANSMISSION_INPUTS)


def _with_inputs(state: Mapping[str, torch.Tensor], count: int) -> dict[str, torch.Tensor]:
    """Weights for a network that is told more of each view, after what it is told already: so far it makes nothing of it."""
    first = state["of_view.weight"]
    more = first.new_zeros(first.shape[0], count * _CELL, *first.shape[2:])
    return {**state, "of_view.weight": torch.cat([first, more], dim=1)}


def smooth_square(root: torch.Tensor) -> torch.Tensor:
    """The square of a root; below 0 it falls smoothly to 0, so that gradients stay and training can bring light back."""
    return (0.5 * (root + (root.square() + _KNEE).sqrt())).square()


def signed_root(x: torch.Tensor) -> torch.Tensor:
    """The root of the magnitude, with the sign."""
    return x.abs().sqrt().copysign(x)


def space_to_depth(x: torch.Tensor) -> torch.Tensor:
    """Blocks of 2 x 2 x 2 voxels as channels: (n, c, z, y, x) to (n, 8 c, z / 2, y / 2, x / 2)."""
    n, c, z, y, x_ = x.shape
    blocks = x.reshape(n, c, z // 2, 2, y // 2, 2, x_ // 2, 2)
    return blocks.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(n, 8 * c, z // 2, y // 2, x_ // 2)


def depth_to_space(cells: torch.Tensor) -> torch.Tensor:
    """The inverse of `space_to_depth`."""
    n, c, z, y, x = cells.shape
    blocks = cells.reshape(n, c // 8, 2, 2, 2, z, y, x)
    return blocks.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(n, c // 8, 2 * z, 2 * y, 2 * x)
