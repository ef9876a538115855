"""The transmission of a view as a volume, computed where it is read: to be shown, and to be written."""

from __future__ import annotations

import numpy as np
import torch

from napari_mvfusion.data.geometry import Triple, box_of
from napari_mvfusion.measures.attenuation import Transmission


class TransmissionVolume:
    """How much of the specimen a view saw: float32 (z, y, x) on the voxels of the fused volume.

    Given as `View.transmission`, it is what it was made of, but for rounding where cells stand for several voxels.

    Parameters
    ----------
    found : of all views
    view : which one
    shape : (z, y, x) of the fused volume
    """

    dtype = np.dtype(np.float32)

    def __init__(self, found: Transmission, view: int, shape: Triple) -> None:
        self._found, self._view = found, view
        self.shape = shape
        self.ndim = len(shape)

    def __getitem__(self, index: int | slice | tuple[slice | int, ...]) -> np.ndarray:
        """The values of a box; a number in the place of a slice leaves its axis out, as with any array."""
        parts = index if isinstance(index, tuple) else (index,)
        box, picked = box_of((*parts, *[slice(None)] * (self.ndim - len(parts))), self.shape)
        if not box.size:
            return np.zeros(box.shape, self.dtype)[picked]
        return np.asarray(self._found.of(self._view, box, torch.device("cpu")).numpy()[picked])
