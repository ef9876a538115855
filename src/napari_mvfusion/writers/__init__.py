"""Writers of volumes and views: OME-TIFF and OME-Zarr, with voxel size, units and recipe."""

from napari_mvfusion.writers.ome_tiff import tiff_dtype, write_tiff
from napari_mvfusion.writers.ome_zarr import create_zarr, finish_zarr, write_zarr
from napari_mvfusion.writers.pixels import LeadingAxis
from napari_mvfusion.writers.views import write_views_folder, write_views_zarr
from napari_mvfusion.writers.watched import Watched

__all__ = [
    "LeadingAxis",
    "Watched",
    "create_zarr",
    "finish_zarr",
    "tiff_dtype",
    "write_tiff",
    "write_views_folder",
    "write_views_zarr",
    "write_zarr",
]
