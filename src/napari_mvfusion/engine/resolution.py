"""The resolution that a method reaches on some views, without ground truth: two halves of their light, fused alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage

from napari_mvfusion.data.geometry import Box, Grid, Triple, triple
from napari_mvfusion.data.sampling import source_of
from napari_mvfusion.data.view_noise import Noise, halves_of_light
from napari_mvfusion.data.views import RegisteredViews, drain
from napari_mvfusion.engine.preview import Previewer
from napari_mvfusion.errors import InputError
from napari_mvfusion.imaging.threads import Interrupted
from napari_mvfusion.measures.fsc import Resolution, resolution_of_halves
from napari_mvfusion.measures.residuals import estimate_noise
from napari_mvfusion.methods.base import Method
from napari_mvfusion.system.devices import pick_device

LONGEST_SIDE = 160
"""Voxels along a side of the part of a volume that is fused twice."""
_NOISE_SHARE, _FUSED_SHARE = 0.1, 0.95


def find_resolution(
    views: RegisteredViews,
    method: Method,
    *,
    box: Box | None = None,
    device: torch.device | str = "auto",
    seed: int = 0,
    report: Callable[[str, float], None] = lambda text, share: None,
    cancel: Callable[[], bool] = lambda: False,
) -> Resolution:
    """Deal the photons of the views out to two halves, fuse each, and find the finest patterns in which both agree.

    Noise is found in the views themselves, as they were recorded. Views whose pixels were interpolated before they were
    opened have noise that is smooth, of which less is seen: their resolution seems finer than it is.

    Parameters
    ----------
    views : the views
    method : one of `napari_mvfusion.methods`, with its parameters
    box : the part of the volume to look at; when None, all of it, or of a large one the part of at most `LONGEST_SIDE`
        voxels a side with most structure
    device : where it computes, see `fuse_events`
    seed : another one deals the photons out otherwise
    report : called with what is being done and the share of it that is done, 0 to 1; an error that it raises ends the work
    cancel : polled while it computes; when it returns True, `Interrupted` is raised

    Returns
    -------
    Resolution. Holds two fused parts at once, beside the views of one.

    Raises
    ------
    InputError
        If the method cannot run on these views, or one of them cannot be read.
    Interrupted
        If it was cancelled.
    """
    method.check(views)
    report("measuring the noise", 0.0)
    drain(views.detect_no_data())
    box = structured_box(views) if box is None else box.clip(views.grid.shape)
    if not box.size:
        raise InputError(
            f"the part {box.start} to {box.stop} of the volume is empty: choose one inside {views.grid.shape}"
        )
    noise = []
    for index in range(len(views)):
        report("measuring the noise", _NOISE_SHARE * index / len(views))
        if cancel():
            raise Interrupted
        noise.append(_noise_as_recorded(views, index, box))
    halves = []
    target = device if isinstance(device, torch.device) else pick_device(device)
    for number, half in enumerate(halves_of_light(views, noise, seed)):
        begun = _NOISE_SHARE + (_FUSED_SHARE - _NOISE_SHARE) * number / 2
        report(f"fusing half {number + 1} of 2", begun)
        for preview in Previewer(half, target).run(method, box, coarse_first=False, cancel=cancel):
            report(f"fusing half {number + 1} of 2, {preview.label}", begun)
        halves.append(preview.values)
    report("comparing the halves", _FUSED_SHARE)
    grid = replace(views.grid, shape=box.shape)
    found = resolution_of_halves(halves[0], halves[1], grid)
    report("comparing the halves", 1.0)
    return found if box == views.grid.box else replace(found, box=box)


def structured_box(views: RegisteredViews, longest: int = LONGEST_SIDE) -> Box:
    """The part of a volume with most structure that all views saw, of at most so many voxels a side.

    Parameters
    ----------
    views : the views; of a large volume some planes are read
    longest : voxels
    """
    shape = views.grid.shape
    side = triple(min(n, longest) for n in shape)
    if side == shape:
        return views.grid.box
    overviews = [known.overview for known in views.sample() if known.overview is not None]
    cell = overviews[0].cell
    light = np.stack([one.values for one in overviews]).mean(axis=0, dtype=np.float64)
    seen = np.stack([one.covered for one in overviews]).min(axis=0)
    window = triple(max(1, round(n / cell)) for n in side)
    # Steps between cells that are neighbours: brightness alone, or one border of the specimen, is little of them.
    steps = [np.diff(light, axis=axis, append=light.take([-1], axis)) for axis in range(3)]
    structure = _mean(np.square(np.stack(steps)).sum(axis=0), window)
    # A border of a field is a structure too, and none of the specimen.
    return _placed(structure * _mean(seen, window) ** 2, window, cell, side, shape)


def _mean(values: np.ndarray, window: Triple) -> np.ndarray:
    return np.asarray(ndimage.uniform_filter(np.asarray(values, np.float64), window, mode="nearest"))


def _placed(worth: np.ndarray, window: Triple, cell: int, side: Triple, shape: Triple) -> Box:
    """The box round the best cell, of those round which there is room for it."""
    room = [slice(w // 2, max(n - (w - w // 2), w // 2) + 1) for n, w in zip(worth.shape, window, strict=True)]
    best = np.unravel_index(int(worth[tuple(room)].argmax()), worth[tuple(room)].shape)
    start = triple(min(int(b) * cell, n - s) for b, n, s in zip(best, shape, side, strict=True))
    return Box(start, triple(a + s for a, s in zip(start, side, strict=True)))


def _noise_as_recorded(views: RegisteredViews, index: int, box: Box) -> Noise:
    """The noise of the pixels of a view that a box is made of, in units of its own array."""
    covered = views.coverage(box, [index])
    if covered is not None and not covered.any():
        return Noise(0.0, 0.0)
    view = views.views[index]
    interpolated = view.affine is not None
    source = source_of(view, views.grid, box)[1] if interpolated else views.in_frame(box)
    alone = RegisteredViews([replace(view, affine=None, gain=1.0)], Grid(view.shape)).region(source)
    # Its PSF is that on the voxels of the fused volume; planes are recorded across the detection axis.
    return estimate_noise(alone, 0, across=(1, 2) if interpolated or view.psf is None else None)
