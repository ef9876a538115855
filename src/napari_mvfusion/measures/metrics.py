"""The table of metrics: the command line, the Compare panel, benchmarks and the documentation read it.

A metric is one `Metric` in a file of its own, found from a `Measured`, and one line in `METRICS`; its column stands
where its line does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict

from napari_mvfusion.measures.metric import Measured, Metric, Needs, Values

PARTS = {"all": "all voxels", "foreground": "the foreground"}


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
    "that is expected; mean over the views, lower is better, 1 is the noise itself. It needs no ground truth. What views "
    "lost of their light is taken as in the run that made the volume; where no recipe says that, it is fitted. Compare "
    "methods on the same views only.",
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
