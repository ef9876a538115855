"""How a training process ended, in words."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from napari_mvfusion.system.unforeseen import in_words

_GO_ON = "go on from its last checkpoint"


@dataclass(frozen=True)
class TrainingOutcome:
    """The last word of a training process.

    Attributes
    ----------
    how : all was done, the user stopped it, an error ended it, or the process died
    path : of the model, where there is one
    words : what went wrong and the fix, for the user; "" where nothing did
    details : what helps to find a mistake in the program
    """

    how: Literal["trained", "stopped", "failed", "crashed"]
    path: Path | None
    words: str
    details: str


@dataclass(frozen=True)
class Acknowledged:
    """A training process has noticed that it is to stop, and keeps what it has."""


def failed(error: Exception, details: str) -> TrainingOutcome:
    """The end by an error; what nobody foresaw is written to the log file as well."""
    told = in_words(error, doing="training", when_memory_ran_out="train on a smaller region")
    return TrainingOutcome("failed", None, told.message, told.details and details)


def crashed(code: int, details: str) -> TrainingOutcome:
    """The end of a process that had no time for a last word.

    Parameters
    ----------
    code : exit code; negative for a signal
    details : the last lines that it wrote
    """
    cause, advice = f"exit code {code}", _GO_ON
    if code < 0:
        cause = f"signal {-code}"
        if code == -getattr(signal, "SIGKILL", 9):
            advice = f"the system may have run out of memory; close other programs, and {_GO_ON}"
    return TrainingOutcome("crashed", None, f"the training process ended unexpectedly ({cause}): {advice}", details)
