"""What `__init__.py` offers, for type checkers and for `lazy_loader`."""

from .data.fused import Fused as Fused
from .data.geometry import Box as Box
from .data.geometry import Grid as Grid
from .data.views import RegisteredViews as RegisteredViews
from .data.views import View as View
from .engine.fusion import fuse as fuse
from .engine.fusion import fuse_events as fuse_events
from .engine.recipe import load_recipe as load_recipe
from .engine.recipe import save_recipe as save_recipe
from .engine.resolution import find_resolution as find_resolution
from .engine.saved_transmissions import save_transmissions as save_transmissions
from .engine.unsupported import find_unsupported as find_unsupported
from .errors import MVFusionError as MVFusionError
from .io.formats import write_volume as write_volume
from .io.ome_zarr.scene_writer import write_scene as write_scene
from .io.ome_zarr.writer import write_zarr as write_zarr
from .io.opening import open_truth as open_truth
from .io.opening import open_views as open_views
from .io.opening import open_volume as open_volume
from .io.psf_files import prepare_psf as prepare_psf
from .io.tiff.writer import write_tiff as write_tiff
from .measures.quality import evaluate as evaluate
from .measures.residuals import reprojection as reprojection
from .methods import CBIF as CBIF
from .methods import EBMD as EBMD
from .methods import Average as Average
from .methods import JointWiener as JointWiener
from .methods import LearnedFusion as LearnedFusion
from .psf import measure_psf as measure_psf
from .simulation import sample as sample
from .simulation import simulate as simulate
from .training import TrainConfig as TrainConfig
from .training import fine_tune_config as fine_tune_config
from .training import load_config as load_config
from .training import train as train
from .training import train_events as train_events

__version__: str
