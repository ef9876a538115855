"""Networks that map views to the latent image, their weights, and the cards that describe them."""

from napari_mvfusion.models.build import Generator, build
from napari_mvfusion.models.card import ModelCard, PSFRecord
from napari_mvfusion.models.model_file import read_card, save_model, weights_sha256
from napari_mvfusion.models.store import (
    ModelEntry,
    add_model,
    delete_model,
    export_model,
    find_model,
    install_model,
    list_models,
    load_model,
    place_for,
    rename_model,
    user_folder,
)
from napari_mvfusion.models.weight_averaging import average_models

__all__ = [
    "Generator",
    "ModelCard",
    "ModelEntry",
    "PSFRecord",
    "add_model",
    "average_models",
    "build",
    "delete_model",
    "export_model",
    "find_model",
    "install_model",
    "list_models",
    "load_model",
    "place_for",
    "read_card",
    "rename_model",
    "save_model",
    "user_folder",
    "weights_sha256",
]
