"""What `__init__.py` offers, for type checkers and for `lazy_loader`."""

from .errors import MVFusionError as MVFusionError
from .fusion import Fused as Fused
from .fusion import fuse as fuse
from .fusion import fuse_events as fuse_events
from .geometry import Box as Box
from .geometry import Grid as Grid
from .methods import CBIF as CBIF
from .methods import EBMD as EBMD
from .methods import Average as Average
from .methods import LearnedFusion as LearnedFusion
from .psf import measure_psf as measure_psf
from .psf import prepare_psf as prepare_psf
from .quality import evaluate as evaluate
from .readers import open_truth as open_truth
from .readers import open_views as open_views
from .readers import open_volume as open_volume
from .recipe import load_recipe as load_recipe
from .recipe import save_recipe as save_recipe
from .residuals import reprojection as reprojection
from .simulation import sample as sample
from .simulation import simulate as simulate
from .training import TrainConfig as TrainConfig
from .training import fine_tune_config as fine_tune_config
from .training import load_config as load_config
from .training import train as train
from .training import train_events as train_events
from .views import RegisteredViews as RegisteredViews
from .views import View as View
from .writers import write_tiff as write_tiff
from .writers import write_zarr as write_zarr

__version__: str
