"""The tiles of one volume computed by the workers of a cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from napari_mvfusion.data.events import Event
from napari_mvfusion.engine.cluster.tiles_on_worker import Shipment, TileOutcome, forget_run, make_tile
from napari_mvfusion.engine.cluster.workers import Workers, given_up
from napari_mvfusion.engine.estimate import Turn
from napari_mvfusion.engine.shared_tiles import MadeTile, OpenTiles, SharedRun, TileKey
from napari_mvfusion.engine.tile_work import Stop
from napari_mvfusion.errors import MemoryShortage, MVFusionError
from napari_mvfusion.methods.base import BoundMethod

_MOST_LOSSES = 2

Steps = Generator[Event | MadeTile, None, None]


class VolumeOnWorkers:
    """Computes tiles on a cluster; see `TileRunner`.

    Parameters
    ----------
    client : of `distributed`, connected
    """

    def __init__(self, client: Any) -> None:
        self._workers = Workers(client)
        self._device = ""
        self._sharing: _Sharing | None = None

    @property
    def count(self) -> int:
        """See `TileRunner`."""
        return len(self._workers.facts)

    @property
    def memory_bytes(self) -> int:
        """See `TileRunner`."""
        return min(there.memory_bytes for there in self._workers.facts.values())

    @property
    def threads(self) -> int:
        """See `TileRunner`."""
        return min(there.threads for there in self._workers.facts.values())

    @property
    def words(self) -> str:
        """See `TileRunner`."""
        return self._workers.words

    def begin(self, device: str, paths: Iterable[Path]) -> Generator[Event, None, tuple[str, torch.device]]:
        """See `TileRunner`."""
        yield from self._workers.begin(device, paths)
        self._device = device
        return self._workers.device, self._workers.device_here

    def check_place(self, place: Path) -> Generator[Event, None, None]:
        """See `TileRunner`."""
        yield from self._workers.check_place(place)

    def take(self, run: SharedRun) -> None:
        """See `TileRunner`."""
        alike = self._workers.device_here.type == self._workers.device
        self._sharing = _Sharing(self._workers, Shipment.of(run, self._device, ready=alike), run.bound)

    def compute(self, tiles: OpenTiles, turns: Mapping[int, Turn], cancel: Callable[[], bool]) -> Steps:
        """See `TileRunner`."""
        assert self._sharing is not None
        yield from self._sharing.steps(tiles, turns, cancel)

    def end(self) -> None:
        """See `TileRunner`."""
        self._workers.tell(forget_run)


class _Sharing:
    """Sharing out of the tiles of one run; each worker gets one at a time, near to the one that it had."""

    def __init__(self, workers: Workers, shipment: Shipment, bound: BoundMethod) -> None:
        self._workers, self._shipment, self._bound = workers, shipment, bound
        self._told: set[str] = set()
        self._latest: dict[str, int] = {}
        self._losses: Counter[TileKey] = Counter()
        self._running: dict[Any, tuple[TileKey, str]] = {}

    def steps(self, tiles: OpenTiles, turns: Mapping[int, Turn], cancel: Callable[[], bool]) -> Steps:
        """Compute tiles until none is left; see `TileRunner.compute`."""
        while tiles.left:
            if cancel():
                yield from self._stop(tiles)
                raise Stop
            yield from self._workers.look()
            try:
                self._take_back_lost()
                self._hand_out(tiles, turns)
                yield from self._gather(tiles)
            except MVFusionError:
                yield from self._stop(tiles)
                raise

    def _hand_out(self, tiles: OpenTiles, turns: Mapping[int, Turn]) -> None:
        """Give each worker that has nothing to do a tile."""
        begun = {key for key, _ in self._running.values()}
        idle = self._workers.ready - {worker for _, worker in self._running.values()}
        waiting = [key for key in tiles.ready() if key not in begun]
        for worker in sorted(idle):
            if not waiting:
                return
            key = self._nearest(waiting, worker, tiles.count)
            waiting.remove(key)
            shipment = None if worker in self._told else self._shipment
            future = self._workers.submit(make_tile, shipment, key, turns.get(key[0]), self._workers.run, worker=worker)
            self._told.add(worker)
            self._running[future] = key, worker

    def _nearest(self, waiting: Collection[TileKey], worker: str, count: int) -> TileKey:
        """Of the tiles of the earliest stage the one after that which a worker had, where what they share may be kept."""
        if worker not in self._latest:
            # The first ones begin far from each other.
            self._latest[worker] = len(self._latest) * count // max(1, len(self._workers.facts)) - 1
        latest = self._latest[worker]
        stage = min(waiting)[0]
        key = min((key for key in waiting if key[0] == stage), key=lambda key: (key[1] - latest - 1) % count)
        self._latest[worker] = key[1]
        return key

    def _take_back_lost(self) -> None:
        """What workers were at that are no more is for others."""
        for future, (key, worker) in list(self._running.items()):
            if worker not in self._workers.ready:
                del self._running[future]
                self._told.discard(worker)
                self._lose(key)

    def _lose(self, key: TileKey) -> None:
        self._losses[key] += 1
        if self._losses[key] > _MOST_LOSSES:
            raise MemoryShortage(
                "the workers that computed a tile ended one after the other, as they do where memory runs out: let them "
                "take less with --memory, or give them more, and go on with --resume"
            )

    def _gather(self, tiles: OpenTiles) -> Steps:
        """Take what workers have done."""
        for future in self._workers.wait(self._running):
            key, worker = self._running.pop(future)
            outcome: TileOutcome | None = self._workers.outcome(future, worker)
            if outcome is None:
                self._lose(key)
                continue
            if outcome.unknown:
                self._told.discard(worker)
            yield from outcome.events
            if outcome.error is not None:
                raise outcome.error
            if outcome.entry is not None:
                self._bound.taken |= outcome.taken
                tiles.close(key)
                yield MadeTile(key, outcome.entry)

    def _stop(self, tiles: OpenTiles) -> Steps:
        """Have the workers stop, and keep what they have finished by then."""
        while self._running:
            self._workers.stop()
            with suppress(MVFusionError):  # the first one is told
                yield from self._gather(tiles)
            self._workers.drop_lost()
            self._running = {
                future: (key, worker)
                for future, (key, worker) in self._running.items()
                if worker in self._workers.ready and not given_up(future)
            }
