"""The loop over stages and tiles of one run: reading ahead, memory shortage, cancel, and what a rerun takes over."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from napari_mvfusion.data.events import Event, IterationDone, TileDone, TileHalved, TileStep
from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.data.tiles import pieces
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.estimate import (
    DeviceBuffer,
    DiskBuffer,
    Estimate,
    MemoryBuffer,
    VolumeBuffer,
    begins_iteration,
    buffer_rotations,
)
from napari_mvfusion.engine.outputs import Output, not_finite
from napari_mvfusion.engine.planning import EstimateStorage, RunPlan
from napari_mvfusion.engine.view_reader import ViewReader
from napari_mvfusion.engine.workspace import Workspace
from napari_mvfusion.errors import InputError, MemoryShortage, is_out_of_memory
from napari_mvfusion.imaging.threads import Interrupted, interruptible
from napari_mvfusion.methods.base import BoundMethod, Stage, TileInput, iterates
from napari_mvfusion.system.devices import losses_in_words, release_cached_memory
from napari_mvfusion.system.journal import digest

_SMALLEST_SIDE = 8
_CHECKPOINT_SECONDS = 30.0


class Stop(Exception):  # noqa: N818 - not an error: unwinds a run that the user cancelled
    """The user cancelled."""


class Run:
    """The loop over stages and tiles of one run, with what it has to remember."""

    def __init__(
        self,
        views: RegisteredViews,
        bound: BoundMethod,
        plan: RunPlan,
        device: torch.device,
        output: Output,
        workspace: Workspace | None,
        cancel: Callable[[], bool],
        *,
        live: bool,
    ) -> None:
        self._bound = bound
        self._boxes = plan.tiles.boxes
        self._shape = views.grid.shape
        self._device = device
        self._output = output
        self._workspace = workspace
        self._cancel = cancel
        self._live = live
        self._iterates = iterates(bound.stages)
        self._storage = plan.storage
        self._reader = ViewReader(views, device, keep=plan.keep_views, whole=plan.storage is EstimateStorage.DEVICE)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="mvfusion-read")
        self._ahead: tuple[tuple[Stage, Box], Future[TileInput]] | None = None
        self._limit: Triple | None = None
        several = plan.storage is not EstimateStorage.NONE
        self._estimate = Estimate.made_of(self._buffer, bound.extrapolation_floor) if several else None
        self._last_checkpoint = time.monotonic()
        self._done: dict[tuple[int, int], dict[str, Any]] = {}
        self._handed: dict[int, str | None] = {}
        self.changes: list[float] = []
        self.lost_tiles = 0
        self._first_stage = self._recover()
        self._costs = np.array([stage.cost for stage in bound.stages], float)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def total_tiles(self) -> int:
        """Tiles of all stages."""
        return len(self._boxes) * len(self._bound.stages)

    @property
    def _journals_tiles(self) -> bool:
        """Whether the journal names each tile. It names only what survives a kill: tiles in a file, not those in memory."""
        return self._workspace is not None and self._storage in (EstimateStorage.NONE, EstimateStorage.DISK)

    @property
    def finished_tiles(self) -> int:
        """Tiles of all stages that are finished, in this run or an earlier one."""
        return self._first_stage * len(self._boxes) + sum(stage >= self._first_stage for stage, _ in self._done)

    @property
    def digests(self) -> list[str]:
        """Of all tiles of a finished run as they lie in its file, in their order; [] where it has none."""
        last = len(self._bound.stages) - 1
        numbers = range(len(self._boxes))
        found = [self._done[last, n].get("digest") if self._estimate is None else self._handed.get(n) for n in numbers]
        return [each for each in found if each is not None]

    def events(self) -> Generator[Event, None, None]:
        """Run all stages, then hand the estimate of an iterative method to the output."""
        with losses_in_words():
            yield from self._all_stages()

    def _all_stages(self) -> Generator[Event, None, None]:
        stages = self._bound.stages
        for index in range(self._first_stage, len(stages)):
            yield from self._stage(index, stages[index])
            self._first_stage = index + 1
            if stages[index].iteration:
                converged = self._end_iteration(index)
                last = max(stage.iteration for stage in stages)
                yield IterationDone(stages[index].iteration, last, self.changes[-1])
                if converged:
                    break
        if self._estimate is not None:
            yield from self._hand_over()

    def _stage(self, index: int, stage: Stage) -> Generator[Event, None, None]:
        for number, box in enumerate(self._boxes):
            if (index, number) in self._done:
                continue
            span = self._fraction(index, number), self._fraction(index, number + 1)
            values = yield from self._tile(stage, box, self._next_box(index, number), span)
            entry: dict[str, Any] = {"stage": index, "tile": number}
            if self._estimate is None:
                entry["digest"] = self._output.write(box, values)
            else:
                if self._journals_tiles:
                    values = values.cpu()
                    entry["digest"] = digest(values.numpy())
                if stage.iteration:
                    entry["change"] = self._estimate.change(box, values)
                self._estimate.write(box, values)
            show = self._estimate is None or (self._live and (stage.iteration > 0 or not self._iterates))
            if show and self._estimate is not None:
                self._output.write(box, values)
            self._finish_tile(index, number, entry)
            yield TileDone(
                box=box,
                tile=number + 1,
                tiles=len(self._boxes),
                stage=index + 1,
                stages=len(self._bound.stages),
                label=stage.label,
                fraction=self._fraction(index, number + 1),
                voxels=box.size,
                updated=show,
                final=self._estimate is None,
            )
            self._poll()
        if self._estimate is not None:
            self._estimate.end_stage(mark=begins_iteration(stage, index))

    def _tile(
        self, stage: Stage, box: Box, following: Box | None, span: tuple[float, float]
    ) -> Generator[Event, None, torch.Tensor]:
        """Compute one tile; where memory runs out, in smaller pieces from here on.

        `span` says which fractions of the run are done before it and after it.
        """
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
            self._poll()
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
            with interruptible(self._cancel):
                steps = self._bound.run(stage, tile)
            while not isinstance(steps, torch.Tensor):
                try:
                    with interruptible(self._cancel):
                        step = next(steps)
                except StopIteration as end:
                    steps = end.value
                    continue
                yield TileStep(step.label, span[0] + step.share * (span[1] - span[0]))
                self._poll()
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
            assert self._estimate is not None
            estimate_box = box.grow(stage.estimate_halo).clip(self._shape)
            estimate = self._estimate.read(estimate_box).to(self._device)
        return TileInput(box, view_box, values, coverage, estimate_box, estimate)

    def _halve(self, piece: Box) -> Triple:
        self._ahead = None
        self._bound.release()
        self._reader.release()
        release_cached_memory(self._device)
        shape = list(piece.shape)
        axis = shape.index(max(shape))
        if shape[axis] <= _SMALLEST_SIDE:
            again = " with --resume" if self._workspace is not None else ""
            raise MemoryShortage(
                f"memory ran out even for a tile of {piece.shape} voxels: close other programs, crop the PSFs, "
                f"or use another device, then run again{again}"
            )
        shape[axis] = -(-shape[axis] // 2)
        return triple(shape)

    def _next_box(self, index: int, number: int) -> Box | None:
        """The tile of this stage that comes next and is not finished."""
        for later in range(number + 1, len(self._boxes)):
            if (index, later) not in self._done:
                return self._boxes[later]
        return None

    def _finish_tile(self, index: int, number: int, entry: dict[str, Any]) -> None:
        self._done[index, number] = entry
        if self._journals_tiles:
            assert self._workspace is not None
            self._workspace.log(entry)

    def _end_iteration(self, index: int) -> bool:
        """Note the change of an iteration, save it where that is due, and tell whether to stop."""
        assert self._estimate is not None
        sums = np.array([self._done[index, number]["change"] for number in range(len(self._boxes))], float).sum(axis=0)
        if not np.isfinite(sums).all():
            raise InputError(not_finite())
        self.changes.append(float(sums[0] / sums[1]) if sums[1] else 0.0)
        self._estimate.note_step(float(sums[2]))
        in_memory = self._storage in (EstimateStorage.DEVICE, EstimateStorage.MEMORY)
        due = time.monotonic() - self._last_checkpoint > _CHECKPOINT_SECONDS
        if self._workspace is not None and in_memory and due:
            self._checkpoint(index + 1)
        return self._bound.converged(self.changes[-1])

    def _hand_over(self) -> Generator[Event, None, None]:
        """Copy the estimate to the output, tile by tile."""
        assert self._estimate is not None
        if self._workspace is not None and not self._handed:
            self._workspace.log({"estimated": {"changes": self.changes}})
        for number, box in enumerate(self._boxes):
            if number not in self._handed:
                written = self._output.write(box, self._estimate.result(box))
                self._handed[number] = written
                if self._workspace is not None:
                    self._workspace.log({"output": {"tile": number, "digest": written}})
            yield TileDone(
                box=box,
                tile=number + 1,
                tiles=len(self._boxes),
                stage=len(self._bound.stages),
                stages=len(self._bound.stages),
                label="writing",
                fraction=1.0,
                voxels=box.size,
                updated=True,
                final=True,
            )
            self._poll()

    def _checkpoint(self, stages_done: int) -> None:
        """Save the estimate in memory, so that a kill loses only the iterations since."""
        assert self._estimate is not None
        assert self._workspace is not None
        name = f"checkpoint-{stages_done}.raw"
        entry: dict[str, Any] = {"checkpoint": name, "stages_done": stages_done, "changes": self.changes}
        entry["digests"] = self._save(name, self._estimate.result)
        if self._estimate.earlier is not None:
            entry["before"] = f"checkpoint-{stages_done}-before.raw"
            entry["digests_before"] = self._save(entry["before"], self._estimate.before)
            entry["steps"] = self._estimate.steps
        self._workspace.log(entry)
        for old in self._workspace.folder.glob("checkpoint-*.raw"):
            if old.name not in (name, entry.get("before")):
                old.unlink()
        self._last_checkpoint = time.monotonic()

    def _save(self, name: str, read: Callable[[Box], torch.Tensor]) -> list[str]:
        """Write a volume of the estimate into the folder of the run, and return the digests of its tiles."""
        assert self._workspace is not None
        saved = DiskBuffer(self._workspace.folder / name, self._shape)
        digests = []
        for box in self._boxes:
            values = read(box).cpu()
            saved.write(box, values)
            digests.append(digest(values.numpy()))
        return digests

    def _recover(self) -> int:
        """Take over what an earlier run finished and is still as it was, and return the first stage that is still to do."""
        if self._workspace is None:
            return 0
        if self._estimate is not None and self._recover_output():
            return len(self._bound.stages)
        if self._storage in (EstimateStorage.DEVICE, EstimateStorage.MEMORY):
            return self._recover_checkpoint()
        self._done = {(e["stage"], e["tile"]): e for e in self._workspace.entries if "tile" in e}
        first = 0 if self._estimate is None else self._recover_estimate()
        self._drop_lost(first)
        stages = self._bound.stages
        for index in range(first):
            assert self._estimate is not None
            self._estimate.end_stage(mark=begins_iteration(stages[index], index))
            if stages[index].iteration and self._end_iteration(index):
                # It had converged and stopped here; only the hand-over is left.
                return len(stages)
        # A method of one stage may have all its tiles.
        return 1 if self._estimate is None and len(self._done) == len(self._boxes) else first

    def _recover_output(self) -> bool:
        """Whether an earlier run has handed its whole estimate over to the output."""
        assert self._workspace is not None
        estimated = self._workspace.last("estimated")
        if estimated is None:
            return False
        handed = {e["output"]["tile"]: e["output"]["digest"] for e in self._workspace.entries if "output" in e}
        if len(handed) < len(self._boxes):
            return False
        for number, box in enumerate(self._boxes):
            if not self._output.holds(box, handed[number]):
                self.lost_tiles += 1
        if self.lost_tiles:
            return False
        self._handed = handed
        self.changes = list(estimated["changes"])
        return True

    def _recover_checkpoint(self) -> int:
        """Read the estimate that an earlier run has saved."""
        assert self._workspace is not None
        assert self._estimate is not None
        point = next((entry for entry in reversed(self._workspace.entries) if "checkpoint" in entry), None)
        if point is None:
            return 0
        saved = [("before", "digests_before")] if "before" in point else []
        found = [
            (
                DiskBuffer(self._workspace.folder / point[name], self._shape),
                point.get(digests) or [None] * len(self._boxes),
            )
            for name, digests in [*saved, ("checkpoint", "digests")]
        ]
        lost = sum(
            not all(_holds(volume, box, digests[number]) for volume, digests in found)
            for number, box in enumerate(self._boxes)
        )
        if lost:
            self.lost_tiles += lost
            return 0
        for volume, _ in found:
            for box in self._boxes:
                values = volume.read(box)
                self._estimate.write(
                    box, values.to(self._device) if self._storage is EstimateStorage.DEVICE else values
                )
            self._estimate.end_stage(mark=True)
        self._estimate.recall(point.get("steps", []))
        self.changes = list(point["changes"])
        return int(point["stages_done"])

    def _recover_estimate(self) -> int:
        """The stages that an earlier run has finished, and whose values on the disk are still what it wrote.

        Where they are not, the latest stage counts from which the buffers still hold all that the next one reads.
        """
        assert self._estimate is not None
        stages = self._bound.stages
        finished = 0
        while finished < len(stages) and all((finished, n) in self._done for n in range(len(self._boxes))):
            finished += 1
        marks = (begins_iteration(stage, index) for index, stage in enumerate(stages[:finished]))
        states = buffer_rotations(marks, self._estimate.floor)
        intact: dict[tuple[int, int], bool] = {}
        for first in range(finished, -1, -1):
            for held in states[first].held:
                if held not in intact:
                    intact[held] = all(self._intact(held[0], held[1], n) for n in range(len(self._boxes)))
            if all(intact[held] for held in states[first].held):
                self.lost_tiles += (finished - first) * len(self._boxes)
                return first
        raise AssertionError("before the first stage nothing is held")

    def _drop_lost(self, first: int) -> None:
        """Forget tiles of later stages, and those of the stage that was running which are not what was written."""
        known = self._done
        self._done = {key: entry for key, entry in known.items() if key[0] < first}
        if self._estimate is not None:
            marks = [begins_iteration(stage, index) for index, stage in enumerate(self._bound.stages[:first])]
            target = buffer_rotations(marks, self._estimate.floor)[-1].target
        for (index, number), entry in known.items():
            if index != first:
                continue
            box = self._boxes[number]
            if self._estimate is None:
                kept = self._output.holds(box, entry.get("digest"))
            else:
                kept = _holds(self._estimate.volumes[target], box, entry.get("digest"))
            if kept:
                self._done[index, number] = entry
            else:
                self.lost_tiles += 1

    def _intact(self, buffer: int, stage: int, number: int) -> bool:
        assert self._estimate is not None
        wanted = self._done[stage, number].get("digest")
        return _holds(self._estimate.volumes[buffer], self._boxes[number], wanted)

    def _buffer(self, number: int) -> VolumeBuffer:
        if self._storage is EstimateStorage.DEVICE:
            return DeviceBuffer()
        if self._storage is EstimateStorage.MEMORY:
            return MemoryBuffer(self._shape)
        assert self._workspace is not None
        return DiskBuffer(self._workspace.folder / f"estimate-{number}.raw", self._shape)

    def _fraction(self, stage: int, tiles_done: int) -> float:
        share = self._costs[:stage].sum() + self._costs[stage] * tiles_done / len(self._boxes)
        return float(share / self._costs.sum())

    def _poll(self) -> None:
        if self._cancel():
            raise Stop


def _holds(volume: VolumeBuffer, box: Box, wanted: str | None) -> bool:
    """Whether the values of a box are those of this digest."""
    return digest(volume.read(box).numpy()) == wanted
