"""The estimate of the whole volume that an iterative method improves, in memory or on disk.

Three buffers take turns: the estimate that a stage reads, the one it writes, and the one that the iteration began
with, which tells how much the iteration changed. Tiles of a stage therefore never see each other's new values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from napari_mvfusion.data.geometry import Box, Triple
from napari_mvfusion.io.atomic import writing

_FLOAT = np.dtype(np.float32)


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


@dataclass
class Estimate:
    """Three volumes in turn; see the module's first lines.

    `end_stage` is called when all tiles of a stage are written; `mark` then tells that an iteration begins here.
    """

    volumes: tuple[VolumeBuffer, VolumeBuffer, VolumeBuffer]
    current: int | None = None
    begin: int | None = None

    @property
    def target(self) -> int:
        """The buffer that the running stage writes."""
        return next(i for i in range(3) if i not in (self.current, self.begin))

    def read(self, box: Box) -> torch.Tensor:
        """The estimate that the stage before left."""
        assert self.current is not None
        return self.volumes[self.current].read(box)

    def write(self, box: Box, values: torch.Tensor) -> None:
        """Store a tile of the running stage."""
        self.volumes[self.target].write(box, values)

    def change(self, box: Box, values: torch.Tensor) -> tuple[float, float]:
        """Sum of |values - estimate at the iteration's begin| over a box, and the sum of the latter."""
        if self.begin is None:
            return 0.0, 0.0
        before = self.volumes[self.begin].read(box).to(values.device)
        return float((values - before).abs_().sum()), float(before.abs().sum())

    def end_stage(self, *, mark: bool) -> None:
        """What the stage wrote becomes the estimate; with `mark` it is also where the next iteration begins."""
        self.current = self.target
        if mark:
            self.begin = self.current


@dataclass(frozen=True)
class BufferRotation:
    """Which buffers hold what after some stages, and which stage has written each.

    Attributes
    ----------
    held : (buffer, stage) of the estimate, and of where the iteration began; equal where that is the same
    target : the buffer that the next stage writes
    """

    held: frozenset[tuple[int, int]]
    target: int


def buffer_rotations(marks: Iterable[bool]) -> list[BufferRotation]:
    """What the buffers hold after 0, 1, 2, ... stages; `marks` tells of each whether an iteration begins after it."""
    taking = Estimate((DeviceBuffer(), DeviceBuffer(), DeviceBuffer()))
    writer: dict[int, int] = {}
    found = [BufferRotation(frozenset(), taking.target)]
    for stage, mark in enumerate(marks):
        writer[taking.target] = stage
        taking.end_stage(mark=mark)
        buffers = {i for i in (taking.current, taking.begin) if i is not None}
        found.append(BufferRotation(frozenset((i, writer[i]) for i in buffers), taking.target))
    return found
