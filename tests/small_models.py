"""Models with small networks and random weights, as files in the folder of a user."""

from __future__ import annotations

from pathlib import Path

import torch

from napari_mvfusion.models import ModelCard, build, save_model
from napari_mvfusion.models.paper import PaperArchitecture
from napari_mvfusion.models.universal import UniversalArchitecture

SMALL = UniversalArchitecture(view_maps=6, maps=8, deep_maps=8, blocks=1, deep_blocks=1)
LIGHT = SMALL.model_copy(update={"light": True, "updates": 2})
FROM_WIENER = SMALL.model_copy(
    update={"light": True, "noise": True, "starts_from": "wiener", "levels": SMALL.levels[1:], "base": 0}
)


def save(folder: Path, name: str, architecture: UniversalArchitecture | PaperArchitecture, **card: object) -> str:
    """A model with random weights that do something everywhere."""
    torch.manual_seed(0)
    network = build(architecture)
    with torch.no_grad():
        for key, weight in network.named_parameters():
            if key == "out.weight" or key.endswith("second.weight"):
                weight.normal_(0, 0.02)
    paper = isinstance(architecture, PaperArchitecture)
    count = architecture.views if isinstance(architecture, PaperArchitecture) else 2
    entries = {
        "least_views": count,
        "most_views": count if paper else 8,
        "normalisation": "maximum" if paper else "brightness",
    } | card
    save_model(folder / f"{name}.safetensors", network, ModelCard(name=name, architecture=architecture, **entries))
    return name
