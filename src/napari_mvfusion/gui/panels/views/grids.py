"""Where a view lies beside the first one, and in the fused volume: what differs, and what can be done about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
from napari.layers import Image

from napari_mvfusion.data.geometry import Grid, StatedSize, is_upright, same_affine, triple
from napari_mvfusion.data.resampled_view import ResampledView
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.layers.conversion import (
    common_leading,
    drift_of,
    frame_of,
    lacks_size,
    own_to_world_um,
    pixels_of,
    stack_of,
    stated_size,
    to_world_um,
)
from napari_mvfusion.gui.layers.fused_frame import chosen_frame
from napari_mvfusion.gui.layers.layer_data import LayerData, lazy
from napari_mvfusion.gui.layers.notes import KEY, ChosenTrust, notes
from napari_mvfusion.gui.layers.opened import open_layers
from napari_mvfusion.gui.layers.trusted_views import on_other_voxels
from napari_mvfusion.measures.view_problems import Fix, Problem
from napari_mvfusion.psf.frames import own_to_fused
from napari_mvfusion.system.words import sentence, size_words, times


def fused_grid(layers: list[Image]) -> Grid | None:
    """The grid of the fused volume of these layers, or None where there is none."""
    if not layers:
        return None
    try:
        return chosen_frame(layers).grid
    except InputError:
        return None


def known_size_um(grid: Grid | None) -> StatedSize | None:
    """Voxel size (z, y, x) of a grid, None along axes where it is not known, and where it is along none."""
    return None if grid is None or not any(grid.known) else grid.stated_size_um


def own_matrix(layer: Image, layers: list[Image]) -> np.ndarray | None:
    """3 x 3, from offsets in a layer's own pixels to those in voxels of the fused volume; None where that is unknown."""
    try:
        frame = chosen_frame(layers)
        return own_to_fused(frame.to_frame @ own_to_world_um(layer), frame.grid)
    except (InputError, IndexError):
        return None


def grid_problems(layer: Image, layers: list[Image]) -> list[Problem]:
    """How a ticked view lies beside the first of the ticked ones.

    Views on other grids are resampled while they are fused, so that is a note and not a problem. Views that do not
    cover the same field although their voxels are equal most likely miss their voxel size.

    Parameters
    ----------
    layers : the ticked ones, in order
    """
    first = layers[0]
    try:
        to_world_um(layer)
        grid, to_frame = frame_of(first)
        matrix = to_frame @ to_world_um(layer)
    except InputError as error:
        # The first view has a row of its own, in which its error stands.
        return [Problem("error", sentence(f"{error}."))] if f"'{layer.name}'" in str(error) else []
    try:
        common_leading([first, layer])
    except InputError:
        text = f"This view and '{first.name}' differ in time points or channels, so they cannot be fused together."
        return [Problem("error", text)]
    if notes(layer).get("recorded") is not None and pixels_of(layer) is not stack_of(layer):
        where = size_words(stated_size(layer))
        text = (
            f"This view is turned. It is shown resampled on voxels of {where}, and fused from the pixels in its file."
        )
        return [Problem("note", text)]
    shape = triple(stack_of(layer).shape[-3:])
    if shape == grid.shape and same_affine(grid.affine, matrix) and _is_kept(layers):
        return []
    if (lacking := lacks_size(layer, first)) is not None:
        tip = "Give the layer that states no voxel size the size and place of the other"
        return [Problem("error", sentence(f"{lacking}."), (Fix("Same voxels", tip, request="same"),))]
    tip = (
        "Add this view, resampled to the grid of the fused volume, as a new layer that is computed where you look. "
        "Fusing gives the same picture without it"
    )
    copy = (Fix("Make a copy", tip, request="copy"),)
    if not is_upright(matrix, max(shape)):
        text = "This view is turned or mirrored. It is resampled while it is fused."
        return [Problem("note", text, copy)]
    upright = np.array_equal(to_frame, np.eye(4))
    if shape != grid.shape and upright and same_affine(grid.affine, matrix):
        text = (
            f"This view has {times(shape)} voxels and '{first.name}' {times(grid.shape)} of the same size, so they show "
            "different fields. If they show the same, a voxel size is wrong."
        )
        tip = (
            f"Set voxel size and place of this layer so that it covers what '{first.name}' covers. "
            "It is then resampled while it is fused"
        )
        return [Problem("warning", text, (Fix("Stretch", tip, request="stretch"),))]
    stated = stated_size(layer)
    unknown = all(size is None for size in stated)
    how = f"{times(shape)} voxels of {'unknown size' if unknown else size_words(stated)}"
    if upright and layer is first:
        return [Problem("note", f"This view has {how}. It is resampled while it is fused.", copy)]
    return [Problem("note", f"This view has another grid ({how}). It is resampled while it is fused.", copy)]


def _is_kept(layers: list[Image]) -> bool:
    """Whether the fused volume has the voxels of the first layer."""
    try:
        return chosen_frame(layers).on_first
    except InputError:
        return True  # the panels that fuse say why


def stretched(layer: Image, first: Grid) -> dict[str, Any]:
    """Scale, translation, units and affine with which a layer covers the field of a grid."""
    size = np.multiply(first.shape, first.voxel_size_um) / stack_of(layer).shape[-3:]
    # Fields begin half a voxel before the centre of the first one.
    corner = np.array(first.origin_um) - np.array(first.voxel_size_um) / 2
    return {
        "scale": np.concatenate([layer.scale[:-3], size]),
        "translate": np.concatenate([layer.translate[:-3], corner + size / 2]),
        "units": (*map(str, layer.units[:-3]), "um", "um", "um"),
        "affine": np.eye(layer.ndim + 1),
    }


def resampled(layer: Image, layers: list[Image]) -> LayerData:
    """A view on the grid of the fused volume of some layers, as a layer that is computed where it is looked at.

    Raises
    ------
    InputError
        If the layers cannot be opened as views.
    """
    together = open_layers(layers)
    opened, number = together.views, layers.index(layer)
    volumes = [lazy(ResampledView(together.at(index), number)) for index in together.indices]
    leading, shape = together.leading, opened.grid.shape
    shown = da.stack(volumes).reshape((*leading, *shape)) if leading else volumes[0]
    moving = drift_of(layer) is not None
    # What moves has no field that is the same at all time points: there, what it does not see is 0.
    view = opened.views[number]
    everywhere = RegisteredViews([replace(other, trust=None) for other in opened.views], opened.grid)
    mask = None if moving else lazy(ResampledView(everywhere, number, covered=True))
    psf = view.psf
    known = {key: value for key, value in notes(layer).items() if key not in ("recorded", "placed", "kept")}
    known |= {"role": "view", "name": opened.names[number], "inputs": None, "psf": psf, "psf_own": None}
    known |= {"offset": 0.0, "gain": 1.0, "remove_hot": False}
    if view.trust is not None:
        own = opened.grid.affine if view.affine is None else view.affine
        weights = on_other_voxels(view.trust, np.linalg.inv(opened.grid.affine) @ own, shape)
        known |= {"trust": ChosenTrust(weights, weights_layer=layer.name)}
    known |= {"no_data": "0" if moving else "none", "mask": mask, "mask_layer": "", "mask_file": ""}
    look = {
        "name": f"{layer.name} resampled",
        "colormap": layer.colormap.name,
        "contrast_limits": tuple(layer.contrast_limits),
        "blending": layer.blending,
        "metadata": {KEY: known | {"included": True}},
    }
    return shown, look | together.frame.place, "image"
