"""The volumes of a series fused by the workers of a cluster, each of which fuses a whole volume at a time."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import torch

from napari_mvfusion.data.events import Event
from napari_mvfusion.engine.cluster.on_worker import VolumeOutcome, fuse_volume
from napari_mvfusion.engine.cluster.workers import Workers
from napari_mvfusion.engine.fusion import read_from
from napari_mvfusion.engine.running_series import RunningSeries, SeriesSteps, VolumeEvent, VolumeTask, check_grid
from napari_mvfusion.engine.series_choice import SeriesChoice
from napari_mvfusion.engine.series_output import GatheredSeries, Index
from napari_mvfusion.engine.tile_work import Stop
from napari_mvfusion.errors import InputError, MVFusionError

_MOST_LOSSES = 2
_ENDS_WORKERS = (
    "the workers that fused it ended one after the other, as they do where memory runs out: let them take less with "
    "--memory, or give them more"
)

Steps = Generator[VolumeEvent, None, None]


class SeriesOnWorkers:
    """Fuses volumes on a cluster; see `VolumeRunner`.

    Parameters
    ----------
    client : of `distributed`, connected
    """

    def __init__(self, client: Any) -> None:
        self._workers = Workers(client)

    def begin(self, choice: SeriesChoice, device: str) -> Generator[Event, None, tuple[str, torch.device]]:
        """See `VolumeRunner.begin`."""
        yield from self._workers.begin(device, read_from(choice.inputs.model_dump(mode="json")))
        return self._workers.device, self._workers.device_here

    def fuse(self, series: RunningSeries, cancel: Callable[[], bool]) -> SeriesSteps:
        """See `VolumeRunner.fuse`."""
        yield from self._workers.check_place(series.output.place)
        return (yield from _Sharing(series, self._workers).steps(cancel))


class _Sharing:
    """Sharing out of one series.

    As in a run without a cluster, the first volume is the one that the others have to be like where all go into one file:
    there volumes are settled in their order until one is kept.
    """

    def __init__(self, series: RunningSeries, workers: Workers) -> None:
        self._series, self._workers = series, workers
        self._gathered = isinstance(series.output, GatheredSeries)
        self._waiting = list(series.todo)
        self._unsettled = [number for number, _ in series.todo]
        self._running: dict[Any, tuple[int, Index, str]] = {}
        self._done: dict[int, tuple[Index, VolumeOutcome]] = {}
        self._losses: Counter[Index] = Counter()

    def steps(self, cancel: Callable[[], bool]) -> SeriesSteps:
        """Fuse all; see `VolumeRunner.fuse`."""
        while self._unsettled:
            if cancel():
                yield from self._stop()
                return False
            yield from self._workers.look()
            yield from self._hand_out()
            self._gather()
            try:
                yield from self._settle()
            except MVFusionError:
                yield from self._stop()
                raise
        return True

    def _hand_out(self) -> Steps:
        """Give each worker that has nothing to do a volume."""
        self._take_back_lost()
        idle = self._workers.ready - {worker for _, _, worker in self._running.values()}
        for worker in sorted(idle):
            if not self._waiting:
                return
            number, index = self._waiting[0]
            yield self._series.begun(index)
            try:
                task = yield from self._series.task_of(index)
            except Stop:
                return
            except InputError as error:
                del self._waiting[0]
                self._done[number] = index, VolumeOutcome(failed=str(error))
                continue
            del self._waiting[0]
            self._running[self._submit(task, index, worker)] = number, index, worker

    def _take_back_lost(self) -> None:
        """What workers were at that are no more is for others; a volume that ends one after the other is given up."""
        for future, (number, index, worker) in list(self._running.items()):
            if worker in self._workers.ready:
                continue
            del self._running[future]
            self._losses[index] += 1
            if self._losses[index] > _MOST_LOSSES:
                self._done[number] = index, VolumeOutcome(failed=_ENDS_WORKERS)
            else:
                insort(self._waiting, (number, index))

    def _submit(self, task: VolumeTask, index: Index, worker: str) -> Any:
        output = self._series.output
        how = output.how()
        if not how["resume"]:
            # What a worker that is lost has left, the next one goes on with; nothing else.
            output.drop(index)
        return self._workers.submit(
            fuse_volume,
            task,
            Path(output.target(index)).absolute(),
            self._series.first,
            how | {"resume": True},
            self._workers.run,
            worker=worker,
            on_cpu=self._workers.device == "cpu",
        )

    def _gather(self) -> None:
        """Take what workers have done; what one has stopped that was given up is handed out anew."""
        for future in self._workers.wait(self._running):
            number, index, worker = self._running.pop(future)
            outcome: VolumeOutcome = self._workers.outcome(future, worker) or VolumeOutcome(failed=_ENDS_WORKERS)
            if outcome.stopped:
                insort(self._waiting, (number, index))
            else:
                self._done[number] = index, outcome

    def _settle(self) -> Steps:
        """Tell the series of the volumes that are done."""
        for number in sorted(self._done):
            if self._gathered and self._series.first is None and number != self._unsettled[0]:
                return
            index, outcome = self._done.pop(number)
            self._unsettled.remove(number)
            yield from outcome.events
            if outcome.error is not None:
                raise outcome.error
            yield from self._keep(index, outcome)

    def _keep(self, index: Index, outcome: VolumeOutcome) -> Steps:
        first = self._series.first
        try:
            if outcome.recipe is None:
                raise InputError(outcome.failed)
            if first is not None and self._gathered:
                yield from check_grid(outcome.recipe["grid"], first["grid"])
        except InputError as error:
            yield self._series.fail(index, str(error))
        else:
            yield self._series.keep(index, outcome.recipe, outcome.seconds)

    def _stop(self) -> Steps:
        """Have the workers stop, and keep what they have finished by then."""
        while self._running:
            self._workers.stop()
            self._gather()
            self._workers.drop_lost()
            self._take_back_lost()
        self._done = {number: each for number, each in self._done.items() if each[1].recipe is not None}
        yield from self._settle()
