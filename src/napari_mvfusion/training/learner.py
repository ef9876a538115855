"""The weights of a run, and how a step changes them."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import nn

from napari_mvfusion.errors import InputError
from napari_mvfusion.imaging.threads import poll
from napari_mvfusion.models import build, load_model
from napari_mvfusion.models.build import Generator as Network
from napari_mvfusion.models.universal import adapted_weights
from napari_mvfusion.system.devices import is_fast_in_bfloat16
from napari_mvfusion.training.config import TrainConfig
from napari_mvfusion.training.objectives import Adversary, Objective
from napari_mvfusion.training.training_samples import TrainingSample

_BETAS = (0.9, 0.995)


class Learner:
    """A network, its slow average, the best average so far, and their optimisers.

    A step can be interrupted between the layers of the networks, forwards and backwards; see
    `napari_mvfusion.imaging.threads.interruptible`.

    Parameters
    ----------
    config : of the run
    objective : gives the losses of a sample
    adversary : learns at the same rate, where there is one
    start_from : name or file of the model to begin with, or None for random weights
    device : where to train

    Raises
    ------
    InputError
        If the model to begin with has another architecture.
    """

    def __init__(
        self,
        config: TrainConfig,
        objective: Objective,
        adversary: Adversary | None,
        start_from: str | Path | None,
        device: torch.device,
    ) -> None:
        self._config, self._objective, self._adversary, self._device = config, objective, adversary, device
        torch.manual_seed(config.seed)
        self.network = _first_network(config, start_from).to(device)
        poll_between_layers(self.network)
        self.averaged = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.best = copy.deepcopy(self.averaged)
        self._optimiser = torch.optim.Adam(self.network.parameters(), lr=config.rate, betas=_BETAS)
        self._discriminator = None
        if adversary is not None:
            poll_between_layers(adversary.discriminator)
            parameters = adversary.discriminator.parameters()
            self._discriminator = torch.optim.Adam(parameters, lr=config.rate, betas=_BETAS)

    def step(self, samples: Sequence[TrainingSample], step: int, rate: float) -> dict[str, float] | None:
        """One update of the weights.

        Parameters
        ----------
        samples : to learn from
        step : steps that are done
        rate : of the optimisers

        Returns
        -------
        The parts of the loss, their sum as "total", and the loss of the discriminator where there is one; None, and no
        update, where a loss or gradient is not finite.
        """
        optimisers = self.optimisers().values()
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
        self.forget_gradients()
        self.network.train()
        sums: dict[str, float] = {}
        judged = 0.0
        for sample in samples:
            with self._autocast():
                losses = self._objective.losses(self.network, sample)
            total = torch.stack(list(losses.values())).sum() / len(samples)
            total.backward()  # type: ignore[no-untyped-call]
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) / len(samples)
            judged += self._judge(len(samples))
        norms = [nn.utils.clip_grad_norm_(self.network.parameters(), self._config.clip)]
        if self._adversary is not None:
            gradients = (p.grad for p in self._adversary.discriminator.parameters() if p.grad is not None)
            norms.append(nn.utils.get_total_norm(gradients))
        # A finite loss can have a gradient that is not.
        if not math.isfinite(sum(sums.values()) + judged + sum(float(norm) for norm in norms)):
            return None
        for optimiser in optimisers:
            optimiser.step()
        self._average(step)
        sums["total"] = sum(sums.values())
        return sums if self._adversary is None else sums | {"discriminator": judged}

    def forget_gradients(self) -> None:
        """Give the memory of gradients back."""
        for optimiser in self.optimisers().values():
            optimiser.zero_grad(set_to_none=True)

    def keep_average(self) -> None:
        """The averaged weights are the best so far."""
        self.best.load_state_dict(self.averaged.state_dict())

    def modules(self) -> dict[str, nn.Module]:
        """All that has weights, by name."""
        modules: dict[str, nn.Module] = {"network": self.network, "averaged": self.averaged, "best": self.best}
        return modules if self._adversary is None else modules | {"discriminator": self._adversary.discriminator}

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """By the name of what they change."""
        optimisers: dict[str, torch.optim.Optimizer] = {"network": self._optimiser}
        return optimisers if self._discriminator is None else optimisers | {"discriminator": self._discriminator}

    def _judge(self, samples: int) -> float:
        """Add the gradients of the discriminator for the tile that was just generated; its share of the loss."""
        if self._adversary is None:
            return 0.0
        with self._autocast():
            loss = self._adversary.judge() / samples
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def _average(self, step: int) -> None:
        decay = min(self._config.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            for kept, new in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)

    def _autocast(self) -> AbstractContextManager[object]:
        precision = self._config.precision
        if precision == "full" or (precision == "auto" and not is_fast_in_bfloat16(self._device)):
            return nullcontext()
        return torch.autocast(self._device.type, torch.bfloat16)


def _first_network(config: TrainConfig, start_from: str | Path | None) -> Network:
    """The network to begin with: random weights, or those of a model of the same architecture."""
    if start_from is None:
        return build(config.architecture)
    network, card = load_model(start_from)
    if card.architecture == config.architecture:
        return network.train()
    weights = adapted_weights(network.state_dict(), card.architecture, config.architecture)
    if weights is None:
        raise InputError(
            f"the model '{card.name}' has another architecture than the configuration: leave the architecture out of "
            "the configuration to take the model's"
        )
    changed = build(config.architecture)
    changed.load_state_dict({**changed.state_dict(), **weights})
    return changed.train()


def poll_between_layers(network: nn.Module) -> None:
    """Let the passes of a network, which take seconds on a CPU, be interrupted before each layer, forwards and backwards."""
    for layer in network.modules():
        if isinstance(layer, (nn.Conv3d, nn.ConvTranspose3d)):
            layer.register_forward_pre_hook(_poll_first)
            layer.register_forward_hook(_poll_backwards)


def _poll_first(layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    del layer, inputs
    poll()


def _poll_backwards(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
    del layer, inputs
    if output.requires_grad:
        output.register_hook(_poll_gradient)  # type: ignore[no-untyped-call]


def _poll_gradient(gradient: torch.Tensor) -> None:
    del gradient
    poll()
