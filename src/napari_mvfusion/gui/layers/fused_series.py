"""Fused series as layers: one image with axes t and c from its own levels, or files of which each is a volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from napari.layers import Image

from napari_mvfusion.engine.finishing import named_apart
from napari_mvfusion.engine.series_choice import SeriesChoice, even_step
from napari_mvfusion.engine.series_recipe import recipe_beside
from napari_mvfusion.gui.layers.layer_data import LayerData, lazy, volume_layer
from napari_mvfusion.io.base import StoredVolumes
from napari_mvfusion.io.formats import open_stored, writer_of
from napari_mvfusion.io.ome_zarr.reader import ZarrImage, coarser_affines, open_image

_SPATIAL = 3


def image_layer(image: ZarrImage, name: str) -> LayerData:
    """A fused volume, or a series of them, in an OME-Zarr as one layer, with all its levels and its recipe.

    Parameters
    ----------
    image : without channels, or whose channels are those of a series
    name : of the layer
    """
    place = image.placement
    leading = list(zip(image.axes[:-3], place.steps, strict=True)) if image.is_series else []
    levels = image.levels()
    coarser = coarser_affines(image, len(levels)) if place.affine_um is not None else []
    return volume_layer(
        levels,
        image.grid,
        name=name,
        recipe=image.recipe,
        leading=leading,
        affine=place.affine_um,
        coarser=coarser,
    )


def series_layers(files: Sequence[Path], choice: SeriesChoice, out: Path) -> list[LayerData]:
    """A finished series as one layer, 0 where a volume failed; files whose sizes differ are a layer each.

    Parameters
    ----------
    files : that hold it
    choice : its volumes
    out : one file for all, or what the names of the files are made of

    Raises
    ------
    InputError
        If a file cannot be opened.
    """
    if writer_of(out).grows:
        return [image_layer(open_image(out), out.name)]
    known = {}
    for index in choice.indices:
        file = named_apart(out, choice.suffix_at(index))
        if file in files:
            known[index] = open_stored(file)
    if len({stored.grid for stored in known.values()}) > 1:
        return [_volume(stored, stored.recipe) for stored in known.values()]
    first = next(iter(known.values()))
    empty = da.zeros(first.shape, dtype=first.dtype)
    volumes = [lazy(known[index].at({})) if index in known else empty for index in choice.indices]
    stack = da.stack(volumes).reshape((*(axis.size for axis in choice.axes), *first.shape))
    leading = [(axis.name, axis.step) for axis in choice.axes]
    return [_volume(first, recipe_beside(writer_of(out).place(out)), stack, leading)]


def along_view(layer: LayerData, choice: SeriesChoice, view: Image) -> LayerData:
    """A series on the axes before z of a view, so that sliders show both at the same time points and channels.

    Parameters
    ----------
    layer : the series, or one volume of it
    choice : its volumes
    view : a layer that it was fused from; where it has other axes, as one of a plain volume has, the series stays as it is
    """
    data, look, kind = layer
    labels, own = tuple(view.axis_labels[:-_SPATIAL]), tuple(look["axis_labels"][:-_SPATIAL])
    if not labels or not own or not set(own) <= set(labels):
        return layer
    levels = data if isinstance(data, list) else [data]
    numbers = {"t": choice.timepoints, "c": choice.channels}
    # Also where an affine says it.
    begins, ends = (np.asarray(view.data_to_world(np.full(view.ndim, place))) for place in (0.0, 1.0))
    scale, translate = [], []
    for axis, label in enumerate(labels):
        if label not in own:
            levels = [da.expand_dims(level, axis) for level in levels]
        known = [number or 0 for number in numbers[label]]
        step = ends[axis] - begins[axis]
        scale.append(step * even_step(known))
        translate.append(begins[axis] + step * known[0])
    place = {
        "scale": (*scale, *look["scale"][-_SPATIAL:]),
        "translate": (*translate, *look["translate"][-_SPATIAL:]),
        "units": (*map(str, view.units[:-_SPATIAL]), *look["units"][-_SPATIAL:]),
        "axis_labels": (*labels, *look["axis_labels"][-_SPATIAL:]),
    }
    return levels if isinstance(data, list) else levels[0], look | place, kind


def _volume(
    stored: StoredVolumes,
    recipe: Mapping[str, Any] | None,
    pixels: Any = None,
    leading: Sequence[tuple[str, float]] = (),
) -> LayerData:
    """A layer of a file, or of all files that are like it."""
    shown = lazy(stored.at({})) if pixels is None else pixels
    return volume_layer(shown, stored.grid, name=stored.path.name, recipe=recipe, leading=leading)
