"""What a training run is made of, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_mvfusion.errors import InputError
from napari_mvfusion.geometry import Triple
from napari_mvfusion.networks.build import Architecture
from napari_mvfusion.networks.card import problems_of
from napari_mvfusion.networks.universal import UniversalArchitecture

Mode = Literal["supervised", "self", "semi"]


class SceneSettings(BaseModel):
    """Endless simulated scenes for supervised training.

    Attributes
    ----------
    size : voxels along each axis of a scene
    least_views, most_views : views of a scene
    angles : fixed directions in degrees, or None for random ones
    kinds : how often each kind of specimen is drawn, or None for the default mixture
    pool : scenes that are drawn from at a time; the oldest leaves when a new one comes
    first : scenes that are ready before the first step
    steps_per_scene : steps after which a new scene comes
    workers : processes that make scenes
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(default=96, ge=32, le=512)
    least_views: int = Field(default=2, ge=1, le=8)
    most_views: int = Field(default=8, ge=1, le=8)
    angles: tuple[float, ...] | None = None
    kinds: dict[str, float] | None = None
    pool: int = Field(default=64, ge=1)
    first: int = Field(default=8, ge=1)
    steps_per_scene: int = Field(default=16, ge=1)
    workers: int = Field(default=1, ge=0, le=64)


class LossWeights(BaseModel):
    """How much every part of the loss counts.

    Attributes
    ----------
    absolute, square : of the error against the truth, in units of its range (supervised)
    cycle : of the views against the blurred result (self-supervised and semi-supervised)
    gradient : of the squared gradient of the result (self-supervised)
    adversarial : of the discriminators (semi-supervised)
    likelihood : measure of the cycle: "poisson" expects the noise of counted photons, "absolute" is that of the paper
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    absolute: float = Field(default=1.0, ge=0)
    square: float = Field(default=8.0, ge=0)
    cycle: float = Field(default=10.0, ge=0)
    gradient: float = Field(default=1.0, ge=0)
    adversarial: float = Field(default=1.0, ge=0)
    likelihood: Literal["poisson", "absolute"] = "absolute"


class TrainConfig(BaseModel):
    """All parameters of a training run.

    Attributes
    ----------
    mode : "supervised" on simulated scenes, "self" on views alone, "semi" on views and unpaired sharp volumes
    architecture : of the generator; what is started from must have the same
    steps : updates of the weights
    batch : tiles a step
    tile : (z, y, x) voxels
    rate : largest learning rate of Adam
    schedule : "cycle" rises for `warmup` of the steps and then falls along a cosine; "constant" stays
    warmup : share of the steps
    clip : largest norm of the gradient
    ema : how slowly the averaged weights, which are kept, follow the trained ones
    precision : "mixed" computes in bfloat16 where that is safe
    seed : of everything random
    validate_every : steps
    validation : scenes, or tiles of the user's views, that are never trained on
    patience : validations without a better one before training stops, or None
    checkpoint_seconds : at most this much work is lost
    scenes : where supervised samples come from
    weights : of the parts of the loss
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode = "supervised"
    architecture: Architecture = UniversalArchitecture()
    steps: int = Field(default=3000, ge=1)
    batch: int = Field(default=2, ge=1)
    tile: Triple = (48, 48, 48)
    rate: float = Field(default=1e-3, gt=0)
    schedule: Literal["cycle", "constant"] = "cycle"
    warmup: float = Field(default=0.05, ge=0, le=1)
    clip: float = Field(default=1.0, gt=0)
    ema: float = Field(default=0.998, ge=0, lt=1)
    precision: Literal["full", "mixed"] = "full"
    seed: int = Field(default=0, ge=0)
    validate_every: int = Field(default=250, ge=1)
    validation: int = Field(default=8, ge=1)
    patience: int | None = Field(default=None, ge=1)
    checkpoint_seconds: float = Field(default=60.0, ge=0)
    scenes: SceneSettings = SceneSettings()
    weights: LossWeights = LossWeights()

    @model_validator(mode="after")
    def _tiles_fit(self) -> TrainConfig:
        if any(n % 4 or n < 16 for n in self.tile):
            raise ValueError(f"sides of a tile must be multiples of 4 and at least 16, not {self.tile}")
        if self.mode == "supervised" and any(n > self.scenes.size for n in self.tile):
            raise ValueError(f"tiles {self.tile} are larger than scenes of {self.scenes.size} voxels")
        return self


def load_config(path: str | Path) -> TrainConfig:
    """Read a configuration from a YAML or JSON file.

    Raises
    ------
    InputError
        If the file cannot be read or a value cannot be used; names the file and the field.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check its name") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no YAML or JSON file: {str(error).splitlines()[0]}") from error
    return make_config(values, str(path))


def make_config(values: object, source: str) -> TrainConfig:
    """Make a configuration from plain values; errors name the source and the field."""
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{source} is no configuration of a training run: {problems_of(error)}") from error
