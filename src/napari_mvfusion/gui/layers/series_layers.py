"""Files with several time points or channels as layers: these axes stand before z."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np

from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.gui.layers.conversion import LayerData, lazy
from napari_mvfusion.io.base import StoredVolumes
from napari_mvfusion.io.formats import open_stored
from napari_mvfusion.io.volume_choice import VolumeChoice


def first_volume(files: Iterable[Path]) -> VolumeChoice:
    """Which volume of some files stands for all while they are opened; no choice where each has one.

    Raises
    ------
    InputError
        If a file cannot be opened.
    """
    axes = {axis for file in files for axis in open_stored(file).leading}
    return VolumeChoice(0 if "t" in axes else None, 0 if "c" in axes else None)


def view_series(views: RegisteredViews, layers: Sequence[LayerData]) -> list[LayerData]:
    """Layers of views that were opened at their first volume, with all volumes of their files."""
    return [all_volumes(layer, Path(view.source)) for view, layer in zip(views.views, layers, strict=True)]


def all_volumes(layer: LayerData, file: Path) -> LayerData:
    """A layer of the first volume of a file, with all of them; the same layer where there is one."""
    stack = open_stored(file)
    if not stack.leading:
        return layer
    _, look, kind = layer
    data, leading = stacked(stack)
    names, steps = [name for name, _ in leading], [step for _, step in leading]
    place = {
        "scale": (*steps, *look["scale"]),
        "translate": (*(0.0 for _ in steps), *look["translate"]),
        "units": (*("s" if name == "t" else "pixel" for name in names), *look["units"]),
        "axis_labels": (*names, *look["axis_labels"]),
    }
    return data, look | place, kind


def stacked(stack: StoredVolumes) -> tuple[Any, list[tuple[str, float]]]:
    """All volumes of a file as one lazy array, and name and step of each axis before z; the step of "t" is in seconds."""
    leading = [(axis, stack.time_step if axis == "t" else 1.0) for axis in stack.leading]
    volumes = [lazy(stack.volume(*stack.position(index))) for index in np.ndindex(*stack.leading.values())]
    if not leading:
        return volumes[0], leading
    return da.stack(volumes).reshape((*stack.leading.values(), *stack.shape)), leading
