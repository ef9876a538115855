"""Ask the views whether their PSFs are mirrored; works in a thread."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from napari_mvfusion.data.geometry import Box, triple
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.tasks import Checkpoint
from napari_mvfusion.psf import MirrorVerdict, check_mirror

# The middle of a large volume decides as well as all of it.
_SIDE = 192


def check_orientations(check: Checkpoint, views: RegisteredViews) -> Generator[None, None, tuple[MirrorVerdict, ...]]:
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
        if view.psf is None:
            raise InputError(f"view '{view.name}' has no PSF: choose one, or untick the view")
        if any(n % 2 == 0 for n in view.psf.shape) or not np.isfinite(view.psf).all() or view.psf.sum() <= 0:
            raise InputError(f"the PSF of view '{view.name}' cannot be used yet: mend it first")
        psfs.append(view.psf)
    start = triple(max(0, (n - _SIDE) // 2) for n in views.grid.shape)
    stop = triple(a + min(_SIDE, n) for a, n in zip(start, views.grid.shape, strict=True))
    blocks = []
    for index in range(len(views)):
        check()
        blocks.append(np.maximum(views.read(Box(start, stop), [index])[0], 0))
        yield
    return check_mirror(np.stack(blocks), psfs, views.names, progress=check)
