"""Ask the views whether their PSFs are mirrored; works in a thread."""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np

from napari_mvfusion.data.geometry import Box, triple
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.errors import InputError
from napari_mvfusion.psf import MirrorVerdict, check_mirror, check_psf
from napari_mvfusion.psf.usable import psf_of

# The middle of a large volume decides as well as all of it.
_SIDE = 192


def check_orientations(
    check: Callable[..., None], views: RegisteredViews
) -> Generator[None, None, tuple[MirrorVerdict, ...]]:
    """Compare how well the PSFs explain the views as they are and mirrored.

    Returns
    -------
    One verdict a view, in their order.

    Raises
    ------
    InputError
        If there are less than two views, or a view has no PSF or one that cannot be used.
    """
    yield
    if len(views) < 2:
        raise InputError("the orientation of a PSF shows only in two or more views: tick another one")
    psfs = []
    for view in views.views:
        psf = psf_of(view, "the check of orientation")
        check_psf(psf, view.label_of_psf)
        psfs.append(psf)
    start = triple(max(0, (n - _SIDE) // 2) for n in views.grid.shape)
    stop = triple(a + min(_SIDE, n) for a, n in zip(start, views.grid.shape, strict=True))
    blocks = []
    for index in range(len(views)):
        check()
        blocks.append(np.maximum(views.read(Box(start, stop), [index])[0], 0))
        yield
    return check_mirror(np.stack(blocks), psfs, views.names, progress=check)
