"""How good a fused volume is: scores against a ground truth.

Volumes are read slab by slab, so lazy and large arrays need little memory. What can be said without a ground truth is
in `napari_mvfusion.measures.residuals`, whose names are to be had here too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from math import inf, isfinite, log10, sqrt

import numpy as np
from scipy import ndimage

from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.data.moments import PairMoments
from napari_mvfusion.data.view_noise import Noise
from napari_mvfusion.data.views import VolumeLike
from napari_mvfusion.errors import InputError
from napari_mvfusion.measures.finite_values import finite_values
from napari_mvfusion.measures.residuals import Residual, estimate_noise, reprojection, residual_map

__all__ = [
    "Metrics",
    "Noise",
    "Residual",
    "Scores",
    "estimate_noise",
    "evaluate",
    "reprojection",
    "residual_map",
    "ssim_map",
]

_PERCENTILES = (0.1, 99.9)
# Beyond this many voxels (1 GiB as float32) percentiles come from histograms instead of the sorted values.
_EXACT_VOXELS = 2**28
_BINS = 4096
_SLAB_VOXELS = 2**22
# The fit is about so much of the time of an evaluation; SSIM takes the rest.
_FIT_SHARE = 0.1

_SSIM_SIGMA = 1.5
_SSIM_RADIUS = 5
_SSIM_TRUNCATE = 3.5
_SSIM_K1, _SSIM_K2 = 0.01, 0.03


@dataclass(frozen=True)
class Scores:
    """Scores over one set of voxels.

    Attributes
    ----------
    nrmse : root mean square error over the range of the ground truth; 0 is best
    psnr : peak signal-to-noise ratio, `-20 log10(nrmse)`, dB; infinite where there is no error
    ssim : mean structural similarity, at most 1
    cc : Pearson correlation, -1 to 1; 0 where either volume is constant on these voxels
    """

    nrmse: float
    psnr: float
    ssim: float
    cc: float


@dataclass(frozen=True)
class Metrics:
    """Scores of a fused volume against its ground truth.

    Attributes
    ----------
    all : over all voxels
    foreground : over the voxels whose normalised ground truth is above zero
    foreground_fraction : share of those voxels
    """

    all: Scores
    foreground: Scores
    foreground_fraction: float

    def as_dict(self) -> dict[str, dict[str, float | None] | float]:
        """Return the numbers for JSON, `{"all": {"nrmse": ...}, "foreground": {...}, ...}`; no PSNR if infinite."""
        both = {
            name: {key: value if isfinite(value) else None for key, value in asdict(scores).items()}
            for name, scores in (("all", self.all), ("foreground", self.foreground))
        }
        return {**both, "foreground_fraction": self.foreground_fraction}

    def cells(self) -> tuple[str, str, str, str]:
        """NRMSE, PSNR, SSIM and CC as text, each as "all / foreground", as in the published tables."""
        a, f = self.all, self.foreground
        return (
            f"{a.nrmse:.3f} / {f.nrmse:.3f}",
            f"{a.psnr:.1f} / {f.psnr:.1f}",
            f"{a.ssim:.3f} / {f.ssim:.3f}",
            f"{a.cc:.3f} / {f.cc:.3f}",
        )


def evaluate(
    fused: VolumeLike, truth: VolumeLike, *, progress: Callable[[float], None] = lambda share: None
) -> Metrics:
    """Score a fused volume against the ground truth.

    The truth t is normalised to its percentiles, `(t - p0.1) / (p99.9 - p0.1)`, and the fused volume is brought onto it
    by the scale and offset of least squares over all voxels; scores therefore do not depend on the units of either.
    NRMSE and PSNR use the full range (maximum minus minimum) of the normalised truth, over all voxels and over the
    foreground alike. SSIM has a Gaussian window of sigma 1.5 in three dimensions, K1 = 0.01, K2 = 0.03; its map is made
    on the whole volume and then averaged, over the foreground too. The outer 5 voxels, where the window leaves the
    volume, count for SSIM only along axes that have no others. (Published foreground SSIMs of 0.85 and more fit the
    other convention, volumes masked to zero and averaged over everything, where each background voxel adds 1.)

    Parameters
    ----------
    fused, truth : (z, y, x) of one shape and any real dtype; numpy, dask or zarr. Read in slabs of about 4 million
        voxels, the truth three times and the fused volume twice.
    progress : called with the share that is done, 0 to 1; an error that it raises ends the work

    Returns
    -------
    Metrics. Percentiles are exact up to 2^28 voxels (the truth is then held in memory as float32); beyond, they are
    found by histograms to 1e-7 of the range.

    Raises
    ------
    InputError
        If shapes disagree, a value is not finite, or the truth is constant or nearly so.

    References
    ----------
    Weigert et al., Content-aware image restoration, Nature Methods 15 (2018), for the normalisation.
    Wang et al., Image quality assessment, IEEE Transactions on Image Processing 13 (2004), for SSIM.
    """
    shape = _common_shape(fused, truth)
    low, high = _percentiles(truth, shape, _PERCENTILES)
    if not high > low:
        raise InputError(
            f"the ground truth is {low:g} in nearly every voxel (percentiles 0.1 and 99.9 are equal): "
            "scores need a truth with structure; is this the right file?"
        )
    total = PairMoments()
    for slab in _slabs(shape):
        total.add(_normalised(truth, slab, low, high), _values(fused, slab, "fused volume"))
        progress(_FIT_SHARE * slab.stop / shape[0])
    scale, offset = total.fit()
    span = float(total.high[0] - total.low[0])

    squares, similarity = np.zeros(2), np.zeros(2)
    counted = np.zeros(2, np.int64)
    inner = PairMoments()
    for slab in _slabs(shape):
        # Read with the rows round the slab that the SSIM window reaches into.
        wide = slice(max(slab.start - _SSIM_RADIUS, 0), min(slab.stop + _SSIM_RADIUS, shape[0]))
        core = slice(slab.start - wide.start, slab.stop - wide.start)
        reference = _normalised(truth, wide, low, high)
        estimate = _values(fused, wide, "fused volume").astype(np.float64) * scale + offset
        inside = reference > 0
        error = np.square(estimate[core] - reference[core])
        squares += [error.sum(), error[inside[core]].sum()]
        inner.add(reference[core][inside[core]], estimate[core][inside[core]])

        similar = ssim_map(estimate.astype(np.float32), reference.astype(np.float32), span)
        whole = _whole_windows(slab, wide, shape)
        similar, inside = similar[whole], inside[whole]
        similarity += [similar.sum(dtype=np.float64), similar[inside].sum(dtype=np.float64)]
        counted += [similar.size, int(np.count_nonzero(inside))]
        progress(_FIT_SHARE + (1 - _FIT_SHARE) * slab.stop / shape[0])
    return Metrics(
        all=_scores(float(squares[0]), total, span, float(similarity[0] / max(counted[0], 1))),
        foreground=_scores(float(squares[1]), inner, span, float(similarity[1] / max(counted[1], 1))),
        foreground_fraction=inner.count / total.count,
    )


def ssim_map(estimate: np.ndarray, reference: np.ndarray, data_range: float) -> np.ndarray:
    """Structural similarity at every voxel, Gaussian window of sigma 1.5 cut at radius 5, mirrored borders.

    Parameters
    ----------
    estimate, reference : float32 (z, y, x)
    data_range : range of values that the constants K1 = 0.01 and K2 = 0.03 refer to

    Returns
    -------
    float32 (z, y, x)
    """
    mean_e, mean_r = _window(estimate), _window(reference)
    product = mean_e * mean_r
    squares = mean_e * mean_e + mean_r * mean_r
    covariance = _window(estimate * reference) - product
    variances = _window(estimate * estimate + reference * reference) - squares
    c1, c2 = np.float32((_SSIM_K1 * data_range) ** 2), np.float32((_SSIM_K2 * data_range) ** 2)
    return np.asarray(((2 * product + c1) * (2 * covariance + c2)) / ((squares + c1) * (variances + c2)))


def _scores(squares: float, moments: PairMoments, span: float, similarity: float) -> Scores:
    nrmse = sqrt(squares / moments.count) / span
    psnr = -20 * log10(nrmse) if nrmse > 0 else inf
    return Scores(nrmse, psnr, similarity, moments.correlation())


def _whole_windows(slab: slice, wide: slice, shape: Triple) -> tuple[slice, slice, slice]:
    """Return the voxels of a slab that count for SSIM, as an index into the wider slab that was read."""
    z_margin, y_margin, x_margin = (_SSIM_RADIUS if n > 2 * _SSIM_RADIUS else 0 for n in shape)
    first = max(slab.start, z_margin) - wide.start
    last = min(slab.stop, shape[0] - z_margin) - wide.start
    return slice(first, max(first, last)), slice(y_margin, shape[1] - y_margin), slice(x_margin, shape[2] - x_margin)


def _window(values: np.ndarray) -> np.ndarray:
    return np.asarray(ndimage.gaussian_filter(values, _SSIM_SIGMA, truncate=_SSIM_TRUNCATE))


def _common_shape(fused: VolumeLike, truth: VolumeLike) -> Triple:
    if len(truth.shape) != 3 or 0 in truth.shape:
        raise InputError(f"the ground truth has shape {tuple(truth.shape)}: three axes (z, y, x) are needed")
    if tuple(fused.shape) != tuple(truth.shape):
        raise InputError(
            f"the fused volume has shape {tuple(fused.shape)}, but the ground truth {tuple(truth.shape)}: "
            "compare volumes on one grid"
        )
    return triple(truth.shape)


def _slabs(shape: Triple) -> Iterator[slice]:
    thickness = max(1, _SLAB_VOXELS // (shape[1] * shape[2]))
    for start in range(0, shape[0], thickness):
        yield slice(start, min(start + thickness, shape[0]))


def _values(volume: VolumeLike, slab: slice, name: str) -> np.ndarray:
    """Read a slab as float32."""
    _, height, width = volume.shape
    return finite_values(volume, Box((slab.start, 0, 0), (slab.stop, height, width)), f"the {name}")


def _normalised(truth: VolumeLike, slab: slice, low: float, high: float) -> np.ndarray:
    return (_values(truth, slab, "ground truth").astype(np.float64) - low) / (high - low)


def _percentiles(volume: VolumeLike, shape: Triple, percents: Sequence[float]) -> tuple[float, ...]:
    """Percentiles of all voxels, exact where the volume can be held in memory."""
    if np.prod(shape, dtype=np.int64) <= _EXACT_VOXELS:
        whole = np.empty(shape, np.float32)
        for slab in _slabs(shape):
            whole[slab] = _values(volume, slab, "ground truth")
        return tuple(float(p) for p in np.percentile(whole, percents, overwrite_input=True))
    low, high = inf, -inf
    for slab in _slabs(shape):
        values = _values(volume, slab, "ground truth")
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    return tuple(_histogram_percentile(volume, shape, percent, low, high) for percent in percents)


def _histogram_percentile(volume: VolumeLike, shape: Triple, percent: float, low: float, high: float) -> float:
    """One percentile between `low` and `high`, by a histogram and a second one inside the bin that was found."""
    rank = percent / 100 * (np.prod(shape, dtype=np.float64) - 1)
    for _ in range(2):
        if low == high:
            break
        edges = np.linspace(low, high, _BINS + 1)
        below, counts = 0, np.zeros(_BINS, np.int64)
        for slab in _slabs(shape):
            values = _values(volume, slab, "ground truth").astype(np.float64)
            below += int(np.count_nonzero(values < low))
            counts += np.histogram(values, edges)[0]
        found = int(np.searchsorted(below + np.cumsum(counts), rank, side="right"))
        found = min(found, _BINS - 1)
        low, high = float(edges[found]), float(edges[found + 1])
    return (low + high) / 2
