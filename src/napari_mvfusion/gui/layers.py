"""Between napari layers and registered views, both ways.

What a layer is beyond its pixels stands in `layer.metadata["mvfusion"]`, a plain dict: `role` ("view", "truth" or
"fused"); for a view `name`, `angle`, `psf`, `weight`, `offset`, `mask`, `source`, `sample`, and `inputs`, which tells how
its files were opened; for a fused volume `recipe`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import dask.array as da
import numpy as np
from napari.layers import Image

from napari_mvfusion.errors import InputError
from napari_mvfusion.geometry import Grid, float_triple, triple
from napari_mvfusion.views import RegisteredViews, View, VolumeLike

KEY = "mvfusion"
LayerData = tuple[Any, dict[str, Any], Literal["image"]]

_COLORMAPS = ("green", "magenta", "cyan", "yellow", "red", "blue", "bop orange", "bop purple")
_SHOWN_VIEWS = 2
_CHUNK_BYTES = 2**22
_SAMPLED_PLANES = 5


@dataclass(frozen=True, eq=False)
class Opened:
    """Registered views from layers, and how to open them from their files, where that is known, for a recipe."""

    views: RegisteredViews
    inputs: dict[str, Any] | None


def notes(layer: Image) -> dict[str, Any]:
    """What the layer is beyond its pixels; empty where nothing is known."""
    found = layer.metadata.get(KEY)
    return found if isinstance(found, dict) else {}


def annotate(layer: Image, **entries: Any) -> None:
    """Change entries of a layer's notes; its other metadata stays."""
    layer.metadata = {**layer.metadata, KEY: {**notes(layer), **entries}}


def can_be_view(layer: Any) -> bool:
    """Whether a layer is a 3D image that may be a view: no results, no ground truths, no colour pictures."""
    if not isinstance(layer, Image) or layer.rgb or layer.ndim != 3:
        return False
    return notes(layer).get("role") in ("view", None)


def view_layers(
    views: RegisteredViews, *, sample: str, inputs: Mapping[str, Any] | None = None, shown: bool = True
) -> list[LayerData]:
    """One image layer a view, as napari's readers return them.

    Contrast limits are shared, so that views can be compared. Two views are visible at first, in colours that add up
    to white where they agree.

    Parameters
    ----------
    views : on one grid
    sample : what the views show, the first word of the layers' names; may be empty
    inputs : how the views were opened, as `napari_mvfusion.recipe.Inputs` holds it
    shown : False leaves all of them invisible
    """
    limits = contrast_limits([view.data for view in views.views])
    layers: list[LayerData] = []
    for number, view in enumerate(views.views):
        known = {
            "role": "view",
            "name": view.name,
            "angle": view.angle,
            "psf": view.psf,
            "weight": view.weight,
            "offset": view.offset,
            "mask": view.mask,
            "source": view.source,
            "sample": sample,
            "inputs": None if inputs is None else dict(inputs),
        }
        look = {
            "name": f"{sample} view {view.name}".strip(),
            "colormap": "gray" if len(views) == 1 else _COLORMAPS[number % len(_COLORMAPS)],
            "contrast_limits": limits,
            "blending": "additive",
            "visible": shown and number < _SHOWN_VIEWS,
            "metadata": {KEY: known},
        }
        layers.append((lazy(view.data), look | placement(views.grid, view.affine), "image"))
    return layers


def truth_layer(volume: VolumeLike, grid: Grid, *, sample: str) -> LayerData:
    """The ground truth of a sample as an invisible image layer."""
    look = {
        "name": f"{sample} ground truth".strip(),
        "contrast_limits": contrast_limits([volume]),
        "visible": False,
        "metadata": {KEY: {"role": "truth", "sample": sample}},
    }
    return lazy(volume), look | placement(grid), "image"


def volume_layer(volume: Any, grid: Grid, *, name: str, recipe: Mapping[str, Any] | None) -> LayerData:
    """One volume from a file as an image layer; with a recipe it is a fused volume.

    Parameters
    ----------
    volume : (z, y, x), or a list of them from fine to coarse
    """
    levels = volume if isinstance(volume, list) else [volume]
    known: dict[str, Any] = {} if recipe is None else {KEY: {"role": "fused", "recipe": dict(recipe)}}
    look = {"name": name, "contrast_limits": contrast_limits([levels[-1]]), "metadata": known}
    data = [lazy(level) for level in levels]
    multiscale = {"multiscale": True} if len(data) > 1 else {}
    return data if multiscale else data[0], look | placement(grid) | multiscale, "image"


def placement(grid: Grid, affine: np.ndarray | None = None) -> dict[str, Any]:
    """Where a layer lies and in which units, as arguments of a layer; `affine` takes the place of the grid's."""
    axes = {"units": ("um",) * 3, "axis_labels": ("z", "y", "x")}
    if affine is not None:
        return axes | {"affine": affine}
    return axes | {"scale": grid.voxel_size_um, "translate": grid.origin_um}


def lazy(volume: VolumeLike) -> Any:
    """A volume as something that a layer can show: numpy as it is, all else as dask, whose chunks are read when shown."""
    if isinstance(volume, (np.ndarray, da.Array)):
        return volume
    chunks = getattr(volume, "chunks", None)
    if chunks is None:
        height, width = volume.shape[1:]
        planes = max(1, _CHUNK_BYTES // (height * width * np.dtype(volume.dtype).itemsize))
        chunks = (planes, height, width)
    empty = np.empty((0, 0, 0), volume.dtype)
    return da.from_array(volume, chunks=chunks, name=False, asarray=False, meta=empty)


def contrast_limits(volumes: Sequence[VolumeLike]) -> tuple[float, float]:
    """Common contrast limits of some volumes, from a few planes of each."""
    lows, highs = [], []
    for volume in volumes:
        planes = np.unique(np.linspace(0, volume.shape[0] - 1, _SAMPLED_PLANES + 2).astype(int)[1:-1])
        values = np.concatenate([np.asarray(volume[int(z)]).ravel() for z in planes])
        values = values[np.isfinite(values)]
        if values.size:
            lows.append(float(np.percentile(values, 1)))
            highs.append(float(np.percentile(values, 99.9)))
    low, high = min(lows, default=0.0), max(highs, default=1.0)
    return (low, high) if high > low else (low, low + 1.0)


def open_layers(layers: Sequence[Image]) -> Opened:
    """Registered views from image layers.

    The fused volume gets the grid of the first layer. Layers that lie elsewhere are resampled to it.

    Raises
    ------
    InputError
        If there is no layer, the first is turned or sheared, or two would be the same view.
    """
    if not layers:
        raise InputError("no view is ticked: tick the views to fuse")
    grid = grid_of(layers[0])
    inputs = _common_inputs(layers)
    views = []
    for layer, name in zip(layers, _names(layers), strict=True):
        known = notes(layer)
        data = volume_of(layer)
        matrix = to_world_um(layer)
        same = tuple(data.shape) == grid.shape and np.allclose(matrix, grid.affine)
        if not same:
            inputs = None
        views.append(
            View(
                data,
                name,
                psf=known.get("psf"),
                angle=known.get("angle"),
                affine=None if same else matrix,
                weight=known.get("weight", 1.0),
                offset=known.get("offset", 0.0),
                mask=known.get("mask"),
                source=known.get("source", ""),
            )
        )
    if inputs is not None:
        inputs |= {"views": [view.name for view in views], "voxel_size_um": list(grid.voxel_size_um)}
    return Opened(RegisteredViews(views, grid), inputs)


def volume_of(layer: Image) -> Any:
    """The layer's pixels (z, y, x) at full resolution.

    Raises
    ------
    InputError
        If the layer has other axes, or is a colour picture.
    """
    if layer.rgb or layer.ndim != 3:
        raise InputError(f"layer '{layer.name}' is no volume: one channel with the three axes z, y and x is needed")
    return layer.data[0] if layer.multiscale else layer.data


def grid_of(layer: Image) -> Grid:
    """Where the layer's voxels lie.

    Raises
    ------
    InputError
        If the layer is turned, sheared or mirrored, which a grid cannot be.
    """
    matrix = to_world_um(layer)
    size = np.diag(matrix)[:3]
    if not np.allclose(matrix[:3, :3], np.diag(size)) or (size <= 0).any():
        raise InputError(
            f"layer '{layer.name}' is turned, sheared or mirrored, but a volume can only be scaled and shifted: "
            "put another layer first, or reset the layer's transform"
        )
    return Grid(triple(volume_of(layer).shape), float_triple(size), float_triple(matrix[:3, 3]))


def to_world_um(layer: Image) -> np.ndarray:
    """4 x 4 matrix from the layer's voxels (z, y, x, 1) to world micrometres; pixels without units count as 1 um.

    Raises
    ------
    InputError
        If the layer's units are no lengths.
    """
    matrix = np.eye(4)
    matrix[:3, 3] = layer.data_to_world((0, 0, 0))
    for axis in range(3):
        matrix[:3, axis] = np.subtract(layer.data_to_world(np.eye(3)[axis]), matrix[:3, 3])
    matrix[:3] *= np.array([_micrometres(unit, layer.name) for unit in layer.units])[:, None]
    matrix[np.abs(matrix) < 1e-12] = 0.0
    return matrix


def _micrometres(unit: Any, name: str) -> float:
    """How many micrometres a unit of napari is."""
    if str(unit) in ("pixel", "dimensionless"):
        return 1.0
    quantity = 1 * unit
    if not quantity.check("[length]"):
        raise InputError(f"layer '{name}' is measured in '{unit}', which is no length: set its units to um")
    return float(quantity.to("um").magnitude)


def _names(layers: Sequence[Image]) -> list[str]:
    """What the views are called in their files, which a recipe goes by; where that is unclear, as the layers are."""
    names = [notes(layer).get("name") for layer in layers]
    return [layer.name for layer in layers] if None in names or len(set(names)) < len(names) else [*map(str, names)]


def _common_inputs(layers: Sequence[Image]) -> dict[str, Any] | None:
    """How all of the layers were opened, or None where a recipe could not say it in one go."""
    first = notes(layers[0]).get("inputs")
    if first is None or any(notes(layer).get("inputs") != first for layer in layers):
        return None
    return dict(first)
