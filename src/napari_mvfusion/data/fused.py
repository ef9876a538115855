"""A fused volume, and all that is known of how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_mvfusion.data.field_of_view import VolumeLike
from napari_mvfusion.data.geometry import Grid


@dataclass(frozen=True, eq=False)
class TrustMaps:
    """How far a fused volume can be trusted, voxel by voxel, on its grid and in its units.

    Attributes
    ----------
    uncertainty : float32 (z, y, x), how far a voxel may be off: two of three are nearer to the truth; None where the
        method does not say
    unsupported : float32 (z, y, x), light that the views speak against, 0 where they do not
    share : of the light of the fused volume that is unsupported
    paths : the files of both, by what they show; {} in memory
    made_before : whether an earlier run had finished them
    """

    uncertainty: VolumeLike | None
    unsupported: VolumeLike
    share: float
    paths: Mapping[str, Path] = field(default_factory=dict)
    made_before: bool = False


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
    maps : how far it can be trusted, where that was asked for
    """

    data: VolumeLike
    grid: Grid
    recipe: dict[str, Any]
    path: Path | None = None
    changes: tuple[float, ...] = ()
    made_before: bool = False
    maps: TrustMaps | None = None
