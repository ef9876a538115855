"""The parameters that most users leave alone, as a model with titles, units and ranges."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from napari_mvfusion.training.config import Gains, TrainConfig

_RATE_UNIT = 1e-4
AUTOMATIC = "automatic"


class ExpertSettings(BaseModel):
    """What can be set of a fine-tune beside its data and its time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: float = Field(
        default=1.0,
        gt=0,
        le=100,
        title="Learning rate (× 0.0001)",
        description="How far each step changes the network. Higher learns faster and may spoil what it knew: 0.3 is "
        "careful, 1 usual, 10 bold.",
    )
    tile: Literal["automatic", "32", "48", "64", "96", "128"] = Field(
        default="automatic",
        title="Tile (voxels a side)",
        description="Size of the cubes that are learned from. It must be larger than the PSFs; larger ones take more "
        "memory and time a step. Automatic takes 64, or less in small volumes.",
    )
    batch: int = Field(
        default=1,
        ge=1,
        le=16,
        title="Tiles a step",
        description="How many tiles each step looks at. More make steadier steps that take as much longer.",
    )
    likelihood: Literal["split", "poisson", "absolute"] = Field(
        default="absolute",
        title="Fit to the views by",
        description="split divides the noise of the views, reads one half and compares with the other, so that noise cannot "
        "be learned; poisson expects the noise of photons; absolute counts the mean difference.",
    )
    gradient: float = Field(
        default=1.0,
        ge=0,
        le=1000,
        title="Smoothness",
        description="How much rough results are punished. Higher gives less noise and softer edges; 0 lets the background "
        "learn noise.",
    )
    again: float = Field(
        default=0.0,
        ge=0,
        le=1000,
        title="Known volumes again",
        description="How much it counts to find again what the start makes of the views, or sharp volumes where there are "
        "some, recorded with the blur, losses of light and noise of the views. Higher stays closer to the start.",
    )
    adversarial: float = Field(
        default=1.0,
        ge=0,
        le=1000,
        title="Look of sharp volumes",
        description="How much it counts that results look like sharp volumes, with sharp volumes only. Higher may invent "
        "detail; 0 leaves it out.",
    )
    gains: Gains = Field(
        default="smooth",
        title="Light lost on the way",
        description="What is allowed for where a view is darker than the others: start, found from what the start makes of "
        "the views; lost, what the specimen absorbed, found from views and angles; "
        "smooth, slowly changing within a tile; view, one factor a view; one, nothing.",
    )
    ema: float = Field(
        default=0.99,
        ge=0,
        le=0.9999,
        title="Averaging of weights",
        description="What is kept is an average over the last steps: 0.99 over about 100 of them, 0 the last step alone.",
    )
    precision: Literal["auto", "full", "mixed"] = Field(
        default="auto",
        title="Precision",
        description="mixed is faster on GPUs and recent CPUs, and takes less memory; auto takes it there.",
    )
    validation: int = Field(
        default=4,
        ge=1,
        le=16,
        title="Tiles held out",
        description="Tiles that are never trained on: on them it is measured whether the training helps.",
    )
    validate_every: int = Field(
        default=50,
        ge=1,
        le=10000,
        title="Measure every (steps)",
        description="How often that is measured. The best weights so far are kept each time.",
    )
    seed: int = Field(
        default=0,
        ge=0,
        le=999999,
        title="Random seed",
        description="The same seed draws the same tiles in the same order.",
    )


def settings_of(config: TrainConfig) -> ExpertSettings:
    """What a configuration says about these parameters."""
    weights = config.weights
    return ExpertSettings(
        rate=config.rate / _RATE_UNIT,
        batch=config.batch,
        likelihood=weights.likelihood,
        gradient=weights.gradient,
        again=weights.again,
        adversarial=weights.adversarial,
        gains=weights.gains,
        ema=config.ema,
        precision=config.precision,
        validation=config.validation,
        validate_every=config.validate_every,
        seed=config.seed,
    )


def changes_of(settings: ExpertSettings, standard: TrainConfig) -> dict[str, Any]:
    """The fields of a configuration that these parameters change."""
    usual = settings_of(standard)
    names = ("batch", "ema", "precision", "validation", "validate_every", "seed")
    changes = {name: getattr(settings, name) for name in names if getattr(settings, name) != getattr(usual, name)}
    if settings.rate != usual.rate:
        changes["rate"] = settings.rate * _RATE_UNIT
    if settings.tile != AUTOMATIC:
        changes["tile"] = (int(settings.tile),) * 3
    parts = ("likelihood", "gradient", "again", "adversarial", "gains")
    if any(getattr(settings, name) != getattr(usual, name) for name in parts):
        changes["weights"] = standard.weights.model_copy(update={name: getattr(settings, name) for name in parts})
    return changes
