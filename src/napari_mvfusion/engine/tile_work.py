"""The work on one tile: read with its halo, computed, in smaller pieces where memory runs out, and written."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from napari_mvfusion.data.events import Event, TileHalved, TileStep
from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.data.tiles import pieces
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.estimate import (
    DeviceBuffer,
    Estimate,
    MemoryBuffer,
    StageVolumes,
    VolumesInFiles,
    VolumesInTurn,
)
from napari_mvfusion.engine.outputs import TileSink
from napari_mvfusion.engine.planning import EstimateStorage, RunPlan
from napari_mvfusion.engine.view_reader import ViewReader
from napari_mvfusion.errors import MemoryShortage, is_out_of_memory
from napari_mvfusion.imaging.threads import Interrupted, interruptible
from napari_mvfusion.methods.base import BoundMethod, Stage, TileInput, iterates
from napari_mvfusion.system.devices import release_cached_memory
from napari_mvfusion.system.journal import digest

_SMALLEST_SIDE = 8


class Stop(Exception):  # noqa: N818 - not an error: unwinds a run that the user cancelled
    """The user cancelled."""


class TileWork:
    """Computes tiles of one run, in this process.

    Attributes
    ----------
    bound : the method
    estimate : of a method of several stages, else None
    cancel : polled between steps

    Parameters
    ----------
    views, bound, plan, device : of the run
    output : gets the tiles of the last stage
    folder : of the run, None where it has none
    cancel : see above
    live : also shows the estimate in the output while it gets better
    aside : of a run that is another process's, see `Workspace.begin_sharing`
    """

    def __init__(
        self,
        views: RegisteredViews,
        bound: BoundMethod,
        plan: RunPlan,
        device: torch.device,
        output: TileSink,
        folder: Path | None,
        cancel: Callable[[], bool],
        *,
        live: bool = False,
        aside: Path | None = None,
    ) -> None:
        self.bound = bound
        self.cancel = cancel
        self._boxes = plan.tiles.boxes
        self._shape = views.grid.shape
        self._device = device
        self._output = output
        self._resumable = folder is not None
        self._shows = live, iterates(bound.stages)
        self._storage = plan.storage
        self._reader = ViewReader(views, device, keep=plan.keep_views, whole=plan.storage is EstimateStorage.DEVICE)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="mvfusion-read")
        self._ahead: tuple[tuple[Stage, Box], Future[TileInput]] | None = None
        self._limit: Triple | None = None
        several = plan.storage is not EstimateStorage.NONE
        self.estimate = Estimate(_volumes(plan, folder, aside), bound.extrapolation_floor) if several else None

    def close(self) -> None:
        """End what reads ahead."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def shows(self, stage: Stage) -> bool:
        """Whether tiles of a stage go to the output when they are computed."""
        live, iterating = self._shows
        return self.estimate is None or (live and (stage.iteration > 0 or not iterating))

    def make(
        self, index: int, number: int, following: int | None = None, span: tuple[float, float] = (0.0, 1.0)
    ) -> Generator[Event, None, dict[str, Any]]:
        """Compute and write a tile.

        Parameters
        ----------
        index, number : of its stage, and of the tile
        following : the tile of the same stage that comes next, which is read meanwhile
        span : which fractions of the run are done before it and after it

        Yields
        ------
        Steps, and that tiles are smaller from now on.

        Returns
        -------
        What the journal is to say of it.

        Raises
        ------
        Stop
            If it was cancelled.
        """
        stage, box = self.bound.stages[index], self._boxes[number]
        values = yield from self._tile(stage, box, None if following is None else self._boxes[following], span)
        entry: dict[str, Any] = {"stage": index, "tile": number}
        if self.estimate is None:
            entry["digest"] = self._output.write(box, values)
            return entry
        if self._storage is EstimateStorage.DISK:
            values = values.cpu()
            entry["digest"] = digest(values.numpy())
        if stage.iteration:
            entry["change"] = self.estimate.change(box, values)
        self.estimate.write(box, values)
        if self.shows(stage):
            self._output.write(box, values)
        return entry

    def hand_over(self, number: int) -> str | None:
        """Copy a tile of the estimate to the output, and return the digest of what a file holds then."""
        assert self.estimate is not None
        box = self._boxes[number]
        return self._output.write(box, self.estimate.result(box))

    def poll(self) -> None:
        """Raise `Stop` where the user has cancelled."""
        if self.cancel():
            raise Stop

    def _tile(
        self, stage: Stage, box: Box, following: Box | None, span: tuple[float, float]
    ) -> Generator[Event, None, torch.Tensor]:
        """Compute one tile; where memory runs out, in smaller pieces from here on."""
        begin, end = span
        queue = pieces(box, self._limit)
        values: torch.Tensor | None = None
        while queue:
            piece = queue[0]
            ahead = queue[1] if len(queue) > 1 else following and pieces(following, self._limit)[0]
            until = begin + (end - span[0]) * piece.size / box.size
            part = yield from self._try(stage, piece, ahead, (begin, until))
            if part is None:
                self._limit = self._halve(piece)
                yield TileHalved(piece.shape, self._limit)
                queue = [smaller for left in queue for smaller in pieces(left, self._limit)]
                continue
            self.poll()
            queue.pop(0)
            begin = until
            if piece == box:
                return part
            if values is None:
                values = torch.empty(box.shape, dtype=torch.float32)
            values[piece.inside(box).slices] = part.cpu()
        assert values is not None
        return values

    def _try(
        self, stage: Stage, piece: Box, ahead: Box | None, span: tuple[float, float]
    ) -> Generator[Event, None, torch.Tensor | None]:
        """Run a piece; None where memory ran out."""
        try:
            tile = self._take(stage, piece)
            if ahead is not None:
                self._ahead = ((stage, ahead), self._pool.submit(self._load, stage, ahead))
            with interruptible(self.cancel):
                steps = self.bound.run(stage, tile)
            while not isinstance(steps, torch.Tensor):
                try:
                    with interruptible(self.cancel):
                        step = next(steps)
                except StopIteration as end:
                    steps = end.value
                    continue
                yield TileStep(step.label, span[0] + step.share * (span[1] - span[0]))
                self.poll()
        except Interrupted:
            raise Stop from None
        except (MemoryError, RuntimeError, OSError) as error:
            if not is_out_of_memory(error):
                raise
            return None
        return steps

    def _take(self, stage: Stage, box: Box) -> TileInput:
        """The input of a tile: what was read ahead if it is this one, else read now."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            wanted, future = ahead
            if wanted == (stage, box):
                return future.result()
            future.cancel()
        return self._load(stage, box)

    def _load(self, stage: Stage, box: Box) -> TileInput:
        view_box = box.grow(stage.view_halo).clip(self._shape)
        values, coverage = self._reader.read(view_box, stage.views)
        estimate_box = estimate = None
        if stage.estimate_halo is not None:
            assert self.estimate is not None
            estimate_box = box.grow(stage.estimate_halo).clip(self._shape)
            estimate = self.estimate.read(estimate_box).to(self._device)
        return TileInput(box, view_box, values, coverage, estimate_box, estimate)

    def _halve(self, piece: Box) -> Triple:
        self._ahead = None
        self.bound.release()
        self._reader.release()
        release_cached_memory(self._device)
        shape = list(piece.shape)
        axis = shape.index(max(shape))
        if shape[axis] <= _SMALLEST_SIDE:
            again = " with --resume" if self._resumable else ""
            raise MemoryShortage(
                f"memory ran out even for a tile of {piece.shape} voxels: close other programs, crop the PSFs, "
                f"or use another device, then run again{again}"
            )
        shape[axis] = -(-shape[axis] // 2)
        return triple(shape)


def _volumes(plan: RunPlan, folder: Path | None, aside: Path | None) -> StageVolumes:
    if plan.storage is EstimateStorage.DEVICE:
        return VolumesInTurn(DeviceBuffer)
    if plan.storage is EstimateStorage.MEMORY:
        return VolumesInTurn(lambda: MemoryBuffer(plan.tiles.shape))
    assert folder is not None
    return VolumesInFiles(folder, plan.tiles, aside)
