"""What `__init__.py` offers, for type checkers and for `lazy_loader`."""

from .errors import MVFusionError as MVFusionError
from .fusion import Fused as Fused, fuse as fuse, fuse_events as fuse_events
from .geometry import Box as Box, Grid as Grid
from .methods import CBIF as CBIF, EBMD as EBMD, Average as Average, LearnedFusion as LearnedFusion
from .psf import measure_psf as measure_psf, prepare_psf as prepare_psf
from .quality import evaluate as evaluate
from .readers import open_truth as open_truth, open_views as open_views, open_volume as open_volume
from .recipe import load_recipe as load_recipe, save_recipe as save_recipe
from .residuals import reprojection as reprojection
from .simulation import sample as sample, simulate as simulate
from .training import TrainConfig as TrainConfig, fine_tune_config as fine_tune_config, load_config as load_config, train as train, train_events as train_events
from .views import RegisteredViews as RegisteredViews, View as View
from .writers import write_tiff as write_tiff, write_zarr as write_zarr

__version__: str
