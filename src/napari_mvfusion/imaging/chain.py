"""Convolutions with pointwise work after each: the shape of every Richardson-Lucy update.

`convolver_for` is the one place that chooses how to convolve: in slabs on a CPU, with whole tensors on other devices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Protocol

import numpy as np
import torch

from napari_mvfusion.data.geometry import Triple
from napari_mvfusion.imaging import slabs, spectral
from napari_mvfusion.imaging.borders import Layout
from napari_mvfusion.imaging.slabs import SlabConvolution
from napari_mvfusion.imaging.threads import share
from napari_mvfusion.imaging.transfer import transfer_bytes

Change = Callable[[torch.Tensor, slice], torch.Tensor]


@dataclass(frozen=True, eq=False)
class Link:
    """One convolution and the pointwise work after it.

    Attributes
    ----------
    layout : from which box of the volume to which; its source is the target of the link before
    transfer : transfer function of the kernel, with the axis halved that the convolver wants
    change : takes rows (z, rows, x) of the convolved block, which it may overwrite, and the slice along y that these
        rows are; returns rows of the same shape. It is called once for each row, in any order and from several
        threads at once.
    """

    layout: Layout
    transfer: torch.Tensor
    change: Change


class Convolver(Protocol):
    """Runs chains of convolutions on one kind of device."""

    @property
    def halved(self) -> int:
        """The axis of which transfer functions hold only half: 0 for z, 2 for x."""

    def run(self, source: torch.Tensor, links: Sequence[Link]) -> torch.Tensor:
        """Convolve a block of a volume, change it, convolve again, and so on.

        Parameters
        ----------
        source : float32 (z, y, x) of the first link's source shape; not written to
        links : at least one

        Returns
        -------
        float32 (z, y, x) of the last link's target shape, a fresh tensor on the device of the source.
        """

    def working_bytes(self, layouts: Sequence[Layout]) -> int:
        """An upper bound of the memory a chain takes: its result included, source and transfer functions not."""

    def release(self) -> None:
        """Give back what is kept between chains."""


def convolver_for(device: torch.device) -> Convolver:
    """The faster convolver for a device."""
    return SlabConvolver() if device.type == "cpu" else WholeConvolver()


class WholeConvolver:
    """Convolves whole tensors, on any device."""

    halved = spectral.HALVED

    def run(self, source: torch.Tensor, links: Sequence[Link]) -> torch.Tensor:
        """See `Convolver`."""
        values = source
        for link in links:
            values = link.change(spectral.convolve(values, link.layout, link.transfer), slice(None))
        return values.contiguous()

    def working_bytes(self, layouts: Sequence[Layout]) -> int:
        """See `Convolver`."""
        # The padded block, its spectrum, the product, and the work areas of the FFT, as large as what they transform.
        return _bytes(layouts[-1]) + 6 * max(transfer_bytes(layout.sizes, self.halved) for layout in layouts)

    def release(self) -> None:
        """See `Convolver`; it keeps nothing."""


class SlabConvolver:
    """Convolves on the CPU, slab by slab, in one buffer that is used again and again; see `slabs`."""

    halved = slabs.HALVED

    def __init__(self) -> None:
        self._buffer = np.empty(0, np.complex64)

    def run(self, source: torch.Tensor, links: Sequence[Link]) -> torch.Tensor:
        """See `Convolver`."""
        workspace = self._workspace(_largest_workspace([link.layout for link in links]))
        rows: slabs.Rows = partial(_rows_of, source)
        for link in links:
            convolution = SlabConvolution(link.layout, link.transfer, workspace)
            share(convolution.rows_in, partial(convolution.entering, rows))
            share(convolution.planes, convolution.filtering)
            rows = partial(_changed, convolution, link.change)
        # A large numpy array gets huge pages where the system offers them, which a tensor made by torch does not.
        result = torch.from_numpy(np.empty(links[-1].layout.target, np.float32))
        share(convolution.rows_out, lambda: partial(_store, result, rows))
        return result

    def working_bytes(self, layouts: Sequence[Layout]) -> int:
        """See `Convolver`."""
        frequencies, y, x = _largest_workspace(layouts)
        scratch = torch.get_num_threads() * max(slabs.scratch_bytes(layout) for layout in layouts)
        return _bytes(layouts[-1]) + 8 * frequencies * y * x + scratch

    def release(self) -> None:
        """See `Convolver`."""
        self._buffer = np.empty(0, np.complex64)

    def _workspace(self, shape: Triple) -> np.ndarray:
        size = prod(shape)
        if self._buffer.size < size:
            self.release()  # before the larger one is taken
            self._buffer = np.empty(size, np.complex64)
        return self._buffer[:size].reshape(shape)


def _rows_of(values: torch.Tensor, rows: slice) -> torch.Tensor:
    return values[:, rows]


def _changed(convolution: SlabConvolution, change: Change, rows: slice) -> torch.Tensor:
    return change(convolution.leave(rows), rows)


def _store(result: torch.Tensor, source: slabs.Rows, rows: slice) -> None:
    result[:, rows] = source(rows)


def _largest_workspace(layouts: Sequence[Layout]) -> Triple:
    shapes = [slabs.workspace_shape(layout) for layout in layouts]
    return max(s[0] for s in shapes), max(s[1] for s in shapes), max(s[2] for s in shapes)


def _bytes(layout: Layout) -> int:
    return 4 * prod(layout.target)
