"""Layers as volumes that can be compared, and the views that belong to one: open, with PSFs, and on its grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from napari.layers import Image

from napari_mvfusion.data.fused_grid import Voxels
from napari_mvfusion.data.geometry import FloatTriple, float_triple, same_affine
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.layers.conversion import known_sizes, leading_shape, stack_of, to_world_um
from napari_mvfusion.gui.layers.notes import notes
from napari_mvfusion.gui.layers.opened import open_layers
from napari_mvfusion.measures.placed_volume import PlacedVolume

ROLES = {"view": "view", "fused": "result", "truth": "ground truth", None: "image"}
_NONE = "no views with PSFs are open: the residual compares a volume, blurred with a view's PSF, with that view"


def can_be_compared(layer: Any) -> bool:
    """Whether a layer is a volume: a view, a result, a ground truth, or one that nothing is known about."""
    if not isinstance(layer, Image) or layer.rgb or layer.ndim < 3:
        return False
    return notes(layer).get("role") in ROLES


def role_of(layer: Image) -> str:
    """What the layer is, in words."""
    return ROLES.get(notes(layer).get("role"), "image")


def with_role(layers: Sequence[Image], role: str) -> list[Image]:
    """The layers whose notes name this role."""
    return [layer for layer in layers if notes(layer).get("role") == role]


def volume_at(layer: Image, point: Sequence[float]) -> PlacedVolume:
    """The volume that a layer shows.

    Parameters
    ----------
    layer : with axes (..., z, y, x)
    point : where the sliders of the viewer stand, world coordinates; only what lies before z matters

    Raises
    ------
    InputError
        If the layer's units are no lengths.
    """
    data, index = stack_of(layer), leading_index(layer, point)
    return PlacedVolume(
        layer.name, data[index] if index else data, to_world_um(layer), known_sizes(layer), _recipe_at(layer, index)
    )


def _recipe_at(layer: Image, index: tuple[int, ...]) -> Mapping[str, Any] | None:
    """The recipe of the volume that a layer shows; None where there is none."""
    recipe = notes(layer).get("recipe")
    if recipe is None or "series" not in recipe:
        return recipe
    series = recipe["series"]
    number = int(np.ravel_multi_index(index, leading_shape(layer))) if index else 0
    return series[number] if number < len(series) else None


def leading_index(layer: Image, point: Sequence[float]) -> tuple[int, ...]:
    """Where a point, in world coordinates, lies along the layer's axes before z; () for a plain volume."""
    sizes = np.array(leading_shape(layer), int)
    place = np.round(layer.world_to_data(point)[-layer.ndim :][: len(sizes)]).astype(int)
    return tuple(int(i) for i in np.clip(place, 0, sizes - 1))


def _voxels_of(volume: PlacedVolume) -> FloatTriple:
    return float_triple(np.linalg.norm(volume.matrix[:3, :3], axis=0).round(12))


def view_layers_with_psfs(listed: Sequence[Image]) -> list[Image]:
    """The layers that are views and have a PSF, except those that the user left out."""
    return [view for view in included_views(listed) if notes(view).get("psf") is not None]


def included_views(listed: Sequence[Image]) -> list[Image]:
    """The layers that are views, except those that the user left out."""
    return [view for view in with_role(listed, "view") if notes(view).get("included", True)]


def views_of(
    volume: PlacedVolume, listed: Sequence[Image], point: Sequence[float], *, with_psfs: bool = True
) -> RegisteredViews:
    """The open views that a volume can have been fused from, at the time point that is shown.

    Views are grouped by the sample they show. The groups whose grid is that of the volume come into question; among
    several, the one whose sample begins the volume's name is taken.

    Parameters
    ----------
    volume : the volume
    listed : layers, among them the views
    point : where the sliders of the viewer stand, world coordinates
    with_psfs : those with a PSF only

    Raises
    ------
    InputError
        If there are none.
    """
    groups: dict[str, list[Image]] = {}
    for layer in view_layers_with_psfs(listed) if with_psfs else included_views(listed):
        groups.setdefault(str(notes(layer).get("sample", "")), []).append(layer)
    if not groups:
        raise InputError(_NONE if with_psfs else "the views that it was fused from are not open")
    for sample in sorted(groups, key=lambda sample: not (sample and volume.name.startswith(sample))):
        layers = groups[sample]
        # The grid that is chosen now need not be that of a result of before.
        asked: list[Voxels | None] = [None, "isotropic", "first", _voxels_of(volume)]
        for voxels in asked:
            opened = open_layers(layers, voxels)
            frame = opened.frame
            if volume.shape == frame.grid.shape and same_affine(volume.matrix, to_world_um(frame.layer)):
                return opened.at(leading_index(layers[0], point))
    raise InputError(f"'{volume.name}' does not lie on the grid of the open views: they do not belong together")
