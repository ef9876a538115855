"""The resolution that a method reaches on some views, without ground truth: two halves of their light, fused alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from napari_mvfusion.data.geometry import Box, Grid
from napari_mvfusion.data.sampling import source_of
from napari_mvfusion.data.view_noise import Noise, halves_of_light
from napari_mvfusion.data.views import RegisteredViews, drain
from napari_mvfusion.engine.iteration_choice import as_the_views_bear
from napari_mvfusion.engine.preview import Previewer
from napari_mvfusion.engine.structured_part import structured_box
from napari_mvfusion.errors import InputError
from napari_mvfusion.imaging.threads import Interrupted
from napari_mvfusion.measures.fsc import Resolution, resolution_of_halves
from napari_mvfusion.measures.residuals import estimate_noise
from napari_mvfusion.methods.base import Method
from napari_mvfusion.psf.directions import one_direction_of_all
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
    box = structured_box(views, LONGEST_SIDE) if box is None else box.clip(views.grid.shape)
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
    target = device if isinstance(device, torch.device) else pick_device(device)
    if method.trial is not None:
        # Halves have more noise than the views, whose resolution this is: they take as many iterations as those.
        report("finding how many iterations the views bear", _NOISE_SHARE)
        method = as_the_views_bear(views, method, target, cancel)
    halves = []
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
    return replace(found, box=None if box == views.grid.box else box, caution=_caution(views))


def _caution(views: RegisteredViews) -> str:
    """What makes numbers too fine where no view looks across the others; "" where one does."""
    direction = one_direction_of_all(views)
    if not direction:
        return ""
    return (
        f"All views look {direction}: what deconvolution or a network fills in there is the same in both halves, so the "
        "true resolution in this direction may be much coarser than that."
    )


def _noise_as_recorded(views: RegisteredViews, index: int, box: Box) -> Noise:
    """The noise of the pixels of a view that a box is made of, in units of its own array."""
    covered = views.coverage(box, [index])
    if covered is not None and not covered.any():
        return Noise(0.0, 0.0)
    view = views.views[index]
    interpolated = view.affine is not None
    source = source_of(view, views.grid, box)[1] if interpolated else views.in_frame(box)
    alone = RegisteredViews([replace(view, affine=None, gain=1.0, transmission=None)], Grid(view.shape)).region(source)
    # Its PSF is that on the voxels of the fused volume; planes are recorded across the detection axis.
    return estimate_noise(alone, 0, across=(1, 2) if interpolated or view.psf is None else None)
