"""Training of generators: samples, losses, and a loop that is a generator of events."""

from napari_mvfusion.training.cards import Description
from napari_mvfusion.training.config import TrainConfig, load_config
from napari_mvfusion.training.presets import fine_tune_config
from napari_mvfusion.training.setup import suggest_tile, train, train_events

__all__ = ["Description", "TrainConfig", "fine_tune_config", "load_config", "suggest_tile", "train", "train_events"]
