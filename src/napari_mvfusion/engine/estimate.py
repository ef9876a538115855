"""The estimate of the whole volume that an iterative method improves, in memory or on disk.

Every stage writes a volume of its own: tiles of a stage therefore never see each other's new values. Three of them are
needed at once: the one that a stage reads, the one it writes, and the one that the iteration began with, which tells how
much the iteration changed. Where iterations are accelerated, one more holds what the iteration before began with. In
memory, volumes that are needed no more take their turn again.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from napari_mvfusion.data.geometry import Box, Triple
from napari_mvfusion.data.tiles import TilePlan
from napari_mvfusion.engine.acceleration import extrapolation_factor
from napari_mvfusion.io.atomic import writing
from napari_mvfusion.methods.base import Stage

_FLOAT = np.dtype(np.float32)
# Sums go over some planes at a time: few enough to stay in the cache of a CPU, on a GPU enough to keep it busy.
_SUMMED_VOXELS = {"cpu": 2**16}
_SUMMED_VOXELS_ELSEWHERE = 2**24


class VolumeBuffer(Protocol):
    """Storage of one volume."""

    def read(self, box: Box) -> torch.Tensor:
        """The values of a box; they must not be written to."""

    def write(self, box: Box, values: torch.Tensor) -> None:
        """Store the values of a box."""


class DeviceBuffer:
    """A volume that is one tile: the tensor itself is kept, on the device it was made on, without a copy."""

    def __init__(self) -> None:
        self._values: torch.Tensor | None = None

    def read(self, box: Box) -> torch.Tensor:
        assert self._values is not None
        return self._values[box.slices]

    def write(self, box: Box, values: torch.Tensor) -> None:
        del box
        self._values = values


class MemoryBuffer:
    """A volume in the memory of the host."""

    def __init__(self, shape: Triple) -> None:
        self._values = torch.empty(shape, dtype=torch.float32)

    def read(self, box: Box) -> torch.Tensor:
        return self._values[box.slices]

    def write(self, box: Box, values: torch.Tensor) -> None:
        self._values[box.slices] = values.cpu()


class DiskBuffer:
    """A volume in a raw float32 file, of which only the boxes in use are in memory.

    The file is read and written with plain calls: pages of a memory map would count as this process's memory.
    """

    def __init__(self, path: Path, shape: Triple) -> None:
        self._path = path
        self._shape = shape
        size = int(np.prod(shape, dtype=np.int64)) * _FLOAT.itemsize
        if not path.exists() or path.stat().st_size != size:
            # What a file that is too short still holds is kept: digests tell which of it is right.
            with writing(path), path.open("ab") as file:
                file.truncate(size)

    def read(self, box: Box) -> torch.Tensor:
        return torch.from_numpy(_read_rows(self._path, self._shape, box))

    def write(self, box: Box, values: torch.Tensor) -> None:
        pixels = np.ascontiguousarray(values.cpu().numpy())
        (z0, y0, x0), (_, y1, x1) = box.start, box.stop
        full_rows = (x0, x1) == (0, self._shape[2])
        with writing(self._path), self._path.open("r+b") as file:
            for z in range(box.shape[0]):
                if full_rows:
                    file.seek(_position(self._shape, z0 + z, y0, 0))
                    file.write(pixels[z].data.cast("B"))
                    continue
                for y in range(y1 - y0):
                    file.seek(_position(self._shape, z0 + z, y0 + y, x0))
                    file.write(pixels[z, y].data.cast("B"))


class StageVolumes(Protocol):
    """The volumes that stages have written, each by the number of its stage."""

    def of(self, stage: int) -> VolumeBuffer:
        """That of a stage: what it has written, or is to write."""

    def keep(self, stages: Collection[int]) -> None:
        """Of what was written before the last of some stages, only theirs is needed from now on."""


class VolumesInTurn:
    """Volumes in the memory of host or device; those that are needed no more are written anew.

    Parameters
    ----------
    make : makes one
    """

    def __init__(self, make: Callable[[], VolumeBuffer]) -> None:
        self._make = make
        self._taken: dict[int, VolumeBuffer] = {}
        self._free: list[VolumeBuffer] = []

    def of(self, stage: int) -> VolumeBuffer:
        """See `StageVolumes`."""
        if stage not in self._taken:
            self._taken[stage] = self._free.pop() if self._free else self._make()
        return self._taken[stage]

    def keep(self, stages: Collection[int]) -> None:
        """See `StageVolumes`."""
        for stage in self._taken.keys() - set(stages):
            self._free.append(self._taken.pop(stage))


class VolumesInFiles:
    """Volumes of which every tile is a raw float32 file: written once, complete when it has its name, and never changed.

    So several processes can write and read them at once, also on a disk of a network, and one that was given up and writes
    late does no harm.

    Parameters
    ----------
    folder : where they lie
    tiles : of the volume
    aside : in which files are written before they get their names, see `Workspace.begin_sharing`; None where they lie
    """

    def __init__(self, folder: Path, tiles: TilePlan, aside: Path | None = None) -> None:
        self._folder, self._tiles, self._aside = folder, tiles, aside or folder

    def of(self, stage: int) -> VolumeBuffer:
        """See `StageVolumes`."""
        return _TileFiles(self._folder / f"estimate-{stage}", self._tiles, self._aside)

    def keep(self, stages: Collection[int]) -> None:
        """See `StageVolumes`."""
        for file in self._folder.glob("estimate-*"):
            stage = int(file.name.split("-")[1])
            if stage < max(stages) and stage not in stages:
                file.unlink(missing_ok=True)


class _TileFiles:
    """One of the volumes of `VolumesInFiles`; `stem` is the path of its files without what follows for each tile."""

    def __init__(self, stem: Path, tiles: TilePlan, aside: Path) -> None:
        self._stem, self._tiles, self._aside = stem, tiles, aside

    def read(self, box: Box) -> torch.Tensor:
        values = np.empty(box.shape, np.float32)
        for number in self._tiles.meeting(box):
            tile = self._tiles.boxes[number]
            part = box.meet(tile)
            values[part.inside(box).slices] = _read_rows(self._path(number), tile.shape, part.inside(tile))
        return torch.from_numpy(values)

    def write(self, box: Box, values: torch.Tensor) -> None:
        path = self._path(self._tiles.boxes.index(box))
        aside = self._aside / f"{path.name}.{uuid.uuid4().hex[:8]}"
        with writing(path):
            aside.write_bytes(np.ascontiguousarray(values.cpu().numpy()).data.cast("B"))
            os.replace(aside, path)

    def _path(self, number: int) -> Path:
        return self._stem.with_name(f"{self._stem.name}-{number}.raw")


def _read_rows(path: Path, shape: Triple, box: Box) -> np.ndarray:
    """A box of a raw float32 file that holds a volume of a shape."""
    values = np.empty(box.shape, np.float32)
    (z0, y0, x0), (_, y1, x1) = box.start, box.stop
    rows = np.empty((y1 - y0, shape[2]), np.float32)
    with path.open("rb") as file:
        for z in range(box.shape[0]):
            file.seek(_position(shape, z0 + z, y0, 0))
            if file.readinto(rows.data.cast("B")) != rows.nbytes:
                raise OSError(f"{path} is shorter than the volume")
            values[z] = rows[:, x0:x1]
    return values


def _position(shape: Triple, z: int, y: int, x: int) -> int:
    return ((z * shape[1] + y) * shape[2] + x) * _FLOAT.itemsize


def volumes_needed(floor: float | None) -> int:
    """How many volumes an estimate takes: one more where iterations are accelerated, see `Estimate.floor`."""
    return 3 if floor is None else 4


def begins_iteration(stage: Stage, index: int) -> bool:
    """Whether an iteration begins after this stage: after the start, and after each iteration."""
    return index == 0 or stage.iteration > 0


@dataclass(frozen=True)
class Turn:
    """Which volumes a stage reads, by the numbers of the stages that have written them.

    Attributes
    ----------
    stage : the running one, counted from 0
    current, begin, earlier : which stage has written what this one reads, what the running iteration began with, and what
        the one before did; None where there is none
    factor : how far beyond `begin` the running iteration begins to read, as a share of the last change
    """

    stage: int = 0
    current: int | None = None
    begin: int | None = None
    earlier: int | None = None
    factor: float = 0.0

    @property
    def held(self) -> set[int]:
        """The stages whose volumes are still needed."""
        return {i for i in (self.current, self.begin, self.earlier) if i is not None}

    def after(self, *, mark: bool, accelerated: bool) -> Turn:
        """The next stage; with `mark` an iteration begins with it."""
        following = replace(self, stage=self.stage + 1, current=self.stage)
        if not mark:
            return following
        return replace(following, begin=self.stage, earlier=self.begin if accelerated else None)


@dataclass
class Estimate:
    """Volumes in turn; see the module's first lines.

    `end_stage` is called when all tiles of a stage are written; `mark` then tells that an iteration begins here. At the
    end of an iteration `note_step` says how long its step was, before the next one reads.

    Attributes
    ----------
    volumes : of the stages
    floor : where iterations are accelerated, the least value that an extrapolated estimate may have; else None
    turn : of the running stage
    steps : L2 norms of the steps of all iterations, from where they began to read to where they ended
    """

    volumes: StageVolumes
    floor: float | None = None
    turn: Turn = Turn()
    steps: list[float] = field(default_factory=list)

    def result(self, box: Box) -> torch.Tensor:
        """The estimate that the stage before left; not to be written to."""
        assert self.turn.current is not None
        return self.volumes.of(self.turn.current).read(box)

    def before(self, box: Box) -> torch.Tensor:
        """What the iteration before began with."""
        assert self.turn.earlier is not None
        return self.volumes.of(self.turn.earlier).read(box)

    def read(self, box: Box) -> torch.Tensor:
        """What the running stage works on: `result`, and beyond it where an accelerated iteration begins."""
        latest = self.result(box)
        begins = self.turn.current == self.turn.begin
        return self._beyond(latest, self.before(box)) if begins and self.turn.factor else latest

    def write(self, box: Box, values: torch.Tensor) -> None:
        """Store a tile of the running stage."""
        self.volumes.of(self.turn.stage).write(box, values)

    def change(self, box: Box, values: torch.Tensor) -> tuple[float, float, float]:
        """What a box adds to the sums that tell how far an iteration went.

        Returns
        -------
        sum |values - b|, sum |b| and sum (values - y)^2: b is the estimate at the iteration's begin, and y what
        the iteration read there. The last one is 0 where iterations are not accelerated.
        """
        if self.turn.begin is None:
            return 0.0, 0.0, 0.0
        before = self.volumes.of(self.turn.begin).read(box).to(values.device)
        # What came before the beginning matters where the iteration began beyond it.
        earlier = None if self.turn.factor == 0 else self.before(box).to(values.device)
        total = torch.zeros(3, dtype=torch.float64, device=values.device)
        planes = _SUMMED_VOXELS.get(values.device.type, _SUMMED_VOXELS_ELSEWHERE) // max(1, values[0].numel()) or 1
        for z in range(0, len(values), planes):
            new, old = values[z : z + planes], before[z : z + planes]
            total[0] += (new - old).abs_().sum()
            total[1] += old.abs().sum()
            if self.floor is not None:
                start = old if earlier is None else self._beyond(old, earlier[z : z + planes])
                total[2] += (new - start).square_().sum()
        absolute, size, squares = total.tolist()
        return absolute, size, squares

    def end_stage(self, *, mark: bool) -> None:
        """What the stage wrote becomes the estimate; with `mark` it is also where the next iteration begins."""
        self.turn = self.turn.after(mark=mark, accelerated=self.floor is not None)
        self.volumes.keep(self.turn.held)

    def note_step(self, squares: float) -> None:
        """An iteration has ended; `squares` is the last sum of `change` over all boxes."""
        self.recall([*self.steps, float(np.sqrt(squares))])

    def recall(self, steps: Sequence[float]) -> None:
        """Go on as after these steps."""
        if self.floor is not None:
            self.steps = list(steps)
            self.turn = replace(self.turn, factor=extrapolation_factor(self.steps))

    def _beyond(self, latest: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        """Where the running iteration begins: x + a (x - x before), not below the floor, voxel by voxel."""
        return torch.lerp(before, latest, 1 + self.turn.factor).clamp_(min=self.floor)
