"""Two volumes as one: the first up to a plane, the second from there on, without a copy of either."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_mvfusion.data.views import VolumeLike


class JoinedVolume:
    """Looks like an array whose values are read from the first volume before the split and from the second after it.

    Moving the split costs nothing; what is read afterwards is new.

    Parameters
    ----------
    first, second : arrays of one shape; numpy, dask or zarr
    axis : the axis that is split
    at : index of the first voxel along it that comes from the second volume, 0 to the size of the axis
    scale, offset : bring the second volume to the brightness of the first
    """

    def __init__(
        self, first: VolumeLike, second: VolumeLike, axis: int, at: int, *, scale: float = 1.0, offset: float = 0.0
    ) -> None:
        self.axis, self.at = axis, at
        self._first, self._second = first, second
        self._scale, self._offset = scale, offset
        plain = scale == 1 and offset == 0
        self.shape = tuple(first.shape)
        self.ndim = len(self.shape)
        self.dtype = np.result_type(first.dtype, second.dtype) if plain else np.dtype(np.float32)
        self.size = int(np.prod(self.shape, dtype=np.int64))

    def __getitem__(self, index: Any) -> np.ndarray:
        """Values of a box, as numpy; integers and slices with positive steps are understood."""
        given = index if isinstance(index, tuple) else (index,)
        if Ellipsis in given:
            place = given.index(Ellipsis)
            missing = self.ndim - (len(given) - 1)
            given = given[:place] + (slice(None),) * missing + given[place + 1 :]
        given = given + (slice(None),) * (self.ndim - len(given))
        along = given[self.axis]
        if not isinstance(along, slice):
            position = int(along) % self.shape[self.axis]
            return self._from_first(given) if position < self.at else self._from_second(given)
        before, after = _divide(along, self.shape[self.axis], self.at)
        left, right = ((*given[: self.axis], part, *given[self.axis + 1 :]) for part in (before, after))
        axis = sum(isinstance(part, slice) for part in given[: self.axis])
        return np.concatenate([self._from_first(left), self._from_second(right)], axis)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[...], dtype)

    def _from_first(self, index: tuple[Any, ...]) -> np.ndarray:
        return np.asarray(self._first[index]).astype(self.dtype, copy=False)

    def _from_second(self, index: tuple[Any, ...]) -> np.ndarray:
        values = np.asarray(self._second[index])
        if self._scale != 1 or self._offset != 0:
            values = values * np.float32(self._scale) + np.float32(self._offset)
        return values.astype(self.dtype, copy=False)


def _divide(along: slice, size: int, at: int) -> tuple[slice, slice]:
    """The parts of a slice below and from an index on."""
    chosen = range(*along.indices(size))
    if chosen.step < 1:
        raise IndexError("a split volume is read forwards: use slices with a positive step")
    below = len(range(chosen.start, min(chosen.stop, at), chosen.step))
    parts = (chosen[:below], chosen[below:])
    before, after = (slice(part.start, max(part.start, part.stop), part.step) for part in parts)
    return before, after
