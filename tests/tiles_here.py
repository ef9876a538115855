"""Computes the tiles of a run in this process as a worker of a cluster does, in any order that is allowed."""

import torch

from napari_mvfusion.engine.cluster.tiles_on_worker import Shipment, made
from napari_mvfusion.engine.shared_tiles import MadeTile
from napari_mvfusion.engine.tile_work import Stop


class TilesHere:
    """See `TileRunner`.

    Parameters
    ----------
    rng : draws the order
    ready : whether the method comes as it is bound, and is not prepared anew
    """

    count, memory_bytes, threads, words = 2, 2**30, 1, "this process"

    def __init__(self, rng, *, ready=True):
        self.rng, self.ready, self.order = rng, ready, []

    def begin(self, device, paths):
        yield from ()
        self.read = list(paths)
        return "cpu", torch.device("cpu")

    def check_place(self, place):
        yield from ()

    def take(self, run):
        self.run = run
        self.work = Shipment.of(run, "cpu", ready=self.ready).work()

    def compute(self, tiles, turns, cancel):
        while tiles.left:
            if cancel():
                raise Stop
            waiting = tiles.ready()
            key = waiting[self.rng.integers(len(waiting))]
            self.order.append(key)
            entry, events = made(self.work, key, turns.get(key[0]))
            yield from events
            self.run.bound.taken |= self.work.bound.taken
            tiles.close(key)
            yield MadeTile(key, entry)

    def end(self):
        self.work.close()
