"""What a run has reported so far, thinned out, so that a long run is drawn as quickly as a short one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

_MOST_POINTS = 400
# How many times its reach a smoothed curve is long.
_SMOOTH = 16
# Sums and what only the other network minimises say nothing about the generator.
_LEFT_OUT = ("total",)
# The residual in units of the noise, and where noise is split the structure residual.
FIGURES = ("residual", "structure_residual")


@dataclass
class ThinnedCurve:
    """Values over steps. Each point is the mean of some steps, of more and more as the run goes on.

    Attributes
    ----------
    each : how many steps make a point
    """

    each: int = 1
    _steps: list[float] = field(default_factory=list)
    _values: list[float] = field(default_factory=list)
    _open: list[tuple[float, float]] = field(default_factory=list)

    def add(self, step: int, value: float) -> None:
        """Add the value of a step; later ones that a run has gone back from are forgotten."""
        while self._steps and self._steps[-1] >= step:
            self._steps.pop()
            self._values.pop()
        self._open = [pair for pair in self._open if pair[0] < step]
        self._open.append((step, value))
        if len(self._open) >= self.each:
            place, mean = np.mean(self._open, axis=0)
            self._steps.append(float(place))
            self._values.append(float(mean))
            self._open.clear()
        if len(self._steps) >= 2 * _MOST_POINTS:
            self._steps = [float(x) for x in np.reshape(self._steps, (-1, 2)).mean(axis=1)]
            self._values = [float(x) for x in np.reshape(self._values, (-1, 2)).mean(axis=1)]
            self.each *= 2

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Steps and values."""
        return np.array(self._steps), np.array(self._values)


def smoothed(values: np.ndarray) -> np.ndarray:
    """The mean over some values before each and after it, of a sixteenth of all on either side."""
    reach = len(values) // _SMOOTH
    if reach == 0:
        return values
    sums = np.cumsum(np.insert(values, 0, 0.0))
    places = np.arange(len(values))
    low, high = np.maximum(places - reach, 0), np.minimum(places + reach + 1, len(values))
    return np.asarray((sums[high] - sums[low]) / (high - low))


class History:
    """The curves of a run: each part of the loss, and figures on tiles that are never trained on."""

    def __init__(self) -> None:
        self.losses: dict[str, ThinnedCurve] = {}
        self.figures: dict[str, ThinnedCurve] = {}

    def add_losses(self, step: int, losses: Mapping[str, float]) -> None:
        """Add the losses of a step."""
        for name, value in losses.items():
            if name not in _LEFT_OUT:
                self.losses.setdefault(name, ThinnedCurve()).add(step, value)

    def add_figures(self, step: int, figures: Mapping[str, float]) -> None:
        """Add what was measured on tiles that are never trained on."""
        for name in FIGURES:
            if name in figures:
                self.figures.setdefault(name, ThinnedCurve()).add(step, figures[name])
