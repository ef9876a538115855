"""Registered views on one grid: the one thing that all methods read from.

Arrays are (z, y, x); several views are stacked as (view, z, y, x). Pixels are read lazily, block by block,
from numpy, dask, zarr or memory-mapped arrays, and always arrive as float32.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, prod
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from scipy import ndimage

from napari_mvfusion.darkness import ends_abruptly
from napari_mvfusion.divided import Divided, unit_for
from napari_mvfusion.errors import InputError
from napari_mvfusion.events import Preparing
from napari_mvfusion.fields import NO_DATA, Found, HullMask, NoData, ValueMask, inside_planes, look_for_field
from napari_mvfusion.geometry import Box, Grid, Triple, float_triple, triple
from napari_mvfusion.hot_pixels import HotVoxels, NoiseLevel, find_hot, noise_level

T = TypeVar("T")

FOURTH_DIFFERENCE = np.array([1.0, -4.0, 6.0, -4.0, 1.0]) / 70**0.5
"""Of white noise these have its variance; blurred structure nearly vanishes in them."""
DIFFERENCE_REACH = 2
# Every so many planes tell enough of the noise.
_NOISE_PLANES = 8
# About how many cells an overview has.
_OVERVIEW_CELLS = 2**16
_SCAN_VOXELS = 4 * 2**20
_EDGE_TOLERANCE = 1e-6
# Far beyond these, sums of weighted pixels leave the range of float32.
_LEAST_WEIGHT = 1e-6
_MOST_WEIGHT = 1e6
_MOST_OFFSET = 1e30
_MEAN_PLANES = 12
_NO_DARKNESS = 0.99


class VolumeLike(Protocol):
    """What a view needs of an array: numpy, dask, zarr and memory maps all have it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes along (z, y, x)."""

    @property
    def dtype(self) -> Any:
        """Type of the pixels."""

    def __getitem__(self, index: Any, /) -> Any:
        """Pixels of a box, as something that `numpy.asarray` understands."""


@dataclass(frozen=True, eq=False)
class View:
    """One registered recording of the specimen.

    Attributes
    ----------
    data : array (z, y, x) of any real dtype; numpy, dask, zarr or a memory map
    name : unique among the views, used in messages and tables
    psf : float array (z, y, x) with odd sizes, or None. The PSF in the frame of the fused volume, on its voxels.
    angle : direction of the detection axis about x, degrees, or None
    affine : 4 x 4 matrix from voxel index (z, y, x, 1) of `data` to world micrometres, or None when
        `data` already lies on the grid of the fused volume
    weight : relative trust in this view, above 0
    offset : camera offset, in the units of `data`; subtracted when pixels are read, and what falls below it becomes 0.
        0 leaves the pixels untouched.
    mask : array (z, y, x), nonzero where `data` holds a measurement, or None when every pixel does. What lies outside
        may be anything, NaN too.
    source : the file or layer that the view came from, for messages
    gain : what pixels are divided by when they are read, after the offset: how many times as bright as the others it is
    remove_hot : read the median of its neighbours in the place of each hot pixel; see `napari_mvfusion.hot_pixels`
    psf_notes : what was done to the PSF before it became this one, in words
    psf_flaw : why the PSF that was given cannot be used, in words; `psf` is None then
    no_data : which pixels are no measurement either: "none"; every "0"; every "nan"; or "auto", what is recognised:
        where 0 lies outside the field of the view (see `RegisteredViews.settle`), and NaN where some reach the border of
        the volume. A mask takes the place of "auto". Values are those of `data`, before the camera offset.
    """

    data: VolumeLike
    name: str
    psf: np.ndarray | None = None
    angle: float | None = None
    affine: np.ndarray | None = None
    weight: float = 1.0
    offset: float = 0.0
    mask: VolumeLike | None = None
    source: str = ""
    remove_hot: bool = False
    psf_notes: tuple[str, ...] = ()
    psf_flaw: str = ""
    gain: float = 1.0
    no_data: NoData = "none"

    def __post_init__(self) -> None:
        if len(self.data.shape) != 3:
            raise InputError(
                f"{self.label} has {len(self.data.shape)} axes {tuple(self.data.shape)}: "
                "a view needs exactly three (z, y, x); pick one channel and time point"
            )
        if 0 in self.data.shape:
            raise InputError(f"{self.label} is empty: its shape is {tuple(self.data.shape)}")
        kind = np.dtype(self.data.dtype).kind
        if kind not in "buif":
            raise InputError(f"{self.label} has pixels of type {self.data.dtype}: real numbers are needed")
        if not (np.isfinite(self.weight) and self.weight > 0):
            raise InputError(f"{self.label} has weight {self.weight}: give a positive one, or leave the view out")
        if not _LEAST_WEIGHT <= self.weight <= _MOST_WEIGHT:
            raise InputError(
                f"{self.label} has weight {self.weight:g}: give one from {_LEAST_WEIGHT:g} to {_MOST_WEIGHT:,.0f}; only how "
                "weights relate to each other matters"
            )
        if not abs(self.offset) <= _MOST_OFFSET:  # nor NaN
            raise InputError(f"{self.label} has camera offset {self.offset:g}: it must be a number, and not that large")
        if not (np.isfinite(self.gain) and self.gain > 0):
            raise InputError(
                f"{self.label} has gain {self.gain}: give a positive one, 1 for a view as bright as the others"
            )
        if self.no_data not in NO_DATA:
            raise InputError(f"{self.label} has no_data '{self.no_data}': choose {', '.join(NO_DATA)}")
        if self.mask is not None and tuple(self.mask.shape) != tuple(self.data.shape):
            raise InputError(f"{self.label} has shape {self.shape}, its mask {tuple(self.mask.shape)}: make them equal")
        if self.affine is not None:
            matrix = np.asarray(self.affine, dtype=np.float64)
            if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-12:
                raise InputError(f"{self.label}: its affine must be an invertible 4 x 4 matrix of finite numbers")
            object.__setattr__(self, "affine", matrix)

    @property
    def label(self) -> str:
        """The view's name for a message, with its source where it is known."""
        return f"view '{self.name}' ({self.source})" if self.source else f"view '{self.name}'"

    @property
    def shape(self) -> Triple:
        """Pixels along (z, y, x) of the view's own array."""
        return triple(self.data.shape)


@dataclass(frozen=True, eq=False)
class Overview:
    """A view of the whole volume, averaged over cubic cells; the last ones may be cut off.

    Attributes
    ----------
    cell : voxels along a side of a cell
    shape : voxels of the whole volume
    values : float32 (z, y, x), mean brightness of the voxels of each cell where the view has data, 0 where it has none
    covered : the same shape, share of each cell where the view has data
    """

    cell: int
    shape: Triple
    values: np.ndarray
    covered: np.ndarray


@dataclass(frozen=True)
class ViewStatistics:
    """Whole-volume numbers of one view as it is read, camera offset already subtracted.

    `sha256` identifies the pixels: it is taken over the float32 values on the fused grid, in z, y, x order. `mask_sha256`
    does so with where a view with a mask has data; it is empty for one without. `overview` is
    the view in large cells, None where it is not known. `noise` is the variance of white noise that is as rough as the
    view is along y and x; interpolated views are smoother than they were recorded.

    Hot pixels, `hot` of them in the view's own array (None where that is not known), count in `sha256` alone, whether
    they are removed or not: one of them would else decide on the scale of a whole volume. A view that is the same
    everywhere else has none.
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


class RegisteredViews:
    """Views on one grid.

    Parameters
    ----------
    views : the views, at least one; their order is the order of the first axis of every block
    grid : the grid of the fused volume. When None, the views must have no affine and one shape, and
        voxels are 1 um wide.
    window : the part of the grid to which reading is limited, see `region`, or None for all of it

    Attributes
    ----------
    views : in order. Once something was read, their masks say all that is known of where they have data.
    grid : of the fused volume; with a window, of that part of it
    rough_border : whether methods may save time where exactness matters only away from the border, see `region`

    Raises
    ------
    InputError
        If there is no view, names repeat, or a view without an affine has another shape than the grid.
    """

    def __init__(self, views: Iterable[View], grid: Grid | None = None, *, window: Box | None = None) -> None:
        self.views: tuple[View, ...] = tuple(views)
        if not self.views:
            raise InputError("no views were given: at least one is needed, two or more to fuse")
        names = [view.name for view in self.views]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"two views are called '{name}': give each view its own name")
        if grid is None:
            first = self.views[0]
            if any(view.affine is not None for view in self.views):
                raise InputError("views with an affine need a grid: pass grid=Grid(shape, voxel_size_um, origin_um)")
            grid = Grid(first.shape)
        self._frame = grid
        self._window = window
        self.grid: Grid = grid if window is None else _part(grid, window)
        for view in self.views:
            if view.affine is None and view.shape != grid.shape:
                raise InputError(
                    f"{view.label} has shape {view.shape}, but the fused volume has {grid.shape}: "
                    "registered views must have one shape (resample it, or give its affine)"
                )
        self._statistics: tuple[ViewStatistics, ...] | None = None
        self._settled = all(view.no_data == "none" for view in self.views)
        self._notes: dict[str, str] = {}
        self.rough_border = False

    def __len__(self) -> int:
        return len(self.views)

    def __repr__(self) -> str:
        return f"RegisteredViews({[view.name for view in self.views]}, {self.grid})"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the views, in order."""
        return tuple(view.name for view in self.views)

    def select(self, names: Sequence[str]) -> RegisteredViews:
        """The same grid with only the views of these names, in this order.

        Raises
        ------
        InputError
            If a name is unknown.
        """
        by_name = {view.name: view for view in self.views}
        for name in names:
            if name not in by_name:
                raise InputError(f"there is no view '{name}': the views are {', '.join(by_name)}")
        chosen = RegisteredViews([by_name[name] for name in names], self._frame, window=self._window)
        if self._statistics is not None:
            chosen._statistics = tuple(self._statistics[self.names.index(name)] for name in names)
        chosen.rough_border = self.rough_border
        chosen._notes = {name: note for name, note in self._notes.items() if name in names}
        return chosen

    def with_psfs(self, psfs: Sequence[np.ndarray | None]) -> RegisteredViews:
        """The same views with other PSFs, one a view, in the order of the views."""
        if len(psfs) != len(self):
            raise InputError(f"{len(psfs)} PSFs were given for {len(self)} views: each view needs one")
        changed = [
            replace(view, psf=psf, psf_notes=(), psf_flaw="") for view, psf in zip(self.views, psfs, strict=True)
        ]
        made = RegisteredViews(changed, self._frame, window=self._window)
        made._notes = dict(self._notes)
        return made

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out of the views, one line each; all is said once they were scanned."""
        self._settle_now()
        return tuple(self._notes.values())

    def settle(self) -> Generator[Preparing, None, None]:
        """Find out where views have no data that ask for it with `View.no_data`; once, and before anything is read.

        With "auto", all that lies beyond the convex hull of a view's nonzero pixels is outside its field where this
        ends abruptly while other views show light there. Zeros where other views are dark, or where light fades, are
        dark pixels, and stay. Of volumes without a 0 or NaN in a corner only the corners are read.

        Yields
        ------
        Preparing, after each slab.
        """
        if self._settled:
            return
        found = [Found() for _ in self.views]
        auto = [v for v, view in enumerate(self.views) if view.no_data == "auto" and view.mask is None]
        for done, v in enumerate(auto):
            search = look_for_field(self.views[v].data)
            while True:
                try:
                    share = next(search)
                except StopIteration as end:
                    found[v] = end.value
                    break
                yield Preparing("looking for fields", (done + share) / len(auto))
        fields = self._fields(found)
        settled = []
        for view, what, known in zip(self.views, found, fields, strict=True):
            mask: VolumeLike | None = view.mask
            if view.no_data in ("0", "nan"):
                mask = ValueMask(view.data, zero=view.no_data == "0", nan=view.no_data == "nan", also=view.mask)
                self._notes[view.name] = f"{view.label}: every {view.no_data} is taken as no data"
            elif view.no_data == "auto" and view.mask is None:
                mask = known
                if what.nan_at_border:
                    mask = ValueMask(view.data, nan=True, also=mask)
                if note := _note(view, what, known):
                    self._notes[view.name] = note
            settled.append(replace(view, mask=mask, no_data="none"))
        self.views = tuple(settled)
        self._settled = True

    def _fields(self, found: Sequence[Found]) -> list[HullMask | None]:
        """The field of each view, where it ends inside the view's array."""
        if not any(what.faces for what in found):
            return [None] * len(self)
        plain = [
            replace(
                view,
                no_data="none",
                offset=0.0,
                gain=1.0,
                remove_hot=False,
                mask=ValueMask(view.data, nan=True, also=view.mask),
            )
            for view in self.views
        ]
        known = [
            view if what.hull is None else replace(view, mask=what.hull)
            for view, what in zip(plain, found, strict=True)
        ]
        whole, inside = (RegisteredViews(views, self._frame) for views in (plain, known))
        means = [what.mean or _sampled_mean(whole, v) for v, what in enumerate(found)]

        def covered(box: Box) -> np.ndarray:
            coverage = inside.coverage(box)
            assert coverage is not None
            return coverage > 0

        fields: list[HullMask | None] = []
        for v, (view, what) in enumerate(zip(self.views, found, strict=True)):
            to_grid = np.linalg.inv(self._to_view(view))
            planes = []
            for face in what.faces:
                places = (face.points @ to_grid[:3, :3].T + to_grid[:3, 3]).round().astype(int)
                beyond = round(inside_planes(face.planes, view.shape).outside * prod(view.shape))
                if ends_abruptly(v, places, beyond, self._frame.shape, means, whole.read, covered):
                    planes.append(face.planes)
            # Where no pixel inside is dark, those beyond are not either: one face that is an end stands for all.
            if not planes:
                fields.append(None)
            elif what.filled > _NO_DARKNESS:
                fields.append(what.hull)
            else:
                fields.append(inside_planes(np.concatenate(planes), view.shape))
        return fields

    def _settle_now(self) -> None:
        if not self._settled:
            drain(self.settle())

    def without_hot(self) -> RegisteredViews:
        """The same views with hot pixels removed as they are read; these views themselves where they are known to have none.

        Statistics that are known stay, without the hashes.
        """
        known = self._statistics
        if known is not None and all(numbers.hot == 0 for numbers in known):
            return self
        views = [view if view.remove_hot else replace(view, remove_hot=True) for view in self.views]
        spared = RegisteredViews(views, self._frame, window=self._window)
        spared.rough_border = self.rough_border
        if known is not None:
            spared._statistics = tuple(replace(numbers, sha256="") for numbers in known)
        return spared

    def in_their_unit(self) -> tuple[RegisteredViews, float]:
        """The views in a unit in which float32 arithmetic is safe, and that unit: 1, and these views, where it is anyway.

        Statistics must be known; they are divided too, without the hashes.
        """
        statistics = self.statistics()
        unit = unit_for(numbers.maximum for numbers in statistics)
        if unit == 1:
            return self, unit
        views = [replace(view, data=Divided(view.data, unit), offset=view.offset / unit) for view in self.views]
        divided = RegisteredViews(views, self._frame, window=self._window)
        divided.rough_border = self.rough_border
        divided._statistics = tuple(numbers.divided(unit) for numbers in statistics)
        return divided, unit

    def region(
        self, box: Box, statistics: tuple[ViewStatistics, ...] | None = None, *, rough_border: bool = False
    ) -> RegisteredViews:
        """A part of the fused volume as registered views of their own, without copying pixels.

        Views keep their place: how far a voxel lies from the border of a view's field is the same in a region.

        Parameters
        ----------
        box : voxels of this grid, inside the volume
        statistics : what `scan` of the region returns, for example the numbers of the whole volume; None to scan it
        rough_border : the caller cuts a margin off the result, so what happens at the border need not be exact

        Raises
        ------
        InputError
            If the box leaves the volume.
        """
        self._check(box)
        self._settle_now()
        part = RegisteredViews(self.views, self._frame, window=self._in_frame(box))
        part._notes = dict(self._notes)
        part._statistics = statistics
        part.rough_border = rough_border
        return part

    def read(self, box: Box, which: Sequence[int] | None = None) -> np.ndarray:
        """Read a box of the fused grid from each view.

        Parameters
        ----------
        box : voxels of the fused grid, inside the volume
        which : indices of the views to read, all when None

        Returns
        -------
        float32 (view, z, y, x). Views with an affine are interpolated linearly; zero where a view has no data.

        Raises
        ------
        InputError
            If the box leaves the volume, or a pixel where the view has data is NaN or infinite (the message names view
            and voxel).
        """
        self._check(box)
        self._settle_now()
        box = self._in_frame(box)
        indices = range(len(self)) if which is None else which
        block = np.empty((len(indices), *box.shape), np.float32)
        for slot, index in enumerate(indices):
            view = self.views[index]
            if view.affine is None:
                block[slot] = _pixels(view, box)
            else:
                self._resample(view, box, block[slot])
        return block

    def coverage(self, box: Box, which: Sequence[int] | None = None) -> np.ndarray | None:
        """Where the views have data: float32 (view, z, y, x), 1 inside a view's field and 0 outside.

        None stands for "everywhere", which costs no memory: no view of `which` has an affine or a mask.
        """
        self._check(box)
        self._settle_now()
        box = self._in_frame(box)
        indices = range(len(self)) if which is None else which
        if all(self.views[i].affine is None and self.views[i].mask is None for i in indices):
            return None
        block = np.ones((len(indices), *box.shape), np.float32)
        for slot, index in enumerate(indices):
            self._mark_covered(self.views[index], box, block[slot])
        return block

    def positions(self, index: int, box: Box) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where the voxels of a box lie in a view's own pixels.

        Returns
        -------
        Three float64 arrays, the positions along the view's z, y and x, that broadcast to the box's shape. They
        have length 1 along axes that do not matter, so views that are only shifted or scaled cost no memory.
        """
        return _positions(self._to_view(self.views[index]), self._in_frame(box))

    def scan(self) -> Generator[Preparing, None, tuple[ViewStatistics, ...]]:
        """Statistics of every view over the whole volume, computed once, slab by slab in bounded memory.

        Yields
        ------
        Preparing, after each slab.

        Returns
        -------
        One `ViewStatistics` a view.

        Raises
        ------
        InputError
            If a pixel is NaN or infinite, or a view has no data inside the grid.
        """
        if self._statistics is None:
            yield from self.settle()
            self._statistics = yield from self._scan([True] * len(self))
        return self._statistics

    def _scan(self, spare_hot: Sequence[bool]) -> Generator[Preparing, None, tuple[ViewStatistics, ...]]:
        """See `scan`; `spare_hot` tells which views are looked at for hot pixels."""
        slabs = _slabs(self.grid.shape)
        low = np.full(len(self), np.inf)
        high = np.full(len(self), -np.inf)
        total = np.zeros(len(self))
        squares = np.zeros(len(self))
        count = np.zeros(len(self), np.int64)
        digests = [hashlib.sha256() for _ in self.views]
        overviews = [OverviewSums(self.grid.shape) for _ in self.views]
        noises = [NoiseSums() for _ in self.views]
        hot = [HotCount(view) for view in self.views]
        masks = [None if view.mask is None else hashlib.sha256() for view in self.views]
        for done, slab in enumerate(slabs, 1):
            for i in range(len(self)):
                values, spared = self._look(i, slab, hot[i] if spare_hot[i] else None)
                digests[i].update(values.data)
                values = spared
                covered = self.coverage(slab, [i])
                inside = None if covered is None else covered[0] > 0
                if (mask := masks[i]) is not None and inside is not None:
                    mask.update(np.packbits(inside).tobytes())
                overviews[i].add(slab, values, inside)
                every = slice(-slab.start[0] % _NOISE_PLANES, None, _NOISE_PLANES)
                noises[i].add(values[every], None if inside is None else inside[every])
                if inside is not None:
                    values = values[inside]
                if values.size:
                    low[i] = min(low[i], values.min())
                    high[i] = max(high[i], values.max())
                    total[i] += values.sum(dtype=np.float64)
                    flat = values.ravel()
                    squares[i] += np.einsum("i,i->", flat, flat, dtype=np.float64)
                    count[i] += values.size
            yield Preparing("reading the views", done / len(slabs))
        for view, n in zip(self.views, count, strict=True):
            if n == 0:
                raise InputError(f"{view.label} has no data inside the fused volume: check its affine and mask")
        nothing_else = [each.count > 0 and low[i] == high[i] for i, each in enumerate(hot)]
        if any(nothing_else):
            spare = [spared and not alone for spared, alone in zip(spare_hot, nothing_else, strict=True)]
            return (yield from self._scan(spare))
        return tuple(
            ViewStatistics(
                float(low[i]),
                float(high[i]),
                float(total[i] / count[i]),
                float(squares[i] / count[i]),
                int(count[i]),
                sha.hexdigest(),
                sums.overview(),
                noise.variance,
                hot[i].count,
                "" if mask is None else mask.hexdigest(),
            )
            for i, (sha, sums, noise, mask) in enumerate(zip(digests, overviews, noises, masks, strict=True))
        )

    def _look(self, index: int, slab: Box, hot: HotCount | None) -> tuple[np.ndarray, np.ndarray]:
        """A slab of a view as it is read, and without its hot pixels, which are counted; equal where there are none."""
        if hot is None:
            values = self.read(slab, [index])[0]
            return values, values
        view, box = self.views[index], self._in_frame(slab)
        if view.affine is None:
            values, found = _with_hot(view, box)
            hot.add(found, box)
            spared = values
            if len(found):
                spared = values.copy()
                found.remove(spared)
            values = spared if view.remove_hot else values
            if view.mask is not None:
                covered = _covered(view, box)
                values, spared = values * covered, spared * covered
            return values, spared
        values = self.read(slab, [index])[0]
        source = self._source(view, box)[1]
        if source.size == 0 or not hot.add(_with_hot(view, source)[1], source) or view.remove_hot:
            return values, values
        spared = np.empty_like(values)
        self._resample(hot.removing, box, spared)
        return values, spared

    def statistics(self) -> tuple[ViewStatistics, ...]:
        """The result of `scan`, without its progress."""
        return drain(self.scan())

    def in_frame(self, box: Box) -> Box:
        """The box in voxels of the whole grid, of which these views may be a region."""
        return self._in_frame(box)

    def _check(self, box: Box) -> None:
        if box != box.clip(self.grid.shape):
            raise InputError(f"the box {box.start} to {box.stop} leaves the volume of {self.grid.shape}")

    def _in_frame(self, box: Box) -> Box:
        """The box in voxels of the whole grid, of which a window may be all that can be read."""
        if self._window is None:
            return box
        start = triple(a + o for a, o in zip(box.start, self._window.start, strict=True))
        return Box(start, triple(a + n for a, n in zip(start, box.shape, strict=True)))

    # From here on boxes are in voxels of the whole grid.

    def _to_view(self, view: View) -> np.ndarray:
        """4 x 4 matrix from voxels of the grid to pixels of the view; rounding noise becomes exact zero."""
        if view.affine is None:
            return np.eye(4)
        matrix: np.ndarray = np.linalg.inv(view.affine) @ self._frame.affine
        matrix[:3, :3][np.abs(matrix[:3, :3]) < 1e-12] = 0.0
        return matrix

    def _source(self, view: View, box: Box) -> tuple[np.ndarray, Box, np.ndarray]:
        """How to sample a box: linear part, the box of the view's pixels it needs, and the offset inside that box."""
        to_view = self._to_view(view)
        corners = np.array(np.meshgrid(*[(a, b - 1) for a, b in zip(box.start, box.stop, strict=True)], indexing="ij"))
        corners = to_view[:3, :3] @ corners.reshape(3, -1) + to_view[:3, 3:]
        start = np.floor(corners.min(axis=1)).astype(int) - 1
        stop = np.ceil(corners.max(axis=1)).astype(int) + 2
        source = Box(triple(start), triple(stop)).clip(view.shape)
        offset = to_view[:3, :3] @ np.array(box.start, float) + to_view[:3, 3] - np.array(source.start)
        return to_view[:3, :3], source, offset

    def _resample(self, view: View, box: Box, out: np.ndarray) -> None:
        matrix, source, offset = self._source(view, box)
        if source.size == 0 or box.size == 0:
            out[...] = 0
            return
        pixels = _pixels(view, source)
        ndimage.affine_transform(pixels, matrix, offset, output_shape=box.shape, output=out, order=1, mode="nearest")
        covered = np.ones(box.shape, np.float32)
        self._mark_covered(view, box, covered)
        out *= covered

    def _mark_covered(self, view: View, box: Box, out: np.ndarray) -> None:
        """Multiply `out`, of the shape of the box, with 1 where the view has data and 0 where not."""
        if view.affine is None:
            if view.mask is not None:
                out *= _covered(view, box)
            return
        matrix = self._to_view(view)
        for axis, position in enumerate(_positions(matrix, box)):
            out *= (position >= -_EDGE_TOLERANCE) & (position <= view.shape[axis] - 1 + _EDGE_TOLERANCE)
        if view.mask is not None:
            matrix, source, offset = self._source(view, box)
            if source.size:
                mask = (np.asarray(view.mask[source.slices]) != 0).astype(np.float32)
                sampled = ndimage.affine_transform(mask, matrix, offset, box.shape, order=1, mode="nearest")
                out *= sampled > 1 - 1e-3


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


class OverviewSums:
    """Adds up slabs of a view in cells.

    Parameters
    ----------
    shape : voxels of the whole volume
    """

    def __init__(self, shape: Triple) -> None:
        self._shape = shape
        self._cell = max(1, ceil((prod(shape) / _OVERVIEW_CELLS) ** (1 / 3)))
        cells = triple(-(-n // self._cell) for n in shape)
        self._light, self._voxels = np.zeros(cells), np.zeros(cells)

    def add(self, slab: Box, values: np.ndarray, covered: np.ndarray | None) -> None:
        """Add a slab of whole planes; values are 0 where the view has no data, which is where `covered` is False."""
        rows = np.arange(slab.start[0], slab.stop[0]) // self._cell
        np.add.at(self._light, rows, self._in_cells(values))
        shares = np.ones((1, *values.shape[1:]), np.float32) if covered is None else covered.astype(np.float32)
        np.add.at(self._voxels, rows, np.broadcast_to(self._in_cells(shares), (len(rows), *self._voxels.shape[1:])))

    def overview(self, planes: np.ndarray | None = None) -> Overview:
        """What was added up.

        Parameters
        ----------
        planes : where only some planes were added, these, rising; cells between them are interpolated linearly
        """
        sizes = [np.minimum(self._cell, n - np.arange(0, n, self._cell)) for n in self._shape]
        if planes is not None:
            sizes[0] = np.bincount(planes // self._cell, minlength=len(sizes[0]))
        values = (self._light / np.maximum(self._voxels, 1)).astype(np.float32)
        covered = (self._voxels / np.einsum("i,j,k->ijk", np.maximum(sizes[0], 1), *sizes[1:])).astype(np.float32)
        known = np.flatnonzero(sizes[0])
        if len(known) < len(sizes[0]):
            places = np.interp(np.arange(len(sizes[0])), known, np.arange(len(known)))
            below = np.floor(places).astype(int)
            above = np.minimum(below + 1, len(known) - 1)
            share = (places - below).astype(np.float32)[:, None, None]
            values, covered = (
                full[known[below]] * (1 - share) + full[known[above]] * share for full in (values, covered)
            )
        return Overview(self._cell, self._shape, values, covered)

    def _in_cells(self, planes: np.ndarray) -> np.ndarray:
        for axis in (1, 2):
            planes = np.add.reduceat(planes, np.arange(0, planes.shape[axis], self._cell), axis=axis)
        return planes


class NoiseSums:
    """Adds up how rough the planes of a view are.

    In fourth differences along y and x blurred structure nearly vanishes, white noise keeps its variance.
    """

    def __init__(self) -> None:
        self._power, self._count = 0.0, 0

    def add(self, planes: np.ndarray, covered: np.ndarray | None) -> None:
        """Add planes (z, y, x), and where they have data."""
        if not planes.size or min(planes.shape[1:]) <= 2 * DIFFERENCE_REACH:
            return
        rough, kept = planes, covered
        for axis in (1, 2):
            inner = tuple(slice(DIFFERENCE_REACH, -DIFFERENCE_REACH) if a == axis else slice(None) for a in range(3))
            rough = ndimage.correlate1d(rough, FOURTH_DIFFERENCE, axis)[inner]
            if kept is not None:
                kept = ndimage.minimum_filter1d(kept, 2 * DIFFERENCE_REACH + 1, axis)[inner]
        found = rough.ravel() if kept is None else rough[kept]
        self._power += float(np.einsum("i,i->", found, found, dtype=np.float64))
        self._count += found.size

    @property
    def variance(self) -> float:
        """Mean square of the differences, 0 where nothing could be compared."""
        return self._power / self._count if self._count else 0.0


def drain(generator: Generator[object, None, T]) -> T:
    """Run a generator to its end and return what it returns, dropping what it yields."""
    while True:
        try:
            next(generator)
        except StopIteration as end:
            result: T = end.value
            return result


def _positions(matrix: np.ndarray, box: Box) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions of the voxels of a box after a 4 x 4 matrix, one array an axis, which broadcast to the box's shape."""
    coordinates = np.ogrid[box.slices]
    rows = []
    for axis in range(3):
        row = np.full((1, 1, 1), matrix[axis, 3])
        for j in range(3):
            if matrix[axis, j] != 0:
                row = row + matrix[axis, j] * coordinates[j]
        rows.append(row)
    return rows[0], rows[1], rows[2]


def _part(grid: Grid, box: Box) -> Grid:
    """The grid of a box of a grid."""
    origin = float_triple(o + a * s for o, a, s in zip(grid.origin_um, box.start, grid.voxel_size_um, strict=True))
    return Grid(box.shape, grid.voxel_size_um, origin)


def _slabs(shape: Triple) -> list[Box]:
    thickness = max(1, _SCAN_VOXELS // (shape[1] * shape[2]))
    return [Box((z, 0, 0), (min(z + thickness, shape[0]), shape[1], shape[2])) for z in range(0, shape[0], thickness)]


def _sampled_mean(views: RegisteredViews, index: int) -> float:
    """Brightness of a view where it has data, from some planes."""
    depth, height, width = views.grid.shape
    light, amount = 0.0, 0
    for z in np.unique(np.linspace(0, depth - 1, min(depth, _MEAN_PLANES)).astype(int)):
        plane = Box((int(z), 0, 0), (int(z) + 1, height, width))
        covered = views.coverage(plane, [index])
        light += float(views.read(plane, [index]).sum(dtype=np.float64))
        amount += plane.size if covered is None else int(np.count_nonzero(covered))
    return light / amount if amount else 0.0


def _note(view: View, found: Found, field: HullMask | None) -> str:
    """What was recognised about a view, in a line; empty where there is nothing."""
    parts = []
    if field is not None:
        parts.append(f"{field.outside:.{0 if field.outside >= 0.01 else 1}%} of its voxels are 0 outside its field")
    if found.nan_at_border:
        parts.append(f"{found.nan} of its voxels are NaN")
    if not parts:
        return ""
    return f"{view.label}: {' and '.join(parts)}; they are taken as no data and left to the other views"


_NOISE_LEVELS: WeakKeyDictionary[View, NoiseLevel] = WeakKeyDictionary()


def _pixels(view: View, box: Box) -> np.ndarray:
    """Pixels of a box of the view's own array as it is fused: float32, finite, offset subtracted, hot ones removed."""
    if not view.remove_hot:
        return _balanced(view, _less_offset(view, _raw(view, box)))
    pixels, hot = _with_hot(view, box)
    hot.remove(pixels)
    return pixels


def _with_hot(view: View, box: Box) -> tuple[np.ndarray, HotVoxels]:
    """Pixels of a box with the hot ones still there, and which these are. One more pixel round the box is read."""
    wide = box.grow((1, 1, 1)).clip(view.shape)
    inner = box.inside(wide).slices
    pixels = _less_offset(view, _raw(view, wide))
    if view not in _NOISE_LEVELS:
        _NOISE_LEVELS[view] = noise_level(_Measured(view)).less(view.offset)
    hot = find_hot(pixels, _NOISE_LEVELS[view]).inside(inner)
    balanced = HotVoxels(hot.places, _balanced(view, hot.instead))
    return _balanced(view, np.ascontiguousarray(pixels[inner])), balanced


def _balanced(view: View, values: np.ndarray) -> np.ndarray:
    return values if view.gain == 1 else values / np.float32(view.gain)


class _Measured:
    """The pixels of a view, 0 where it has no data."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.shape, self.dtype = view.data.shape, view.data.dtype

    def __getitem__(self, index: Any, /) -> np.ndarray:
        pixels = np.asarray(self._view.data[index])
        if self._view.mask is None:
            return pixels
        return np.where(np.asarray(self._view.mask[index]) != 0, pixels, pixels.dtype.type(0))


def _less_offset(view: View, pixels: np.ndarray) -> np.ndarray:
    if view.offset:
        pixels -= np.float32(view.offset)
        np.maximum(pixels, 0, out=pixels)
    return pixels


def _raw(view: View, box: Box) -> np.ndarray:
    """Pixels of a box of the view's own array as float32: finite, and 0 where there is no data."""
    raw = np.asarray(view.data[box.slices])
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is named below
        pixels = raw.astype(np.float32)
    covered = None if view.mask is None else _covered(view, box)
    if raw.dtype.kind == "f":
        bad = ~np.isfinite(pixels)
        if covered is not None:
            bad &= covered
        if bad.any():
            place = np.argwhere(bad)[0] + box.start
            value = np.asarray(view.data[tuple(slice(int(i), int(i) + 1) for i in place)]).ravel()[0]
            raise InputError(
                f"{view.label} has the value {value} at (z, y, x) = {triple(place)}, "
                "which is not a finite float32 number: repair the file, replace such voxels, or take every NaN as no data"
            )
    if covered is not None:
        pixels[~covered] = 0
    return pixels


def _covered(view: View, box: Box) -> np.ndarray:
    assert view.mask is not None
    covered: np.ndarray = np.asarray(view.mask[box.slices]) != 0
    return covered
