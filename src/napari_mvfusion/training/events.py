"""What a training run reports, as frozen dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from napari_mvfusion.events import Warned


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

    `losses` holds every part and their sum as "total"; `seconds` is since the start of this run.
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
class Stopped:
    """The user stopped the run; the best weights so far are kept in `path`, or None when there are none yet."""

    step: int
    path: Path | None


@dataclass(frozen=True)
class Trained:
    """All steps are done, or the score got no better; `path` holds the best weights."""

    step: int
    path: Path
    score: float
    seconds: float


TrainEvent = Warned | Started | Waiting | StepDone | Validated | SteppedBack | Saved | Stopped | Trained
