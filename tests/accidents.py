"""Averages during which something happens at one tile of one volume, to test what a run on several processes does then."""

import os
import signal
import time
from pathlib import Path
from typing import ClassVar

from napari_mvfusion.imaging.threads import poll
from napari_mvfusion.methods import Average


class AverageAt(Average):
    """What happens, happens at the tile that begins here, if its first voxel in the first view has this value."""

    at: float
    start: tuple[int, int, int] = (0, 0, 0)

    def happens(self, tile):
        return tile.tile.start == self.start and float(tile.values[0, 0, 0, 0]) == self.at


class KillsOnce(AverageAt):
    """A process is killed, once: the one that computes, or another one."""

    name: ClassVar[str] = "kills-once"
    marker: str
    victim: int = 0

    def fuse_tile(self, tile, views, precomputed):
        if self.happens(tile) and not Path(self.marker).exists():
            Path(self.marker).touch()
            os.kill(self.victim or os.getpid(), signal.SIGKILL)
        return super().fuse_tile(tile, views, precomputed)


class KillsAlways(AverageAt):
    """The process that computes ends, however often it is tried, as where memory runs out."""

    name: ClassVar[str] = "kills-always"

    def fuse_tile(self, tile, views, precomputed):
        if self.happens(tile):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fuse_tile(tile, views, precomputed)


class Fails(AverageAt):
    """Something happens that nobody foresaw, as where code is not the same everywhere."""

    name: ClassVar[str] = "fails"

    def fuse_tile(self, tile, views, precomputed):
        if self.happens(tile):
            raise ZeroDivisionError("unforeseen")
        return super().fuse_tile(tile, views, precomputed)


class Endless(AverageAt):
    """It computes until it is told to stop, and leaves a file once it has begun."""

    name: ClassVar[str] = "endless"
    begun: str

    def fuse_tile(self, tile, views, precomputed):
        if self.happens(tile):
            Path(self.begun).touch()
            while True:
                poll()
                time.sleep(0.01)
        return super().fuse_tile(tile, views, precomputed)
