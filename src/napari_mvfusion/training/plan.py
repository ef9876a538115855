"""From what is entered to a training job, with what it will take; runs in a thread, as files may have to be opened."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from napari_mvfusion.data.geometry import Triple
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.errors import InputError
from napari_mvfusion.methods import LearnedFusion
from napari_mvfusion.models import list_models, user_folder
from napari_mvfusion.models.universal import UniversalArchitecture
from napari_mvfusion.system.devices import beside_a_window, describe_device, pick_device
from napari_mvfusion.system.words import duration, times
from napari_mvfusion.training.cards import Description
from napari_mvfusion.training.config import DataSettings, TrainConfig
from napari_mvfusion.training.expert import expert_changes
from napari_mvfusion.training.held_out import check_blocks
from napari_mvfusion.training.job import TrainJob
from napari_mvfusion.training.loop import run_folder
from napari_mvfusion.training.own_views import blocks_in, check_tile, describe_psfs, region_of
from napari_mvfusion.training.presets import fine_tune_config
from napari_mvfusion.training.resources import ResourceEstimate, estimate_resources, measure_step
from napari_mvfusion.training.setup import model_path

OwnMode = Literal["self", "semi"]
# Measured on two cores: a new process loads torch, then every voxel of every view is looked at and filtered.
_BEGIN_SECONDS = 5.0
_VOXEL_SECONDS = 1.5e-6
# Under load it takes longer than this machine would alone; nobody knows how busy it will be.
_UNSURE = 2.0
_PROBE_SIDE, _PROBE_ROUNDS = 64, 10
# Fewer steps hardly change a model; five minutes gave 128 to 207 on two cores (docs/benchmarks.md).
_FEW_STEPS, _SENSIBLE_STEPS = 50, 100
_GIB = 2**30
_LONGEST_NAME = 64


@dataclass(frozen=True, eq=False)
class FormValues:
    """What is entered in the panel.

    Attributes
    ----------
    start : name of the model to begin with, or None for random weights
    mode, minutes, region, expert : of the training
    device, threads : where
    data : views, or how to open them
    sharp : files, or pixels (z, y, x) that may be lazy
    name : of the new model
    """

    start: str | None
    mode: OwnMode
    minutes: float
    region: DataSettings
    expert: Mapping[str, Any]
    device: str
    threads: int
    data: tuple[RegisteredViews | Inputs, ...]
    sharp: tuple[Any, ...]
    name: str


@dataclass(frozen=True, eq=False)
class Plan:
    """A job that can be started.

    Attributes
    ----------
    job : what would be run
    views : its data, opened
    estimate : what it takes
    remarks : what is odd about the views
    slowdown : how many times longer the processor takes now than if nothing else ran
    """

    job: TrainJob
    views: tuple[RegisteredViews, ...]
    estimate: ResourceEstimate
    remarks: tuple[str, ...]
    slowdown: float = 1.0

    def words(self) -> str:
        """How long it takes, how far it comes, and what it needs."""
        config, found = self.job.config, self.estimate
        minutes = config.minutes or 0.0
        device = describe_device(pick_device(self.job.device), beside_a_window(self.job.threads, self.job.device))
        least = self.preparation_seconds()
        steps, few = "", ""
        if found.step_seconds:
            count = 60 * minutes / found.step_seconds
            steps = f", about {_rounded(count)} steps"
            if count < _FEW_STEPS:
                sensible = duration(_SENSIBLE_STEPS * found.step_seconds)
                few = f" So few steps hardly change a model: allow {sensible} (about {_SENSIBLE_STEPS} steps), or more."
        tile = times(config.tile)
        size = f"{tile} voxels".replace(" ", "\N{NO-BREAK SPACE}")
        text = (
            f"About {duration(least)} to {duration(_UNSURE * least)} to prepare, then {duration(60 * minutes)} on "
            f"{device}{steps}. "
            f"Each step learns from {_tiles(config.batch)} of {size}. "
            f"Memory: up to {found.memory_bytes / _GIB:.1f} of {found.free_bytes / _GIB:.1f} GiB that are free."
        )
        text += few
        if not found.fits:
            text += " That may not fit: choose a smaller region, a smaller tile or fewer tiles a step."
        return text

    def preparation_seconds(self) -> float:
        """How long it takes at least until the first step, on a CPU with two cores as busy as it is now."""
        voxels = 0
        for views in self.views:
            settings = self.job.config.data
            held = min(region_of(views, settings).size, max(settings.whole_below, settings.blocks * settings.side**3))
            voxels += len(views) * held
        return self.slowdown * (_BEGIN_SECONDS + _VOXEL_SECONDS * voxels)


def measure_slowdown() -> float:
    """How many times longer the processor takes now than if nothing else ran, at least 1; takes a fraction of a second."""
    values = np.ones((_PROBE_SIDE,) * 3, np.float32)
    start, worked = time.perf_counter(), time.thread_time()
    for _ in range(_PROBE_ROUNDS):
        np.sin(values, out=values)
    passed, worked = time.perf_counter() - start, time.thread_time() - worked
    return max(passed / worked, 1.0) if worked > 0 else 1.0


def plan_steps(check: Callable[[], None], form_values: FormValues) -> Generator[Plan, None, None]:
    """Yield the plan, and then again with the number of steps, which may have to be measured.

    Raises
    ------
    InputError, OutputError, DeviceError
        If it could not be trained like that; says what to do instead.
    """
    pick_device(form_values.device)
    check_name_is_free(form_values.name)
    views = tuple(each.open() if isinstance(each, Inputs) else each for each in form_values.data)
    check()
    remarks: list[str] = []
    for each in views:
        if form_values.start is not None:
            remarks += LearnedFusion(model=form_values.start).check(each)
        check()
    if form_values.mode == "semi" and not form_values.sharp:
        raise InputError("no sharp volume is ticked: semi-supervised training needs one of another specimen at least")
    config = make_fine_tune(form_values, views)
    for each in views:
        check_tile(describe_psfs(each, config.weights.energy), config.tile)
        check()
    check_blocks([shape for each in views for shape in _blocks(each, config.data)], config.tile)
    job = TrainJob(
        config=config,
        out=form_values.name,
        data=form_values.data,
        sharp=form_values.sharp,
        start_from=form_values.start,
        device=form_values.device,
        threads=form_values.threads,
        description=Description(
            title=f"Fine-tuned from {form_values.start}" if form_values.start else "Trained on own views"
        ),
    )
    threads = beside_a_window(form_values.threads, form_values.device)
    found = estimate_resources(config, views, form_values.device, start_from=form_values.start, threads=threads)
    plan = Plan(job, views, found, tuple(dict.fromkeys(remarks)), measure_slowdown())
    yield plan
    if found.step_seconds is None:
        measure_step(_architecture(form_values.start), form_values.device, threads)
        check()
        known = estimate_resources(config, views, form_values.device, start_from=form_values.start, threads=threads)
        yield replace(plan, estimate=known)


def make_fine_tune(form_values: FormValues, views: Sequence[RegisteredViews]) -> TrainConfig:
    """The configuration of a run."""
    standard = fine_tune_config(form_values.mode, minutes=form_values.minutes, views=())
    changes = expert_changes(form_values.expert, standard)
    return fine_tune_config(
        form_values.mode, minutes=form_values.minutes, views=views, data=form_values.region, **changes
    )


def as_sent(check: Callable[[], None], job: TrainJob) -> Generator[None, None, TrainJob]:
    """The job as another process gets it: with sharp volumes that are read, and threads that leave the window some.

    Raises
    ------
    DeviceError
        If the device is gone.
    """
    sharp = []
    for each in job.sharp:
        check()
        sharp.append(each if not hasattr(each, "dtype") else np.asarray(each, np.float32))
        yield
    return replace(job, sharp=tuple(sharp), threads=beside_a_window(job.threads, job.device))


def check_name_is_free(name: str) -> None:
    """Refuse a name that a model or a run has already.

    Raises
    ------
    InputError, OutputError
        If it is taken, or no name.
    """
    if not name:
        raise InputError("the new model has no name: enter one")
    if run_folder(model_path(name)).exists():
        raise InputError(f"there is an unfinished run of '{name}': go on with it, discard it, or choose another name")


def suggest_name(start: str | None, sample: str) -> str:
    """A name that nothing has yet, from what is trained on and what it begins with."""
    words = "-".join(part for part in (sample, start or "scratch") if part)
    stem = re.sub(r"[^A-Za-z0-9._]+", "-", words).strip("-._")[: _LONGEST_NAME - 4] or "model"
    taken = {entry.name.lower() for entry in list_models()}
    taken |= {folder.stem.lower() for folder in user_folder().glob("*.training")}
    number = 2
    name = f"{stem}-tuned" if start and not sample else stem
    found = name
    while found.lower() in taken:
        found = f"{name}-{number}"
        number += 1
    return found


def _architecture(start: str | None) -> Any:
    from_model = [entry.card for entry in list_models() if entry.name == start and entry.card is not None]
    return from_model[0].architecture if from_model else UniversalArchitecture()


def _blocks(views: RegisteredViews, settings: DataSettings) -> list[Triple]:
    """Sizes of what can be held of a volume."""
    region = region_of(views, settings)
    if region.size <= settings.whole_below:
        return [region.shape]
    return [box.shape for box in blocks_in(region, settings.side)]


def _tiles(count: int) -> str:
    return "one tile" if count == 1 else f"{count} tiles"


def _rounded(count: float) -> str:
    """A number that does not promise more than is known."""
    if count < 10:
        return f"{max(count, 1):.0f}"
    digits = 10 ** (len(str(int(count))) - 2)
    return f"{round(count / digits) * digits:.0f}"
