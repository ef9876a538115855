"""The loop over stages and tiles of one run: who computes them, cancel, and what a rerun takes over."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from typing import Any

import numpy as np
import torch

from napari_mvfusion.data.events import Event, IterationDone, TileDone
from napari_mvfusion.data.geometry import Box
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.estimate import DiskBuffer, Turn, VolumeBuffer, begins_iteration
from napari_mvfusion.engine.outputs import Output, not_finite
from napari_mvfusion.engine.planning import EstimateStorage, RunPlan
from napari_mvfusion.engine.shared_tiles import MadeTile, OpenTiles, TileKey, TileRunner
from napari_mvfusion.engine.tile_work import TileWork
from napari_mvfusion.engine.workspace import Workspace
from napari_mvfusion.errors import InputError
from napari_mvfusion.methods.base import BoundMethod, Stage
from napari_mvfusion.system.devices import losses_in_words
from napari_mvfusion.system.journal import digest

_CHECKPOINT_SECONDS = 30.0


class Run:
    """The loop over stages and tiles of one run, with what it has to remember.

    Parameters
    ----------
    views, bound, plan, device, output, cancel : of the run
    workspace : of a run into a file
    live : whether the output is looked at while it fills
    runner : who computes tiles; None for this process
    """

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
        runner: TileRunner | None = None,
    ) -> None:
        self._bound = bound
        self._tiles = plan.tiles
        self._boxes = plan.tiles.boxes
        self._device = device
        self._output = output
        self._workspace = workspace
        self._storage = plan.storage
        self._runner = runner
        folder = None if workspace is None else workspace.folder
        self._work = TileWork(views, bound, plan, device, output, folder, cancel, live=live)
        self._estimate = self._work.estimate
        self._last_checkpoint = time.monotonic()
        self._done: dict[TileKey, dict[str, Any]] = {}
        self._handed: dict[int, str | None] = {}
        self.changes: list[float] = []
        self.lost_tiles = 0
        self._first_stage = self._recover()
        self._costs = np.array([stage.cost for stage in bound.stages], float)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self._work.close()

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
        while self._first_stage < len(stages):
            begin = self._first_stage
            # How far an iteration went is found from all of its tiles: there all stages wait for each other.
            last = next((i for i in range(begin, len(stages)) if stages[i].iteration), len(stages) - 1)
            if self._runner is None:
                for index in range(begin, last + 1):
                    yield from self._stage(index, stages[index])
            else:
                yield from self._shared_stages(self._runner, range(begin, last + 1))
            self._first_stage = last + 1
            if stages[last].iteration:
                converged = self._end_iteration(last)
                yield IterationDone(stages[last].iteration, max(stage.iteration for stage in stages), self.changes[-1])
                if converged:
                    break
        if self._estimate is not None:
            yield from self._hand_over()

    def _stage(self, index: int, stage: Stage) -> Generator[Event, None, None]:
        for number in range(len(self._boxes)):
            if (index, number) in self._done:
                continue
            span = self._fraction(index, number), self._fraction(index, number + 1)
            entry = yield from self._work.make(index, number, self._next_tile(index, number), span)
            self._finish_tile(index, number, entry)
            yield self._told(index, number, number + 1, span[1])
            self._work.poll()
        self._end_stage(index)

    def _shared_stages(self, runner: TileRunner, span: range) -> Generator[Event, None, None]:
        """The same for stages that others compute, of which a tile waits only for those that it reads."""
        stages = self._bound.stages
        counts = Counter(index for index, _ in self._done)
        turns = {}
        if self._estimate is not None:
            turns[span.start] = self._estimate.turn
            for index in span[:-1]:
                mark = begins_iteration(stages[index], index)
                turns[index + 1] = turns[index].after(mark=mark, accelerated=self._estimate.floor is not None)
        self._end_stages(span, counts)
        tiles = OpenTiles(self._tiles, stages, span, self._done)
        for made in runner.compute(tiles, turns, self._work.cancel):
            if not isinstance(made, MadeTile):
                yield made
                continue
            index, number = made.key
            self._finish_tile(index, number, made.entry)
            counts[index] += 1
            work = sum(self._costs[other] * counts[other] for other in counts)
            yield self._told(index, number, counts[index], float(work / (self._costs.sum() * len(self._boxes))))
            self._end_stages(span, counts)

    def _end_stages(self, span: range, counts: Mapping[int, int]) -> None:
        """End those of some stages whose tiles are all done, of which `counts` says how many are."""
        if self._estimate is None:
            return
        while (index := self._estimate.turn.stage) in span and counts[index] == len(self._boxes):
            self._end_stage(index)

    def _end_stage(self, index: int) -> None:
        if self._estimate is not None:
            self._estimate.end_stage(mark=begins_iteration(self._bound.stages[index], index))

    def _told(self, index: int, number: int, count: int, fraction: float) -> TileDone:
        """A tile of a stage is done, as the count-th of it."""
        stage = self._bound.stages[index]
        return TileDone(
            box=self._boxes[number],
            tile=count,
            tiles=len(self._boxes),
            stage=index + 1,
            stages=len(self._bound.stages),
            label=stage.label,
            fraction=fraction,
            voxels=self._boxes[number].size,
            updated=self._work.shows(stage),
            final=self._estimate is None,
        )

    def _next_tile(self, index: int, number: int) -> int | None:
        """The tile of this stage that comes next and is not finished."""
        later = range(number + 1, len(self._boxes))
        return next((other for other in later if (index, other) not in self._done), None)

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
        stages = self._bound.stages
        if self._runner is None or len(self._handed) == len(self._boxes):
            for number in range(len(self._boxes)):
                if number not in self._handed:
                    self._finish_writing(number, self._work.hand_over(number))
                yield self._written(number, number + 1)
                self._work.poll()
            return
        tiles = OpenTiles(self._tiles, stages, range(len(stages), len(stages) + 1), ())
        for made in self._runner.compute(tiles, {len(stages): self._estimate.turn}, self._work.cancel):
            if not isinstance(made, MadeTile):
                yield made
                continue
            self._finish_writing(made.key[1], made.entry["digest"])
            yield self._written(made.key[1], len(self._handed))

    def _finish_writing(self, number: int, written: str | None) -> None:
        self._handed[number] = written
        if self._workspace is not None:
            self._workspace.log({"output": {"tile": number, "digest": written}})

    def _written(self, number: int, count: int) -> TileDone:
        return TileDone(
            box=self._boxes[number],
            tile=count,
            tiles=len(self._boxes),
            stage=len(self._bound.stages),
            stages=len(self._bound.stages),
            label="writing",
            fraction=1.0,
            voxels=self._boxes[number].size,
            updated=True,
            final=True,
        )

    def _checkpoint(self, stages_done: int) -> None:
        """Save the estimate in memory, so that a kill loses only the iterations since."""
        assert self._estimate is not None
        assert self._workspace is not None
        name = f"checkpoint-{stages_done}.raw"
        entry: dict[str, Any] = {"checkpoint": name, "stages_done": stages_done, "changes": self.changes}
        entry["digests"] = self._save(name, self._estimate.result)
        if self._estimate.turn.earlier is not None:
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
        saved = DiskBuffer(self._workspace.folder / name, self._tiles.shape)
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
                DiskBuffer(self._workspace.folder / point[name], self._tiles.shape),
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

        Where they are not, the latest stage counts before which all is there that it reads.
        """
        assert self._estimate is not None
        stages = self._bound.stages
        finished = 0
        while finished < len(stages) and all((finished, n) in self._done for n in range(len(self._boxes))):
            finished += 1
        turns = [Turn()]
        for index in range(finished):
            mark = begins_iteration(stages[index], index)
            turns.append(turns[-1].after(mark=mark, accelerated=self._estimate.floor is not None))
        intact: dict[int, bool] = {}
        for turn in reversed(turns):
            for held in turn.held:
                if held not in intact:
                    intact[held] = all(self._intact(held, n) for n in range(len(self._boxes)))
            if all(intact[held] for held in turn.held):
                return turn.stage
        raise AssertionError("before the first stage nothing is held")

    def _drop_lost(self, first: int) -> None:
        """Forget tiles from a stage on that are not what was written any more."""
        known = self._done
        self._done = {key: entry for key, entry in known.items() if key[0] < first}
        for (index, number), entry in known.items():
            if index < first:
                continue
            if self._estimate is None:
                kept = self._output.holds(self._boxes[number], entry.get("digest"))
            else:
                kept = self._intact(index, number, entry)
            if kept:
                self._done[index, number] = entry
            else:
                self.lost_tiles += 1

    def _intact(self, stage: int, number: int, entry: Mapping[str, Any] | None = None) -> bool:
        """Whether a tile of the estimate is on the disk as a stage wrote it."""
        assert self._estimate is not None
        known = self._done[stage, number] if entry is None else entry
        return _holds(self._estimate.volumes.of(stage), self._boxes[number], known.get("digest"))

    def _fraction(self, stage: int, tiles_done: int) -> float:
        share = self._costs[:stage].sum() + self._costs[stage] * tiles_done / len(self._boxes)
        return float(share / self._costs.sum())


def _holds(volume: VolumeBuffer, box: Box, wanted: str | None) -> bool:
    """Whether the values of a box are those of this digest."""
    try:
        return digest(volume.read(box).numpy()) == wanted
    except OSError:
        return False
