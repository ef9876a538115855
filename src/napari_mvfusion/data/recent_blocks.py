"""Blocks of volumes that were decoded last, kept in bounded memory: whoever reads many small boxes decodes each once."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from math import prod
from typing import Any

import numpy as np

from napari_mvfusion.data.geometry import Box, box_of, triple

# Of all volumes together; the latest block stays, however large it is.
KEPT_BYTES = 2**28
# Chunks are put together to blocks up to this length and size, as looking up a block takes time too.
_SIDE = 64
_BLOCK_BYTES = 2**22


class RecentBlocks:
    """Blocks that were read last, the latest at the end; may be asked from several threads.

    Parameters
    ----------
    most_bytes : of all blocks together
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self.begin_anew()

    def begin_anew(self) -> None:
        """Keep nothing; also in a forked child, where another thread may have held a lock, and does not live."""
        self._blocks: OrderedDict[Any, np.ndarray] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._being_read: dict[Any, threading.Lock] = {}

    def get(self, key: Any, read: Callable[[], np.ndarray]) -> np.ndarray:
        """A block, which is read where it is not kept, by one of those who wait for it."""
        with self._lock:
            if key in self._blocks:
                self._blocks.move_to_end(key)
                return self._blocks[key]
            turn = self._being_read.setdefault(key, threading.Lock())
        with turn:
            with self._lock:
                if key in self._blocks:
                    return self._blocks[key]
            try:
                block = read()
                with self._lock:
                    self._keep(key, block)
            finally:
                with self._lock:
                    self._being_read.pop(key, None)
        return block

    def _keep(self, key: Any, block: np.ndarray) -> None:
        self._blocks[key] = block
        self._bytes += block.nbytes
        while len(self._blocks) > 1 and self._bytes > self._most_bytes:
            self._bytes -= self._blocks.popitem(last=False)[1].nbytes


RECENT = RecentBlocks(KEPT_BYTES)
"""Those of all volumes."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=RECENT.begin_anew)


class BlockwiseVolume:
    """A (z, y, x) volume of which whole blocks are read, and kept in `RECENT`, whatever box is asked for.

    Parameters
    ----------
    read : gives the pixels of some slices (z, y, x)
    chunks : lengths of the chunks along each axis, which are read as a whole anyway
    dtype : of the pixels
    """

    def __init__(
        self, read: Callable[[tuple[slice, ...]], np.ndarray], chunks: Sequence[Sequence[int]], dtype: np.dtype[Any]
    ) -> None:
        self._read = read
        self._edges = _block_edges(chunks, dtype.itemsize)
        self._owner = object()
        self.shape = triple(edges[-1] for edges in self._edges)
        self.dtype = dtype

    def __getitem__(self, index: tuple[slice | int, ...], /) -> np.ndarray:
        """Pixels of a box, a copy."""
        box, picked = box_of(index, self.shape)
        out = np.empty(box.shape, self.dtype)
        for block in self._blocks_of(box):
            part = Box(triple(map(max, box.start, block.start)), triple(map(min, box.stop, block.stop)))
            pixels = RECENT.get((self._owner, block), partial(self._read, block.slices))
            out[part.inside(box).slices] = pixels[part.inside(block).slices]
        return out[picked]

    def _blocks_of(self, box: Box) -> Iterator[Box]:
        if box.size == 0:
            return
        spans = []
        for edges, start, stop in zip(self._edges, box.start, box.stop, strict=True):
            first, last = np.searchsorted(edges, (start, stop - 1), side="right")
            spans.append([(int(edges[i - 1]), int(edges[i])) for i in range(first, last + 1)])
        for place in product(*spans):
            yield Box(triple(start for start, _ in place), triple(stop for _, stop in place))


def _block_edges(chunks: Sequence[Sequence[int]], itemsize: int) -> list[np.ndarray]:
    """Where blocks begin and end along each axis."""
    longest = [max(lengths, default=1) or 1 for lengths in chunks]
    together = [1] * len(chunks)
    for axis in sorted(range(len(chunks)), key=lambda axis: longest[axis]):
        size = itemsize * prod(n * t for n, t in zip(longest, together, strict=True))
        together[axis] = max(1, min(_SIDE // longest[axis], _BLOCK_BYTES // size))
    edges = []
    for lengths, count in zip(chunks, together, strict=True):
        every = np.concatenate([[0], np.cumsum(lengths, dtype=int)])
        edges.append(np.unique(np.append(every[::count], every[-1])))
    return edges
