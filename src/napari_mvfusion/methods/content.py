"""How much detail a view has at each place: content weights, on a coarse grid, from one pass over the volume."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from napari_mvfusion.events import Event, Preparing
from napari_mvfusion.geometry import Box, FloatTriple, Triple, float_triple, triple
from napari_mvfusion.imaging.threads import share
from napari_mvfusion.methods.coarse import CoarseGrid
from napari_mvfusion.views import RegisteredViews

_SLAB_VOXELS = 2**23
# Maps of all views together in float64, and the temporary arrays beside them.
_COARSE_BYTES = 2**28
_BINS = 256
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


def entropy_content(
    views: RegisteredViews, grid: CoarseGrid, window: int, device: torch.device
) -> Generator[Event, None, np.ndarray]:
    """Local Shannon entropy of each view, in 256 grey levels between the extremes of all views, on a coarse grid.

    Histograms are exact at the middle voxel of every cell; a window that leaves the volume is cut off.

    Yields
    ------
    Preparing, after every slab and view.

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
    entropy = np.zeros((len(views), *grid.shape))
    slabs = _slabs(grid)
    done = 0
    for slab, cells in slabs:
        reach = slab.grow((radius[0], 0, 0)).clip(grid.volume)
        matrices = [_window_sums(grid, axis, radius[axis], reach, cells, device) for axis in range(3)]
        count = _windowed(torch.ones(reach.shape, device=device), matrices)
        for v in range(len(views)):
            values = torch.from_numpy(views.read(reach, [v])[0]).to(device)
            levels = ((values - low) * (_BINS / (high - low))).to(torch.int16).clamp_(0, _BINS - 1)
            total = torch.zeros_like(count)
            for level in range(_BINS):
                share = _windowed((levels == level).float(), matrices) / count
                total -= torch.xlogy(share, share)
            entropy[v, cells] = total.cpu().numpy() / np.log(_BINS)
            done += 1
            yield Preparing("measuring entropy", done / (len(slabs) * len(views)))
    return entropy


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
    means = functional.avg_pool3d(values[None, None], step, ceil_mode=True)[0, 0]
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


def _window_sums(
    grid: CoarseGrid, axis: int, radius: int, reach: Box, cells: slice, device: torch.device
) -> torch.Tensor:
    """Matrix (cells, voxels) of ones where a voxel lies in a cell's window."""
    middles = np.floor(grid.middles(axis))
    if axis == 0:
        middles = middles[cells]
    voxels = np.arange(reach.start[axis], reach.stop[axis])
    inside = np.abs(voxels[None, :] - middles[:, None]) <= radius
    return torch.from_numpy(inside.astype(np.float32)).to(device)


def _windowed(values: torch.Tensor, matrices: list[torch.Tensor]) -> torch.Tensor:
    """Sum over the window of every cell, one axis after the other."""
    along_z, along_y, along_x = matrices
    summed = values @ along_x.T
    summed = along_y @ summed
    planes: torch.Tensor = torch.tensordot(along_z, summed, dims=1)
    return planes
