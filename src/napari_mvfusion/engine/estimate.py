"""The estimate of the whole volume that an iterative method improves, in memory or on disk.

Buffers take turns: the estimate that a stage reads, the one it writes, and the one that the iteration began with, which
tells how much the iteration changed. Tiles of a stage therefore never see each other's new values. Where iterations are
accelerated, one more holds what the iteration before began with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from napari_mvfusion.data.geometry import Box, Triple
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
        values = np.empty(box.shape, np.float32)
        (z0, y0, x0), (_, y1, x1) = box.start, box.stop
        rows = np.empty((y1 - y0, self._shape[2]), np.float32)
        with self._path.open("rb") as file:
            for z in range(box.shape[0]):
                file.seek(self._position(z0 + z, y0, 0))
                if file.readinto(rows.data.cast("B")) != rows.nbytes:
                    raise OSError(f"{self._path} is shorter than the volume")
                values[z] = rows[:, x0:x1]
        return torch.from_numpy(values)

    def write(self, box: Box, values: torch.Tensor) -> None:
        pixels = np.ascontiguousarray(values.cpu().numpy())
        (z0, y0, x0), (_, y1, x1) = box.start, box.stop
        full_rows = (x0, x1) == (0, self._shape[2])
        with writing(self._path), self._path.open("r+b") as file:
            for z in range(box.shape[0]):
                if full_rows:
                    file.seek(self._position(z0 + z, y0, 0))
                    file.write(pixels[z].data.cast("B"))
                    continue
                for y in range(y1 - y0):
                    file.seek(self._position(z0 + z, y0 + y, x0))
                    file.write(pixels[z, y].data.cast("B"))

    def _position(self, z: int, y: int, x: int) -> int:
        return ((z * self._shape[1] + y) * self._shape[2] + x) * _FLOAT.itemsize


def volumes_needed(floor: float | None) -> int:
    """How many volumes an estimate takes: one more where iterations are accelerated, see `Estimate.floor`."""
    return 3 if floor is None else 4


def begins_iteration(stage: Stage, index: int) -> bool:
    """Whether an iteration begins after this stage: after the start, and after each iteration."""
    return index == 0 or stage.iteration > 0


@dataclass
class Estimate:
    """Volumes in turn; see the module's first lines.

    `end_stage` is called when all tiles of a stage are written; `mark` then tells that an iteration begins here. At the
    end of an iteration `note_step` says how long its step was, before the next one reads.

    Attributes
    ----------
    volumes : as many as `volumes_needed`
    floor : where iterations are accelerated, the least value that an extrapolated estimate may have; else None
    current, begin, earlier : which volume the stage before has written, which one the running iteration began with, and the
        one before it; None where there is none
    steps : L2 norms of the steps of all iterations, from where they began to read to where they ended
    factor : how far beyond `begin` the running iteration begins to read, as a share of the last change
    """

    volumes: Sequence[VolumeBuffer]
    floor: float | None = None
    current: int | None = None
    begin: int | None = None
    earlier: int | None = None
    steps: list[float] = field(default_factory=list)
    factor: float = 0.0

    @classmethod
    def made_of(cls, buffer: Callable[[int], VolumeBuffer], floor: float | None) -> Estimate:
        """One of as many new buffers as it takes; `buffer` makes one from its number."""
        return cls([buffer(number) for number in range(volumes_needed(floor))], floor)

    @property
    def held(self) -> set[int]:
        """The volumes that are still needed."""
        return {i for i in (self.current, self.begin, self.earlier) if i is not None}

    @property
    def target(self) -> int:
        """The volume that the running stage writes."""
        return next(i for i in range(len(self.volumes)) if i not in self.held)

    def result(self, box: Box) -> torch.Tensor:
        """The estimate that the stage before left; not to be written to."""
        assert self.current is not None
        return self.volumes[self.current].read(box)

    def before(self, box: Box) -> torch.Tensor:
        """What `earlier` holds."""
        assert self.earlier is not None
        return self.volumes[self.earlier].read(box)

    def read(self, box: Box) -> torch.Tensor:
        """What the running stage works on: `result`, and beyond it where an accelerated iteration begins."""
        latest = self.result(box)
        return self._beyond(latest, self.before(box)) if self.current == self.begin and self.factor else latest

    def write(self, box: Box, values: torch.Tensor) -> None:
        """Store a tile of the running stage."""
        self.volumes[self.target].write(box, values)

    def change(self, box: Box, values: torch.Tensor) -> tuple[float, float, float]:
        """What a box adds to the sums that tell how far an iteration went.

        Returns
        -------
        sum |values - b|, sum |b| and sum (values - y)^2: b is the estimate at the iteration's begin, and y what
        the iteration read there. The last one is 0 where iterations are not accelerated.
        """
        if self.begin is None:
            return 0.0, 0.0, 0.0
        before = self.volumes[self.begin].read(box).to(values.device)
        # What came before the beginning matters where the iteration began beyond it.
        earlier = None if self.factor == 0 else self.before(box).to(values.device)
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
        self.current = self.target
        if mark:
            self.earlier = None if self.floor is None else self.begin
            self.begin = self.current

    def note_step(self, squares: float) -> None:
        """An iteration has ended; `squares` is the last sum of `change` over all boxes."""
        self.recall([*self.steps, float(np.sqrt(squares))])

    def recall(self, steps: Sequence[float]) -> None:
        """Go on as after these steps."""
        if self.floor is not None:
            self.steps = list(steps)
            self.factor = extrapolation_factor(self.steps)

    def _beyond(self, latest: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        """Where the running iteration begins: x + a (x - x before), not below the floor, voxel by voxel."""
        return torch.lerp(before, latest, 1 + self.factor).clamp_(min=self.floor)


@dataclass(frozen=True)
class BufferRotation:
    """Which buffers hold what after some stages, and which stage has written each.

    Attributes
    ----------
    held : (buffer, stage) of the estimate, of where the iteration began, and where it is accelerated of the one before;
        equal where they are the same
    target : the buffer that the next stage writes
    """

    held: frozenset[tuple[int, int]]
    target: int


def buffer_rotations(marks: Iterable[bool], floor: float | None) -> list[BufferRotation]:
    """What the buffers hold after 0, 1, 2, ... stages; `marks` tells of each whether an iteration begins after it."""
    taking = Estimate.made_of(lambda _: DeviceBuffer(), floor)
    writer: dict[int, int] = {}
    found = [BufferRotation(frozenset(), taking.target)]
    for stage, mark in enumerate(marks):
        writer[taking.target] = stage
        taking.end_stage(mark=mark)
        found.append(BufferRotation(frozenset((i, writer[i]) for i in taking.held), taking.target))
    return found
