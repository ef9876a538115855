"""What a training run reports, as frozen dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from napari_mvfusion.data.events import Warned
from napari_mvfusion.data.geometry import Triple


@dataclass(frozen=True)
class Started:
    """The data are checked and the first step comes next; `step` is above 0 where an earlier run goes on."""

    device: str
    parameters: int
    step: int
    steps: int


@dataclass(frozen=True)
class Waiting:
    """Something has to be made before the next step, for example the first scenes; `fraction` is 0 to 1."""

    label: str
    fraction: float


@dataclass(frozen=True)
class StepDone:
    """One update of the weights.

    `losses` holds every part and their sum as "total"; `seconds` is the time that the run has worked, pauses left out.
    """

    step: int
    steps: int
    losses: Mapping[str, float]
    rate: float
    seconds: float


@dataclass(frozen=True)
class Validated:
    """The averaged weights were tried on what is never trained on.

    `figures` are by name; `score` is the one that decides (smaller is better), `best` whether it is the best so far.
    """

    step: int
    figures: Mapping[str, float]
    score: float
    best: bool


@dataclass(frozen=True)
class SteppedBack:
    """A loss was not finite: the run goes on from its last checkpoint at a lower rate."""

    step: int
    rate: float


@dataclass(frozen=True)
class Saved:
    """All that is needed to go on from here is on disk."""

    step: int
    path: Path


@dataclass(frozen=True)
class Paused:
    """The run waits, with a checkpoint on disk; time that passes now counts for nothing."""

    step: int


@dataclass(frozen=True)
class Continued:
    """A paused run goes on."""

    step: int


@dataclass(frozen=True)
class MemoryFallback:
    """Memory ran out: the run goes on with this tile (z, y, x) and so many tiles a step."""

    step: int
    tile: Triple
    batch: int


@dataclass(frozen=True, eq=False)
class Previewed:
    """The brightest tile that is never trained on ("self" and "semi").

    Attributes
    ----------
    step : finished steps
    before, after : float32 (z, y, x) in the brightness of the views, by the start of the run and by the averaged weights
    view : the mean of the views there, likewise
    residual_before, residual_after : mean over the views in units of the expected noise, as `ScoreViews` gives it
    """

    step: int
    before: np.ndarray
    after: np.ndarray
    view: np.ndarray
    residual_before: float
    residual_after: float


@dataclass(frozen=True)
class Stopped:
    """The user stopped the run; the best weights so far are kept in `path`, or None when there are none yet.

    `before` and `after` are the figures of the start and of the best weights on what is never trained on.
    """

    step: int
    path: Path | None
    before: Mapping[str, float] = field(default_factory=dict)
    after: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """All steps are done, or the score got no better; `path` holds the best weights.

    `before` and `after` are the figures of the start and of the best weights on what is never trained on; `best_step` is 0
    where no step was better than the start, whose weights are kept then.
    """

    step: int
    path: Path
    score: float
    seconds: float
    before: Mapping[str, float] = field(default_factory=dict)
    after: Mapping[str, float] = field(default_factory=dict)
    best_step: int = 0


TrainEvent = (
    Warned
    | Started
    | Waiting
    | StepDone
    | Validated
    | Previewed
    | Paused
    | Continued
    | MemoryFallback
    | SteppedBack
    | Saved
    | Stopped
    | Trained
)
