"""Transfer functions of kernels, and a cache of them that is bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from threading import Lock

import numpy as np
import torch
from scipy import fft

from napari_mvfusion.data.geometry import Triple, triple
from napari_mvfusion.imaging.threads import groups, share

# Outer planes of a kernel that together hold less than this share of it are below the rounding of float32.
_NEGLIGIBLE = 1e-7
_ROWS = 16


def radius_of(kernel: np.ndarray) -> Triple:
    """How far an odd-sized kernel reaches from its centre along (z, y, x), in voxels.

    Outer planes that hold less than 1e-7 of the kernel's absolute sum do not count: measured PSFs often have margins
    of zeros, and every voxel less makes the FFT smaller.
    """
    magnitude = np.abs(np.asarray(kernel, np.float64))
    allowed = _NEGLIGIBLE * magnitude.sum()
    radii = []
    for axis, length in enumerate(magnitude.shape):
        profile = magnitude.sum(axis=tuple(a for a in range(3) if a != axis))
        centre = length // 2
        # Mass of each pair of planes at distance 0, 1, ... from the centre, then what lies beyond each distance.
        pairs = profile[centre:] + profile[centre::-1]
        beyond = pairs[::-1].cumsum()[::-1]
        radii.append(int(np.count_nonzero(beyond[1:] > allowed)))
    return triple(radii)


def crop(kernel: np.ndarray, radius: Triple) -> np.ndarray:
    """The middle of a kernel, or the kernel with zeros around it: `2 radius + 1` voxels along (z, y, x)."""
    cropped = np.zeros([2 * r + 1 for r in radius], kernel.dtype)
    keep = [min(r, n // 2) for r, n in zip(radius, kernel.shape, strict=True)]
    into = tuple(slice(r - k, r + k + 1) for r, k in zip(radius, keep, strict=True))
    out_of = tuple(slice(n // 2 - k, n // 2 + k + 1) for n, k in zip(kernel.shape, keep, strict=True))
    cropped[into] = kernel[out_of]
    return cropped


def transfer_function(kernel: np.ndarray, sizes: Triple, *, halved: int, device: torch.device) -> torch.Tensor:
    """Fourier transform of an odd-sized kernel about its centre, divided by the number of samples.

    Parameters
    ----------
    kernel : (z, y, x), odd sizes, no larger than `sizes`
    sizes : lengths of the FFT along (z, y, x)
    halved : the axis of which only the first `size // 2 + 1` frequencies are kept, 0 for z or 2 for x
    device : where the result lies

    Returns
    -------
    complex64 with the axes (z, y, x). The factor 1 / samples is that of the inverse transform, which can then be done
    without any (`norm="forward"`).
    """
    last = 2 - halved
    small = np.asarray(kernel / float(np.prod(sizes)), np.float32)
    small = fft.rfft(_around_zero(small, halved, sizes[halved]), axis=halved)
    values = torch.from_numpy(fft.fft(_around_zero(small, 1, sizes[1]), axis=1)).to(device)
    # The last transform is the large one. It goes row by row, or its zeros would take as much memory as its result.
    spectrum: torch.Tensor = values.new_empty([sizes[i] if i == last else n for i, n in enumerate(values.shape)])
    before = kernel.shape[last] // 2

    def transform(rows: slice) -> None:
        part = values[:, rows]
        circle = part.new_zeros([sizes[i] if i == last else n for i, n in enumerate(part.shape)])
        circle.narrow(last, 0, kernel.shape[last] - before).copy_(
            part.narrow(last, before, kernel.shape[last] - before)
        )
        circle.narrow(last, sizes[last] - before, before).copy_(part.narrow(last, 0, before))
        spectrum[:, rows] = torch.fft.fft(circle, dim=last)

    pieces = groups(sizes[1], _ROWS)
    if device.type == "cpu":
        share(pieces, lambda: transform)
    else:
        for rows in pieces:
            transform(rows)
    return spectrum


def transfer_bytes(sizes: Triple, halved: int) -> int:
    """Bytes of a transfer function."""
    kept = [n // 2 + 1 if axis == halved else n for axis, n in enumerate(sizes)]
    return 8 * kept[0] * kept[1] * kept[2]


def _around_zero(values: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Lengthen an axis to `size` with the centre at index 0 and what is before it at the end."""
    length = values.shape[axis]
    padding = [(0, size - length if i == axis else 0) for i in range(values.ndim)]
    return np.roll(np.pad(values, padding), -(length // 2), axis)


@dataclass(frozen=True)
class _Key:
    kernels: bytes
    shape: tuple[int, ...]
    sizes: Triple
    halved: int
    device: str


class TransferCache:
    """Transfer functions by kernel, size and device; the ones used longest ago go when there are too many bytes.

    Parameters
    ----------
    limit_bytes : what may be kept. A single entry that is larger is handed out, but not kept.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._entries: OrderedDict[_Key, torch.Tensor] = OrderedDict()
        self._lock = Lock()

    @property
    def nbytes(self) -> int:
        """Bytes that are kept now."""
        with self._lock:
            return sum(entry.nbytes for entry in self._entries.values())

    def limit(self, limit_bytes: int) -> None:
        """Change what may be kept."""
        with self._lock:
            self._limit = limit_bytes
            self._shrink()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()

    def get(self, kernels: np.ndarray, sizes: Triple, *, halved: int, device: torch.device) -> torch.Tensor:
        """`transfer_function` of a kernel (z, y, x), or of a stack of kernels (view, z, y, x) as one stack."""

        def make() -> torch.Tensor:
            if kernels.ndim == 3:
                return transfer_function(kernels, sizes, halved=halved, device=device)
            return torch.stack([transfer_function(k, sizes, halved=halved, device=device) for k in kernels])

        digest = sha256(np.ascontiguousarray(kernels).data).digest()
        return self._look_up(_Key(digest, kernels.shape, sizes, halved, str(device)), make)

    def _look_up(self, key: _Key, make: Callable[[], torch.Tensor]) -> torch.Tensor:
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
        made = make()
        with self._lock:
            self._entries[key] = made
            self._shrink()
        return made

    def _shrink(self) -> None:
        total = sum(entry.nbytes for entry in self._entries.values())
        while total > self._limit and self._entries:
            total -= self._entries.popitem(last=False)[1].nbytes
