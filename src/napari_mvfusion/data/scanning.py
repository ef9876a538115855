"""Numbers of whole views: one pass over the volume, slab by slab, that all methods share."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from napari_mvfusion.data.events import Preparing
from napari_mvfusion.data.fourth_differences import NoiseSums
from napari_mvfusion.data.geometry import Box, Grid, Triple
from napari_mvfusion.data.hot_pixels import HotVoxels
from napari_mvfusion.data.overviews import Overview, OverviewSums
from napari_mvfusion.data.reading_ahead import read_ahead
from napari_mvfusion.data.sampling import (
    covered_pixels,
    mark_covered,
    mark_trusted,
    pixels_with_hot,
    read_view,
    source_of,
)
from napari_mvfusion.data.view import View
from napari_mvfusion.errors import InputError

# Every so many planes tell enough of the noise.
_NOISE_PLANES = 8
_SAMPLED_PLANES = 12
_SCAN_VOXELS = 4 * 2**20
# Hot pixels are looked for with one plane more on both sides, which would be most of the work for thinner slabs.
_FEWEST_PLANES = 4


@dataclass(frozen=True)
class ViewStatistics:
    """Whole-volume numbers of one view as it is read, camera offset already subtracted.

    `sha256` identifies the pixels: it is taken over the float32 values on the fused grid, in z, y, x order. `mask_sha256`
    does so with where a view with a mask has data, `trust_sha256` with how much one counts from place to place; they are
    empty for one without. `overview` is the view in large cells, None where it is not known. `noise` is the variance of
    white noise that is as rough as the view is along y and x; interpolated views are smoother than they were recorded.

    Hot pixels, `hot` of them in the view's own array (None where that is not known), count in `sha256` alone, whether
    they are removed or not: one of them would else decide on the scale of a whole volume. A view that is the same
    everywhere else has none.

    `stand_in` tells that they are no numbers of pixels, but stand for those of a view of which only the size is known.
    """

    minimum: float
    maximum: float
    mean: float
    mean_square: float
    covered_voxels: int
    sha256: str
    overview: Overview | None = field(default=None, compare=False, repr=False)
    noise: float = field(default=0.0, compare=False)
    hot: int | None = field(default=None, compare=False)
    mask_sha256: str = ""
    trust_sha256: str = ""
    stand_in: bool = False

    def divided(self, unit: float) -> ViewStatistics:
        """The numbers of the same view with all pixels divided by a unit, without the hash."""
        overview = self.overview
        if overview is not None:
            overview = replace(overview, values=(overview.values / unit).astype(np.float32))
        return replace(
            self,
            minimum=self.minimum / unit,
            maximum=self.maximum / unit,
            mean=self.mean / unit,
            mean_square=self.mean_square / unit**2,
            noise=self.noise / unit**2,
            sha256="",
            overview=overview,
        )


class HotCount:
    """Counts the hot pixels of a view that is looked at box by box; boxes may overlap.

    Parameters
    ----------
    view : the view

    Attributes
    ----------
    removing : the view without its hot pixels
    """

    def __init__(self, view: View) -> None:
        self.removing = view if view.remove_hot else replace(view, remove_hot=True)
        self._shape = view.shape
        self._places = np.zeros(0, np.int64)

    def add(self, found: HotVoxels, box: Box) -> bool:
        """Count the hot pixels of a box of the view's own array, and tell whether there is any."""
        if len(found):
            places = np.ravel_multi_index(tuple((found.places + box.start).T), self._shape)
            self._places = np.union1d(self._places, places)
        return len(found) > 0

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._places)


class TrustSum:
    """How much a view counts from place to place, summed up and hashed as it would be read.

    Attributes
    ----------
    total : sum over all voxels
    """

    def __init__(self) -> None:
        self.total = 0.0
        self._digest = hashlib.sha256()

    def add(self, view: View, grid: Grid, box: Box) -> None:
        """The next box, in the order of the volume."""
        trust = np.ones(box.shape, np.float32)
        mark_trusted(view, grid, box, trust)
        self.total += float(trust.sum(dtype=np.float64))
        self._digest.update(trust.data)

    @property
    def sha256(self) -> str:
        """Of all that was added."""
        return self._digest.hexdigest()


def scan_views(
    views: Sequence[View], grid: Grid, window: Box
) -> Generator[Preparing, None, tuple[ViewStatistics, ...]]:
    """Statistics of every view, slab by slab in bounded memory.

    Parameters
    ----------
    views : with masks that say all that is known of where they have data
    grid : of the fused volume
    window : the part of it that is looked at

    Yields
    ------
    Preparing, after each slab of each view.

    Returns
    -------
    One `ViewStatistics` a view.

    Raises
    ------
    InputError
        If a pixel is NaN or infinite, or a view has no data inside the window, or counts nowhere there.
    """
    found = []
    for number, view in enumerate(views):
        # One view after the other, so that chunks of one alone are in memory.
        steps = _scan_view(view, grid, window)
        while True:
            try:
                share = next(steps)
            except StopIteration as end:
                found.append(end.value)
                break
            yield Preparing("reading the views", (number + share) / len(views))
    return tuple(found)


def _scan_view(
    view: View, grid: Grid, window: Box, *, spare_hot: bool = True
) -> Generator[float, None, ViewStatistics]:
    """The same of one view, whose hot pixels do not count where they are spared; yields how much of it is done."""
    view = replace(view, data=read_ahead(view.data))
    parts = slabs(window.shape)
    low, high, total, squares, count = np.inf, -np.inf, 0.0, 0.0, 0
    digest, overview, noise, hot = hashlib.sha256(), OverviewSums(window.shape), NoiseSums(), HotCount(view)
    mask = None if view.mask is None else hashlib.sha256()
    trust = None if view.trust is None else TrustSum()
    for done, slab in enumerate(parts, 1):
        box = slab.within(window)
        values, spared = _look(view, grid, box, hot if spare_hot else None)
        digest.update(values.data)
        values = spared
        inside = _inside(view, grid, box)
        if mask is not None and inside is not None:
            mask.update(np.packbits(inside).tobytes())
        if trust is not None:
            trust.add(view, grid, box)
        overview.add(slab, values, inside)
        every = slice(-slab.start[0] % _NOISE_PLANES, None, _NOISE_PLANES)
        noise.add(values[every], None if inside is None else inside[every])
        if inside is not None:
            values = values[inside]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
            total += float(values.sum(dtype=np.float64))
            flat = values.ravel()
            squares += float(np.einsum("i,i->", flat, flat, dtype=np.float64))
            count += values.size
        yield done / len(parts)
    if count == 0:
        raise InputError(
            f"{view.label} has no data inside the fused volume: check its affine and mask, or is it all NaN?"
        )
    if trust is not None and not trust.total:
        raise InputError(
            f"{view.label} is trusted nowhere in the fused volume (trust, trust box or fade): change that, or leave it out"
        )
    if hot.count > 0 and low == high:
        # There is nothing else in it.
        return (yield from _scan_view(view, grid, window, spare_hot=False))
    return ViewStatistics(
        low,
        high,
        total / count,
        squares / count,
        count,
        digest.hexdigest(),
        overview.overview(),
        noise.variance,
        hot.count,
        "" if mask is None else mask.hexdigest(),
        "" if trust is None else trust.sha256,
    )


def sample_views(views: Sequence[View], grid: Grid, window: Box) -> tuple[ViewStatistics, ...]:
    """Numbers and overviews of every view, from some planes; see `scan_views` for the parameters. There are no hashes."""
    depth, height, width = window.shape
    planes = np.unique(np.linspace(0, depth - 1, min(depth, _SAMPLED_PLANES)).astype(int))
    statistics = []
    for view in views:
        parts = []
        sums, noise = OverviewSums(window.shape), NoiseSums()
        for z in planes:
            plane = Box((int(z), 0, 0), (int(z) + 1, height, width))
            values, inside = _read(view, grid, plane.within(window)), _inside(view, grid, plane.within(window))
            sums.add(plane, values, inside)
            noise.add(values, inside)
            parts.append(values.ravel() if inside is None else values[inside])
        sample = np.concatenate(parts)
        sample = sample if sample.size else np.zeros(1, np.float32)
        statistics.append(
            ViewStatistics(
                float(sample.min()),
                float(sample.max()),
                float(sample.mean()),
                float(np.square(sample, dtype=np.float64).mean()),
                int(sample.size),
                "",
                sums.overview(planes),
                noise.variance,
            )
        )
    return tuple(statistics)


def _look(view: View, grid: Grid, box: Box, hot: HotCount | None) -> tuple[np.ndarray, np.ndarray]:
    """A slab of a view as it is read, and without its hot pixels, which are counted; equal where there are none."""
    if hot is None:
        values = _read(view, grid, box)
        return values, values
    if view.affine is None:
        values, found = pixels_with_hot(view, box)
        hot.add(found, box)
        spared = values
        if len(found):
            spared = values.copy()
            found.remove(spared)
        values = spared if view.remove_hot else values
        if view.mask is not None:
            covered = covered_pixels(view, box)
            values, spared = values * covered, spared * covered
        return values, spared
    values = _read(view, grid, box)
    source = source_of(view, grid, box)[1]
    if source.size == 0 or not hot.add(pixels_with_hot(view, source)[1], source) or view.remove_hot:
        return values, values
    return values, _read(hot.removing, grid, box)


def _read(view: View, grid: Grid, box: Box) -> np.ndarray:
    values = np.empty(box.shape, np.float32)
    read_view(view, grid, box, values)
    return values


def _inside(view: View, grid: Grid, box: Box) -> np.ndarray | None:
    """Where a view has data, None where that is everywhere."""
    if view.affine is None and view.mask is None:
        return None
    covered = np.ones(box.shape, np.float32)
    mark_covered(view, grid, box, covered)
    return covered > 0


def slabs(shape: Triple) -> list[Box]:
    """A volume cut across z into boxes that are small enough to hold at once."""
    thickness = max(_FEWEST_PLANES, _SCAN_VOXELS // (shape[1] * shape[2]))
    return [Box((z, 0, 0), (min(z + thickness, shape[0]), shape[1], shape[2])) for z in range(0, shape[0], thickness)]
