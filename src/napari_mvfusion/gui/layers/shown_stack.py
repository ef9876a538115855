"""Resampled volumes as the pixels of a layer: planes are computed as planes, and larger parts when they are needed."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np

from napari_mvfusion.data.resampled_view import ResampledStack


class ShownStack:
    """An array that a layer can show: at a number along an axis it is numpy, and a dask array where slices alone pick.

    It is no dask array itself, as napari has these compute whole chunks, which are many times the plane. Of several levels
    napari first takes the part that is on the screen, and then the plane.

    Parameters
    ----------
    stack : (..., z, y, x)
    """

    def __init__(self, stack: ResampledStack) -> None:
        self._stack = stack
        self.shape, self.dtype, self.ndim = stack.shape, stack.dtype, stack.ndim
        self.size, self.nbytes, self.chunks = stack.size, stack.nbytes, stack.chunks
        meta = np.empty((0,) * stack.ndim, stack.dtype)
        self._parts = da.from_array(stack, chunks=stack.chunks, name=False, meta=meta)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any, /) -> Any:
        """Pixels at numbers and slices, which may be fewer than the axes, as with any array."""
        parts = index if isinstance(index, tuple) else (index,)
        whole = all(part is Ellipsis or isinstance(part, slice) for part in parts)
        return self._parts[index] if whole else self._stack[index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All pixels, in memory; see `ResampledStack`."""
        return self._stack.__array__(dtype, copy)
