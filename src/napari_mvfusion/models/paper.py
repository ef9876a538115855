"""The networks of Yang et al.: a three-level U-Net as generator, and patch discriminators on two scales.

Modules are named as in the released checkpoints, so that these load key by key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from napari_mvfusion.errors import InputError

Activation = Literal["relu", "leaky_relu"]
Norm = Literal["instance", "none"]
Output = Literal["sigmoid", "softplus", "identity"]

_SLOPE = 0.2
_EPS = 1e-5
_SMALLEST_MAPS = 2
# Softplus and sigmoid of it are about 0.05, as dark as most of a volume.
_DARK = -3.0


class PaperArchitecture(BaseModel):
    """What the generator of the paper is built from.

    Attributes
    ----------
    kind : tells architectures apart in a model card
    views : input channels
    feature_maps : of the first level, doubled after each pooling: 64 in the paper, 16 for its nuclei
    activation : the released code has ReLU, the paper's text LeakyReLU
    norm : "instance" as in the paper; "none" makes a voxel independent of the size of its tile
    output : activation of the result
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["paper"] = "paper"
    views: int = Field(default=4, ge=1, le=64)
    feature_maps: int = Field(default=64, ge=_SMALLEST_MAPS, le=512)
    activation: Activation = "relu"
    norm: Norm = "instance"
    output: Output = "sigmoid"


class SharedStatisticsNorm(nn.Module):
    """Instance normalisation without affine terms whose statistics can be fixed.

    While `mean` and `variance` are None every block is normalised by its own statistics, as in the paper, which makes a
    voxel depend on the extent of its block. Once they are set, every block is normalised by them, and tiles agree.

    Attributes
    ----------
    mean, variance : float32 (channel,), or None
    record : called with the mean and the mean square (channel,) of each block while it is set
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.mean: torch.Tensor | None = None
        self.variance: torch.Tensor | None = None
        self.record: Callable[[torch.Tensor, torch.Tensor], None] | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise blocks (batch, channel, z, y, x)."""
        if self.mean is None or self.variance is None:
            if self.record is not None:
                values = x.float()
                self.record(values.mean(dim=(0, 2, 3, 4)), values.square().mean(dim=(0, 2, 3, 4)))
            return nn.functional.instance_norm(x, eps=_EPS)
        return nn.functional.batch_norm(x, self.mean, self.variance, eps=_EPS)


class PaperGenerator(nn.Module):
    """Maps V views to the latent image.

    Two 3x3x3 convolutions a level, each with instance normalisation and activation; two max-poolings; back up by
    transposed convolutions, whose channels come first in the concatenation; 1x1x1 to one channel.

    Parameters
    ----------
    architecture : sizes and choices

    References
    ----------
    Yang et al., Multi-View Fusion Using Semi- and Self-Supervised Generative Adversarial Networks.
    """

    stride = 4
    """Sides of a block must be multiples of this, or the network pads them."""

    def __init__(self, architecture: PaperArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        maps = architecture.feature_maps
        self.c1 = self._pair(architecture.views, maps)
        self.c2 = self._pair(maps, 2 * maps)
        self.c3 = self._pair(2 * maps, 4 * maps)
        self.u1 = self._up(4 * maps, 2 * maps)
        self.c4 = self._pair(4 * maps, 2 * maps)
        self.u2 = self._up(2 * maps, maps)
        self.c5 = self._pair(2 * maps, maps)
        last: Mapping[Output, nn.Module] = {
            "sigmoid": nn.Sigmoid(),
            "softplus": nn.Softplus(),
            "identity": nn.Identity(),
        }
        self.out = nn.Sequential(nn.Conv3d(maps, 1, 1), last[architecture.output])
        self.pool = nn.MaxPool3d(2)
        if architecture.norm == "none":
            self._start_well()

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        """Fuse blocks.

        Parameters
        ----------
        views : (batch, view, z, y, x), divided by their common maximum; sides are multiples of 4

        Returns
        -------
        (batch, 1, z, y, x)
        """
        first = self.c1(views)
        second = self.c2(self.pool(first))
        deep = self.c3(self.pool(second))
        second = self.c4(torch.cat([self.u1(deep), second], dim=1))
        first = self.c5(torch.cat([self.u2(second), first], dim=1))
        fused: torch.Tensor = self.out(first)
        return fused

    def norms(self) -> list[SharedStatisticsNorm]:
        """All normalisations, in the order of the modules; empty without instance normalisation."""
        return [module for module in self.modules() if isinstance(module, SharedStatisticsNorm)]

    def fold_norms(self) -> None:
        """Let the convolution before each normalisation with fixed statistics do its work; the result stays the same."""
        for layers in (module for module in self.modules() if isinstance(module, nn.Sequential)):
            for number, norm in enumerate(layers):
                if not isinstance(norm, SharedStatisticsNorm) or norm.mean is None or norm.variance is None:
                    continue
                before = layers[number - 1]
                assert isinstance(before, (nn.Conv3d, nn.ConvTranspose3d))
                assert before.bias is not None
                scale = (norm.variance + _EPS).rsqrt()
                outward = 0 if isinstance(before, nn.Conv3d) else 1
                with torch.no_grad():
                    before.weight *= scale.view([-1 if axis == outward else 1 for axis in range(5)])
                    before.bias.sub_(norm.mean).mul_(scale)
                layers[number] = nn.Identity()

    def _start_well(self) -> None:
        """Weights that keep the size of what passes through, which a norm would do; and an output that starts dark."""
        last = self.out[0]
        assert isinstance(last, nn.Conv3d)
        if last.weight.is_meta:  # see `build`
            return
        slope = 0.0 if self.architecture.activation == "relu" else _SLOPE
        for module in self.modules():
            if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
                nn.init.kaiming_normal_(module.weight, a=slope)
                nn.init.zeros_(torch.as_tensor(module.bias))
                if isinstance(module, nn.ConvTranspose3d):
                    # Of its 4^3 taps each voxel sees 2^3.
                    fan = module.in_channels * 8
                    nn.init.normal_(module.weight, 0, (2 / ((1 + slope**2) * fan)) ** 0.5)
        nn.init.normal_(last.weight, 0, 0.1 / last.in_channels**0.5)
        if self.architecture.output != "identity":
            nn.init.constant_(torch.as_tensor(last.bias), _DARK)

    def _pair(self, inside: int, outside: int) -> nn.Sequential:
        # Positions 0 and 3 are the convolutions also where there is no norm: the keys of the checkpoints say so.
        return nn.Sequential(
            nn.Conv3d(inside, outside, 3, padding=1),
            self._norm(outside),
            self._activation(),
            nn.Conv3d(outside, outside, 3, padding=1),
            self._norm(outside),
            self._activation(),
        )

    def _up(self, inside: int, outside: int) -> nn.Sequential:
        return nn.Sequential(
            nn.ConvTranspose3d(inside, outside, 4, stride=2, padding=1), self._norm(outside), self._activation()
        )

    def _norm(self, channels: int) -> nn.Module:
        return SharedStatisticsNorm(channels) if self.architecture.norm == "instance" else nn.Identity()

    def _activation(self) -> nn.Module:
        return nn.ReLU(inplace=True) if self.architecture.activation == "relu" else nn.LeakyReLU(_SLOPE, inplace=True)


class PatchDiscriminator(nn.Module):
    """Tells generated volumes from real sharp ones, patch by patch.

    Four 3x3x3 convolutions with stride 2 (64, 128, 256, 512 maps), instance normalisation on all but the first, and
    LeakyReLU 0.2; then one to a single channel.

    Parameters
    ----------
    feature_maps : of the first convolution
    """

    def __init__(self, feature_maps: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inside = 1
        for level in range(4):
            outside = feature_maps * 2**level
            layers.append(nn.Conv3d(inside, outside, 3, stride=2, padding=1))
            if level:
                layers.append(nn.InstanceNorm3d(outside))
            layers.append(nn.LeakyReLU(_SLOPE))
            inside = outside
        layers.append(nn.Conv3d(inside, 1, 3, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        """Score blocks (batch, 1, z, y, x) of at least 32 voxels: (batch, 1, z / 16, y / 16, x / 16), 1 for real."""
        scores: torch.Tensor = self.layers(volume)
        return scores


class MultiScaleDiscriminator(nn.Module):
    """Patch discriminators on whole tiles and on their middle halves; each gives scores of its own.

    Parameters
    ----------
    feature_maps : of the first convolution of each
    scales : how many: the first sees the whole tile, each further one the middle half of what the last one sees
    """

    def __init__(self, feature_maps: int = 64, scales: int = 2) -> None:
        super().__init__()
        if scales < 1:
            raise InputError(f"{scales} discriminators cannot judge anything: use at least 1")
        self.scales = nn.ModuleList(PatchDiscriminator(feature_maps) for _ in range(scales))

    def forward(self, volume: torch.Tensor) -> Sequence[torch.Tensor]:
        """Score blocks (batch, 1, z, y, x), one tensor of patch scores a scale; on a CPU always in full precision.

        There torch (2.13) computes gradients of weights wrongly, or not at all, where a convolution sees fewer voxels than
        its kernel has and computes in bfloat16: the last ones here see two.
        """
        if volume.device.type != "cpu":
            return self._scores(volume)
        with torch.autocast("cpu", enabled=False):
            return self._scores(volume.float())

    def _scores(self, volume: torch.Tensor) -> Sequence[torch.Tensor]:
        scores = []
        for number, scale in enumerate(self.scales):
            if number:
                z, y, x = (n // 4 for n in volume.shape[2:])
                volume = volume[:, :, z : z + volume.shape[2] // 2, y : y + volume.shape[3] // 2]
                volume = volume[..., x : x + volume.shape[4] // 2]
            scores.append(scale(volume))
        return scores
