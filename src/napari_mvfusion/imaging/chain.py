"""Convolutions with pointwise work after each: the shape of every Richardson-Lucy update.

This is the one place that chooses how to convolve: in slabs on a CPU, with whole tensors on any other device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from napari_mvfusion.geometry import Triple
from napari_mvfusion.imaging import slabs, spectral
from napari_mvfusion.imaging.borders import Layout
from napari_mvfusion.imaging.slabs import SlabConvolution
from napari_mvfusion.imaging.transfer import transfer_bytes

Change = Callable[[torch.Tensor, slice], torch.Tensor]


@dataclass(frozen=True, eq=False)
class Link:
    """One convolution and the pointwise work after it.

    Attributes
    ----------
    layout : from which box of the volume to which; its source is the target of the link before
    transfer : transfer function of the kernel with the axis `halved_axis(device)` halved
    change : takes rows (z, rows, x) of the convolved block, which it may overwrite, and the slice along y that these
        rows are; returns rows of the same shape. It may be called in any order, from several threads at once, and for
        the same rows only once.
    """

    layout: Layout
    transfer: torch.Tensor
    change: Change


class Workspace:
    """A buffer that chains on a CPU use again and again; it grows with the largest."""

    def __init__(self) -> None:
        self._buffer = np.empty(0, np.complex64)

    def get(self, shape: Triple) -> np.ndarray:
        """The buffer as a complex64 array of this shape, with any content."""
        size = int(np.prod(shape, dtype=np.int64))
        if self._buffer.size < size:
            self._buffer = np.empty(0, np.complex64)  # give the old one back before the new one is taken
            self._buffer = np.empty(size, np.complex64)
        return self._buffer[:size].reshape(shape)

    def clear(self) -> None:
        """Give the memory back."""
        self._buffer = np.empty(0, np.complex64)


def halved_axis(device: torch.device) -> int:
    """The axis of which transfer functions for chains on this device hold half."""
    return slabs.HALVED if device.type == "cpu" else spectral.HALVED


def run_chain(source: torch.Tensor, links: Sequence[Link], workspace: Workspace) -> torch.Tensor:
    """Convolve a block of a volume, change it, convolve again, and so on.

    Parameters
    ----------
    source : float32 (z, y, x) of the first link's source shape; not written to
    links : at least one
    workspace : used on a CPU

    Returns
    -------
    float32 (z, y, x) of the last link's target shape, a fresh tensor on the device of the source.
    """
    return _in_slabs(source, links, workspace) if source.device.type == "cpu" else _whole(source, links)


def chain_bytes(layouts: Sequence[Layout], device: torch.device) -> int:
    """An upper bound of the memory that a chain takes, its result included, its source and transfer functions not."""
    target = layouts[-1].target
    result = 4 * target[0] * target[1] * target[2]
    if device.type == "cpu":
        threads = torch.get_num_threads()
        frequencies, y, x = _shared_shape(layouts)
        return result + 8 * frequencies * y * x + threads * max(slabs.scratch_bytes(layout) for layout in layouts)
    # Padded block, its spectrum, the product, and the work areas of the FFT, which are as large as what they transform.
    return result + 6 * max(transfer_bytes(layout.sizes, spectral.HALVED) for layout in layouts)


def _whole(source: torch.Tensor, links: Sequence[Link]) -> torch.Tensor:
    values = source
    for link in links:
        values = link.change(spectral.convolve(values, link.layout, link.transfer), slice(None))
    return values


def _in_slabs(source: torch.Tensor, links: Sequence[Link], workspace: Workspace) -> torch.Tensor:
    shared = workspace.get(_shared_shape([link.layout for link in links]))
    rows: slabs.Rows = partial(_rows_of, source)
    for link in links:
        convolution = SlabConvolution(link.layout, link.transfer, shared)
        slabs.share(convolution.rows_in, partial(convolution.entering, rows))
        slabs.share(convolution.planes, convolution.filtering)
        rows = partial(_changed, convolution, link.change)
    # A numpy array of this size gets huge pages where the system offers them, which a tensor of torch does not.
    result = torch.from_numpy(np.empty(links[-1].layout.target, np.float32))
    slabs.share(convolution.rows_out, lambda: partial(_store, result, rows))
    return result


def _rows_of(values: torch.Tensor, rows: slice) -> torch.Tensor:
    return values[:, rows]


def _changed(convolution: SlabConvolution, change: Change, rows: slice) -> torch.Tensor:
    return change(convolution.leave(rows), rows)


def _store(result: torch.Tensor, source: slabs.Rows, rows: slice) -> None:
    result[:, rows] = source(rows)


def _shared_shape(layouts: Sequence[Layout]) -> Triple:
    shapes = [slabs.workspace_shape(layout) for layout in layouts]
    return max(s[0] for s in shapes), max(s[1] for s in shapes), max(s[2] for s in shapes)
