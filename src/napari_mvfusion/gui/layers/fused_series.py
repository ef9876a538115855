"""Fused series as layers: one image with axes t and c from its own levels, or files of which each is a volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dask.array as da

from napari_mvfusion.engine.finishing import named_apart
from napari_mvfusion.engine.series_choice import SeriesChoice
from napari_mvfusion.engine.series_recipe import recipe_beside
from napari_mvfusion.gui.layers.layer_data import LayerData, lazy, volume_layer
from napari_mvfusion.io.base import StoredVolumes
from napari_mvfusion.io.formats import open_stored, writer_of
from napari_mvfusion.io.ome_zarr.reader import ZarrImage, coarser_affines, open_image


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


def _volume(
    stored: StoredVolumes,
    recipe: Mapping[str, Any] | None,
    pixels: Any = None,
    leading: Sequence[tuple[str, float]] = (),
) -> LayerData:
    """A layer of a file, or of all files that are like it."""
    shown = lazy(stored.at({})) if pixels is None else pixels
    return volume_layer(shown, stored.grid, name=stored.path.name, recipe=recipe, leading=leading)
