"""Semi-supervised learning: beside the views, sharp volumes of other specimens show what a result looks like.

References
----------
Yang et al., Multi-View Fusion Using Semi- and Self-Supervised Generative Adversarial Networks.
Mao et al., Least Squares Generative Adversarial Networks. ICCV 2017.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

import numpy as np
import torch

from napari_mvfusion.data.geometry import Triple, triple
from napari_mvfusion.data.views import RegisteredViews, VolumeLike
from napari_mvfusion.errors import InputError
from napari_mvfusion.models.build import Generator as Network
from napari_mvfusion.models.paper import MultiScaleDiscriminator
from napari_mvfusion.models.universal import UniversalArchitecture
from napari_mvfusion.training.config import LossWeights, TrainConfig
from napari_mvfusion.training.own_views import OwnViews
from napari_mvfusion.training.resimulation import simulate_recording
from napari_mvfusion.training.self_supervised import SelfSupervised, resimulation_loss
from napari_mvfusion.training.sharp import read_sharp, sha256_of
from napari_mvfusion.training.training_events import Waiting
from napari_mvfusion.training.training_samples import TrainingSample, TrainingVolume, draw, run_network

_STREAM = 4
_NOISE_STREAM = 5
# Four convolutions with stride 2 must leave more than one patch to normalise over.
_SMALLEST = 32
_SMALLEST_FOR_TWO = 64


class SemiSupervised:
    """The cycle over the views, the cycle over sharp volumes, and a discriminator (LSGAN).

    The generator is to make `(D(G(x)) - 1)^2` small, the discriminator `1/2 (D(z) - 1)^2 + 1/2 D(G(x))^2`, both summed
    over the scales of the discriminator.

    Parameters
    ----------
    weights : of the parts
    discriminator : on the device of the samples
    """

    def __init__(self, weights: LossWeights, discriminator: MultiScaleDiscriminator) -> None:
        self._weights = weights
        self._views = SelfSupervised(weights)
        self.discriminator: torch.nn.Module = discriminator
        self._shown: tuple[torch.Tensor, torch.Tensor] | None = None

    def losses(self, network: Network, sample: TrainingSample) -> dict[str, torch.Tensor]:
        """See `Objective`."""
        assert sample.example is not None
        generated = run_network(network, sample)
        # The generator learns through the discriminator, which does not learn here.
        self.discriminator.requires_grad_(False)
        adversarial = torch.stack([(scores - 1).square().mean() for scores in self.discriminator(generated)]).sum()
        self.discriminator.requires_grad_(True)
        self._shown = (sample.example.target, generated.detach())
        return {
            "cycle": self._views.cycle(generated, sample),
            "cycle of sharp volumes": self._resimulation_loss(network, sample.example),
            "adversarial": self._weights.adversarial * adversarial,
        }

    def _resimulation_loss(self, network: Network, example: TrainingSample) -> torch.Tensor:
        if self._weights.resimulated:
            return self._weights.resimulated * resimulation_loss(network, example)
        return self._weights.cycle * (run_network(network, example) - example.target).abs().mean()

    def judge(self) -> torch.Tensor:
        """See `Adversary`."""
        assert self._shown is not None
        real, generated = self._shown
        parts = [0.5 * (scores - 1).square().mean() for scores in self.discriminator(real)]
        parts += [0.5 * scores.square().mean() for scores in self.discriminator(generated)]
        return torch.stack(parts).sum()


def make_discriminator(config: TrainConfig, device: torch.device) -> MultiScaleDiscriminator:
    """The discriminators for tiles of the configuration: two scales where the tile is large enough; seeded.

    Raises
    ------
    InputError
        If the tile is too small for one.
    """
    smallest = min(config.tile)
    if smallest < _SMALLEST:
        raise InputError(
            f"tiles of {' x '.join(map(str, config.tile))} voxels are too small for a discriminator: "
            f"each side needs {_SMALLEST}, and {_SMALLEST_FOR_TWO} for two scales"
        )
    # A generator of its own: how the discriminator starts must not change how the generator starts.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed + 1)
        scales = 2 if smallest >= _SMALLEST_FOR_TWO else 1
        return MultiScaleDiscriminator(config.discriminator_maps, scales).to(device)


class WithSharp(OwnViews):
    """Tiles of the user's views, each beside a tile of a sharp volume that is blurred as the views are.

    Parameters
    ----------
    config, views, device, start : see `OwnViews`
    sharp : volumes (z, y, x) of other specimens without blur, on the same voxel size
    """

    def __init__(
        self,
        config: TrainConfig,
        views: Sequence[RegisteredViews],
        sharp: Sequence[VolumeLike],
        device: torch.device,
        start: Network | None = None,
    ) -> None:
        super().__init__(config, views, device, start)
        if not sharp:
            raise InputError("no sharp volume was given: semi-supervised training needs at least one")
        self._sharp = [
            read_sharp(each, f"sharp volume {number}", config.tile, config.data.side)
            for number, each in enumerate(sharp, 1)
        ]
        self._blurred: list[TrainingVolume] = []

    def identity(self) -> tuple[str, ...]:
        """Those of the views, and hashes of the sharp volumes."""
        return (*super().identity(), *(sha256_of(each) for each in self._sharp))

    def begin(self, step: int) -> Generator[Waiting, None, None]:
        """Choose and read the blocks, and blur the sharp volumes as their views are."""
        yield from super().begin(step)
        for number, each in enumerate(self._sharp):
            yield Waiting("blurring the sharp volumes", number / len(self._sharp))
            self._blurred.append(self._blur(number, each))

    def draw(self, step: int) -> list[TrainingSample]:
        """The samples of a step."""
        config = self._config
        rng = np.random.default_rng([config.seed, _STREAM, step])
        turn = isinstance(config.architecture, UniversalArchitecture)
        return [
            replace(
                sample,
                example=draw(self._blurred[rng.integers(len(self._blurred))], self._tile, rng, self._device, turn=turn),
            )
            for sample in super().draw(step)
        ]

    def least_tile(self) -> Triple:
        """The smallest tile for the PSFs, and for as many scales of discriminators as there are."""
        smallest = _SMALLEST_FOR_TWO if min(self._config.tile) >= _SMALLEST_FOR_TWO else _SMALLEST
        return triple(max(n, smallest) for n in super().least_tile())

    def _blur(self, number: int, sharp: np.ndarray) -> TrainingVolume:
        """Record a sharp volume as the views of a block were, with their attenuation."""
        block = self.volumes[number % len(self.volumes)]
        assert block.recording is not None
        # Not the fitted one: that also evens out what the start gets wrong of this very specimen.
        known = block.arrays.get("transmission")
        transmission = None if known is None else stretched(known, triple(sharp.shape))
        rng = np.random.default_rng([self._config.seed, _NOISE_STREAM, number])
        architecture = self._config.architecture
        return simulate_recording(
            sharp,
            block.recording,
            architecture,
            rng,
            self._device,
            transmission=transmission,
            known_transmission=transmission,
        )


def stretched(shares: np.ndarray, shape: Triple) -> np.ndarray:
    """Slowly varying maps (view, z, y, x) on another number of voxels, from border to border: float32 (view, *shape)."""
    values = torch.from_numpy(np.ascontiguousarray(shares, np.float32))[None]
    resized = torch.nn.functional.interpolate(values, shape, mode="trilinear", align_corners=True)[0]
    return np.asarray(resized.numpy())
