"""Multi-view fusion of light-sheet microscopy volumes: open views, fuse them, measure and save the result."""

from napari_mvfusion.errors import MVFusionError
from napari_mvfusion.fusion import Fused, fuse, fuse_events
from napari_mvfusion.geometry import Box, Grid
from napari_mvfusion.methods import CBIF, EBMD, Average, LearnedFusion
from napari_mvfusion.psf import measure_psf, prepare_psf
from napari_mvfusion.quality import evaluate
from napari_mvfusion.readers import open_truth, open_views, open_volume
from napari_mvfusion.recipe import load_recipe, save_recipe
from napari_mvfusion.residuals import reprojection
from napari_mvfusion.simulation import sample, simulate
from napari_mvfusion.training import TrainConfig, fine_tune_config, load_config, train, train_events
from napari_mvfusion.views import RegisteredViews, View
from napari_mvfusion.writers import write_tiff, write_zarr

__version__ = "0.1.0"

__all__ = [
    "CBIF",
    "EBMD",
    "Average",
    "Box",
    "Fused",
    "Grid",
    "LearnedFusion",
    "MVFusionError",
    "RegisteredViews",
    "TrainConfig",
    "View",
    "evaluate",
    "fine_tune_config",
    "fuse",
    "fuse_events",
    "load_config",
    "load_recipe",
    "measure_psf",
    "open_truth",
    "open_views",
    "open_volume",
    "prepare_psf",
    "reprojection",
    "sample",
    "save_recipe",
    "simulate",
    "train",
    "train_events",
    "write_tiff",
    "write_zarr",
]
