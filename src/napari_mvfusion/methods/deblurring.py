"""What all methods that undo the blur ask of their views."""

from __future__ import annotations

from collections.abc import Generator

from napari_mvfusion.data.checks import check_light
from napari_mvfusion.data.events import Event
from napari_mvfusion.data.geometry import Triple, triple
from napari_mvfusion.data.views import RegisteredViews, ViewStatistics
from napari_mvfusion.imaging import radius_of
from napari_mvfusion.methods.base import warn_few
from napari_mvfusion.psf.usable import look_at_psf

# Share of the PSFs' reach that a preview looks around its region.
_CONTEXT = 0.8


def look_at_psfs(views: RegisteredViews) -> list[str]:
    """Look at the PSFs before a deconvolution.

    Returns
    -------
    What is odd about a PSF, and a warning when there is only one view or very many.

    Raises
    ------
    InputError
        If a view has no PSF, or one that cannot be used.
    """
    notes = [note for view in views.views for note in look_at_psf(view, views.grid.shape, "deconvolution")]
    if len(views) == 1:
        return [*notes, f"{views.views[0].label} is the only one: this is then a plain deconvolution, not a fusion"]
    return [*notes, *warn_few(views)]


def context_of_psfs(views: RegisteredViews) -> Triple:
    """Most of the reach of the largest PSF: voxels round a region beyond which little visibly changes the picture inside."""
    radii = [radius_of(view.psf) for view in views.views if view.psf is not None]
    reach = (max((radius[axis] for radius in radii), default=0) for axis in range(3))
    return triple(round(_CONTEXT * r) for r in reach)


def scan_light(views: RegisteredViews) -> Generator[Event, None, tuple[ViewStatistics, ...]]:
    """The statistics of the views, none of which may be constant, or negative somewhere.

    Raises
    ------
    InputError
        If a view is.
    """
    statistics = yield from views.scan()
    for view, numbers in zip(views.views, statistics, strict=True):
        check_light(view, numbers)
    return statistics
