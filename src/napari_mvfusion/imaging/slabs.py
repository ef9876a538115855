"""Convolution on the CPU in pieces that stay in the cache, shared out among threads.

A convolution is three steps, and only the middle one needs the Fourier transform along y and x:

1. enter: real transforms along z, for a few rows at a time (all z and x of these y);
2. filter: each plane of one z frequency is convolved on its own, in two dimensions;
3. leave: back along z, again for a few rows.

So what is done between two convolutions, such as a division, is done on rows that are in the cache anyway. The margins
of a mirrored border exist for a few rows or planes at a time, and the transforms along z skip those of y and x. All of
it together costs less than the bare three-dimensional transforms of the padded volume.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import torch
from scipy import fft

from napari_mvfusion.data.geometry import Triple
from napari_mvfusion.imaging.borders import Layout
from napari_mvfusion.imaging.threads import groups

# Of these layouts z is the halved axis: transforms along it run side by side over rows that lie next to each other.
HALVED = 0
# Padded rows and planes that a thread works on at once: larger ones fall out of the cache, smaller ones cost calls.
_ROWS_BYTES = 2**20
_PLANES_BYTES = 2**20

Rows = Callable[[slice], torch.Tensor]


class SlabConvolution:
    """A convolution done in rows and planes.

    Parameters
    ----------
    layout : from `napari_mvfusion.imaging.borders.lay_out`
    transfer : complex64 (z // 2 + 1, y, x) on the CPU, the transfer function for `HALVED`
    workspace : complex64 (frequencies, y, x), at least as large as `workspace_shape(layout)`. Two convolutions in a
        chain may share it, because rows leave the first before they enter the second.
    """

    def __init__(self, layout: Layout, transfer: torch.Tensor, workspace: np.ndarray) -> None:
        frequencies, y, x = workspace_shape(layout)
        self._layout = layout
        self._transfer = transfer
        # Asked for here, because a worker would be told of one thread.
        self._rows_at_once = _rows_at_once(layout)
        self._planes_at_once = _planes_at_once(layout)
        self._entered = workspace[:frequencies, :y, :x]
        self._filtered = workspace[:frequencies, : layout.target[1], : layout.target[2]]

    @property
    def rows_in(self) -> list[slice]:
        """Groups of rows (along y) of the source."""
        return groups(self._layout.source[1], self._rows_at_once)

    @property
    def planes(self) -> list[slice]:
        """Groups of z frequencies."""
        return groups(len(self._entered), self._planes_at_once)

    @property
    def rows_out(self) -> list[slice]:
        """Groups of rows of the target."""
        return groups(self._layout.target[1], self._rows_at_once)

    def entering(self, rows_of_source: Rows) -> Callable[[slice], None]:
        """Step 1 for one thread: takes rows (z, rows, x) of the source."""
        z_axis = self._layout.axes[0]
        padded = np.zeros((z_axis.size, self._rows_at_once, self._layout.source[2]), np.float32)

        def enter(rows: slice) -> None:
            values = rows_of_source(rows).numpy()
            circle = padded[:, : values.shape[1]]
            for segment in z_axis.segments:
                circle[segment.on_circle] = values[segment.in_source]
            self._entered[:, rows] = fft.rfft(circle, axis=0)

        return enter

    def filtering(self) -> Callable[[slice], None]:
        """Step 2 for one thread, in place."""
        _, y_axis, x_axis = self._layout.axes
        padded = np.zeros((self._planes_at_once, y_axis.size, x_axis.size), np.complex64)

        def filter_planes(planes: slice) -> None:
            values = self._entered[planes]
            circle = padded[: len(values)]
            for y, x in itertools.product(y_axis.segments, x_axis.segments):
                circle[:, y.on_circle, x.on_circle] = values[:, y.in_source, x.in_source]
            spectrum = torch.fft.fft2(torch.from_numpy(circle))
            spectrum *= self._transfer[planes]
            blurred = torch.fft.ifft2(spectrum, norm="forward").numpy()
            self._filtered[planes] = blurred[:, : y_axis.target, : x_axis.target]

        return filter_planes

    def leave(self, rows: slice) -> torch.Tensor:
        """Step 3: rows (z, rows, x) of the target, a fresh tensor that may be written to."""
        z_axis = self._layout.axes[0]
        values = fft.irfft(self._filtered[:, rows], n=z_axis.size, axis=0, norm="forward")
        return torch.from_numpy(values[: z_axis.target])


def workspace_shape(layout: Layout) -> Triple:
    """Shape of the complex64 workspace that a convolution needs."""
    return layout.sizes[0] // 2 + 1, layout.source[1], layout.source[2]


def scratch_bytes(layout: Layout) -> int:
    """Bytes that each thread uses beyond the workspace: padded rows or planes, their transform and what comes back."""
    rows = layout.sizes[0] * _rows_at_once(layout) * layout.source[2] * 4
    planes = layout.sizes[1] * layout.sizes[2] * _planes_at_once(layout) * 8
    return 4 * max(rows, planes)


def _rows_at_once(layout: Layout) -> int:
    rows = max(layout.source[1], layout.target[1])
    return _at_once(rows, 4 * layout.sizes[0] * layout.source[2], _ROWS_BYTES)


def _planes_at_once(layout: Layout) -> int:
    return _at_once(layout.sizes[0] // 2 + 1, 8 * layout.sizes[1] * layout.sizes[2], _PLANES_BYTES)


def _at_once(count: int, bytes_each: int, bytes_at_once: int) -> int:
    """How many to take together: as many as fit the cache, but at least four groups for each thread."""
    share_of_thread = -(-count // (4 * torch.get_num_threads()))
    return max(1, min(bytes_at_once // bytes_each, share_of_thread))
