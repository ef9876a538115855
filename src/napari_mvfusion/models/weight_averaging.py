"""The average of the weights of two models, of which one was trained on from the other: often better than either."""

from __future__ import annotations

from pathlib import Path

import torch

from napari_mvfusion.errors import InputError
from napari_mvfusion.models.build import build
from napari_mvfusion.models.card import ModelCard
from napari_mvfusion.models.store import ModelEntry, add_model, load_model, place_for
from napari_mvfusion.models.universal import adapted_weights


def average_models(first: str | Path, second: str | Path, share: float, name: str) -> ModelEntry:
    """Average the weights of two models into a new one in the user's folder.

    Parameters
    ----------
    first, second : name or file; the second was trained from the first, and may do more before the network
    share : of the second, 0 to 1
    name : of the new model; its card is that of the second

    Raises
    ------
    InputError
        If the share is out of range, or the networks differ.
    OutputError
        If the user has a model of that name.

    References
    ----------
    Wortsman et al., Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing
    inference time. ICML 2022.
    """
    place_for(name)
    if not 0 <= share <= 1:
        raise InputError(f"the share of the second model is {share:g}: it must lie between 0 and 1")
    (before, card), (after, new) = load_model(first), load_model(second)
    added = after.state_dict()
    weights = adapted_weights(before.state_dict(), card.architecture, new.architecture)
    if weights is None or weights.keys() != added.keys():
        raise InputError(f"the networks of '{card.name}' and '{new.name}' differ: average models of one architecture")
    network = build(new.architecture)
    network.load_state_dict(
        {key: torch.lerp(weights[key].float(), value.float(), share) for key, value in added.items()}
    )
    made = {"average": {"first": card.name, "second": new.name, "share": share}}
    changed = {"name": name, "training": {**new.training, **made}, "metrics": {}}
    return add_model(network, ModelCard.model_validate({**new.model_dump(exclude={"created"}), **changed}))
