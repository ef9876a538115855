"""The recipe of a series: which volumes it has, how they were fused, and the recipe of each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from napari_mvfusion.engine.finishing import recipe_path
from napari_mvfusion.engine.provenance import FORMAT_VERSION, parameters_of, software_versions
from napari_mvfusion.engine.recipe import SERIES_FORMAT, Recipe, read_values, validated
from napari_mvfusion.engine.series_choice import SeriesChoice
from napari_mvfusion.methods.base import Method


class FailedVolume(BaseModel):
    """A volume that could not be fused, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    failed: str


class SeriesRecipe(SeriesChoice):
    """All that is needed to make the volumes of a series again: which they are, and the recipe of each.

    Attributes
    ----------
    fingerprint : of what was asked for: a run with `resume` goes on only where it is the same
    series : the recipes of the volumes, in the order of `SeriesChoice.indices`
    """

    format: Literal["mvfusion-series"] = SERIES_FORMAT
    version: int = FORMAT_VERSION
    fingerprint: str
    series: tuple[Recipe | FailedVolume, ...]

    @model_validator(mode="after")
    def _has_a_recipe_for_each(self) -> SeriesRecipe:
        if len(self.series) != len(self.timepoints) * len(self.channels):
            raise ValueError("it does not have one recipe for each volume")
        return self

    @property
    def choice(self) -> SeriesChoice:
        """The volumes, as they were chosen."""
        return SeriesChoice(**{name: getattr(self, name) for name in SeriesChoice.model_fields})


def describe_series(choice: SeriesChoice, fingerprint: str, volumes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The recipe of a series, as JSON types.

    Parameters
    ----------
    choice : which volumes
    fingerprint : of what was asked for
    volumes : the recipe of each in its order; of one that failed {"failed": why}
    """
    return {
        "format": SERIES_FORMAT,
        "version": FORMAT_VERSION,
        "fingerprint": fingerprint,
        **choice.model_dump(mode="json"),
        "series": [dict(volume) for volume in volumes],
    }


def series_fingerprint(choice: SeriesChoice, method: Method, device: str, *, per_timepoint: bool = False) -> str:
    """SHA-256 of what a series is asked for: input, volumes, method, kind of device and software; no pixel is read."""
    asked = {"method": {"name": method.name, "parameters": parameters_of(method)}, **choice.model_dump(mode="json")}
    asked["per_timepoint"] = per_timepoint
    return _sha256(asked | {"device": device, "software": software_versions()})


def repeated_fingerprint(recipe: SeriesRecipe, device: str) -> str:
    """The same for the repetition of a recipe."""
    return _sha256({"repeats": recipe.fingerprint, "device": device, "software": software_versions()})


def load_series_recipe(path: str | Path) -> SeriesRecipe | None:
    """Read and validate the recipe of a series; None where it is that of one volume.

    Parameters
    ----------
    path : a `.recipe.json`, or a fused series, which holds its own

    Raises
    ------
    InputError
        If the file is missing, is or holds no recipe, is damaged, or was made by a newer version.
    """
    values = read_values(path)
    return validated(SeriesRecipe, values, path) if values["format"] == SERIES_FORMAT else None


def recipe_beside(place: Path) -> dict[str, Any] | None:
    """The recipe of a series that lies beside an output; None where there is none that can be used."""
    try:
        values: dict[str, Any] = json.loads(recipe_path(place).read_text(encoding="utf-8"))
        return values if values["format"] == SERIES_FORMAT and isinstance(values["series"], list) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sha256(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
