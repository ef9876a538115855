"""How much detail a view has at each place: content weights, on a coarse grid, from one pass over the volume."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy import ndimage, special
from torch.nn import functional

from napari_mvfusion.data.events import Event, Preparing
from napari_mvfusion.data.geometry import Box, FloatTriple, Triple, float_triple, triple
from napari_mvfusion.data.reading_ahead import read_ahead
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.imaging.threads import share
from napari_mvfusion.methods.coarse import CoarseGrid

_SLAB_VOXELS = 2**23
# Of all views together, for slabs that are thinner than their chunks.
_AHEAD_BYTES = 2**30
# Maps of all views together in float64, and the temporary arrays beside them.
_COARSE_BYTES = 2**28
_BINS = 256
_HISTOGRAM_BYTES = 2**28
_CELLS_PER_SIGMA = 5.0
_FEWEST_CELLS_PER_SIGMA = 2.5


def gaussian_grid(views: RegisteredViews, sigma: float) -> CoarseGrid:
    """The grid for maps that are smooth over `sigma` voxels (of the finest axis): about five cells a sigma.

    Large volumes get fewer, down to 2.5 a sigma, so that the maps stay within 256 MiB where that is possible.
    """
    sigmas = per_axis(views, sigma)
    cells = _CELLS_PER_SIGMA
    while True:
        grid = CoarseGrid(views.grid.shape, triple(max(1, round(s / cells)) for s in sigmas))
        size = int(np.prod(grid.shape, dtype=np.int64)) * len(views) * 4 * 8
        if size <= _COARSE_BYTES or cells <= _FEWEST_CELLS_PER_SIGMA:
            return grid
        cells = max(_FEWEST_CELLS_PER_SIGMA, cells / 1.25)


def per_axis(views: RegisteredViews, length: float) -> FloatTriple:
    """A length in voxels of the finest axis as voxels of each axis."""
    return float_triple(length / ratio for ratio in views.grid.anisotropy)


def gaussian_content(
    views: RegisteredViews, grid: CoarseGrid, sigma1: float, sigma2: float, device: torch.device
) -> Generator[Event, None, np.ndarray]:
    """Local variance of each view, `G_s2 (x) (x - G_s1 (x) x)^2` with mirrored borders, on a coarse grid.

    One pass gathers the mean of x, of x^2 and of the coverage in every cell; with m the Gaussian mean, which hardly
    varies inside a cell, the mean of `(x - m)^2` over a cell is `mean(x^2) - 2 m mean(x) + m^2`.

    Parameters
    ----------
    views : the views
    grid : from `gaussian_grid`
    sigma1, sigma2 : voxels of the finest axis
    device : where the cells are summed

    Yields
    ------
    Preparing, after every slab.

    Returns
    -------
    float64 (view, z, y, x), one value a cell, not negative.

    References
    ----------
    Preibisch et al., SPIE 6914 (2008), in the form of BigStitcher.
    """
    means = [numbers.mean for numbers in views.statistics()]
    views = views.with_data(read_ahead(view.data, _AHEAD_BYTES // len(views)) for view in views.views)
    first = np.zeros((len(views), *grid.shape))
    second = np.zeros((len(views), *grid.shape))
    covered = np.zeros((len(views), *grid.shape))

    def gather(slab: Box, cells: slice, view: slice) -> None:
        v = view.start
        # The mean is subtracted first: squares of large, almost equal numbers would lose all digits.
        values = torch.from_numpy(views.read(slab, [v])[0]).to(device).sub_(means[v])
        coverage = views.coverage(slab, [v])
        if coverage is None:
            covered[v, cells] = 1.0
        else:
            mask = torch.from_numpy(coverage[0]).to(device)
            values *= mask
            covered[v, cells] = _cell_means(mask, grid.step)
        first[v, cells] = _cell_means(values, grid.step)
        second[v, cells] = _cell_means(values.square_(), grid.step)

    slabs = _slabs(grid)
    for done, (slab, cells) in enumerate(slabs, 1):
        share([slice(v, v + 1) for v in range(len(views))], partial(partial, gather, slab, cells))
        yield Preparing("finding detail", done / len(slabs))
    blur1 = [s / step for s, step in zip(per_axis(views, sigma1), grid.step, strict=True)]
    blur2 = [s / step for s, step in zip(per_axis(views, sigma2), grid.step, strict=True)]

    def variance(v: int) -> np.ndarray:
        everywhere = bool((covered[v] == 1).all())
        mean = _smooth(first[v], covered[v], blur1, everywhere)
        # Sums over the covered part of a cell, so that what is not covered adds nothing.
        local = np.maximum(second[v] - 2 * mean * first[v] + covered[v] * mean**2, 0)
        smooth: np.ndarray = np.maximum(_smooth(local, covered[v], blur2, everywhere), 0)
        return smooth

    with ThreadPoolExecutor(max_workers=min(len(views), torch.get_num_threads())) as pool:
        return np.stack(list(pool.map(variance, range(len(views)))))


def entropy_grid(views: RegisteredViews, window: int) -> CoarseGrid:
    """The grid for entropies in a window: about four points a window."""
    return CoarseGrid(views.grid.shape, triple(max(1, round(w / 4)) for w in window_shape(views, window)))


def window_shape(views: RegisteredViews, window: int) -> Triple:
    """Odd sides of a window of `window` voxels of the finest axis."""
    return triple(2 * round((length - 1) / 2) + 1 if length > 1 else 1 for length in per_axis(views, window))


def entropy_content(views: RegisteredViews, grid: CoarseGrid, window: int) -> Generator[Event, None, np.ndarray]:
    """Local Shannon entropy of each view, in 256 grey levels between the extremes of all views, on a coarse grid.

    Histograms are exact at the middle voxel of every cell; a window that leaves the volume, or the field
    of the view, is cut off. The borders of
    all windows cut an axis into segments, so a window is a union of segments: each voxel is counted once, in the
    histogram of its segment, and these are summed over windows axis by axis.

    Yields
    ------
    Preparing, after some layers of cells.

    Returns
    -------
    float64 (view, z, y, x), one value a cell, 0 to 1 (log2 of the number of grey levels).

    References
    ----------
    Preibisch et al., SPIE 6914 (2008).
    """
    low = min(numbers.minimum for numbers in views.statistics())
    high = max(numbers.maximum for numbers in views.statistics())
    radius = triple(n // 2 for n in window_shape(views, window))
    _, along_y, along_x = (_Windows.of(grid, axis, radius[axis]) for axis in range(3))
    entropy = np.zeros((len(views), *grid.shape))
    segments = along_y.sums.shape[1] * along_x.sums.shape[1]
    layers = max(1, _HISTOGRAM_BYTES // (segments * _BINS * 8 * 2) - 2 * radius[0] // grid.step[0])
    groups = [slice(a, min(a + layers, grid.shape[0])) for a in range(0, grid.shape[0], layers)]
    for done, cells in enumerate(groups, 1):
        along_z = _Windows.of(grid, 0, radius[0], cells)
        reach = Box((along_z.start, 0, 0), (along_z.stop, grid.volume[1], grid.volume[2]))

        def measure(view: slice, reach: Box = reach, along_z: _Windows = along_z, cells: slice = cells) -> None:
            v = view.start
            levels = ((views.read(reach, [v])[0] - low) * (_BINS / (high - low))).astype(np.int64)
            np.clip(levels, 0, _BINS - 1, out=levels)
            place = (
                along_z.segment[:, None, None] * along_y.sums.shape[1] + along_y.segment[:, None]
            ) * along_x.sums.shape[1]
            levels += (place + along_x.segment) * _BINS
            shape = (along_z.sums.shape[1], along_y.sums.shape[1], along_x.sums.shape[1], _BINS)
            coverage = views.coverage(reach, [v])
            measured = levels.ravel() if coverage is None else levels[coverage[0] > 0]
            counts = np.bincount(measured, minlength=int(np.prod(shape))).reshape(shape).astype(np.float32)
            for layer, layer_sums in enumerate(along_z.sums):
                plane = np.tensordot(layer_sums, counts, axes=1)
                plane = np.tensordot(along_y.sums, plane, axes=1)
                histogram = along_x.sums @ plane
                share_of_level = histogram / np.maximum(histogram.sum(axis=-1, keepdims=True), 1)
                entropy[v, cells.start + layer] = -special.xlogy(share_of_level, share_of_level).sum(axis=-1) / np.log(
                    _BINS
                )

        share([slice(v, v + 1) for v in range(len(views))], partial(_always, measure))
        yield Preparing("measuring entropy", done / len(groups))
    return entropy


def _always(work: Callable[[slice], None]) -> Callable[[slice], None]:
    return work


@dataclass(frozen=True)
class _Windows:
    """Windows along one axis: which voxels they need, the segment of each, and which segments each window sums."""

    start: int
    stop: int
    segment: np.ndarray
    sums: np.ndarray

    @classmethod
    def of(cls, grid: CoarseGrid, axis: int, radius: int, cells: slice = slice(None)) -> _Windows:
        middles = np.floor(grid.middles(axis))[cells].astype(int)
        begins = np.maximum(middles - radius, 0)
        ends = np.minimum(middles + radius + 1, grid.volume[axis])
        start, stop = int(begins.min()), int(ends.max())
        borders = np.unique(np.concatenate([begins, ends]))
        segment = np.searchsorted(borders, np.arange(start, stop), side="right") - 1
        first = borders[:-1]
        sums = (first >= begins[:, None]) & (first < ends[:, None])
        return cls(start, stop, segment, sums.astype(np.float32))


def _slabs(grid: CoarseGrid) -> list[tuple[Box, slice]]:
    """Slabs of whole cells along z, each with its cells."""
    planes, height, width = grid.volume
    cells = max(1, _SLAB_VOXELS // (height * width * grid.step[0]))
    slabs = []
    for start in range(0, grid.shape[0], cells):
        stop = min(start + cells, grid.shape[0])
        z = (start * grid.step[0], min(stop * grid.step[0], planes))
        slabs.append((Box((z[0], 0, 0), (z[1], height, width)), slice(start, stop)))
    return slabs


def _cell_means(values: torch.Tensor, step: Triple) -> np.ndarray:
    """Mean over every cell; over the part that there is of one at the far border."""
    # A side shorter than a cell is one cell, which is cut off.
    sides = triple(min(s, n) for s, n in zip(step, values.shape, strict=True))
    means = functional.avg_pool3d(values[None, None], sides, ceil_mode=True)[0, 0]
    numbers: np.ndarray = means.cpu().numpy().astype(np.float64)
    return numbers


def _smooth(values: np.ndarray, covered: np.ndarray, sigma: list[float], everywhere: bool) -> np.ndarray:
    """Gaussian mean over what is covered; the values already hold the share of their cell that is covered."""
    smooth: np.ndarray = ndimage.gaussian_filter(values, sigma, mode="reflect")
    if everywhere:
        return smooth
    amount = ndimage.gaussian_filter(covered, sigma, mode="reflect")
    mean: np.ndarray = np.divide(smooth, amount, out=np.zeros_like(smooth), where=amount > 1e-6)
    return mean
