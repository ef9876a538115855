"""The parameters of a fine-tune that most users leave alone: those fields of its configuration that have a title."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from napari_mvfusion.methods.parameters import Parameter, describe_field
from napari_mvfusion.training.config import LossWeights, TrainConfig

AUTOMATIC = "automatic"
_TILE_SIDES = ("32", "48", "64", "96", "128")


def expert_parameters(standard: TrainConfig) -> tuple[Parameter, ...]:
    """The parameters, in the order of the fields of `TrainConfig` and `LossWeights`.

    Parameters
    ----------
    standard : its values are the defaults
    """
    usual = expert_values(standard)
    return tuple(replace(parameter, default=usual[parameter.field]) for parameter in _described())


def expert_values(config: TrainConfig) -> dict[str, Any]:
    """What a configuration says about them, by name; its tile counts as chosen automatically."""
    values = {name: getattr(owner, name) for name, owner in _owners(config)}
    return values | {"tile": AUTOMATIC}


def values_of_version_0_1(entered: Mapping[str, Any]) -> dict[str, Any]:
    """The values that version 0.1 remembered, which had the rate in units of 0.0001, and other words."""
    now = {"again": "resimulated"}
    words = {"lost": "attenuation"}
    renamed = {now.get(name, name): words.get(value, value) for name, value in entered.items()}
    return renamed | {"rate": 1e-4 * entered.get("rate", 1.0)}


def expert_changes(values: Mapping[str, Any], standard: TrainConfig) -> dict[str, Any]:
    """The fields of a configuration that differ from a standard one, for `fine_tune_config`.

    Parameters
    ----------
    values : of the parameters, by name
    standard : where these agree with it nothing changes
    """
    usual = expert_values(standard)
    changed = {name: value for name, value in values.items() if value != usual[name]}
    if "tile" in changed:
        changed["tile"] = (int(changed["tile"]),) * 3
    weights = {name: changed.pop(name) for name in list(changed) if name in LossWeights.model_fields}
    return changed | ({"weights": weights} if weights else {})


def _described() -> Iterator[Parameter]:
    for name, owner in _owners(TrainConfig()):
        field = type(owner).model_fields[name]
        if name == "tile":
            title, help_ = str(field.title), str(field.description)
            yield Parameter(name, name, title, help_, "choice", AUTOMATIC, choices=(AUTOMATIC, *_TILE_SIDES))
        else:
            yield describe_field(name, field)


def _owners(config: TrainConfig) -> Iterator[tuple[str, BaseModel]]:
    """The names of the parameters, and what of a configuration holds each."""
    for name, field in TrainConfig.model_fields.items():
        if name == "weights":
            yield from ((inner, config.weights) for inner, part in LossWeights.model_fields.items() if part.title)
        elif field.title:
            yield name, config
