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
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from threading import Barrier

import numpy as np
import torch
from scipy import fft

from napari_mvfusion.geometry import Triple
from napari_mvfusion.imaging.borders import Layout

# Of these layouts z is the halved axis: transforms along it run side by side over rows that lie next to each other.
HALVED = 0
# Padded rows and planes that a thread works on at once, in bytes: some copies of them stay in the cache of a core.
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
        self._entered = workspace[:frequencies, :y, :x]
        self._filtered = workspace[:frequencies, : layout.target[1], : layout.target[2]]

    @property
    def rows_in(self) -> list[slice]:
        """Groups of rows (along y) of the source."""
        return _groups(self._layout.source[1], _rows_at_once(self._layout))

    @property
    def planes(self) -> list[slice]:
        """Groups of z frequencies."""
        return _groups(len(self._entered), _planes_at_once(self._layout))

    @property
    def rows_out(self) -> list[slice]:
        """Groups of rows of the target."""
        return _groups(self._layout.target[1], _rows_at_once(self._layout))

    def entering(self, rows_of_source: Rows) -> Callable[[slice], None]:
        """Step 1 for one thread: takes rows (z, rows, x) of the source."""
        z_axis = self._layout.axes[0]
        padded = np.zeros((z_axis.size, _rows_at_once(self._layout), self._layout.source[2]), np.float32)

        def enter(rows: slice) -> None:
            values = rows_of_source(rows).numpy()
            circle = padded[:, : values.shape[1]]
            for run in z_axis.runs:
                circle[run.on_circle] = values[run.in_source]
            self._entered[:, rows] = fft.rfft(circle, axis=0)

        return enter

    def filtering(self) -> Callable[[slice], None]:
        """Step 2 for one thread, in place."""
        _, y_axis, x_axis = self._layout.axes
        padded = np.zeros((_planes_at_once(self._layout), y_axis.size, x_axis.size), np.complex64)

        def filter_planes(planes: slice) -> None:
            values = self._entered[planes]
            circle = padded[: len(values)]
            for y, x in itertools.product(y_axis.runs, x_axis.runs):
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


def share(pieces: Iterable[slice], begin: Callable[[], Callable[[slice], None]]) -> None:
    """Work on all pieces with as many threads as torch may use.

    Every thread calls `begin` once for a work function with buffers of its own, and takes pieces until none is left.
    Threads with one OpenMP thread each are used rather than the OpenMP threads inside an operation: those spin while
    they wait, which costs a multiple of the time on a machine that is busy otherwise.
    """
    queue = list(pieces)
    threads = min(torch.get_num_threads(), len(queue))
    # The next index is taken atomically: `next` of a counter is one operation under the interpreter lock.
    counter = itertools.count()

    def work() -> None:
        do = begin()
        while (index := next(counter)) < len(queue):
            do(queue[index])

    if threads <= 1:
        work()
        return
    futures = [_pool(torch.get_num_threads()).submit(work) for _ in range(threads)]
    wait(futures)
    for future in futures:
        future.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Workers whose own torch operations use one thread each."""
    started = Barrier(threads + 1)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="mvfusion-slab", initializer=_use_one_thread)
    for _ in range(threads):
        pool.submit(started.wait)
    started.wait()
    # A thread that sets its number also sets it for threads to come: put that back.
    torch.set_num_threads(threads)
    return pool


def _use_one_thread() -> None:
    # The first question makes torch set this thread up, which would otherwise happen later and undo the setting.
    torch.get_num_threads()
    torch.set_num_threads(1)


def _rows_at_once(layout: Layout) -> int:
    row_bytes = layout.sizes[0] * layout.source[2] * 4
    return min(max(1, _ROWS_BYTES // row_bytes), max(layout.source[1], layout.target[1]))


def _planes_at_once(layout: Layout) -> int:
    plane_bytes = layout.sizes[1] * layout.sizes[2] * 8
    return min(max(1, _PLANES_BYTES // plane_bytes), layout.sizes[0] // 2 + 1)


def _groups(length: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]
