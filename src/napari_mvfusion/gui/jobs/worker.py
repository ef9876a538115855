"""The bridge between the engine, which runs in a thread, and the GUI: one run, its events, and cancel.

The worker only yields; everything that touches layers or widgets is called on the GUI thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from napari.qt.threading import create_worker
from qtpy.QtCore import QObject, Signal

from napari_mvfusion.data.events import Cancelled, Event, Finished, TileDone, TileStep
from napari_mvfusion.data.fused import Fused
from napari_mvfusion.data.views import RegisteredViews, drain
from napari_mvfusion.engine.finished import check_finished
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.engine.provenance import parameters_of
from napari_mvfusion.engine.recipe import load_recipe, recipe_path
from napari_mvfusion.gui.jobs.ending import EndingWorker
from napari_mvfusion.gui.jobs.failures import Failed, failure_of
from napari_mvfusion.gui.layers.conversion import contrast_limits
from napari_mvfusion.methods.base import Method
from napari_mvfusion.system.devices import free_bytes, pick_device


@dataclass(frozen=True, eq=False)
class Part:
    """One volume of a job: a time point or channel, or all there is.

    Attributes
    ----------
    index : position along the axes before z, () for a plain volume
    views : what is fused
    out : a new .zarr, or None for memory
    """

    index: tuple[int, ...]
    views: RegisteredViews
    out: Path | None = None


@dataclass(frozen=True, eq=False)
class FuseJob:
    """What to fuse, how, and where to; see `fuse_events`.

    Attributes
    ----------
    parts : one volume or a series of them, all in files or none
    leading : sizes of the axes before z, () for one volume
    method : with its parameters
    device : as `fuse_events` takes it
    threads : of the CPU, 0 for all
    memory_share : of the memory that is free when a part begins
    resume, overwrite : what to do with files that are there; with `resume`, finished parts are kept
    inputs : how the views were opened, for the recipe
    """

    parts: tuple[Part, ...]
    leading: tuple[int, ...]
    method: Method
    device: str
    threads: int = 0
    memory_share: float = 0.5
    resume: bool = False
    overwrite: bool = False
    inputs: dict[str, Any] | None = None

    @property
    def views(self) -> RegisteredViews:
        """The views of the first part."""
        return self.parts[0].views

    @property
    def in_files(self) -> bool:
        """Whether the result goes to files."""
        return self.parts[0].out is not None


@dataclass(frozen=True, eq=False)
class Allocated:
    """The array that the run fills, NaN where nothing is done yet: (leading axes, z, y, x), float32."""

    values: np.ndarray


@dataclass(frozen=True)
class PartBegun:
    """A part of the job begins."""

    part: Part


@dataclass(frozen=True)
class PartDone:
    """A part of the job is complete; the job goes on."""

    part: Part
    fused: Fused


@dataclass(frozen=True)
class JobDone:
    """All parts are complete."""

    fused: tuple[Fused, ...]
    limits: tuple[float, float]
    seconds: float


Report = Event | Allocated | PartBegun | PartDone | JobDone | Failed


class FuseRun(QObject):
    """One run in a thread.

    Parameters
    ----------
    job : what to run
    parent : the run ends when it is destroyed
    """

    reported = Signal(object)
    ended = Signal()

    def __init__(self, job: FuseJob, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._cancel = threading.Event()
        self._worker = create_worker(_steps, job, self._cancel, _worker_class=StoppableWorker, _start_thread=False)
        self._worker.cancel = self._cancel
        self._worker.yielded.connect(self._report)
        self._worker.finished.connect(self._end)
        self.destroyed.connect(_setter(self._cancel))

    def start(self) -> None:
        """Start the thread."""
        self._worker.start()

    def cancel(self) -> None:
        """Ask the engine to stop at its next step; what is finished by then is kept."""
        self._cancel.set()

    def _report(self, event: Report) -> None:
        self.reported.emit(event)

    def _end(self) -> None:
        self.ended.emit()
        self.deleteLater()


def _setter(cancel: threading.Event) -> Callable[[], None]:
    """A slot that knows the flag only: the run is gone when it is called."""
    return lambda: cancel.set()


class StoppableWorker(EndingWorker):
    """A worker that stops by the engine's own cancel, so that the engine can close its files and say what is kept."""

    cancel: threading.Event

    def quit(self) -> None:
        """Let the work end at its next poll."""
        self.cancel.set()


def _steps(job: FuseJob, cancel: threading.Event) -> Generator[Report, None, None]:
    """The engine's events; an error becomes the last one, because a worker would lose the errors that Qt may cause."""
    try:
        with _threads(job.threads):
            yield from _parts(job, cancel)
    except Exception as error:
        yield failure_of(error, when_memory_ran_out="write the result to an OME-Zarr")


def _parts(job: FuseJob, cancel: threading.Event) -> Generator[Report, None, None]:
    started = time.perf_counter()
    values: np.ndarray | None = None
    if not job.in_files:
        values = np.full((*job.leading, *job.views.grid.shape), np.nan, np.float32)
        yield Allocated(values)
    results: list[Fused] = []
    try:
        yield from _one_after_the_other(job, values, cancel, results)
    except Exception:
        _keep_finished(values, len(results), job)
        raise
    if len(results) == len(job.parts):
        limits = contrast_limits([fused.data for fused in results])
        yield JobDone(tuple(results), limits, time.perf_counter() - started)


def _one_after_the_other(
    job: FuseJob, values: np.ndarray | None, cancel: threading.Event, results: list[Fused]
) -> Generator[Report, None, None]:
    """Fuse the parts of a job and gather what is complete."""
    budget = int(free_bytes(pick_device(job.device)) * job.memory_share)
    for number, part in enumerate(job.parts):
        if cancel.is_set():
            _keep_finished(values, number, job)
            yield Cancelled(0, 0, None)
            return
        yield PartBegun(part)
        done = _finished_before(part, job) if job.resume else None
        if done is None:
            for event in fuse_events(
                part.views,
                job.method,
                device=job.device,
                out=part.out,
                into=None if values is None else values[part.index],
                resume=job.resume,
                overwrite=job.overwrite,
                cancel=cancel.is_set,
                memory_bytes=budget,
                inputs=job.inputs,
            ):
                match event:
                    case Finished(fused):
                        done = fused
                    case TileDone() | TileStep():
                        share = (number + event.fraction) / len(job.parts)
                        yield replace(event, label=_label(event.label, number, job), fraction=share)
                    case Cancelled():
                        _keep_finished(values, number, job)
                        yield event
                    case _:
                        yield event
        if done is None:
            return  # cancelled, as its last event said
        results.append(done)
        yield PartDone(part, done)


def _keep_finished(values: np.ndarray | None, finished: int, job: FuseJob) -> None:
    """Zero what a run in memory leaves: of a series all volumes that are not complete, else voxels without a value.

    Nobody could tell from its pixels that a volume in the midst of a series is half-way. A single one is marked by the
    name of its layer.
    """
    if values is None:
        return
    if len(job.parts) == 1:
        np.nan_to_num(values, copy=False)
        return
    for part in job.parts[finished:]:
        values[part.index] = 0


def _label(label: str, number: int, job: FuseJob) -> str:
    return label if len(job.parts) == 1 else f"volume {number + 1} of {len(job.parts)}, {label}"


def _finished_before(part: Part, job: FuseJob) -> Fused | None:
    """A part that an earlier run of the same series has finished with the same method."""
    if part.out is None or len(job.parts) == 1 or not recipe_path(part.out).is_file():
        return None
    known = load_recipe(recipe_path(part.out))
    same = known.method.parameters == parameters_of(job.method)
    if known.method.name != job.method.name or not same or not part.out.is_dir():
        return None
    drain(check_finished(part.out, known.model_dump(mode="json")))
    return Fused(zarr.open_array(part.out / "0", mode="r"), part.views.grid, known.model_dump(mode="json"), part.out)


@contextmanager
def _threads(wanted: int) -> Generator[None, None, None]:
    """Let torch use this many threads of the CPU, 0 for all it would use by itself."""
    before = torch.get_num_threads()
    if wanted:
        torch.set_num_threads(wanted)
    try:
        yield
    finally:
        torch.set_num_threads(before)
