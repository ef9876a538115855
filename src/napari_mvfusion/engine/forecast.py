"""How much memory a run will take at most, and about how long it will be, said before it starts."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from napari_mvfusion.data.seen import about_unseen
from napari_mvfusion.data.views import RegisteredViews, ViewStatistics, VolumeLike, drain
from napari_mvfusion.engine.iteration_choice import Trial
from napari_mvfusion.engine.outputs import chunk_of
from napari_mvfusion.engine.planning import plan_run
from napari_mvfusion.errors import MemoryShortage
from napari_mvfusion.imaging.threads import Interrupted, interruptible
from napari_mvfusion.methods.base import BoundMethod, Method
from napari_mvfusion.system.devices import describe_device, free_bytes, losses_in_words, pick_device
from napari_mvfusion.system.words import duration, sentence

# Preparing may read the whole volume; what takes longer than this is left to the run. A busy machine is slow at everything,
# so work counts for more than waiting.
_WORK_S, _WAIT_S = 3.0, 20.0
# Speeds are known for volumes up to this many times smaller or larger than one that was fused.
_ALIKE = 32
# So many planes tell how much of the volume no view saw.
_PLANES = 12
_KEPT_SIZES = 6
_KEPT_KINDS = 64


@dataclass(frozen=True)
class Forecast:
    """What a run will need.

    Attributes
    ----------
    memory_bytes : at most, of the device, as `Prepared.memory_bound_bytes` will say; None where that takes the run's own
        preparation to know
    seconds : about, or None where nothing like it has been run here yet
    """

    memory_bytes: int | None
    seconds: float | None


def words_of(forecasts: Sequence[Forecast], volumes: int) -> str:
    """What runs one after the other need, of so many volumes each: "About 2 min, at most 3.1 GiB of memory"."""
    memory = [one.memory_bytes for one in forecasts]
    times = [one.seconds for one in forecasts]
    seconds = None if None in times else volumes * sum(time for time in times if time is not None)
    most = None if None in memory else max(size for size in memory if size is not None)
    if most is None and seconds is None:
        return "Time and memory are not known yet"
    time = "Time not known yet" if seconds is None else f"About {duration(seconds)}"
    room = "memory not known yet" if most is None else f"at most {most / 2**30:.1f} GiB of memory"
    return f"{time}, {room}"


def forecast_words(
    forecaster: Forecaster,
    methods: Sequence[Method],
    device: str,
    *,
    volumes: int,
    memory_share: float,
    to_file: bool,
    threads: int,
    cancel: Callable[[], bool],
) -> Generator[None, None, str]:
    """What runs by each of some methods need, one after the other, in words; yields before each.

    Parameters
    ----------
    forecaster : of the views
    methods : with their parameters
    device, to_file, threads, cancel : as for `Forecaster.forecast`
    volumes : of a series, each fused by every method
    memory_share : of the memory that is free, what a run may take

    Raises
    ------
    InputError, DeviceError, Interrupted
        As `Forecaster.forecast`; a shortage of memory is told by the words.
    """
    found = []
    for method in methods:
        yield
        budget = int(free_bytes(pick_device(device)) * memory_share)
        try:
            with losses_in_words():
                found.append(
                    forecaster.forecast(
                        method, device, memory_bytes=budget, to_file=to_file, threads=threads, cancel=cancel
                    )
                )
        except MemoryShortage as error:
            return sentence(str(error))
    unseen = forecaster.unseen_share()
    needs = words_of(found, volumes)
    return f"{needs}. {sentence(about_unseen(unseen, sampled=True))}" if unseen else needs


class Speeds:
    """How long earlier runs took, by method, kind of parameters, number of views, device and threads.

    Parameters
    ----------
    known : an earlier `state`; what is damaged in it is left out
    """

    def __init__(self, known: Mapping[str, Any] | None = None) -> None:
        self._known: dict[str, list[tuple[int, int, float]]] = {}
        for key, runs in (known or {}).items():
            if isinstance(runs, list) and all(map(_is_measured, runs)):
                self._known[key] = [(int(voxels), int(passes), float(each)) for voxels, passes, each in runs]

    def state(self) -> dict[str, Any]:
        """All that is known, as JSON types."""
        return {key: [list(run) for run in runs] for key, runs in self._known.items()}

    def add(self, key: str, voxels: int, passes: int, seconds: float) -> None:
        """Remember a run that was not resumed: voxels of its volume, passes over it, and how long it took in all."""
        kept = [run for run in self._known.pop(key, []) if not 0.5 < run[0] / voxels < 2]
        # The latest kind last, as the oldest is forgotten first.
        self._known[key] = [*kept, (voxels, passes, seconds / (voxels * passes))][-_KEPT_SIZES:]
        while len(self._known) > _KEPT_KINDS:
            del self._known[next(iter(self._known))]

    def seconds(self, key: str, voxels: int, passes: int | None) -> float | None:
        """How long a run will take, by the known one of the nearest size; None where there is none.

        Where nobody knows how many passes it takes, only runs of a single pass tell.
        """
        runs = [run for run in self._known.get(key, []) if 1 / _ALIKE <= run[0] / voxels <= _ALIKE]
        if passes is None:
            runs = [run for run in runs if run[1] == 1]
        if not runs:
            return None
        nearest = min(runs, key=lambda run: abs(math.log(run[0] / voxels)))
        return nearest[2] * voxels * (passes or 1)


def kind_of(method: Method, views: int, device: str, threads: int) -> str:
    """What decides on the speed beside the size: all parameters that are no numbers, views, device and threads.

    Numbers, such as iterations, change how many passes there are, or nothing.
    """
    parameters = method.model_dump(mode="json", by_alias=True)
    words = {key: value for key, value in parameters.items() if isinstance(value, (str, bool, type(None)))}
    where = describe_device(pick_device(device))
    return json.dumps([method.name, words, views, where, threads], sort_keys=True)


def passes_told(method: Method, passes: int) -> int:
    """How many passes of a run the forecast tells its time from: where the run finds how many it takes, it counts as one."""
    return passes if method.trial is None else 1


class Forecaster:
    """Forecasts runs on some views; looks at a sample of their planes once.

    Attributes
    ----------
    views : as given

    Parameters
    ----------
    views : are fused
    speeds : of earlier runs
    """

    def __init__(self, views: RegisteredViews, speeds: Speeds) -> None:
        self.views = views
        self._speeds = speeds
        self._sampled: RegisteredViews | None = None
        self._unseen: float | None = None

    @classmethod
    def of_sizes(cls, views: RegisteredViews, speeds: Speeds) -> Forecaster:
        """One that reads no pixel: it takes views for what their sizes and PSFs say."""
        made = cls(views, speeds)
        made._sampled = _unread(views)
        return made

    def unseen_share(self) -> float:
        """Which share of the fused volume no view sees, found on some planes and once."""
        if self._unseen is None:
            self._unseen = drain(self.views.unseen_share(_PLANES))
        return self._unseen

    def forecast(
        self,
        method: Method,
        device: str,
        *,
        memory_bytes: int,
        to_file: bool,
        threads: int = 0,
        cancel: Callable[[], bool] = lambda: False,
    ) -> Forecast:
        """Say what a run will need; takes up to some seconds, the first time longer.

        Parameters
        ----------
        method : with its parameters
        device, memory_bytes : as for `fuse_events`
        to_file : whether the result goes to a file, or becomes an array
        threads : that the run may use, 0 for all
        cancel : polled; when it says yes, `Interrupted` is raised

        Raises
        ------
        InputError, DeviceError, MemoryShortage
            As the run would; the last one says what would help.
        Interrupted
            If it was cancelled.
        """
        where = pick_device(device)
        method.check(self.views)
        if self._sampled is None:
            self._sampled = _sampled(self.views)
        views = self._sampled.without_hot() if method.removes_hot else self._sampled
        bound = _prepared(method, views, where, cancel)
        key, voxels = kind_of(method, len(views), device, threads), views.grid.box.size
        if bound is None:
            return Forecast(None, self._speeds.seconds(key, voxels, None))
        memory = 0
        if method.trial is not None:
            with interruptible(cancel):
                trial = Trial(views, method, where)
            trial.check_fits(memory_bytes)
            memory = trial.memory_bytes
        plan = plan_run(
            bound,
            views,
            chunk=chunk_of(views.grid, to_file=to_file),
            budget=memory_bytes,
            tile=None,
            array_result=not to_file,
            scratch=to_file,
        )
        passes = passes_told(method, len(bound.stages))
        return Forecast(max(plan.bound_bytes, memory), self._speeds.seconds(key, voxels, passes))


def _sampled(views: RegisteredViews) -> RegisteredViews:
    """The same views with the numbers of their whole volume told from a sample of its planes, in a safe unit."""
    drain(views.detect_no_data())
    return views.region(views.grid.box, views.without_hot().sample()).in_safe_unit()[0]


def _unread(views: RegisteredViews) -> RegisteredViews:
    """Views of the same sizes, places, PSFs and masks, with pixels that take no memory, and the numbers of these."""

    def like(volume: VolumeLike) -> np.ndarray:
        # No floating-point numbers, which would be searched for NaN.
        return np.broadcast_to(np.uint8(1), tuple(volume.shape))

    alike = RegisteredViews(
        [
            replace(
                view,
                data=like(view.data),
                mask=None if view.mask is None else like(view.mask),
                trust=None if view.trust is None else like(view.trust),
                transmission=None if view.transmission is None else like(view.transmission),
                no_data="none",
                remove_hot=False,
                offset=0.0,
                gain=1.0,
            )
            for view in views.views
        ],
        views.grid,
    )
    numbers = ViewStatistics(0.0, 1.0, 0.5, 0.5, views.grid.box.size, "", hot=0, stand_in=True)
    return alike.region(alike.grid.box, (numbers,) * len(alike))


def _prepared(
    method: Method, views: RegisteredViews, device: torch.device, cancel: Callable[[], bool]
) -> BoundMethod | None:
    """The method ready to run, or None where that takes a look at so much of the volume that it is left to the run."""
    began, worked = time.monotonic(), time.thread_time()
    late = False

    def stop() -> bool:
        nonlocal late
        late = time.thread_time() - worked > _WORK_S or time.monotonic() - began > _WAIT_S
        return late or cancel()

    steps = method.prepare(views, device)
    while True:
        try:
            if stop():
                raise Interrupted
            with interruptible(stop):
                next(steps)
        except StopIteration as end:
            bound: BoundMethod = end.value
            return bound
        except Interrupted:
            steps.close()
            if cancel():
                raise
            return None


def _is_measured(run: Any) -> bool:
    numbers = isinstance(run, (list, tuple)) and len(run) == 3 and all(isinstance(n, (int, float)) for n in run)
    return numbers and all(math.isfinite(n) and n > 0 for n in run)
