"""Registered views on one grid: the one thing that all methods read from.

Arrays are (z, y, x); several views are stacked as (view, z, y, x). Pixels are read lazily, block by block,
from numpy, dask, zarr or memory-mapped arrays, and always arrive as float32: `sampling` reads one view,
`no_data` finds where views have no data, `scanning` takes the numbers of whole views.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from napari_mvfusion.data.events import Preparing, Statement
from napari_mvfusion.data.field_of_view import VolumeLike
from napari_mvfusion.data.geometry import Box, Grid, float_triple
from napari_mvfusion.data.no_data import detect_no_data_of, is_no_data_known
from napari_mvfusion.data.overviews import Overview
from napari_mvfusion.data.sampling import mark_covered, mark_trusted, positions, read_view, to_view
from napari_mvfusion.data.scaled_volume import ScaledVolume, unit_for
from napari_mvfusion.data.scanning import ViewStatistics, sample_views, scan_views
from napari_mvfusion.data.seen import counts_everywhere, find_unseen, seen_by_any
from napari_mvfusion.data.view import View
from napari_mvfusion.errors import InputError

__all__ = ["Overview", "RegisteredViews", "View", "ViewStatistics", "VolumeLike", "drain"]

T = TypeVar("T")


class RegisteredViews:
    """Views on one grid.

    Parameters
    ----------
    views : the views, at least one; their order is the order of the first axis of every block
    grid : the grid of the fused volume. When None, the views must have no affine and one shape, and
        voxels are 1 um wide.
    window : the part of the grid to which reading is limited, see `region`, or None for all of it
    remarks : what was guessed when they were opened, or taken otherwise than files say, in words

    Attributes
    ----------
    views : in order. Once something was read, their masks say all that is known of where they have data.
    given : the same as they were given
    grid : of the fused volume; with a window, of that part of it
    remarks : as given
    rough_border : whether methods may save time where exactness matters only away from the border, see `region`

    Raises
    ------
    InputError
        If there is no view, names repeat, or a view without an affine, or a transmission, has another shape than the grid.
    """

    def __init__(
        self,
        views: Iterable[View],
        grid: Grid | None = None,
        *,
        window: Box | None = None,
        remarks: Sequence[str] = (),
    ) -> None:
        self.views: tuple[View, ...] = tuple(views)
        self.given = self.views
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
            if view.transmission is not None and tuple(view.transmission.shape) != grid.shape:
                raise InputError(
                    f"{view.transmission_label} has shape {tuple(view.transmission.shape)}, but the fused volume has "
                    f"{grid.shape}: it needs a value for each voxel of that"
                )
        self._statistics: tuple[ViewStatistics, ...] | None = None
        self._no_data_known = all(map(is_no_data_known, self.views))
        self._notes: dict[str, str] = {}
        self.remarks = tuple(remarks)
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
        chosen = RegisteredViews(
            [by_name[name] for name in names], self._frame, window=self._window, remarks=self.remarks
        )
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
            replace(view, psf=psf, psf_notes=(), psf_flaw="", psf_source="")
            for view, psf in zip(self.views, psfs, strict=True)
        ]
        made = RegisteredViews(changed, self._frame, window=self._window, remarks=self.remarks)
        made._notes = dict(self._notes)
        return made

    def with_data(self, data: Iterable[VolumeLike]) -> RegisteredViews:
        """The same views with other pixels, one volume a view of the shape that it has."""
        changed = [replace(view, data=pixels) for view, pixels in zip(self.views, data, strict=True)]
        made = RegisteredViews(changed, self._frame, window=self._window, remarks=self.remarks)
        made._notes = dict(self._notes)
        return made

    @property
    def notes(self) -> tuple[str, ...]:
        """The remarks, and what was left out of the views, one line each; all is said once they were scanned.

        What was ordered, as that every 0 is no data, is a `Statement`, and one line for all views of which it is the same.
        """
        self._detect_no_data_now()
        noted = [(view, self._notes[view.name]) for view in self.views if view.name in self._notes]
        ordered: dict[str, list[str]] = {}
        for view, note in noted:
            if isinstance(note, Statement):
                ordered.setdefault(note, []).append(f"'{view.name}'")
        found = [f"{view.label}: {note}" for view, note in noted if not isinstance(note, Statement)]
        said = [
            Statement(f"view{'s' if len(names) > 1 else ''} {', '.join(names)}: {note}")
            for note, names in ordered.items()
        ]
        return (*self.remarks, *found, *said)

    def detect_no_data(self) -> Generator[Preparing, None, None]:
        """Find out where views have no data that ask for it with `View.no_data`; once, and before anything is read.

        With "auto", all that lies beyond the convex hull of a view's nonzero pixels is outside its field where this
        ends abruptly while other views show light there. Zeros where other views are dark, or where light fades, are
        dark pixels, and stay. Of volumes without a 0 or NaN in a corner only the corners are read.

        Yields
        ------
        Preparing, after each slab.
        """
        if self._no_data_known:
            return
        self.views, found, doubts = yield from detect_no_data_of(self.views, self._frame)
        self._notes |= found
        for name, doubt in doubts.items():
            said = f"{doubt}; if nothing was recorded there, give --no-data {name}=0, or --mask {name}=FILE"
            self._notes[name] = "; ".join([*filter(None, [self._notes.get(name)]), said])
        self._no_data_known = True

    def _detect_no_data_now(self) -> None:
        if not self._no_data_known:
            drain(self.detect_no_data())

    def as_recorded(self) -> RegisteredViews:
        """The same views with the pixels of their arrays: no camera offset is subtracted, no gain divides them."""
        self._detect_no_data_now()
        views = [replace(view, offset=0.0, gain=1.0, remove_hot=False) for view in self.views]
        return RegisteredViews(views, self._frame, window=self._window)

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

    def with_overviews(self, overviews: Sequence[Overview]) -> RegisteredViews:
        """The same views with other overviews, one a view, from which lost light is found; statistics must be known."""
        changed = RegisteredViews(self.views, self._frame, window=self._window, remarks=self.remarks)
        changed._notes = dict(self._notes)
        changed.rough_border = self.rough_border
        changed._statistics = tuple(
            replace(numbers, overview=overview) for numbers, overview in zip(self.statistics(), overviews, strict=True)
        )
        return changed

    def in_safe_unit(self) -> tuple[RegisteredViews, float]:
        """The views in a unit in which float32 arithmetic is safe, and that unit: 1, and these views, where it is anyway.

        Statistics must be known; they are divided too, without the hashes.
        """
        statistics = self.statistics()
        unit = unit_for(numbers.maximum for numbers in statistics)
        if unit == 1:
            return self, unit
        views = [replace(view, data=ScaledVolume(view.data, unit), offset=view.offset / unit) for view in self.views]
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
        self._detect_no_data_now()
        part = RegisteredViews(self.views, self._frame, window=self.in_frame(box))
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
        self._detect_no_data_now()
        box = self.in_frame(box)
        indices = range(len(self)) if which is None else which
        block = np.empty((len(indices), *box.shape), np.float32)
        for slot, index in enumerate(indices):
            read_view(self.views[index], self._frame, box, block[slot])
        return block

    def coverage(self, box: Box, which: Sequence[int] | None = None) -> np.ndarray | None:
        """Where the views have data, and count: float32 (view, z, y, x), 1 inside a view's field and 0 outside.

        Where a view is trusted in part (`View.trust`) it lies between. None stands for 1 everywhere, which costs no memory:
        no view of `which` has an affine, a mask or weights.
        """
        self._check(box)
        self._detect_no_data_now()
        box = self.in_frame(box)
        indices = range(len(self)) if which is None else which
        if all(counts_everywhere(self.views[i]) for i in indices):
            return None
        block = np.ones((len(indices), *box.shape), np.float32)
        for slot, index in enumerate(indices):
            mark_covered(self.views[index], self._frame, box, block[slot])
            mark_trusted(self.views[index], self._frame, box, block[slot])
        return block

    def seen(self, box: Box) -> np.ndarray | None:
        """Where at least one view has data and counts: bool (z, y, x) of the box, None where that is everywhere."""
        self._check(box)
        self._detect_no_data_now()
        return seen_by_any(self.views, self._frame, self.in_frame(box))

    def unseen_share(self, planes: int | None = None) -> Generator[Preparing, None, float]:
        """The share of the voxels at which no view has data and counts; see `napari_mvfusion.data.seen.find_unseen`."""
        yield from self.detect_no_data()
        return (yield from find_unseen(self.views, self._frame, self.in_frame(self.grid.box), planes))

    def counting_everywhere(self) -> RegisteredViews:
        """The same views, which count alike wherever they have data (see `View.trust`)."""
        self._detect_no_data_now()
        views = [replace(view, trust=None) for view in self.views]
        return RegisteredViews(views, self._frame, window=self._window)

    def positions(self, index: int, box: Box) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where the voxels of a box lie in a view's own pixels.

        Returns
        -------
        Three float64 arrays, the positions along the view's z, y and x, that broadcast to the box's shape. They
        have length 1 along axes that do not matter, so views that are only shifted or scaled cost no memory.
        """
        return positions(to_view(self.views[index], self._frame), self.in_frame(box))

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
            yield from self.detect_no_data()
            self._statistics = yield from scan_views(self.views, self._frame, self.in_frame(self.grid.box))
        return self._statistics

    def sample(self) -> tuple[ViewStatistics, ...]:
        """Numbers like those of `scan` from some planes, without hashes: quick also for large volumes, and not kept."""
        self._detect_no_data_now()
        return sample_views(self.views, self._frame, self.in_frame(self.grid.box))

    def statistics(self) -> tuple[ViewStatistics, ...]:
        """The result of `scan`, without its progress."""
        return drain(self.scan())

    def _check(self, box: Box) -> None:
        if box != box.clip(self.grid.shape):
            raise InputError(f"the box {box.start} to {box.stop} leaves the volume of {self.grid.shape}")

    def in_frame(self, box: Box) -> Box:
        """The box in voxels of the whole grid, of which these views may be a region."""
        return box if self._window is None else box.within(self._window)


def drain(generator: Generator[object, None, T]) -> T:
    """Run a generator to its end and return what it returns, dropping what it yields."""
    while True:
        try:
            next(generator)
        except StopIteration as end:
            result: T = end.value
            return result


def _part(grid: Grid, box: Box) -> Grid:
    """The grid of a box of a grid."""
    origin = float_triple(o + a * s for o, a, s in zip(grid.origin_um, box.start, grid.voxel_size_um, strict=True))
    return Grid(box.shape, grid.voxel_size_um, origin, grid.known)
