"""What a training run is made of, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_mvfusion.data.geometry import Triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.models.build import Architecture
from napari_mvfusion.models.card import problems_of
from napari_mvfusion.models.paper import PaperArchitecture
from napari_mvfusion.models.universal import UniversalArchitecture
from napari_mvfusion.simulation.families import trained_with
from napari_mvfusion.simulation.psf_families import BROAD_AXIAL
from napari_mvfusion.simulation.random_psfs import AXIAL, LARGEST
from napari_mvfusion.system.file_checks import read_text
from napari_mvfusion.system.yaml_text import parse_yaml

Mode = Literal["supervised", "self", "semi"]


class SceneSettings(BaseModel):
    """Endless simulated scenes for supervised training.

    Attributes
    ----------
    size : voxels along each axis of a scene
    least_views, most_views : views of a scene
    angles : fixed directions in degrees, or None for random ones
    kinds : how often each kind of specimen is drawn, or None for the default mixture
    axial : least and largest width of the PSFs along the detection axis (full width at half maximum), voxels
    families : "first" draws `random_scene`; "broad" draws `family_scene`, with PSFs 2 to 20 voxels long unless `axial` says
        otherwise, and measures on the held-out families beside its own, which decides nothing
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
    axial: tuple[float, float] = AXIAL
    families: Literal["first", "broad"] = "first"
    pool: int = Field(default=64, ge=1, le=4096)
    first: int = Field(default=8, ge=1, le=4096)
    steps_per_scene: int = Field(default=16, ge=1, le=10**9)
    workers: int = Field(default=1, ge=0, le=64)

    @model_validator(mode="before")
    @classmethod
    def _broad_widths(cls, values: object) -> object:
        broad = isinstance(values, dict) and values.get("families") == "broad"
        return {"axial": BROAD_AXIAL, **values} if broad and isinstance(values, dict) else values

    @model_validator(mode="after")
    def _kinds_are_trained(self) -> SceneSettings:
        if self.families == "broad":
            try:
                trained_with(self.kinds)
            except InputError as error:
                raise ValueError(str(error)) from error
        return self


class DataSettings(BaseModel):
    """Which part of the user's own views is trained on (self-supervised and semi-supervised).

    Attributes
    ----------
    start, stop : (z, y, x) voxels of the region, or None for the whole volume
    whole_below : volumes or regions of up to this many voxels are held in memory as one block
    blocks : larger ones are represented by this many informative blocks at most
    side : voxels along each axis of such a block
    copies : of every block that are held, each with its noise split in another way (likelihood "split"), and of every
        result that is resimulated (`resimulated`)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: Triple | None = None
    stop: Triple | None = None
    whole_below: int = Field(default=160**3, ge=1, le=2**40)
    blocks: int = Field(default=8, ge=1, le=4096)
    side: int = Field(default=128, ge=16, le=4096)
    copies: int = Field(default=4, ge=1, le=64)

    @model_validator(mode="after")
    def _both_or_none(self) -> DataSettings:
        if (self.start is None) != (self.stop is None):
            raise ValueError("a region needs both start and stop, or neither for the whole volume")
        return self


Gains = Literal["start", "attenuation", "smooth", "view", "one"]
BEFORE_THE_BLUR: tuple[Gains, ...] = ("start", "attenuation")
"""Gains that are transmissions before the blur; they leave the brightness free."""


class LossWeights(BaseModel):
    """How much every part of the loss counts.

    Attributes
    ----------
    absolute, square : of the error against the truth, in units of its range (supervised)
    light : of the square of the mean error of a tile, in units of the truth's range: errors that all have one sign count
        more than those that cancel (supervised)
    unmended : of the square of what is left of the error after the updates from the views that follow a universal network,
        nearly: what the views do not say is what it has to learn (supervised)
    easy : parts of the loss that the start of the network scores in a tile, below which that tile counts less and less:
        with little there is little to learn, but also little that may be spoilt (supervised)
    cycle : of the views against the blurred result (self-supervised and semi-supervised)
    gradient : of the squared gradient of the result (self-supervised)
    adversarial : of the discriminators (semi-supervised)
    resimulated : of what the start of the run generates, recorded once more in the computer with the PSFs, attenuation and
        noise of the views: the network has to restore it, as it would a truth (self-supervised). Sharp volumes are recorded
        so too; 0 leaves the absolute error of the paper, times `cycle` (semi-supervised)
    likelihood : measure of the cycle. "split": the noise of the views is split, the network reads one half, and its
        result is compared with the other, whose noise it cannot know. "poisson" expects the noise of counted photons;
        "absolute" is that of the paper. Both read what they are compared with, and can learn its noise.
    floor : noise that every voxel is taken to have at least, as a share of the brightness that counts as 1: without it the
        dark background would weigh too much ("split"), or learn its own noise ("poisson")
    gains : what the cycle allows for the attenuation of the views: "start" a transmission of each view that changes
        slowly, before the blur, found once from what the start of the run generates, and a factor for each view and tile;
        "attenuation" the same with the transmission found from the views (`measures.attenuation`), whatever the start;
        "smooth" a factor for each view that changes slowly within the tile; "view" a factor for each view and tile; "one"
        nothing. The mean over the views of the factors of "smooth" and "view" is 1; "start" and "attenuation" leave the
        brightness to `resimulated`, or to the sharp volumes.
    energy : share of a PSF that the blur of a tile keeps; what is cut off leaves more of the tile to compare
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    likelihood: Literal["split", "poisson", "absolute"] = Field(
        default="absolute",
        title="Fit to the views by",
        description="split divides the noise of the views, reads one half and compares with the other, so that noise cannot "
        "be learned; poisson expects the noise of photons; absolute counts the mean difference.",
    )
    floor: float = Field(default=0.02, ge=0, le=10**6)
    absolute: float = Field(default=1.0, ge=0, le=10**6)
    square: float = Field(default=8.0, ge=0, le=10**6)
    light: float = Field(default=0.0, ge=0, le=10**6)
    unmended: float = Field(default=0.0, ge=0, le=10**6)
    easy: float = Field(default=0.04, gt=0, le=10**6)
    cycle: float = Field(default=10.0, ge=0, le=10**6)
    gradient: float = Field(
        default=1.0,
        ge=0,
        le=10**6,
        title="Smoothness",
        description="How much rough results are punished. Higher gives less noise and softer edges; 0 lets the background "
        "learn noise.",
    )
    resimulated: float = Field(
        default=0.0,
        ge=0,
        le=10**6,
        title="Resimulated volumes",
        description="How much it counts to restore what the start makes of the views, or sharp volumes where there are "
        "some, from a recording in the computer with the blur, attenuation and noise of the views. Higher stays closer to "
        "the start.",
    )
    adversarial: float = Field(
        default=1.0,
        ge=0,
        le=10**6,
        title="Look of sharp volumes",
        description="How much it counts that results look like sharp volumes, with sharp volumes only. Higher may invent "
        "detail; 0 leaves it out.",
    )
    gains: Gains = Field(
        default="smooth",
        title="Attenuation",
        description="What is allowed for where a view is darker than the others: start, found from what the start makes of "
        "the views; attenuation, found from views and angles; "
        "smooth, slowly changing within a tile; view, one factor a view; one, nothing.",
    )
    energy: float = Field(default=0.99, gt=0.5, le=1)

    @model_validator(mode="before")
    @classmethod
    def _names_of_before(cls, values: object) -> object:
        """Configurations of earlier versions say `again` for `resimulated`, and gains "lost" for "attenuation"."""
        if not isinstance(values, dict):
            return values
        # A preset has the new name: the old one is what somebody wrote.
        renamed = {"resimulated": values["again"]} if "again" in values else {}
        renamed |= {"gains": "attenuation"} if values.get("gains") == "lost" else {}
        return {name: value for name, value in values.items() if name != "again"} | renamed


# Fine-tuning is short and careful; pretraining on scenes is long and bold.
_OF_OWN_DATA: dict[str, object] = {
    "steps": 1000,
    "batch": 1,
    "tile": (64, 64, 64),
    "rate": 1e-4,
    "schedule": "constant",
    "ema": 0.99,
    "validate_every": 50,
    "validation": 4,
}


_LARGEST_TILE = 1024


class TrainConfig(BaseModel):
    """All parameters of a training run.

    The defaults are those for "supervised"; the other modes begin with 1000 steps of one tile of 64 voxels a side at a
    constant rate of 1e-4, an average (`ema`) of 0.99, and 4 tiles to validate on every 50 steps.

    Attributes
    ----------
    mode : "supervised" on simulated scenes, "self" on views alone, "semi" on views and unpaired sharp volumes
    architecture : of the generator; what is started from must have the same
    steps : updates of the weights
    minutes : the run ends after so long where it has not done its steps, or None; getting the data ready, and pauses, do
        not count
    batch : tiles a step
    tile : (z, y, x) voxels
    rate : largest learning rate of Adam
    schedule : "cycle" rises for `warmup` of the steps and then falls along a cosine; "constant" stays
    warmup : share of the steps
    clip : largest norm of the gradient
    ema : how slowly the averaged weights, which are kept, follow the trained ones
    precision : "mixed" computes in bfloat16 where that is safe; "auto" does so on devices that are fast at it
    seed : of everything random
    validate_every : steps
    validation : scenes, or tiles of the user's views, that are never trained on
    patience : validations without a better one before training stops, or None
    checkpoint_seconds : at most this much work is lost
    discriminator_maps : feature maps of the first convolution of each discriminator (semi-supervised)
    scenes : where supervised samples come from
    data : which part of the user's views is trained on
    weights : of the parts of the loss
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode = "supervised"
    architecture: Architecture = UniversalArchitecture()
    steps: int = Field(default=3000, ge=1, le=10**9)
    minutes: float | None = Field(default=None, gt=0, le=10**7)
    rate: float = Field(
        default=1e-3,
        gt=0,
        le=100,
        title="Learning rate",
        description="How far each step changes the network. Higher learns faster and may spoil what it knew: 0.00003 is "
        "careful, 0.0001 usual for a fine-tune, 0.001 bold.",
    )
    tile: Triple = Field(
        default=(48, 48, 48),
        title="Tile (voxels a side)",
        description="Size of the cubes that are learned from. It must be larger than the PSFs; larger ones take more "
        "memory and time a step. Automatic takes 64, or less in small volumes.",
    )
    batch: int = Field(
        default=2,
        ge=1,
        le=1024,
        title="Tiles a step",
        description="How many tiles each step looks at. More make steadier steps that take as much longer.",
    )
    weights: LossWeights = LossWeights()
    schedule: Literal["cycle", "constant"] = "cycle"
    warmup: float = Field(default=0.05, ge=0, le=1)
    clip: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    ema: float = Field(
        default=0.998,
        ge=0,
        lt=1,
        title="Averaging of weights",
        description="What is kept is an average over the last steps: 0.99 over about 100 of them, 0 the last step alone.",
    )
    precision: Literal["full", "mixed", "auto"] = Field(
        default="full",
        title="Precision",
        description="mixed is faster on GPUs and recent CPUs, and takes less memory; auto takes it there.",
    )
    validation: int = Field(
        default=8,
        ge=1,
        le=4096,
        title="Tiles held out",
        description="Tiles that are never trained on: on them it is measured whether the training helps.",
    )
    validate_every: int = Field(
        default=250,
        ge=1,
        le=10**9,
        title="Measure every (steps)",
        description="How often that is measured. The best weights so far are kept each time.",
    )
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**63,
        title="Random seed",
        description="The same seed draws the same tiles in the same order.",
    )
    patience: int | None = Field(default=None, ge=1, le=10**9)
    checkpoint_seconds: float = Field(default=60.0, ge=0, le=10**9)
    discriminator_maps: int = Field(default=64, ge=1, le=512)
    scenes: SceneSettings = SceneSettings()
    data: DataSettings = DataSettings()

    @property
    def resimulates(self) -> bool:
        """Whether what the start generates is resimulated, to be restored."""
        return self.mode == "self" and self.weights.resimulated > 0

    @property
    def asks_start(self) -> bool:
        """Whether it matters what the start generates of the views."""
        return self.resimulates or self.weights.gains == "start"

    @property
    def has_transmissions(self) -> bool:
        """Whether the transmission of each view is found beforehand."""
        return self.resimulates or self.weights.gains in BEFORE_THE_BLUR

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_mode(cls, values: object) -> object:
        if isinstance(values, dict) and values.get("mode", "supervised") != "supervised":
            return _OF_OWN_DATA | values
        return values

    @model_validator(mode="after")
    def _tiles_fit(self) -> TrainConfig:
        if any(n % 4 or not 16 <= n <= _LARGEST_TILE for n in self.tile):
            raise ValueError(
                f"sides of a tile must be multiples of 4, at least 16 and at most {_LARGEST_TILE}, not {self.tile}"
            )
        if self.mode == "supervised" and any(n > self.scenes.size for n in self.tile):
            raise ValueError(f"tiles {self.tile} are larger than scenes of {self.scenes.size} voxels")
        return self

    @model_validator(mode="after")
    def _brightness_is_held(self) -> TrainConfig:
        gains = self.weights.gains
        if self.mode == "self" and gains in BEFORE_THE_BLUR and not self.weights.resimulated:
            raise ValueError(
                f"weights.gains '{gains}' leaves the brightness free: set weights.resimulated above 0, or other gains"
            )
        return self

    @model_validator(mode="after")
    def _views_fit(self) -> TrainConfig:
        scenes = self.scenes
        if not 1 < scenes.axial[0] <= scenes.axial[1] <= LARGEST / 2:
            raise ValueError(
                f"scenes.axial {scenes.axial} must be two widths between 1 and {LARGEST // 2} voxels, rising"
            )
        if scenes.least_views > scenes.most_views:
            raise ValueError(f"scenes cannot have {scenes.least_views} views at least and {scenes.most_views} at most")
        if isinstance(self.architecture, PaperArchitecture) and self.mode == "supervised":
            views = self.architecture.views
            if scenes.angles is not None and len(scenes.angles) != views:
                raise ValueError(f"{len(scenes.angles)} angles do not fit a network for {views} views: an angle a view")
            if scenes.angles is None and not scenes.least_views == scenes.most_views == views:
                raise ValueError(
                    f"a network for {views} views needs scenes with as many: set scenes.angles, or scenes.least_views and "
                    "scenes.most_views"
                )
        return self


def load_config(path: str | Path) -> TrainConfig:
    """Read a configuration from a YAML or JSON file.

    Raises
    ------
    InputError
        If the file cannot be read or a value cannot be used; names the file and the field.
    """
    return make_config(read_values(path), str(path))


def read_values(path: str | Path) -> dict[str, object]:
    """Read the plain values of a configuration from a YAML or JSON file, unchecked.

    Raises
    ------
    InputError
        If the file cannot be read, or holds anything but names and their values.
    """
    path = Path(path)
    values = parse_yaml(read_text(path, "configuration"), str(path))
    if not isinstance(values, dict):
        raise InputError(f"{path} is no configuration of a training run: it must hold names with their values")
    return values


def make_config(values: object, source: str) -> TrainConfig:
    """Make a configuration from plain values; errors name the source and the field."""
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        raise InputError(f"a training run cannot use {source}: {problems_of(error)}") from error
