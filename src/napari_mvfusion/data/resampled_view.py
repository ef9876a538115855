"""One of several views on the voxels that all have in common, as an array whose pixels are computed where it is read."""

from __future__ import annotations

from threading import Lock

import numpy as np

from napari_mvfusion.data.geometry import Box, box_of
from napari_mvfusion.data.views import RegisteredViews, drain

_CHUNK = 64
_SETTLING = Lock()


class ResampledView:
    """A view on the grid of the views, as it is fused: without its offset, gain and hot pixels; or where it has pixels.

    The other views tell which of its zeros are outside its field. That is found out once, whoever reads first.

    Parameters
    ----------
    views : of which it is one
    number : which one
    covered : how much of a pixel there is, 0 to 1, and not its value
    """

    dtype = np.dtype(np.float32)

    def __init__(self, views: RegisteredViews, number: int, *, covered: bool = False) -> None:
        self._views = views
        self._number = number
        self._covered = covered
        self.shape = views.grid.shape
        self.ndim = 3
        self.chunks = tuple(min(_CHUNK, n) for n in self.shape)

    def __getitem__(self, index: tuple[slice | int, ...]) -> np.ndarray:
        """Pixels of a box; a number in the place of a slice leaves its axis out, as with any array."""
        box, picked = box_of(index, self.shape)
        return (self._box(box) if box.size else np.zeros(box.shape, self.dtype))[picked]

    def _box(self, box: Box) -> np.ndarray:
        with _SETTLING:
            drain(self._views.detect_no_data())
        if not self._covered:
            return np.asarray(self._views.read(box, [self._number])[0])
        covered = self._views.coverage(box, [self._number])
        return np.ones(box.shape, np.float32) if covered is None else np.asarray(covered[0])
