"""Outlines of views, of boxes and of the fused volume, as a layer of lines in space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from napari.utils.colormaps import ensure_colormap

from napari_mvfusion.data.box_edges import outline_between
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.gui.layers.notes import KEY

OutlineData = tuple[Any, dict[str, Any], Literal["shapes"]]

# As a share of what the lines go round.
_WIDTH = 0.003
# Seen on a dark and on a light ground.
_BOX_COLOUR = (0.9, 0.6, 0.2, 1.0)
_FUSED_COLOUR = (0.6, 0.6, 0.6, 1.0)
_UNSEEN = (0.0, 0.0, 0.0, 0.0)
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class Outline:
    """A line along the edges of something.

    Attributes
    ----------
    name : of what it goes round
    kind : what that is
    line : (n, 3), places in the world (z, y, x)
    colormap : of the layer that shows it, "" where none does
    """

    name: str
    kind: Literal["view", "box", "fused volume", "unseen"]
    line: np.ndarray
    colormap: str = ""


def outline_layer(outlines: Sequence[Outline], *, sample: str, grid: Grid) -> OutlineData:
    """Outlines as a layer, as napari's readers return one.

    Parameters
    ----------
    outlines : at least one
    sample : what they go round, the first word of the layer's name
    grid : of the fused volume
    """
    outlines = [*outlines, _round_whole_voxels(outlines, grid)]
    every = np.concatenate([outline.line for outline in outlines])
    extent = float((every.max(axis=0) - every.min(axis=0)).max())
    look = {
        "name": f"{sample} outlines".strip(),
        "shape_type": "path",
        "edge_color": np.array([_colour(outline) for outline in outlines], np.float32),
        "face_color": "#00000000",
        # Lines that are not seen hide none that are.
        "blending": "translucent_no_depth",
        "opacity": 1.0,
        "edge_width": max(extent, 1e-6) * _WIDTH,
        "features": {"name": [o.name for o in outlines], "kind": [o.kind for o in outlines]},
        "units": tuple("um" if each else "pixel" for each in grid.known),
        "axis_labels": ("z", "y", "x"),
        "metadata": {KEY: {"role": "outlines", "sample": sample}},
    }
    return [outline.line for outline in outlines], look, "shapes"


def _round_whole_voxels(outlines: Sequence[Outline], grid: Grid) -> Outline:
    """Unseen, round all others, from voxel to voxel of the fused volume.

    The sliders of napari stop at every voxel from where the first layer begins: without it, between the planes of the views.
    """
    every = (np.concatenate([outline.line for outline in outlines]) - grid.origin_um) / grid.voxel_size_um
    first, last = np.floor(every.min(axis=0) - _ROUNDING), np.ceil(every.max(axis=0) + _ROUNDING)
    size, origin = np.array(grid.voxel_size_um), np.array(grid.origin_um)
    return Outline("", "unseen", outline_between(origin + first * size, origin + last * size))


def _colour(outline: Outline) -> Sequence[float]:
    if outline.kind == "unseen":
        return _UNSEEN
    if outline.kind == "box":
        return _BOX_COLOUR
    if outline.kind == "fused volume":
        return _FUSED_COLOUR
    found: Sequence[float] = ensure_colormap(outline.colormap).colors[-1].tolist()
    return found
