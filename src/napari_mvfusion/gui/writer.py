"""The writers of the manifest: an image layer as OME-TIFF or OME-Zarr, with its place in space and its recipe."""

from __future__ import annotations

from typing import Any

from napari.layers import Image

from napari_mvfusion.gui.layers import grid_of, notes, volume_of
from napari_mvfusion.writers import write_tiff, write_zarr


def write_ome_tiff(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write an image layer as OME-TIFF; a file of that name is replaced, as the dialog has asked.

    Raises
    ------
    InputError, OutputError
        If the layer is no 3D volume on a straight grid, or the file cannot be written.
    """
    layer = Image(data, **meta)
    write_tiff(path, volume_of(layer), grid_of(layer), recipe=notes(layer).get("recipe"), overwrite=True)
    return [path]


def write_ome_zarr(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write an image layer as OME-Zarr; a folder of that name is never replaced.

    Raises
    ------
    InputError, OutputError
        If the layer is no 3D volume on a straight grid, or the folder exists or cannot be written.
    """
    layer = Image(data, **meta)
    write_zarr(path, volume_of(layer), grid_of(layer), recipe=notes(layer).get("recipe"))
    return [path]
