"""The training loop: a generator of events that can be stopped between steps, killed, and resumed."""

from __future__ import annotations

import copy
import json
import math
import shutil
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from napari_mvfusion.devices import describe_device
from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.networks import ModelCard, build, load_model, save_model
from napari_mvfusion.networks.build import Generator as Network
from napari_mvfusion.training.config import TrainConfig
from napari_mvfusion.training.events import (
    Saved,
    Started,
    StepDone,
    SteppedBack,
    Stopped,
    Trained,
    TrainEvent,
    Validated,
    Waiting,
)
from napari_mvfusion.training.logs import Log
from napari_mvfusion.training.objectives import Adversary, Objective
from napari_mvfusion.training.samples import Sample, Volume
from napari_mvfusion.training.state import Progress, load_state, save_state

_LAST_RATE = 0.01
_STEP_BACK = 0.5
_MOST_STEP_BACKS = 8
_BETAS = (0.9, 0.995)


class Source(Protocol):
    """Where samples come from. What it gives for a step depends on the step alone."""

    def identity(self) -> Sequence[str]:
        """What the samples depend on beside the configuration, for example hashes of files; a resumed run has the same."""

    def begin(self, step: int) -> Generator[Waiting, None, None]:
        """Get ready for the steps from `step` on."""

    def draw(self, step: int) -> Sequence[Sample]:
        """The samples of a step."""

    def validation(self) -> Sequence[Volume]:
        """What is never trained on."""

    def close(self) -> None:
        """Give back what it holds."""


Score = Callable[[Network, Sequence[Volume], torch.device], Mapping[str, float]]


def train_events(
    config: TrainConfig,
    source: Source,
    objective: Objective,
    score: Score,
    card: ModelCard,
    out: Path,
    *,
    decides: str,
    device: torch.device,
    adversary: Adversary | None = None,
    start_from: str | Path | None = None,
    resume: bool = False,
    cancel: Callable[[], bool] = lambda: False,
) -> Generator[TrainEvent, None, Path | None]:
    """Train a generator, step by step.

    Parameters
    ----------
    config : all parameters
    source : of samples
    objective : gives the losses of a sample
    score : figures of a network on the validation volumes; the one called `decides` picks the weights that are kept
    card : of the model to be; training and metrics are filled in
    out : `.safetensors` file of the model; the run works in the folder `OUT.training` beside it
    device : where to train
    adversary : learns at the same rate, where there is one
    start_from : name or file of the model to begin with, or None for random weights
    resume : go on with an unfinished run of `out` where there is one
    cancel : polled between steps; when it returns True the run ends with `Stopped`

    Yields
    ------
    Events of `napari_mvfusion.training.events`, the last one `Trained` or `Stopped`.

    Returns
    -------
    The file with the best weights, or None when there are none yet.

    Raises
    ------
    InputError, OutputError
        If the start does not fit the configuration, or files are in the way; before any training.
    """
    training = _Training(
        config, source, objective, score, card, out, decides, device, adversary, start_from, resume=resume
    )
    try:
        return (yield from training.events(cancel))
    finally:
        training.close()


def run_folder(out: Path) -> Path:
    """The folder that a run of a model works in: its state, configuration and logs."""
    return out.with_name(f"{out.stem}.training")


class _Training:
    """One run, with what it has to remember."""

    def __init__(
        self,
        config: TrainConfig,
        source: Source,
        objective: Objective,
        score: Score,
        card: ModelCard,
        out: Path,
        decides: str,
        device: torch.device,
        adversary: Adversary | None,
        start_from: str | Path | None,
        *,
        resume: bool,
    ) -> None:
        self._config, self._source, self._objective, self._score = config, source, objective, score
        self._card, self._out, self._decides, self._device = card, out, decides, device
        self._folder = run_folder(out)
        self._state_path = self._folder / "state.safetensors"
        if out.exists() and not (resume and self._state_path.exists()):
            raise OutputError(f"{out} exists already: choose another name")
        if self._state_path.exists() and not resume:
            raise OutputError(
                f"{self._folder} holds an unfinished run: go on with it (resume), remove it, or choose another name"
            )
        torch.manual_seed(config.seed)
        self._network = _first_network(config, start_from).to(device)
        self._averaged = copy.deepcopy(self._network).requires_grad_(False).eval()
        self._best = copy.deepcopy(self._averaged)
        self._optimiser = torch.optim.Adam(self._network.parameters(), lr=config.rate, betas=_BETAS)
        self._adversary = adversary
        self._discriminator = None
        if adversary is not None:
            parameters = adversary.discriminator.parameters()
            self._discriminator = torch.optim.Adam(parameters, lr=config.rate, betas=_BETAS)
        # What the same run has in common before and after a kill.
        self._run = [config.model_dump(mode="json", by_alias=True), str(start_from or ""), *source.identity()]
        self._progress = Progress()
        self._figures: dict[str, float] = {}
        if self._state_path.exists():
            self._progress = load_state(self._state_path, self._modules(), self._optimisers(), self._fits)
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "config.json").write_text(config.model_dump_json(by_alias=True, indent=2))
        self._log = Log(self._folder, self._progress.step)
        self._started = time.monotonic() - self._progress.seconds
        self._volumes: Sequence[Volume] = ()

    def close(self) -> None:
        self._log.close()
        self._source.close()
        if self._progress.step == 0 and not self._state_path.exists():
            # Nothing was learned: a run that failed at its data leaves nothing behind.
            shutil.rmtree(self._folder)

    def events(self, cancel: Callable[[], bool]) -> Generator[TrainEvent, None, Path | None]:
        config = self._config
        parameters = sum(p.numel() for p in self._network.parameters())
        yield Started(describe_device(self._device), parameters, self._progress.step, config.steps)
        for waiting in self._source.begin(self._progress.step):
            yield waiting
            if cancel():
                return (yield from self._stop())
        yield Waiting("preparing the validation", 0.0)
        self._volumes = self._source.validation()
        if self._progress.step == 0:
            yield self._validate()
        saved = time.monotonic()
        step_backs = 0
        over = self._is_over()
        while not over:
            if cancel():
                return (yield from self._stop())
            done = self._step()
            if done is None:
                step_backs += 1
                if step_backs > _MOST_STEP_BACKS:
                    raise InputError(
                        f"the loss was not finite {step_backs} times, at last in step {self._progress.step + 1}: "
                        "lower the learning rate, and check the data for extreme values"
                    )
                yield self._step_back()
                continue
            yield done
            step = self._progress.step
            over = self._is_over()
            if step % config.validate_every == 0 or over:
                validated = self._validate()
                yield validated
                if self._waited_long_enough():
                    break
            if time.monotonic() - saved > config.checkpoint_seconds:
                yield self._save()
                saved = time.monotonic()
        path = self._keep()
        yield Trained(self._progress.step, path, self._progress.best_score, self._seconds())
        return path

    def _stop(self) -> Generator[TrainEvent, None, Path | None]:
        if self._progress.step:
            yield self._save()
        kept = self._keep() if self._progress.best_step else None
        yield Stopped(self._progress.step, kept)
        return kept

    def _step(self) -> StepDone | None:
        """One update of the weights; None, and no update, where a loss or gradient is not finite."""
        step = self._progress.step
        rate = self._rate(step)
        optimisers = self._optimisers().values()
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.zero_grad(set_to_none=True)
        samples = self._source.draw(step)
        self._network.train()
        sums: dict[str, float] = {}
        judged = 0.0
        for sample in samples:
            with self._autocast():
                losses = self._objective.losses(self._network, sample)
            total = torch.stack(list(losses.values())).sum() / len(samples)
            total.backward()  # type: ignore[no-untyped-call]
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) / len(samples)
            judged += self._judge(len(samples))
        norm = nn.utils.clip_grad_norm_(self._network.parameters(), self._config.clip)
        if not (math.isfinite(sum(sums.values()) + judged) and bool(torch.isfinite(norm))):
            return None
        for optimiser in optimisers:
            optimiser.step()
        self._average(step)
        self._progress = replace(self._progress, step=step + 1, seconds=self._seconds())
        sums["total"] = sum(sums.values())
        if self._adversary is not None:
            sums["discriminator"] = judged
        self._log.write(step + 1, sums | {"rate": rate})
        return StepDone(step + 1, self._config.steps, sums, rate, self._seconds())

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
            for kept, new in zip(self._averaged.parameters(), self._network.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)

    def _rate(self, step: int) -> float:
        config = self._config
        rate = config.rate * self._progress.rate_factor
        if config.schedule == "constant":
            return rate
        rising = max(1.0, config.warmup * config.steps)
        if step < rising:
            return rate * (step + 1) / (rising + 1)
        share = (step - rising) / max(1.0, config.steps - rising)
        return rate * (_LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * share)))

    def _validate(self) -> Validated:
        figures = dict(self._score(self._averaged, self._volumes, self._device))
        score = figures[self._decides]
        # The start itself counts: a training that does not help is not kept.
        best = score < self._progress.best_score
        if best:
            self._progress = replace(self._progress, best_score=score, best_step=self._progress.step)
            self._best.load_state_dict(self._averaged.state_dict())
            self._figures = figures
        self._log.write(self._progress.step, {f"validation/{name}": value for name, value in figures.items()})
        return Validated(self._progress.step, figures, score, best)

    def _is_over(self) -> bool:
        minutes = self._config.minutes
        return self._progress.step >= self._config.steps or (minutes is not None and self._seconds() > 60 * minutes)

    def _waited_long_enough(self) -> bool:
        patience = self._config.patience
        waited = self._progress.step - self._progress.best_step
        return patience is not None and waited >= patience * self._config.validate_every

    def _step_back(self) -> SteppedBack:
        factor = self._progress.rate_factor * _STEP_BACK
        if self._state_path.exists():
            self._progress = load_state(self._state_path, self._modules(), self._optimisers(), self._fits)
        self._progress = replace(self._progress, rate_factor=factor)
        return SteppedBack(self._progress.step, self._rate(self._progress.step))

    def _save(self) -> Saved:
        self._progress = replace(self._progress, seconds=self._seconds())
        save_state(self._state_path, self._progress, self._modules(), self._optimisers(), json.dumps(self._run))
        return Saved(self._progress.step, self._state_path)

    def _keep(self) -> Path:
        """Write the best weights as a model."""
        trained = {
            "config": self._config.model_dump(mode="json", by_alias=True),
            "steps": self._progress.step,
            "best_step": self._progress.best_step,
            "seconds": round(self._seconds()),
            "device": describe_device(self._device),
        }
        card = self._card.model_copy(
            update={"training": self._card.training | trained, "metrics": self._card.metrics | self._figures}
        )
        save_model(self._out, self._best, card, overwrite=True)
        return self._out

    def _seconds(self) -> float:
        return time.monotonic() - self._started

    def _fits(self, stored: str) -> bool:
        """Whether a state belongs to this run; parameters that are newer than the state had their defaults then."""
        try:
            config, *others = json.loads(stored)
            return TrainConfig.model_validate(config) == self._config and others == self._run[1:]
        except (ValueError, TypeError):
            return False

    def _modules(self) -> dict[str, nn.Module]:
        modules: dict[str, nn.Module] = {"network": self._network, "averaged": self._averaged, "best": self._best}
        return modules if self._adversary is None else modules | {"discriminator": self._adversary.discriminator}

    def _optimisers(self) -> dict[str, torch.optim.Optimizer]:
        optimisers: dict[str, torch.optim.Optimizer] = {"network": self._optimiser}
        return optimisers if self._discriminator is None else optimisers | {"discriminator": self._discriminator}

    def _autocast(self) -> AbstractContextManager[object]:
        if self._config.precision == "full":
            return nullcontext()
        return torch.autocast(self._device.type, torch.bfloat16)


def _first_network(config: TrainConfig, start_from: str | Path | None) -> Network:
    """The network to begin with: random weights, or those of a model of the same architecture."""
    if start_from is None:
        return build(config.architecture)
    network, card = load_model(start_from)
    if card.architecture != config.architecture:
        raise InputError(
            f"the model '{card.name}' has another architecture than the configuration: leave the architecture out of "
            "the configuration to take the model's"
        )
    return network.train()
