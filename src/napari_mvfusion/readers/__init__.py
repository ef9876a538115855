"""Readers of views, volumes and PSFs: TIFF folders, TIFF files named by the user, OME-Zarr."""

from napari_mvfusion.readers.contents import Contents, SampleContents, ViewContents, describe
from napari_mvfusion.readers.opening import (
    left_out,
    list_tags,
    open_truth,
    open_views,
    open_volume,
    psf_files,
    read_recipe,
)

__all__ = [
    "Contents",
    "SampleContents",
    "ViewContents",
    "describe",
    "left_out",
    "list_tags",
    "open_truth",
    "open_views",
    "open_volume",
    "psf_files",
    "read_recipe",
]
