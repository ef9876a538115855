"""The training loop: a generator of events that can be paused, stopped between steps, killed, and resumed."""

from __future__ import annotations

import copy
import errno
import gc
import json
import math
import shutil
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeVar

import torch

from napari_mvfusion.data.events import Warned
from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.errors import (
    DiskFullError,
    InputError,
    MemoryShortage,
    MVFusionError,
    OutputError,
    is_out_of_memory,
)
from napari_mvfusion.imaging.threads import Interrupted, interruptible
from napari_mvfusion.io.atomic import DISK_FULL
from napari_mvfusion.models import ModelCard
from napari_mvfusion.models.build import Generator as Network
from napari_mvfusion.models.model_file import state_sha256
from napari_mvfusion.system.devices import describe_device, losses_in_words, release_cached_memory
from napari_mvfusion.system.locks import locked
from napari_mvfusion.training.clock import Clock
from napari_mvfusion.training.config import SceneSettings, TrainConfig
from napari_mvfusion.training.figures import Figures
from napari_mvfusion.training.final_model import check_written_by_run, finished_card, save_card, save_final_model
from napari_mvfusion.training.learner import Learner
from napari_mvfusion.training.logs import Log
from napari_mvfusion.training.memory_fallback import SMALLEST_SIDE, smaller_step
from napari_mvfusion.training.objectives import Adversary, Objective
from napari_mvfusion.training.previews import Previews
from napari_mvfusion.training.sample_source import SampleSource, stoppable
from napari_mvfusion.training.state import RUN_SUFFIX, STATE_FILE, TrainingProgress, has_state, load_state, save_state
from napari_mvfusion.training.training_events import (
    Continued,
    MemoryFallback,
    Paused,
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
from napari_mvfusion.training.training_samples import TrainingVolume, part_of

__all__ = ["SampleSource", "Score", "run_folder", "stoppable", "train_events"]

T = TypeVar("T")
_LAST_RATE = 0.01
_STEP_BACK = 0.5
_MOST_STEP_BACKS = 8
_POLL_SECONDS = 0.05
# Better weights are safe on disk after this time, if there was no checkpoint meanwhile.
_BETTER_SECONDS = 10.0
_CLOSE = "close other programs"
# A run that goes on may end elsewhere, and be saved more or less often.
_MAY_CHANGE = ("minutes", "patience", "checkpoint_seconds")


Score = Callable[[Network, Sequence[TrainingVolume], torch.device], Mapping[str, float]]


def train_events(
    config: TrainConfig,
    source: SampleSource,
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
    paused: Callable[[], bool] = lambda: False,
    preview_seconds: float | None = None,
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
    resume : go on with an earlier run of `out` where there is one, also one that is complete: with more `steps`
        (schedule "constant") or `minutes`, both counted from the very start
    cancel : polled between steps and between the layers of a network; when it returns True the run ends with `Stopped`
    paused : polled between steps; while it returns True the run waits, with a checkpoint saved
    preview_seconds : about how often `Previewed` comes, where the score has a residual; None for never

    Yields
    ------
    Events of `napari_mvfusion.training.training_events`, the last one `Trained` or `Stopped`.

    Returns
    -------
    The file with the best weights, or None when there are none yet.

    Raises
    ------
    InputError, OutputError
        If the start does not fit the configuration, files are in the way, or another run trains this model; before any
        training.
    MemoryShortage
        If memory runs out even for the smallest tile; the last checkpoint stays.
    """
    folder = run_folder(out)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        learner = Learner(config, objective, adversary, start_from, device)
        training = _Training(config, source, learner, score, card, out, decides, device, start_from, resume=resume)
        try:
            return (yield from training.events(cancel, paused, preview_seconds))
        except OSError as error:
            # Logs, states and models are written by different libraries.
            if not (isinstance(error, DiskFullError) or error.errno in DISK_FULL):
                raise
            if isinstance(error, DiskFullError):
                path, too_long = error.path, error.too_long
            else:
                path, too_long = error.filename or folder, error.errno == errno.EFBIG
            raise DiskFullError(path, "go on with --resume: the last state that was saved is kept", too_long) from error
        finally:
            training.close()


def run_folder(out: Path) -> Path:
    """The folder that a run of a model works in: its state, configuration and logs."""
    return out.with_name(f"{out.stem}{RUN_SUFFIX}")


class _Training:
    """One run, with what it has to remember."""

    def __init__(
        self,
        config: TrainConfig,
        source: SampleSource,
        learner: Learner,
        score: Score,
        card: ModelCard,
        out: Path,
        decides: str,
        device: torch.device,
        start_from: str | Path | None,
        *,
        resume: bool,
    ) -> None:
        self._config, self._source, self._learner, self._score = config, source, learner, score
        self._out, self._decides, self._device = out, decides, device
        self._card = card.model_copy(update={"training": card.training | {"device": describe_device(device)}})
        self._folder = run_folder(out)
        self._state_path = self._folder / STATE_FILE
        if out.exists() and not (resume and has_state(self._state_path)):
            raise OutputError(f"{out} exists already: choose another name")
        if has_state(self._state_path) and not resume:
            raise OutputError(
                f"{self._folder} holds an unfinished run: go on with it (--resume), remove it, or choose another name"
            )
        # What the same run has in common before and after a kill.
        self._run = [config.model_dump(mode="json", by_alias=True), str(start_from or ""), *source.identity()]
        self._progress = TrainingProgress()
        self._start: Network | None = copy.deepcopy(learner.averaged)
        self._remarks: list[str] = []
        self._newest_is_intact = True
        if has_state(self._state_path):
            self._load()
            self._check_written_by_run()
        self._saved_step = self._progress.step
        self._log: Log | None = None
        self._clock = Clock(self._progress.seconds)
        self._volumes: Sequence[TrainingVolume] = ()
        self._previews: Previews | None = None

    def close(self) -> None:
        if self._log is not None:
            self._log.close()
        self._source.close()
        if self._folder.exists() and not has_state(self._state_path):
            # Nothing was learned: a run that failed leaves nothing behind.
            shutil.rmtree(self._folder)

    def events(
        self, cancel: Callable[[], bool], paused: Callable[[], bool], preview_seconds: float | None
    ) -> Generator[TrainEvent, None, Path | None]:
        try:
            yield from self._prepare(cancel, paused)
            yield from self._train(cancel, paused, preview_seconds)
        except Interrupted:
            return (yield from self._stop())
        except Exception as error:
            if isinstance(error, MVFusionError) or not is_out_of_memory(error):
                raise
            raise MemoryShortage(
                f"memory ran out beside the steps of training: {_CLOSE}, or train on a smaller region; the last checkpoint "
                "stays"
            ) from error
        path = self._keep(complete=True)
        progress = self._progress
        yield Trained(
            progress.step,
            path,
            progress.best_score,
            progress.seconds,
            progress.start,
            progress.best,
            progress.best_step,
        )
        return path

    def _prepare(self, cancel: Callable[[], bool], paused: Callable[[], bool]) -> Generator[TrainEvent, None, None]:
        progress = self._progress
        parameters = sum(p.numel() for p in self._learner.network.parameters())
        yield Started(describe_device(self._device), parameters, progress.step, self._config.steps)
        yield from self._say_remarks()
        for waiting in stoppable(self._source.begin(progress.step), cancel):
            yield waiting
            if paused():
                yield from self._wait(cancel, paused)
        yield Waiting("preparing the validation", 0.0)
        with interruptible(cancel):
            self._volumes = self._source.validation()
        if progress.tile is not None and progress.batch is not None:
            self._source.shrink(progress.tile, progress.batch)

    def _train(
        self, cancel: Callable[[], bool], paused: Callable[[], bool], preview_seconds: float | None
    ) -> Generator[TrainEvent, None, None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "config.json").write_text(self._config.model_dump_json(by_alias=True, indent=2))
        save_card(self._folder, self._card)
        self._log = Log(self._folder, self._progress.step)
        self._clock.go_on()
        saved = time.monotonic()
        step_backs = 0
        while True:
            over = self._is_over()
            if self._owes_validation(over=over):
                validated = self._within_memory(self._validate, cancel)
                if validated is None:
                    yield self._validate_less()
                    continue
                yield validated
                if self._waited_long_enough():
                    return
            if over:
                return
            if self._progress.step != self._saved_step and time.monotonic() - saved > self._checkpoint_seconds():
                yield self._save()
                saved = time.monotonic()
            if preview_seconds is not None:
                yield from self._preview(cancel, preview_seconds)
            if cancel():
                raise Interrupted
            if paused():
                yield from self._wait(cancel, paused)
                continue
            done = self._within_memory(self._step, cancel)
            if done is None:
                yield self._fall_back()
            elif done == "not finite":
                step_backs += 1
                if step_backs > _MOST_STEP_BACKS:
                    raise InputError(
                        f"the loss was not finite {step_backs} times, at last in step {self._progress.step + 1}: "
                        "lower the learning rate, and check the data for extreme values"
                    )
                yield self._step_back()
                yield from self._say_remarks()
            else:
                yield done

    def _stop(self) -> Generator[TrainEvent, None, Path | None]:
        if self._progress.step:
            yield self._save()
        kept = self._keep(complete=False) if self._progress.best_step else None
        yield Stopped(self._progress.step, kept, self._progress.start, self._progress.best)
        return kept

    def _wait(self, cancel: Callable[[], bool], paused: Callable[[], bool]) -> Generator[TrainEvent, None, None]:
        """Wait until the pause ends, or the run is cancelled."""
        if self._progress.step:
            yield self._save()
        was_running = self._clock.runs
        self._clock.pause()
        release_cached_memory(self._device)
        yield Paused(self._progress.step)
        while paused() and not cancel():
            time.sleep(_POLL_SECONDS)
        if was_running:
            self._clock.go_on()
        if not cancel():
            yield Continued(self._progress.step)

    def _within_memory(self, work: Callable[[], T], cancel: Callable[[], bool]) -> T | None:
        """Do some work; None where memory ran out, which is then given back."""
        try:
            with interruptible(cancel), losses_in_words():
                return work()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Only here, where the error and with it the frames that hold tensors are gone.
        self._learner.forget_gradients()
        gc.collect()
        release_cached_memory(self._device)
        return None

    def _step(self) -> StepDone | Literal["not finite"]:
        step = self._progress.step
        rate = self._rate(step)
        losses = self._learner.step(self._source.draw(step), step, rate)
        if losses is None:
            return "not finite"
        self._progress = replace(self._progress, step=step + 1, seconds=self._clock.seconds, complete=False)
        self._note(step + 1, losses | {"rate": rate})
        return StepDone(step + 1, self._config.steps, losses, rate, self._clock.seconds)

    def _fall_back(self) -> MemoryFallback:
        """Go on with fewer or smaller tiles."""
        config, progress = self._config, self._progress
        now = smaller_step(progress.tile or config.tile, progress.batch or config.batch, self._source.least_tile())
        if now is None:
            raise self._out_of_memory(progress.tile or config.tile)
        tile, batch = now
        self._progress = replace(progress, tile=tile, batch=batch)
        self._source.shrink(tile, batch)
        return MemoryFallback(progress.step, tile, batch)

    def _validate_less(self) -> Warned:
        """Validate on parts of the volumes that are never trained on."""
        sides = [max(volume.shape[axis] for volume in self._volumes) for axis in range(3)]
        now = self._progress.validation_box or triple(n // 4 * 4 for n in sides)
        smaller = smaller_step(now, 1, (SMALLEST_SIDE,) * 3)
        if smaller is None:
            raise self._out_of_memory(now)
        # Scores on other parts cannot be compared: those of the past are forgotten.
        self._progress = replace(self._progress, validation_box=smaller[0], best_score=math.inf, start={}, best={})
        return Warned(f"memory ran out: validating on parts of {_voxels(smaller[0])} from here on")

    def _out_of_memory(self, tile: Triple) -> MemoryShortage:
        return MemoryShortage(
            f"even a tile of {_voxels(tile)} does not fit into the memory of {describe_device(self._device)}: {_CLOSE}, "
            "take a model with fewer feature maps, cut the PSFs (weights.energy), or use device cpu"
        )

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

    def _owes_validation(self, *, over: bool) -> bool:
        step = self._progress.step
        return self._progress.validated != step and (over or step % self._config.validate_every == 0)

    def _validate(self) -> Validated:
        step = self._progress.step
        if self._progress.validation_box is not None and step and not math.isfinite(self._progress.best_score):
            rescored = dict(self._score(self._learner.best, self._validation_volumes(), self._device))
            self._progress = replace(self._progress, best_score=rescored[self._decides], best=rescored)
        figures = Figures(self._score(self._learner.averaged, self._validation_volumes(), self._device))
        score = figures[self._decides]
        # The start itself counts: a training that does not help is not kept.
        best = score < self._progress.best_score
        if best:
            self._progress = replace(self._progress, best_score=score, best_step=step, best=figures)
            self._learner.keep_average()
        self._progress = replace(self._progress, validated=step, start=self._progress.start if step else figures)
        self._note(step, {f"validation/{name}": value for name, value in figures.items()})
        return Validated(step, figures, score, best)

    def _note(self, step: int, values: Mapping[str, float]) -> None:
        assert self._log is not None
        self._log.write(step, values)

    def _validation_volumes(self) -> Sequence[TrainingVolume]:
        """The volumes to validate on, or what memory allows of them."""
        part = self._progress.validation_box
        if part is None:
            return self._volumes
        box = Box.whole(part)
        return [
            replace(
                part_of(each, box), noise_split=None if each.noise_split is None else part_of(each.noise_split, box)
            )
            for each in self._volumes
        ]

    def _preview(self, cancel: Callable[[], bool], seconds: float) -> Generator[TrainEvent, None, None]:
        """Show what there is to see, where it is time for that."""
        volumes = [
            replace(volume, noise_split=None) for volume in self._validation_volumes() if volume.recording is not None
        ]
        if self._previews is None and self._start is not None and volumes:
            start, self._start = self._start, None
            self._previews = self._within_memory(
                lambda: Previews(volumes, self._score, start, self._device, seconds), cancel
            )
        if self._previews is None or not self._previews.due:
            return
        previews = self._previews
        shown = self._within_memory(lambda: previews.make(self._progress.step, self._learner.averaged), cancel)
        if shown is None:
            self._previews = None
            yield Warned("memory ran out: there are no more previews")
        else:
            yield shown

    def _checkpoint_seconds(self) -> float:
        """How long after a checkpoint the next one is due."""
        seconds = self._config.checkpoint_seconds
        return min(seconds, _BETTER_SECONDS) if self._progress.best_step > self._saved_step else seconds

    def _is_over(self) -> bool:
        minutes = self._config.minutes
        return self._progress.step >= self._config.steps or (minutes is not None and self._clock.seconds > 60 * minutes)

    def _waited_long_enough(self) -> bool:
        patience = self._config.patience
        waited = self._progress.step - self._progress.best_step
        return patience is not None and waited >= patience * self._config.validate_every

    def _step_back(self) -> SteppedBack:
        before = self._progress
        if has_state(self._state_path):
            self._load()
        self._progress = replace(
            self._progress, rate_factor=before.rate_factor * _STEP_BACK, tile=before.tile, batch=before.batch
        )
        return SteppedBack(self._progress.step, self._rate(self._progress.step))

    def _say_remarks(self) -> Generator[TrainEvent, None, None]:
        """Say what was found when a state was loaded."""
        remarks, self._remarks = self._remarks, []
        yield from map(Warned, remarks)

    def _load(self) -> None:
        learner = self._learner
        loaded = load_state(self._state_path, learner.modules(), learner.optimisers(), self._differs)
        self._progress, self._newest_is_intact = loaded.progress, loaded.newest
        self._remarks += loaded.remarks

    def _save(self) -> Saved:
        self._progress = replace(self._progress, seconds=self._clock.seconds)
        learner = self._learner
        save_state(
            self._state_path,
            self._progress,
            learner.modules(),
            learner.optimisers(),
            json.dumps(self._run),
            keep_last=self._newest_is_intact,
        )
        self._newest_is_intact = True
        self._saved_step = self._progress.step
        return Saved(self._progress.step, self._state_path)

    def _keep(self, *, complete: bool) -> Path:
        """Write the best weights as a model, and before that a state that knows the model as its own."""
        known = self._model_hashes()
        self._progress = replace(self._progress, model_hashes=known, complete=complete)
        self._save()
        card = finished_card(self._card, self._config, self._progress)
        save_final_model(self._out, self._learner.best.state_dict(), card, self._folder, known)
        return self._out

    def _check_written_by_run(self) -> None:
        """Refuse a model of somebody else. The state may be older than the model that it is the best of: note that too."""
        known = self._model_hashes()
        check_written_by_run(self._out, self._folder, known)
        if self._out.exists():
            self._progress = replace(self._progress, model_hashes=known)

    def _model_hashes(self) -> tuple[str, ...]:
        """Hashes of the weights that this run wrote as its model, or would write now."""
        return tuple(dict.fromkeys((*self._progress.model_hashes, self._best_sha256())))

    def _best_sha256(self) -> str:
        return state_sha256({name: value.cpu() for name, value in self._learner.best.state_dict().items()})

    def _differs(self, stored: str) -> str:
        """What of this run a state says otherwise; parameters that are newer than the state had their defaults then."""
        try:
            values, start, *identity = json.loads(stored)
            config = TrainConfig.model_validate(values)
        except (ValueError, TypeError):
            return "they cannot be read"
        # On another schedule, the rates of the past depend on the number of steps.
        free = (*_MAY_CHANGE, "steps") if config.schedule == "constant" else _MAY_CHANGE
        names = [name for name in TrainConfig.model_fields if name not in free]
        changed = [name for name in names if _lasting(config, name) != _lasting(self._config, name)]
        found = [f"other settings: {', '.join(changed)}"] if changed else []
        _, start_now, *identity_now = self._run
        if start != start_now:
            found.append(f"it began with {start or 'no model'}, now {start_now or 'no model'} is given")
        if len(identity) != len(identity_now):
            found.append(f"it learned from {len(identity)} views and sharp volumes, now {len(identity_now)} are given")
        else:
            others = [
                str(n) for n, pair in enumerate(zip(identity, identity_now, strict=True), 1) if pair[0] != pair[1]
            ]
            if others:
                count = f"{', '.join(others)} of {len(identity)}"
                found.append(f"other pixels, PSF or place of view {count}, counted in their order, sharp volumes last")
        return "; ".join(found)


def _lasting(config: TrainConfig, name: str) -> object:
    """A parameter that a run keeps; how many processes make its scenes depends on the machine."""
    value = getattr(config, name)
    return value.model_copy(update={"workers": 0}) if isinstance(value, SceneSettings) else value


def _voxels(tile: Triple) -> str:
    return f"{' x '.join(map(str, tile))} voxels"
