"""What a worker of a cluster does: it fuses a volume as a run of its own would, and is stopped by the run it works for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname
from typing import Any

import torch

from napari_mvfusion.data.events import Event, Noted, Prepared, Warned
from napari_mvfusion.data.fused import Fused
from napari_mvfusion.engine.cluster.connecting import dask_distributed
from napari_mvfusion.engine.cluster.worker_checks import memory_of_worker
from napari_mvfusion.engine.running_series import VolumeTask
from napari_mvfusion.errors import DeviceError, InputError, MemoryShortage, MVFusionError
from napari_mvfusion.system.locks import Busy

# How long a worker that the scheduler gave up may take to let go of what it wrote.
_LEAVING_SECONDS = 60.0
_PAUSE_SECONDS = 0.5

# A worker has a place for each of its threads, and a run uses all threads at once.
turn = threading.Lock()
_stopped: set[str] = set()


@dataclass(frozen=True)
class VolumeOutcome:
    """What came of a volume.

    Attributes
    ----------
    recipe : of the fused volume; None where there is none
    failed : why it cannot be fused, which the others do not mind; ""
    error : what would end the run of any volume; None
    events : what the run had to say
    seconds : that it took
    """

    recipe: Mapping[str, Any] | None = None
    failed: str = ""
    error: MVFusionError | None = None
    events: tuple[Event, ...] = ()
    seconds: float = 0.0

    @property
    def stopped(self) -> bool:
        """Whether it was stopped before it was done."""
        return self.recipe is None and not self.failed and self.error is None


def fuse_volume(
    task: VolumeTask,
    target: Path,
    first: Mapping[str, Any] | None,
    how: Mapping[str, bool],
    run: str,
    key: str,
    *,
    on_cpu: bool,
) -> VolumeOutcome:
    """Fuse a volume on this worker.

    Parameters
    ----------
    task : what fuses it
    target, first, how : as for `VolumeTask.events`
    run : what the run is called, for `stop_run`
    key : of this task in the cluster
    on_cpu : whether it computes in the memory of the worker, and not in that of a GPU

    Returns
    -------
    What came of it, errors that are written for users too: Dask would log others with their tracebacks.
    """
    events: list[Event] = []
    if on_cpu and task.memory_bytes is None:
        task = task.within(memory_of_worker(torch.device("cpu")))
    with turn, threads_of_worker():
        begun = time.perf_counter()
        cancel = cancel_of(run, key)
        try:
            fused = _without_waiting_for_lost(task, target, first, how, cancel, events)
        except InputError as error:
            return VolumeOutcome(failed=str(error), events=tuple(events))
        except (DeviceError, MemoryShortage) as error:
            where = f"the worker {this_worker().address} on {gethostname()}"
            return VolumeOutcome(error=type(error)(f"{where}: {error}"), events=tuple(events))
        except MVFusionError as error:
            return VolumeOutcome(error=error, events=tuple(events))
        seconds = time.perf_counter() - begun
        return VolumeOutcome(None if fused is None else fused.recipe, events=tuple(events), seconds=seconds)


def stop_run(run: str) -> None:
    """Have what this worker does for a run end after its step."""
    _stopped.add(run)


def _without_waiting_for_lost(
    task: VolumeTask,
    target: Path,
    first: Mapping[str, Any] | None,
    how: Mapping[str, bool],
    cancel: Callable[[], bool],
    events: list[Event],
) -> Fused | None:
    """Fuse; where another worker had the volume and was given up, once that has let go of it."""
    until = time.monotonic() + _LEAVING_SECONDS
    while True:
        try:
            return _followed(task.events(target, first, how, cancel), events)
        except Busy:
            if cancel():
                return None
            if time.monotonic() > until:
                raise
            time.sleep(_PAUSE_SECONDS)


def _followed(steps: Generator[Event, None, Fused | None], events: list[Event]) -> Fused | None:
    while True:
        try:
            event = next(steps)
        except StopIteration as end:
            fused: Fused | None = end.value
            return fused
        if isinstance(event, (Warned, Noted, Prepared)):
            events.append(event)


def cancel_of(run: str, key: str) -> Callable[[], bool]:
    """Whether nobody waits for a task any more: its run was stopped or is gone, or this worker was given up."""
    worker = this_worker()

    def cancel() -> bool:
        state = worker.state.tasks.get(key)
        given_up = worker.status.name in ("closing", "closed", "failed")
        return run in _stopped or given_up or state is None or state.state == "cancelled"

    return cancel


@contextmanager
def threads_of_worker() -> Generator[None, None, None]:
    """Let torch use as many threads as this worker has."""
    before = torch.get_num_threads()
    torch.set_num_threads(this_worker().state.nthreads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def this_worker() -> Any:
    """The worker of Dask whose task runs in this thread."""
    return dask_distributed().get_worker()
