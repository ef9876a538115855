"""Pixels of one view as they are fused, on its own voxels and interpolated on a grid.

They are float32 and finite, with the camera offset subtracted, divided by the view's gain, where chosen without hot
pixels, and 0 where the view has no data. Boxes on a grid are in voxels of the whole grid.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from scipy import ndimage

from napari_mvfusion.data.field_of_view import measured
from napari_mvfusion.data.geometry import Box, Grid, triple, without_rounding
from napari_mvfusion.data.hot_pixels import HotVoxels, NoiseLevel, find_hot, noise_level, sharpest_spot
from napari_mvfusion.data.view import View
from napari_mvfusion.errors import InputError

_EDGE_TOLERANCE = 1e-6
_NOISE_LEVELS: WeakKeyDictionary[View, NoiseLevel] = WeakKeyDictionary()


def read_view(view: View, grid: Grid, box: Box, out: np.ndarray) -> None:
    """Read a box of a grid from a view.

    Parameters
    ----------
    view : with an affine it is interpolated linearly
    grid : of the fused volume
    box : voxels of the grid, inside it
    out : float32 of the shape of the box, which is overwritten; 0 where the view has no data

    Raises
    ------
    InputError
        If a pixel where the view has data is NaN or infinite; the message names view and voxel.
    """
    if view.affine is None:
        out[...] = pixels_of(view, box)
        return
    matrix, source, offset = source_of(view, grid, box)
    if source.size == 0 or box.size == 0:
        out[...] = 0
        return
    read = pixels_of(view, source)
    ndimage.affine_transform(read, matrix, offset, output_shape=box.shape, output=out, order=1, mode="nearest")
    covered = np.ones(box.shape, np.float32)
    mark_covered(view, grid, box, covered)
    out *= covered


def mark_covered(view: View, grid: Grid, box: Box, out: np.ndarray) -> None:
    """Multiply `out`, of the shape of the box, with 1 where a view has data and 0 where not."""
    if view.affine is None:
        if view.mask is not None:
            out *= covered_pixels(view, box)
        return
    matrix = to_view(view, grid)
    for axis, position in enumerate(positions(matrix, box)):
        out *= (position >= -_EDGE_TOLERANCE) & (position <= view.shape[axis] - 1 + _EDGE_TOLERANCE)
    if view.mask is not None:
        matrix, source, offset = source_of(view, grid, box)
        if source.size:
            mask = measured(np.asarray(view.mask[source.slices])).astype(np.float32)
            sampled = ndimage.affine_transform(mask, matrix, offset, box.shape, order=1, mode="nearest")
            out *= sampled > 1 - 1e-3


def mark_trusted(view: View, grid: Grid, box: Box, out: np.ndarray) -> None:
    """Multiply `out`, of the shape of the box, with how much a view counts from place to place, 0 to 1.

    Raises
    ------
    InputError
        If a weight is none from 0 to 1; the message names view and voxel.
    """
    if view.trust is None:
        return
    if view.affine is None:
        out *= _weights_of(view, box)
        return
    matrix, source, offset = source_of(view, grid, box)
    if source.size and box.size:
        trust = _weights_of(view, source)
        out *= ndimage.affine_transform(trust, matrix, offset, box.shape, order=1, mode="nearest")


def _weights_of(view: View, box: Box) -> np.ndarray:
    """Trust in a box of the view's own array, float32."""
    assert view.trust is not None
    trust = np.asarray(view.trust[box.slices]).astype(np.float32)
    odd = ~((trust >= 0) & (trust <= 1))
    if odd.any():
        place = np.argwhere(odd)[0]
        value = trust[tuple(place)]
        fix = "write 0 where the view is not to count"
        if value > 1:
            fix = "divide all of it by the largest" + (", or by 100 if it is in percent" if value <= 100 else "")
        raise InputError(
            f"{view.trust_label} has the value {value:g} at (z, y, x) = {triple(place + box.start)}, and lies from 0 to 1: "
            f"{fix}"
        )
    return trust


def to_view(view: View, grid: Grid) -> np.ndarray:
    """4 x 4 matrix from voxels of the grid to pixels of the view; rounding noise becomes exact zero."""
    if view.affine is None:
        return np.eye(4)
    matrix: np.ndarray = np.linalg.inv(view.affine) @ grid.affine
    matrix[:3, :3] = without_rounding(matrix[:3, :3])
    return matrix


def source_of(view: View, grid: Grid, box: Box) -> tuple[np.ndarray, Box, np.ndarray]:
    """How to sample a box: linear part, the box of the view's pixels it needs, and the offset inside that box."""
    matrix = to_view(view, grid)
    corners = np.array(np.meshgrid(*[(a, b - 1) for a, b in zip(box.start, box.stop, strict=True)], indexing="ij"))
    corners = matrix[:3, :3] @ corners.reshape(3, -1) + matrix[:3, 3:]
    start = np.floor(corners.min(axis=1)).astype(int) - 1
    stop = np.ceil(corners.max(axis=1)).astype(int) + 2
    source = Box(triple(start), triple(stop)).clip(view.shape)
    offset = matrix[:3, :3] @ np.array(box.start, float) + matrix[:3, 3] - np.array(source.start)
    return matrix[:3, :3], source, offset


def positions(matrix: np.ndarray, box: Box) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions of the voxels of a box after a 4 x 4 matrix, one array an axis, which broadcast to the box's shape."""
    coordinates = np.ogrid[box.slices]
    rows = []
    for axis in range(3):
        row = np.full((1, 1, 1), matrix[axis, 3])
        for j in range(3):
            if matrix[axis, j] != 0:
                row = row + matrix[axis, j] * coordinates[j]
        rows.append(row)
    return rows[0], rows[1], rows[2]


def pixels_of(view: View, box: Box) -> np.ndarray:
    """Pixels of a box of the view's own array as it is fused; float32 and finite."""
    if not view.remove_hot:
        return _balanced(view, _less_offset(view, _raw(view, box)))
    read, hot = pixels_with_hot(view, box)
    hot.remove(read)
    return read


def pixels_with_hot(view: View, box: Box) -> tuple[np.ndarray, HotVoxels]:
    """Pixels of a box with the hot ones still there, and which these are. One more pixel round the box is read."""
    wide = box.grow((1, 1, 1)).clip(view.shape)
    inner = box.inside(wide).slices
    pixels = _less_offset(view, _raw(view, wide))
    if view not in _NOISE_LEVELS:
        _NOISE_LEVELS[view] = noise_level(_Measured(view)).less(view.offset)
    # A PSF says nothing about voxels of another size.
    alone = sharpest_spot(view.psf if view.affine is None else None)
    hot = find_hot(pixels, _NOISE_LEVELS[view], alone).inside(inner)
    balanced = HotVoxels(hot.places, _balanced(view, hot.instead))
    return _balanced(view, np.ascontiguousarray(pixels[inner])), balanced


def _balanced(view: View, values: np.ndarray) -> np.ndarray:
    return values if view.gain == 1 else values / np.float32(view.gain)


class _Measured:
    """The pixels of a view, 0 where it has no data."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.shape, self.dtype = view.data.shape, view.data.dtype

    def __getitem__(self, index: Any, /) -> np.ndarray:
        pixels = np.asarray(self._view.data[index])
        if self._view.mask is None:
            return pixels
        return np.where(measured(np.asarray(self._view.mask[index])), pixels, pixels.dtype.type(0))


def _less_offset(view: View, pixels: np.ndarray) -> np.ndarray:
    if view.offset:
        pixels -= np.float32(view.offset)
        np.maximum(pixels, 0, out=pixels)
    return pixels


def _raw(view: View, box: Box) -> np.ndarray:
    """Pixels of a box of the view's own array as float32: finite, and 0 where there is no data."""
    raw = np.asarray(view.data[box.slices])
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is named below
        pixels = raw.astype(np.float32)
    covered = None if view.mask is None else covered_pixels(view, box)
    if raw.dtype.kind == "f":
        bad = ~np.isfinite(pixels)
        if covered is not None:
            bad &= covered
        if bad.any():
            place = np.argwhere(bad)[0] + box.start
            value = np.asarray(view.data[tuple(slice(int(i), int(i) + 1) for i in place)]).ravel()[0]
            raise InputError(
                f"{view.label} has the value {value} at (z, y, x) = {triple(place)}, "
                "which is not a finite float32 number: repair the file, replace such voxels, or take every NaN as no data"
            )
    if covered is not None:
        pixels[~covered] = 0
    return pixels


def covered_pixels(view: View, box: Box) -> np.ndarray:
    """Where a view with a mask has data, bool, in a box of its own array."""
    assert view.mask is not None
    return measured(np.asarray(view.mask[box.slices]))
