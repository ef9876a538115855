"""The metrics: what each number is called, which way is better, what it needs, and how it is found.

The command line, the Compare panel, benchmarks and the documentation read this one table. A metric is one `Metric`, in a
file of its own or here, and one line in `METRICS`. What several of them share is computed once, by `Measured`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import fmean
from typing import Literal

import torch

from napari_mvfusion.data.field_of_view import VolumeLike
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.measures.quality import Metrics, evaluate
from napari_mvfusion.measures.residuals import Residual, reprojection

# What a metric needs beside the fused volume: the ground truth, the views with their PSFs, or nothing.
Needs = Literal["truth", "views", "nothing"]
# Values of one metric by part: "all" and "foreground" voxels for "truth", names of views for "views", "all" for "nothing".
Values = Mapping[str, float]

PARTS = {"all": "all voxels", "foreground": "the foreground"}


class Measured:
    """A fused volume and what it can be measured against; what metrics share is found once, when it is first asked for.

    Parameters
    ----------
    fused : (z, y, x)
    truth : (z, y, x) of the same shape, or None
    views : on the grid of the fused volume, each with its PSF, or None
    device : where blurs are computed
    progress : called with the share that is done, 0 to 1; an error that it raises ends the work
    """

    def __init__(
        self,
        fused: VolumeLike,
        *,
        truth: VolumeLike | None = None,
        views: RegisteredViews | None = None,
        device: torch.device | str = "cpu",
        progress: Callable[[float], None] = lambda share: None,
    ) -> None:
        self.fused = fused
        self.truth = truth
        self.views = views
        self.device = device
        self._progress = progress

    def has(self, needs: Needs) -> bool:
        """Whether what a metric needs is at hand."""
        return needs == "nothing" or (self.truth if needs == "truth" else self.views) is not None

    @cached_property
    def scores(self) -> Metrics:
        """Scores against the truth, see `quality.evaluate` for its errors."""
        assert self.truth is not None
        return evaluate(self.fused, self.truth, progress=self._progress)

    @cached_property
    def residuals(self) -> tuple[Residual, ...]:
        """Residual of every view, see `residuals.reprojection` for its errors."""
        assert self.views is not None
        return reprojection(self.fused, self.views, self.device, progress=self._progress)


@dataclass(frozen=True)
class Metric:
    """One number that says how good a fused volume is.

    Attributes
    ----------
    name : in files and in Python
    title : over its column
    better : which way is better
    decimals : that are shown
    needs : what must be at hand beside the fused volume
    help : what it is, for a tooltip and the documentation
    values : finds it; raises `InputError` where it cannot
    """

    name: str
    title: str
    better: Literal["lower", "higher"]
    decimals: int
    needs: Needs
    help: str
    values: Callable[[Measured], Values]

    def number(self, values: Values, part: str = "all") -> float:
        """The one number to show: over a part of the voxels, or the mean over the views."""
        return fmean(values.values()) if self.needs == "views" else values[part if self.needs == "truth" else "all"]

    def text(self, number: float) -> str:
        """A number with the decimals that are shown."""
        return f"{number:.{self.decimals}f}"

    def best(self, numbers: Iterable[float]) -> float:
        """The best of some numbers."""
        return min(numbers) if self.better == "lower" else max(numbers)


def _score(name: str) -> Callable[[Measured], Values]:
    """Finds one of the scores that `quality.evaluate` gives, over both sets of voxels."""

    def values(measured: Measured) -> Values:
        return {"all": asdict(measured.scores.all)[name], "foreground": asdict(measured.scores.foreground)[name]}

    return values


RESIDUAL = Metric(
    "residual",
    "Residual",
    "lower",
    2,
    "views",
    "Reprojection residual: the volume, blurred with the PSF of each view, against that view, in units of the noise "
    "that is expected; mean over the views, lower is better, 1 is the noise itself. It needs no ground truth. Light "
    "that fades with depth is allowed for, as a smooth factor. Compare methods on the same views only.",
    lambda measured: {residual.view: residual.rms for residual in measured.residuals},
)
NRMSE = Metric(
    "nrmse",
    "NRMSE",
    "lower",
    3,
    "truth",
    "Root mean square error over the range of the ground truth: lower is better, 0 is best",
    _score("nrmse"),
)
PSNR = Metric(
    "psnr", "PSNR", "higher", 1, "truth", "Peak signal-to-noise ratio in dB: higher is better", _score("psnr")
)
SSIM = Metric(
    "ssim",
    "SSIM",
    "higher",
    3,
    "truth",
    "Structural similarity with the ground truth: higher is better, 1 is best",
    _score("ssim"),
)
CC = Metric(
    "cc", "CC", "higher", 3, "truth", "Correlation with the ground truth: higher is better, 1 is best", _score("cc")
)

METRICS = (RESIDUAL, NRMSE, PSNR, SSIM, CC)


def measure(measured: Measured, needs: Needs | None = None) -> dict[str, Values]:
    """Find all metrics for which what they need is at hand.

    Parameters
    ----------
    measured : what is measured
    needs : only the metrics that need this, all when None

    Returns
    -------
    The values of each, by its name.

    Raises
    ------
    InputError
        If volumes, truth and views do not fit together, or one of them cannot be measured.
    """
    return {
        metric.name: metric.values(measured)
        for metric in METRICS
        if (needs is None or metric.needs == needs) and measured.has(metric.needs)
    }


def cells(values: Mapping[str, Values], needs: Needs = "truth") -> list[str]:
    """The metrics that need this as text, in the order of the table; "all / foreground" for those with a truth."""
    found = []
    for metric in METRICS:
        if metric.needs == needs:
            parts = PARTS if needs == "truth" else {"all": ""}
            found.append(" / ".join(metric.text(metric.number(values[metric.name], part)) for part in parts))
    return found


def titles(needs: Needs) -> list[str]:
    """What stands over the columns of the metrics that need this."""
    return [metric.title for metric in METRICS if metric.needs == needs]
