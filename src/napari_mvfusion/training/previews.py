"""A look at one tile that is never trained on, before and after."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from napari_mvfusion.models.build import Generator as Network
from napari_mvfusion.training.training_events import Previewed
from napari_mvfusion.training.training_samples import TrainingVolume

# Looking may cost this share of the time.
_SHARE = 0.1


class Previews:
    """Makes previews, as often as was asked for but so that they cost no more than a tenth of the time.

    Parameters
    ----------
    volumes : held-out tiles; the brightest one is shown
    score : figures of a network on volumes, among them "residual"
    start : the network before training
    device : where to compute
    seconds : between two previews
    """

    def __init__(
        self,
        volumes: Sequence[TrainingVolume],
        score: Callable[[Network, Sequence[TrainingVolume], torch.device], Mapping[str, float]],
        start: Network,
        device: torch.device,
        seconds: float,
    ) -> None:
        self._volume = max(volumes, key=lambda volume: float(volume.arrays["views"].mean(dtype=np.float64)))
        self._score, self._device, self._seconds = score, device, seconds
        self._view = self._volume.arrays["views"].mean(axis=0, dtype=np.float32) * np.float32(self._volume.scale)
        self._before, self._residual_before = self._look(start)
        self._next = 0.0

    @property
    def due(self) -> bool:
        """Whether it is time for the next one."""
        return time.monotonic() >= self._next

    def make(self, step: int, network: Network) -> Previewed:
        """Show what a network gives now."""
        began = time.monotonic()
        after, residual = self._look(network)
        ended = time.monotonic()
        self._next = ended + max(self._seconds, (ended - began) / _SHARE)
        return Previewed(step, self._before, after, self._view, self._residual_before, residual)

    def _look(self, network: Network) -> tuple[np.ndarray, float]:
        """What a network gives, in the brightness of the views, and its residual."""
        seen: list[torch.Tensor] = []
        hook = network.register_forward_hook(lambda module, inputs, output: seen.append(output))
        try:
            residual = self._score(network, [self._volume], self._device)["residual"]
        finally:
            hook.remove()
        generated = seen[0].float().cpu().numpy()[0, 0] * np.float32(self._volume.scale)
        return generated, residual
