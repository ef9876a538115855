"""Convolution of whole tensors by real FFT, on any device and differentiable."""

from __future__ import annotations

import torch

from napari_mvfusion.imaging.borders import Axis, Layout

# Of these layouts x is the halved axis, as `torch.fft.rfftn` has it.
HALVED = 2
_AXES = (-3, -2, -1)


def convolve(values: torch.Tensor, layout: Layout, transfer: torch.Tensor) -> torch.Tensor:
    """Convolve a block of a volume, whose surroundings follow the layout's border rule.

    Parameters
    ----------
    values : (..., z, y, x) of the layout's source shape
    layout : from `napari_mvfusion.imaging.borders.lay_out`
    transfer : (..., z, y, x // 2 + 1), transfer functions for `HALVED`; leading axes broadcast

    Returns
    -------
    (..., z, y, x) of the layout's target shape.
    """
    spectrum = torch.fft.rfftn(to_circle(values, layout), dim=_AXES) * transfer
    blurred: torch.Tensor = torch.fft.irfftn(spectrum, s=layout.sizes, dim=_AXES, norm="forward")
    for dim, axis in zip(_AXES, layout.axes, strict=True):
        blurred = blurred.narrow(dim, 0, axis.target)
    return blurred


def correlate(values: torch.Tensor, layout: Layout, transfer: torch.Tensor) -> torch.Tensor:
    """The exact adjoint of `convolve`: from the layout's target shape to its source shape.

    What the convolution took from beyond the border is folded back to where it came from.
    """
    spectrum = torch.fft.rfftn(values, s=layout.sizes, dim=_AXES) * transfer.conj()
    folded: torch.Tensor = torch.fft.irfftn(spectrum, s=layout.sizes, dim=_AXES, norm="forward")
    for dim, axis in zip(_AXES, layout.axes, strict=True):
        folded = _fold(folded, dim, axis)
    return folded


def to_circle(values: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Lay a block (..., z, y, x) of the layout's source shape out on the circle, with its surroundings."""
    # From x to z: the axis whose voxels lie next to each other is turned round slowly, and goes first while there are few.
    for dim, axis in reversed(list(zip(_AXES, layout.axes, strict=True))):
        values = _extend(values, dim, axis)
    return values


def _extend(values: torch.Tensor, dim: int, axis: Axis) -> torch.Tensor:
    """Lay the samples of one axis out on the circle."""
    parts = []
    place = 0
    for segment in axis.segments:
        if segment.place > place:
            parts.append(_zeros(values, dim, segment.place - place))
        part = values.narrow(dim, *segment.span)
        parts.append(part if segment.step == 1 else part.flip(dim))
        place = segment.place + segment.length
    if place < axis.size:
        parts.append(_zeros(values, dim, axis.size - place))
    return torch.cat(parts, dim=dim)


def _fold(values: torch.Tensor, dim: int, axis: Axis) -> torch.Tensor:
    """The adjoint of `_extend`: add up the places on the circle that one sample was copied to."""
    folded = _zeros(values, dim, axis.source)
    for segment in axis.segments:
        part = values.narrow(dim, segment.place, segment.length)
        folded.narrow(dim, *segment.span).add_(part if segment.step == 1 else part.flip(dim))
    return folded


def _zeros(like: torch.Tensor, dim: int, length: int) -> torch.Tensor:
    shape = list(like.shape)
    shape[dim] = length
    return like.new_zeros(shape)
