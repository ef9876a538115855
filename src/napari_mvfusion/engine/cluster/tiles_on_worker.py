"""What a worker of a cluster does for one volume: it computes tiles and writes them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from socket import gethostname
from typing import Any

from napari_mvfusion.data.events import Event, TileHalved
from napari_mvfusion.data.views import drain
from napari_mvfusion.engine.cluster.on_worker import cancel_of, this_worker, threads_of_worker, turn
from napari_mvfusion.engine.cluster.packing import packed, unpacked
from napari_mvfusion.engine.estimate import Turn
from napari_mvfusion.engine.outputs import JoinedOutput
from napari_mvfusion.engine.planning import RunPlan
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.engine.shared_tiles import SharedRun, TileKey
from napari_mvfusion.engine.tile_work import Stop, TileWork
from napari_mvfusion.errors import DeviceError, MemoryShortage, MVFusionError
from napari_mvfusion.methods.base import Method
from napari_mvfusion.system.devices import losses_in_words, pick_device

# Of runs that share a cluster.
_MOST_KEPT = 2
_kept: dict[str, TileWork] = {}


@dataclass(frozen=True)
class Shipment:
    """A run as it is sent to workers.

    Attributes
    ----------
    inputs : how views are opened
    content : views and bound method, packed; the method is None where workers have another kind of device, and prepare it
    method, plan, folder, aside, described, unit, unseen : as of `SharedRun`
    device : as for `fuse_events`
    """

    inputs: Mapping[str, Any]
    content: bytes
    method: Method
    plan: RunPlan
    folder: Path
    aside: Path
    described: str
    unit: float
    unseen: bool
    device: str

    @classmethod
    def of(cls, run: SharedRun, device: str, *, ready: bool) -> Shipment:
        """A run for workers with a device; `ready` tells that it is of the kind on which its method is bound."""
        content = packed((run.views, run.bound if ready else None), run.opened)
        return cls(
            run.inputs,
            content,
            run.method,
            run.plan,
            run.folder.absolute(),
            run.aside.absolute(),
            run.described,
            run.unit,
            run.unseen,
            device,
        )

    def work(self) -> TileWork:
        """What computes its tiles in this process."""
        opened = Inputs.model_validate(self.inputs).open()
        views, bound = unpacked(self.content, opened.given)
        device = pick_device(self.device)
        if bound is None:
            bound = drain(self.method.prepare(views, device))
        seen = views.seen if self.unseen else None
        output = JoinedOutput(self.folder, self.described, self.aside, self.unit, seen)
        return TileWork(views, bound, self.plan, device, output, self.folder, lambda: False, aside=self.aside)


@dataclass(frozen=True)
class TileOutcome:
    """What came of a tile.

    Attributes
    ----------
    entry : what the journal says of it; None where it was stopped, or is not computed
    events : what there is to say
    error : what ends the run; None
    taken : see `BoundMethod.taken`
    unknown : whether the worker does not know the run yet, and has to be told of it
    seconds : that it took
    """

    entry: dict[str, Any] | None = None
    events: tuple[Event, ...] = ()
    error: MVFusionError | None = None
    taken: frozenset[int] = field(default_factory=frozenset)
    unknown: bool = False
    seconds: float = 0.0


def make_tile(shipment: Shipment | None, tile: TileKey, reads: Turn | None, run: str, key: str) -> TileOutcome:
    """Compute a tile on this worker and write it.

    Parameters
    ----------
    shipment : the run, where this worker may not know it yet
    tile : which; after the last stage the estimate is handed over
    reads : which volumes its stage reads, of methods of several stages
    run : what the run is called, for `stop_run`
    key : of this task in the cluster
    """
    with turn, threads_of_worker(), losses_in_words():
        begun = time.perf_counter()
        try:
            if shipment is not None:
                _keep(run, shipment.work())
            work = _kept.get(run)
            if work is None:
                return TileOutcome(unknown=True)
            work.cancel = cancel_of(run, key)
            entry, events = made(work, tile, reads)
        except Stop:
            return TileOutcome()
        except (DeviceError, MemoryShortage) as error:
            where = f"the worker {this_worker().address} on {gethostname()}"
            return TileOutcome(error=type(error)(f"{where}: {error}"))
        except MVFusionError as error:
            return TileOutcome(error=error)
        seconds = time.perf_counter() - begun
        return TileOutcome(entry, events, taken=frozenset(work.bound.taken), seconds=seconds)


def forget_run(run: str) -> None:
    """Let go of what is kept of a run that has ended."""
    work = _kept.pop(run, None)
    if work is not None:
        work.close()


def made(work: TileWork, tile: TileKey, reads: Turn | None) -> tuple[dict[str, Any], tuple[Event, ...]]:
    """Compute a tile and write it: what the journal says of it, and what there is to say; see `make_tile`."""
    index, number = tile
    if work.estimate is not None:
        assert reads is not None
        work.estimate.turn = reads
    if index == len(work.bound.stages):
        return {"digest": work.hand_over(number)}, ()
    events: list[Event] = []
    steps = work.make(index, number)
    while True:
        work.poll()
        try:
            event = next(steps)
        except StopIteration as end:
            entry: dict[str, Any] = end.value
            return entry, tuple(events)
        if isinstance(event, TileHalved):
            events.append(event)


def _keep(run: str, work: TileWork) -> None:
    forget_run(run)
    while len(_kept) >= _MOST_KEPT:
        forget_run(next(iter(_kept)))
    _kept[run] = work
