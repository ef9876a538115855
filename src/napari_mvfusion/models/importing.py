"""Bring a model into the user's folder from any file that can hold one: a model of ours, or a published checkpoint."""

from __future__ import annotations

import re
from pathlib import Path

from napari_mvfusion.errors import MVFusionError
from napari_mvfusion.models.legacy import card_of_import, generator_from_checkpoint
from napari_mvfusion.models.model_file import SUFFIX
from napari_mvfusion.models.store import ModelEntry, add_model, install_model, place_for

_OTHER_LETTERS = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST = 60


def import_model(path: str | Path, name: str) -> ModelEntry:
    """Check a file, and add what it holds to the user's models.

    Parameters
    ----------
    path : a model as `export_model` writes it (`.safetensors`), or a published Lightning checkpoint
    name : what to call it

    Raises
    ------
    InputError
        If the file cannot be used, or the name is none, or that of a shipped model.
    OutputError
        If the user has a model of that name.
    """
    path = Path(path)
    place_for(name)
    if path.suffix.lower() == SUFFIX:
        return install_model(path, name=name)
    network, details = generator_from_checkpoint(path)
    return add_model(network, card_of_import(details, name, source=path.name))


def free_name(path: str | Path) -> str:
    """A name for the model in a file that is not taken: that of the file, with a number where it has to."""
    stem = _OTHER_LETTERS.sub("-", Path(path).stem).strip("-._")[:_LONGEST] or "model"
    name, number = stem, 1
    while True:
        try:
            place_for(name)
        except MVFusionError:
            if number == 1_000:
                raise
            number += 1
            name = f"{stem}-{number}"
        else:
            return name
