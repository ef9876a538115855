"""The writers of the manifest: an image layer in each format that can be written, with its place and its recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from napari import current_viewer
from napari.layers import Image, Layer
from napari.utils.notifications import show_info, show_warning
from napari_builtins.io import napari_write_image

from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.layers.conversion import frame_of, leading_shape, stack_of
from napari_mvfusion.gui.layers.notes import notes
from napari_mvfusion.io.formats import is_written, writer_of
from napari_mvfusion.io.overlap import refuse_overlap
from napari_mvfusion.io.streaming import LeadingAxis

_SPATIAL = 3


def write_ome_tiff(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write an image layer as OME-TIFF; a file of that name is replaced, as the dialog has asked.

    Pictures and colours under a plain ending are left to napari's own writer.

    Raises
    ------
    InputError, OutputError
        If the layer is no volume or series of volumes, the file is one that layers show, or it cannot be written.
    """
    layer = Image(data, **meta)
    named = with_ending(path, ".ome.tif")
    _refuse_what_is_open(named)
    if (layer.rgb or layer.ndim < _SPATIAL) and not named.lower().endswith((".ome.tif", ".ome.tiff")):
        # For plain TIFF napari asks the writer that it happened to find first, which may be this one.
        return [named] if napari_write_image(named, data, meta) else []
    return _write(path, named, layer)


def _writes(ending: str) -> Callable[[str, Any, dict[str, Any]], list[str]]:
    """The writer of the format with this ending, for the manifest."""

    def write(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
        """Write an image layer; a file of that name is replaced, as the dialog has asked, and a folder never.

        Raises
        ------
        InputError, OutputError
            If the layer is no volume or series of volumes, the file is one that layers show, or it cannot be written.
        """
        return _write(path, with_ending(path, ending), Image(data, **meta))

    return write


write_ome_zarr = _writes(".zarr")
write_hdf5 = _writes(".h5")
write_bdv = _writes(".bdv")


def _write(typed: str, named: str, layer: Image) -> list[str]:
    """Write a layer; `typed` is what the dialog has asked about."""
    _refuse_what_is_open(named)
    content = content_of(layer)
    known = writer_of(named)
    stored, kept = np.dtype(content["data"].dtype), known.kept_as(content["data"].dtype)
    known.write(Path(named), overwrite=named == typed and not known.is_folder, **content)
    if kept != stored:
        show_info(
            f"{known.written} has no pixels of type {stored}: they were saved as {kept}. OME-Zarr keeps every type."
        )
    return [named]


def with_ending(path: str, ending: str) -> str:
    """A name as it was typed, with an ending where it has none that is known: without one nothing opens it again."""
    return path if is_written(path) else path + ending


def _refuse_what_is_open(path: str) -> None:
    """Raise `OutputError` where a layer of the window shows the file."""
    viewer = current_viewer()
    if viewer is not None:
        refuse_shown(path, viewer.layers)


def refuse_shown(path: str, layers: Iterable[Layer]) -> None:
    """Raise `OutputError` where a layer shows the file: raw views are never replaced."""
    shown = [text for layer in layers for text in (layer.source.path, notes(layer).get("source")) if text]
    refuse_overlap([path], shown)


def content_of(layer: Image) -> dict[str, Any]:
    """What a layer is, as arguments of a writer.

    Raises
    ------
    InputError
        If the layer is no volume or series of volumes.
    """
    if layer.rgb or layer.ndim < _SPATIAL:
        raise InputError(f"layer '{layer.name}' is no volume: the axes z, y and x are needed, and no colours")
    leading = [_axis(layer, axis) for axis in range(layer.ndim - _SPATIAL)]
    if len({axis.name for axis in leading}) < len(leading):
        raise InputError(
            f"layer '{layer.name}' has {len(leading)} axes before z, and OME-TIFF and OME-Zarr keep one of time and one of "
            "channels: save one position alone"
        )
    grid, to_frame = frame_of(layer)
    if not np.allclose(to_frame, np.eye(4)):
        show_warning(
            f"Layer '{layer.name}' is turned or sheared, which the file cannot say: its voxels are saved as they are."
        )
    return {
        "data": stack_of(layer),
        "grid": grid,
        "recipe": notes(layer).get("recipe"),
        "leading": leading,
    }


def _axis(layer: Image, axis: int) -> LeadingAxis:
    """An axis before z: a channel where its label says so, else time."""
    size = leading_shape(layer)[axis]
    if layer.axis_labels[axis].lower().startswith("c"):
        return LeadingAxis("c", size)
    quantity = float(layer.scale[axis]) * layer.units[axis]
    return LeadingAxis("t", size, float(quantity.to("s").magnitude) if quantity.check("[time]") else 1.0)
