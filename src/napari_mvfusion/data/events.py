"""What long jobs report, as frozen dataclasses. The command line, the GUI and a notebook read the same stream."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line lists its commands without numpy
    from napari_mvfusion.data.fused import Fused
    from napari_mvfusion.data.geometry import Box, Triple


class Statement(str):
    """A remark that only states what was taken or done: nothing is wrong, and nobody needs to look."""


@dataclass(frozen=True)
class Warned:
    """Something the user should know, in one line; the job goes on."""

    message: str


@dataclass(frozen=True)
class Noted:
    """Something that was done to what was given, in one line; nothing is wrong."""

    message: str


def as_event(remark: str) -> Warned | Noted:
    """A remark as an event: noted where it only states something (`Statement`), and else warned of."""
    return Noted(remark) if isinstance(remark, Statement) else Warned(remark)


@dataclass(frozen=True)
class Preparing:
    """A pass over the whole volume before the first tile, for example its statistics; `fraction` is 0 to 1."""

    label: str
    fraction: float


@dataclass(frozen=True)
class Prepared:
    """Whole-volume statistics are done and the plan stands; tiles come next."""

    method: str
    device: str
    tile_shape: Triple
    tiles: int
    passes: int
    resumed_tiles: int
    memory_bound_bytes: int


@dataclass(frozen=True)
class TileStep:
    """A part of the work on a tile is done: `label` comes next, `fraction` of the whole run is done."""

    label: str
    fraction: float


@dataclass(frozen=True)
class TileDone:
    """One tile of one pass is finished and safe.

    `fraction` is the share of the whole job, 0 to 1; `voxels` is what this tile holds. `updated` tells that
    the target array holds new values in the box, so that a viewer may refresh it; `final`, that they are final.
    """

    box: Box
    tile: int
    tiles: int
    stage: int
    stages: int
    label: str
    fraction: float
    voxels: int
    updated: bool
    final: bool


@dataclass(frozen=True)
class IterationDone:
    """One iteration of an iterative method went over the whole volume.

    `change` is sum |new - old| / sum |old| over all voxels, the relative change of the estimate.
    """

    iteration: int
    iterations: int
    change: float


@dataclass(frozen=True)
class TileHalved:
    """Memory ran out on the device; the work goes on with smaller tiles."""

    from_shape: Triple
    to_shape: Triple


@dataclass(frozen=True)
class Cancelled:
    """The job was stopped by its user; what was finished is kept."""

    finished_tiles: int
    tiles: int
    kept: Path | None


@dataclass(frozen=True)
class Finished:
    """The fused volume is complete and, where it goes to a file, in its place."""

    fused: Fused
    seconds: float


Event = Warned | Noted | Preparing | Prepared | TileStep | TileDone | IterationDone | TileHalved | Cancelled | Finished
