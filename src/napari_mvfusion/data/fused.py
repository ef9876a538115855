"""A fused volume, and all that is known of how it was made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_mvfusion.data.field_of_view import VolumeLike
from napari_mvfusion.data.geometry import Grid


@dataclass(frozen=True, eq=False)
class Fused:
    """A fused volume.

    Attributes
    ----------
    data : float32 (z, y, x); numpy, or what was written as a zarr array or memory map, read when it is asked for
    grid : where its voxels lie, micrometres
    recipe : all that is needed to make it again, as plain JSON types
    path : the file it was written to, or None
    changes : relative change of each iteration, empty for methods that do not iterate
    made_before : whether an earlier run had finished it, so that this one had nothing to do
    """

    data: VolumeLike
    grid: Grid
    recipe: dict[str, Any]
    path: Path | None = None
    changes: tuple[float, ...] = ()
    made_before: bool = False
