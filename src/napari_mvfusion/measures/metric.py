"""What a metric is, and what it is found from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Literal

import torch

from napari_mvfusion.data.field_of_view import VolumeLike
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.measures.quality import Metrics, evaluate
from napari_mvfusion.measures.residuals import Residual, reprojection
from napari_mvfusion.measures.used_attenuation import FITTED, UsedAttenuation

# What a metric needs beside the fused volume: the ground truth, the views with their PSFs, or nothing.
Needs = Literal["truth", "views", "nothing"]
# Values of one metric by part: "all" and "foreground" voxels for "truth", names of views for "views", "all" for "nothing".
Values = Mapping[str, float]


class Measured:
    """A fused volume and what it can be measured against; what metrics share is found once, when it is first asked for.

    Parameters
    ----------
    fused : (z, y, x)
    truth : (z, y, x) of the same shape, or None
    views : on the grid of the fused volume, each with its PSF, or None
    allowing : tells what is taken for the attenuation of the views, as `attenuation_of_run` does; fitted when None
    device : where blurs are computed
    progress : called with the share that is done, 0 to 1; an error that it raises ends the work
    """

    def __init__(
        self,
        fused: VolumeLike,
        *,
        truth: VolumeLike | None = None,
        views: RegisteredViews | None = None,
        allowing: Callable[[RegisteredViews], UsedAttenuation] | None = None,
        device: torch.device | str = "cpu",
        progress: Callable[[float], None] = lambda share: None,
    ) -> None:
        self.fused = fused
        self.truth = truth
        self.views = views
        self._allowing = allowing
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
    def attenuation(self) -> UsedAttenuation:
        """What the residuals take for the attenuation of the views."""
        assert self.views is not None
        return FITTED if self._allowing is None else self._allowing(self.views)

    @cached_property
    def residuals(self) -> tuple[Residual, ...]:
        """Residual of every view, see `residuals.reprojection` for its errors."""
        assert self.views is not None
        used = self.attenuation
        return reprojection(
            self.fused,
            self.views,
            self.device,
            attenuation=used.fitted,
            transmission=used.of(self.views.names),
            progress=self._progress,
        )


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
