"""Fusing a small region quickly, again and again, while parameters change: first a quick picture, then the full one.

The quick picture of a new region is the Wiener filter of its views, and when parameters change, the method at half the
resolution, which shows what they do.

The region is fused with as much context round it as its method needs, by the same stages as a run of the engine; what a
method takes from the whole volume (maxima, means) comes from a sample of the whole volume's planes.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage

from napari_mvfusion.data.geometry import Box, Grid, Triple, float_triple, triple
from napari_mvfusion.data.views import RegisteredViews, View, ViewStatistics, VolumeLike, drain
from napari_mvfusion.engine.iteration_choice import Trial
from napari_mvfusion.engine.one_tile import stage_results
from napari_mvfusion.engine.view_reader import ViewReader
from napari_mvfusion.imaging.threads import interruptible
from napari_mvfusion.methods.base import BoundMethod, Method
from napari_mvfusion.methods.joint_wiener import JointWiener
from napari_mvfusion.psf import resample_psf

_COARSE = 2
_KEPT_REGIONS = 2
_SHOW_EVERY_S = 1.0
# The coarse picture gets as many iterations as show what a parameter does, or as there is time for.
_COARSE_ITERATIONS = 10
_COARSE_BY_S = 0.2
# Sides below this are not made coarser: little would be left of them.
_LEAST_SIDE = 8


@dataclass(frozen=True, eq=False)
class Preview:
    """A fused region.

    Attributes
    ----------
    box : the region, voxels of the grid of the views
    values : float32 (z, y, x) of the shape of the box
    label : how far it is, in words: "Wiener filter", "coarse", "iteration 10 of 48", ...
    final : whether it is the full picture
    seconds : since the preview was asked for
    """

    box: Box
    values: np.ndarray
    label: str
    final: bool
    seconds: float


class Previewer:
    """Fuses regions of some views; keeps the pixels of the latest ones for the next time.

    Parameters
    ----------
    views : the views
    device : where it computes
    """

    def __init__(self, views: RegisteredViews, device: torch.device) -> None:
        self._views = views
        self._spared = views.without_hot()
        self._unit = 1.0
        self._device = device
        self._statistics: tuple[ViewStatistics, ...] | None = None
        # Of methods that leave it to the views how many iterations they take, how many that is.
        self._iterations: dict[Method, int] = {}
        self._regions: OrderedDict[tuple[Box, int, bool], tuple[RegisteredViews, ViewReader]] = OrderedDict()
        self._shown: Box | None = None

    def run(
        self, method: Method, box: Box, *, coarse_first: bool = True, cancel: Callable[[], bool] = lambda: False
    ) -> Generator[Preview, None, None]:
        """Fuse a region.

        Parameters
        ----------
        method : with its parameters
        box : the region, clipped to the volume; not empty
        coarse_first : begin with a quick picture where the method takes long: of a region that was not the last one, and
            for the Wiener method itself, its filter alone; else the method at half the resolution
        cancel : polled while it computes; when it returns True, `Interrupted` is raised

        Yields
        ------
        Preview, the last one final. Iterative methods show what they have every second.

        Raises
        ------
        InputError
            If the method cannot run on these views.
        Interrupted
            If it was cancelled.
        """
        started = time.perf_counter()
        box = box.clip(self._views.grid.shape)
        wide = box.grow(method.context(self._views)).clip(self._views.grid.shape)
        inside = box.inside(wide).slices
        views, reader = self._region(wide, 1, spare_hot=method.removes_hot)
        if method.trial is not None and method in self._iterations:
            method = method.with_iterations(self._iterations[method])
        bound = self._prepare(method, views, cancel)
        seen = views.seen(box.inside(wide))
        if coarse_first and method.coarse_first:
            for values, label in self._quick(method, wide, cancel, started):
                values = _without_unseen(values[inside] * self._unit, seen)
                yield Preview(box, values, label, False, time.perf_counter() - started)
        self._shown = wide
        # Which iteration is the last the views tell, beside the picture that is shown meanwhile.
        verdicts = None if method.trial is None else self._trial(method, cancel).verdicts(cancel)
        shown = time.perf_counter()
        for step in stage_results(bound, views, reader, cancel):
            last, label = step.last, step.label
            if verdicts is not None and step.iteration and not next(verdicts):
                self._iterations[method] = step.iteration
                last, label = True, f"iteration {step.iteration}"
            now = time.perf_counter()
            if last or (step.iteration and now - shown > _SHOW_EVERY_S):
                shown = now
                values = (step.values[inside] * self._unit).cpu().numpy()
                yield Preview(box, _without_unseen(values, seen), label, last, now - started)
            if last:
                return

    def _quick(
        self, method: Method, wide: Box, cancel: Callable[[], bool], started: float
    ) -> Generator[tuple[np.ndarray, str], None, None]:
        """A first picture of a region, in the unit of the views, and what it is; none of small regions."""
        filtered = method if isinstance(method, JointWiener) else JointWiener()
        if filtered is method or (wide != self._shown and all(view.psf is not None for view in self._views.views)):
            views, reader = self._region(wide, 1, spare_hot=filtered.removes_hot)
            bound = self._prepare(filtered.model_copy(update={"iterations": 1}), views, cancel)
            for step in stage_results(bound, views, reader, cancel):
                yield step.values.cpu().numpy(), "Wiener filter"
        elif min(wide.shape) >= _COARSE * _LEAST_SIDE:
            coarse = self._region(wide, _COARSE, spare_hot=method.removes_hot)
            for step in stage_results(self._prepare(method, coarse[0], cancel), *coarse, cancel):
                soon_enough = time.perf_counter() - started < _COARSE_BY_S
                if step.last or (step.iteration and not (soon_enough and step.iteration < _COARSE_ITERATIONS)):
                    yield _finer(step.values, wide.shape), "coarse"
                    break

    def _look(self) -> tuple[ViewStatistics, ...]:
        """Sample the whole volume, and go over to a unit in which its brightness is ordinary."""
        # Both must not look for fields on their own.
        drain(self._views.detect_no_data())
        self._spared = self._views.without_hot()
        sampled = self._views.region(self._views.grid.box, self._spared.sample())
        self._views, self._unit = sampled.in_safe_unit()
        self._spared = self._views.without_hot() if self._unit != 1 else self._spared
        return self._views.statistics()

    def _prepare(self, method: Method, views: RegisteredViews, cancel: Callable[[], bool]) -> BoundMethod:
        with interruptible(cancel):
            return drain(method.prepare(views, self._device))

    def _trial(self, method: Method, cancel: Callable[[], bool]) -> Trial:
        with interruptible(cancel):
            return Trial(self._spared if method.removes_hot else self._views, method, self._device)

    def _region(self, box: Box, factor: int, *, spare_hot: bool) -> tuple[RegisteredViews, ViewReader]:
        """The views over a box, made coarser by a whole factor; their pixels stay in memory for the next time."""
        key = (box, factor, spare_hot)
        if key not in self._regions:
            if self._statistics is None:
                self._statistics = self._look()
            region = (self._spared if spare_hot else self._views).region(box, self._statistics, rough_border=True)
            if factor > 1:
                region = _coarser(region, factor, self._statistics)
            self._regions[key] = region, ViewReader(region, self._device, keep=True, whole=True)
        self._regions.move_to_end(key)
        while len(self._regions) > _KEPT_REGIONS:
            self._regions.popitem(last=False)
        return self._regions[key]


def _coarser(views: RegisteredViews, factor: int, statistics: tuple[ViewStatistics, ...]) -> RegisteredViews:
    """The views with every `factor`^3 voxels brought to their mean, and their PSFs alike."""
    shape = triple(n // factor for n in views.grid.shape)
    box = Box((0, 0, 0), triple(n * factor for n in shape))
    coarse = []
    for index, view in enumerate(views.views):
        values = _binned(views.read(box, [index])[0], factor)
        covered = views.coverage(box, [index])
        psf = None if view.psf is None else resample_psf(view.psf, np.eye(3) / factor)
        mask = None if covered is None else _binned(covered[0] > 0, factor) > 1 - 1e-3
        trust = None if covered is None or view.trust is None else _binned(covered[0], factor)
        passed = None if view.transmission is None else _of_box(view.transmission, views.in_frame(box), factor)
        coarse.append(
            View(
                values,
                view.name,
                psf=psf,
                angle=view.angle,
                weight=view.weight,
                mask=mask,
                trust=trust,
                transmission=passed,
            )
        )
    # Overviews are of the fine grid: the coarse picture does without them. Means have less noise.
    statistics = tuple(replace(numbers, overview=None, noise=numbers.noise / factor**3) for numbers in statistics)
    size = float_triple(s * factor for s in views.grid.voxel_size_um)
    made = RegisteredViews(coarse, Grid(shape, size, known=views.grid.known))
    return made.region(made.grid.box, statistics, rough_border=True)


def _without_unseen(values: np.ndarray, seen: np.ndarray | None) -> np.ndarray:
    """Fused values of one's own, set to 0 where no view saw, as a run does; None for everywhere."""
    if seen is not None:
        values[~seen] = 0
    return values


def _of_box(volume: VolumeLike, box: Box, factor: int) -> np.ndarray:
    """The part of a volume in a box, with every `factor`^3 voxels brought to their mean."""
    return _binned(np.asarray(volume[box.slices], np.float32), factor)


def _binned(values: np.ndarray, factor: int) -> np.ndarray:
    shape = [side for n in values.shape for side in (n // factor, factor)]
    return np.ascontiguousarray(values.reshape(shape).mean(axis=(1, 3, 5)), np.float32)


def _finer(values: torch.Tensor, shape: Triple) -> np.ndarray:
    """Coarse values on the fine grid, linear between the centres of the coarse voxels."""
    coarse = values.cpu().numpy()
    steps = np.full(3, 1 / _COARSE)
    offset = (steps - 1) / 2
    return np.asarray(ndimage.affine_transform(coarse, steps, offset, shape, order=1, mode="nearest"))
