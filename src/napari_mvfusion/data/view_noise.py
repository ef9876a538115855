"""The noise of a view, and its light as two halves whose noise is independent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

import numpy as np

from napari_mvfusion.data.field_of_view import VolumeLike
from napari_mvfusion.data.geometry import Box, Triple, box_of, triple
from napari_mvfusion.data.views import RegisteredViews, drain

Half = Literal[0, 1]

# Photons are dealt out in blocks of this shape, each with random numbers of its own, so that any box can be read alone.
_BLOCK = (1, 128, 128)
# A binomial distribution of more trials is normal for all that follows from it, and takes five times as long to draw.
_NORMAL_ABOVE = 256


@dataclass(frozen=True)
class Noise:
    """The noise of a view: its variance is `gain * expected + read_variance`.

    Attributes
    ----------
    gain : units of the view per photon
    read_variance : variance where there is no light, units of the view squared
    """

    gain: float
    read_variance: float


class HalfOfLight:
    """A volume as half of its photons would show it, at the brightness of all of them.

    Each photon goes to one half or the other, as a coin falls: with `n` photons in a pixel and `B` of them, binomial,
    in the first half, the halves are `pixel + gain (2 B - n)` and `pixel - gain (2 B - n)`. To the noise of the camera,
    which cannot be dealt out, as much is added in one half as is taken from the other. Errors of both halves are
    uncorrelated, and for photons alone independent, as far as the noise is what it is said to be; each has twice the
    variance of the whole. What falls below the offset becomes it, as where views are read. Photons are drawn for each
    block of the volume anew, so whatever is read, and how often, gives the same.

    Parameters
    ----------
    data : (z, y, x) of any real dtype; numpy, dask, zarr or a memory map
    noise : in units of the data
    offset : what the data are without light
    half : which of the two
    seed : of the coins, the same for both halves, another one for each view

    References
    ----------
    Rieger et al., Single image Fourier ring correlation. Optics Express 32 (2024), 21767: halves of the photons.
    """

    def __init__(self, data: VolumeLike, noise: Noise, offset: float, half: Half, seed: Sequence[int] = (0,)) -> None:
        self._data = data
        self._noise = noise
        self._offset = offset
        self._sign = np.float32(1 if half == 0 else -1)
        self._seed = tuple(seed)
        self.dtype = np.dtype(np.float32)

    @property
    def shape(self) -> Triple:
        """Sizes along (z, y, x)."""
        return triple(self._data.shape)

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """Pixels, float32, of a whole number or slice for each axis; not finite where the volume is not."""
        box, picked = box_of(index, self.shape)
        whole = _in_whole_blocks(box, self.shape)
        pixels = np.asarray(self._data[whole.slices]).astype(np.float32)
        for corner in np.ndindex(*(-(-n // side) for n, side in zip(whole.shape, _BLOCK, strict=True))):
            begin = [c * side for c, side in zip(corner, _BLOCK, strict=True)]
            block = pixels[tuple(slice(b, b + side) for b, side in zip(begin, _BLOCK, strict=True))]
            place = [(b + a) // side for b, a, side in zip(begin, whole.start, _BLOCK, strict=True)]
            block += self._sign * self._dealt(block, np.random.default_rng((*self._seed, *place)))
        # Light is not negative, and methods refuse what is.
        return np.maximum(pixels, np.float32(self._offset))[box.inside(whole).slices][picked]

    def _dealt(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """By how much more the first half gets than each would on average."""
        gain, read_variance = self._noise.gain, self._noise.read_variance
        dealt = np.zeros(pixels.shape, np.float32)
        if gain > 0:
            light = np.nan_to_num(pixels - np.float32(self._offset), nan=0.0, posinf=0.0, neginf=0.0)
            photons = np.rint(light.clip(min=0).astype(np.float64) / gain)
            many = photons > _NORMAL_ABOVE
            surplus = 2.0 * rng.binomial(np.where(many, 0, photons).astype(np.int64), 0.5) - np.where(many, 0, photons)
            surplus[many] = np.sqrt(photons[many]) * rng.standard_normal(int(many.sum()))
            dealt += (gain * surplus).astype(np.float32)
        if read_variance > 0:
            dealt += np.float32(sqrt(read_variance)) * rng.standard_normal(pixels.shape, np.float32)
        return dealt


def halves_of_light(
    views: RegisteredViews, noise: Sequence[Noise], seed: int = 0
) -> tuple[RegisteredViews, RegisteredViews]:
    """Views as two halves of their photons would show them, see `HalfOfLight`; nothing is read yet.

    Pixels are dealt out as they were recorded, before any interpolation.

    Parameters
    ----------
    views : the views
    noise : of each, in units of its own pixels, before `View.gain` divides them
    seed : another one deals otherwise

    Returns
    -------
    The views of both halves, on the grid of the views, with all else that is known of them.
    """
    drain(views.detect_no_data())  # in the halves no pixel is 0 by itself any more

    def half(which: Half) -> RegisteredViews:
        return views.with_data(
            HalfOfLight(view.data, known, view.offset, which, (seed, number))
            for number, (view, known) in enumerate(zip(views.views, noise, strict=True))
        )

    return half(0), half(1)


def _in_whole_blocks(box: Box, shape: Triple) -> Box:
    """The box as far as blocks reach that it touches."""
    start = triple(a // side * side for a, side in zip(box.start, _BLOCK, strict=True))
    stop = triple(-(-b // side) * side for b, side in zip(box.stop, _BLOCK, strict=True))
    return Box(start, stop).clip(shape)
