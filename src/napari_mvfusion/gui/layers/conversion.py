"""From napari layers to registered views, and where layers lie."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import dask.array as da
import numpy as np
from napari.layers import Image

from napari_mvfusion.data.geometry import (
    Box,
    FloatTriple,
    Grid,
    Known,
    StatedSize,
    float_triple,
    is_upright,
    triple,
    without_rounding,
)
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.layers.notes import Recorded, notes

_SPATIAL = 3
# A power of 2, which rounds nothing.
_FAR = 2.0**20
# Micrometres.
_NOWHERE_ELSE = 1e-12

NO_UNITS = ("pixel", "dimensionless")
"""What napari calls the unit of a layer that has none."""


def stated_size(layer: Image) -> StatedSize:
    """Voxel size (z, y, x) of a layer in um along its own axes, None along those where nobody said it.

    Raises
    ------
    InputError
        If the layer's units are no lengths.
    """
    sizes = np.linalg.norm(to_world_um(layer)[:3, :3], axis=0)
    z, y, x = (float(size) if known else None for size, known in zip(sizes, known_sizes(layer), strict=True))
    return z, y, x


def sized(layer: Image, size_um: FloatTriple) -> dict[str, Any]:
    """Scale, translation and units of a layer that has this voxel size (z, y, x) along its own axes.

    Its place in voxels stays; along axes whose size was known that in um.
    """
    larger = np.divide(size_um, np.linalg.norm(_in_own_units(layer)[:3, :3], axis=0))
    place, known = layer.translate[-_SPATIAL:], known_sizes(layer)
    units = [micrometres(unit, layer.name) for unit in layer.units[-_SPATIAL:]]
    moved = np.where(known, place * units, place * larger)
    return {
        "scale": np.concatenate([layer.scale[:-_SPATIAL], layer.scale[-_SPATIAL:] * larger]),
        "translate": np.concatenate([layer.translate[:-_SPATIAL], moved]),
        "units": (*map(str, layer.units[:-_SPATIAL]), "um", "um", "um"),
    }


def common_leading(layers: Sequence[Image]) -> tuple[int, ...]:
    """Sizes of the axes before z that all layers have; where some have more, of length 1, these do not count.

    Raises
    ------
    InputError
        If they differ otherwise.
    """
    first = layers[0]
    shapes = [leading_shape(layer) for layer in layers]
    if len(set(shapes)) == 1:
        return shapes[0]
    several = [tuple(n for n in shape if n > 1) for shape in shapes]
    for layer, shape, count in zip(layers, shapes, several, strict=True):
        if count != several[0]:
            raise InputError(
                f"layer '{layer.name}' has {in_words(shape)}, but '{first.name}' {in_words(shapes[0])}: "
                "views that are fused together need the same time points and channels"
            )
    # The result is shown in the place of the first layer, with as many axes.
    return shapes[0]


def lacks_size(layer: Image, first: Image) -> str | None:
    """What is odd about two layers of one shape of which one states its voxel size and the other does not, or None.

    They most likely lie on the same voxels, and fusing them as they are would enlarge one of them.
    """
    if stack_of(layer).shape[-_SPATIAL:] != stack_of(first).shape[-_SPATIAL:] or is_sized(layer) == is_sized(first):
        return None
    other, named = (first, layer) if is_sized(first) else (layer, first)
    return f"layer '{named.name}' states no voxel size, but '{other.name}', which has as many voxels, does"


def is_sized(layer: Image) -> bool:
    """Whether anybody has said where the voxels of a layer lie: with pixels as units and a scale of 1 nobody has."""
    return any(known_sizes(layer))


def known_sizes(layer: Image) -> Known:
    """Along which axes (z, y, x) anybody has said the voxel size of a layer.

    Where all units are pixels, a scale other than 1 counts as micrometres, as many readers leave the units out; unless it
    is what a file read here has in the place of a size.
    """
    z, y, x = (str(unit) not in NO_UNITS for unit in layer.units[-_SPATIAL:])
    if any((z, y, x)):
        return z, y, x
    assumed = notes(layer).get("unsized", (1.0, 1.0, 1.0))
    stated = not np.array_equal(_in_own_units(layer)[:3, :3], np.diag(assumed))
    return stated, stated, stated


def finest(layer: Image) -> Any:
    """The layer's pixels at full resolution, as it holds them: another object where it got other pixels."""
    return layer.data[0] if layer.multiscale else layer.data


def leading_shape(layer: Image) -> tuple[int, ...]:
    """Sizes of the axes before z, such as time and channel."""
    return tuple(int(n) for n in finest(layer).shape[:-_SPATIAL])


def stack_of(layer: Image) -> Any:
    """The layer's pixels at full resolution, all axes; what is neither numpy nor dask becomes dask, read when needed."""
    data = finest(layer)
    if hasattr(data, "coords") and hasattr(data, "dims"):
        # Other plugins hand napari arrays of xarray, round numpy or dask.
        data = data.data
    if len(data.shape) == _SPATIAL or isinstance(data, (np.ndarray, da.Array)):
        return data
    return da.from_array(data, name=False)


def drift_of(layer: Image) -> list[np.ndarray] | None:
    """How a layer of another plugin moves over time: 4 x 4 matrices of the world, um, one a time point; None if it does not.

    napari-stitcher keeps the affines of all time points beside the layer, which has that of the one that is shown.

    Raises
    ------
    InputError
        If there is not one for each time point.
    """
    affines = layer.metadata.get("full_affine_transform")
    if affines is None or "t" not in getattr(affines, "dims", ()):
        return None
    matrices = np.asarray(affines.transpose("t", ...), float)
    if matrices.shape[1:] != (4, 4) or (matrices == matrices[0]).all():
        return None
    if leading_shape(layer) != matrices.shape[:1]:
        raise InputError(
            f"layer '{layer.name}' has {in_words(leading_shape(layer))} and places for {len(matrices)} time points: open it "
            "again with the plugin that made it"
        )
    units = np.diag([*(micrometres(unit, layer.name) for unit in layer.units[-_SPATIAL:]), 1.0])
    now = np.linalg.inv(layer.affine.affine_matrix[-_SPATIAL - 1 :, -_SPATIAL - 1 :])
    return [units @ matrix @ now @ np.linalg.inv(units) for matrix in matrices]


def pixels_of(layer: Image) -> Any:
    """The pixels that are fused of a layer, all axes: those that were recorded, where it shows others."""
    recorded = _fused_as_recorded(layer)
    return stack_of(layer) if recorded is None else recorded.data


def pixels_to_world_um(layer: Image) -> np.ndarray:
    """4 x 4 matrix from the voxels (z, y, x, 1) of the pixels that are fused to world micrometres.

    Raises
    ------
    InputError
        If the layer's units are no lengths.
    """
    return to_world_um(layer) if _fused_as_recorded(layer) is None else own_to_world_um(layer)


def _fused_as_recorded(layer: Image) -> Recorded | None:
    """What was recorded of a layer that shows it resampled, unless it got other pixels, or a mask for those it shows."""
    recorded, mask = notes(layer).get("recorded"), notes(layer).get("mask")
    if recorded is None or finest(layer) is not recorded.shown:
        return None
    return recorded if mask is None or mask.shape[-_SPATIAL:] == recorded.data.shape[-_SPATIAL:] else None


def own_to_world_um(layer: Image) -> np.ndarray:
    """4 x 4 matrix from the voxels (z, y, x, 1) in which a layer was recorded, as its own PSF is, to world micrometres.

    Raises
    ------
    InputError
        If the layer's units are no lengths.
    """
    recorded, matrix = notes(layer).get("recorded"), to_world_um(layer)
    if recorded is not None:
        matrix = matrix @ recorded.to_shown
        matrix[:3, :3] = without_rounding(matrix[:3, :3])
    return matrix


def frame_of(layer: Image) -> tuple[Grid, np.ndarray]:
    """The grid of a fused volume on the layer's voxels, and how to get there.

    Returns
    -------
    The grid, and the 4 x 4 matrix from world micrometres to the grid's own: the identity, unless the layer is turned,
    sheared or mirrored. A fused volume that is shown with the layer's own transform then lies where the layer does.
    """
    matrix = to_world_um(layer)
    shape = triple(finest(layer).shape[-_SPATIAL:])
    if is_upright(matrix, max(shape)):
        size, place = float_triple(np.diag(matrix)[:3]), float_triple(matrix[:3, 3])
        return Grid(shape, size, place, known_sizes(layer)), np.eye(4)
    # Rounded, because a rotation leaves 0.9999999999999998 of 1.
    known = known_sizes(layer)
    grid = Grid(shape, float_triple(np.linalg.norm(matrix[:3, :3], axis=0).round(12)), known=known)
    return grid, grid.affine @ np.linalg.inv(matrix)


def same_place(layer: Image) -> dict[str, Any]:
    """Arguments of a layer with the same voxels in the same place: transforms, units and axis labels."""
    return {
        "scale": layer.scale,
        "translate": layer.translate,
        "rotate": layer.rotate,
        "shear": layer.shear,
        "affine": layer.affine.affine_matrix,
        "units": layer.units,
        "axis_labels": layer.axis_labels,
    }


def place_of_volume(layer: Image) -> dict[str, Any]:
    """Where a volume of the layer lies, as arguments of a layer with the axes z, y and x."""
    return {
        "scale": layer.scale[-_SPATIAL:],
        "translate": layer.translate[-_SPATIAL:],
        "units": layer.units[-_SPATIAL:],
        "axis_labels": layer.axis_labels[-_SPATIAL:],
        "affine": layer.affine.affine_matrix[-_SPATIAL - 1 :, -_SPATIAL - 1 :],
        **({"rotate": layer.rotate, "shear": layer.shear} if layer.ndim == _SPATIAL else {}),
    }


def place_of_box(layer: Image, box: Box, index: tuple[int, ...]) -> dict[str, Any]:
    """Where a box of the layer's voxels lies, as arguments of a layer of its own."""
    matrix = _to_world(layer)
    matrix[:, -1] = matrix @ (*index, *box.start, 1)
    return {"affine": matrix, "units": layer.units, "axis_labels": layer.axis_labels}


def to_world_um(layer: Image) -> np.ndarray:
    """4 x 4 matrix from the layer's voxels (z, y, x, 1) to world micrometres; pixels without units count as 1 um.

    Raises
    ------
    InputError
        If the layer's units are no lengths.
    """
    matrix = _in_own_units(layer)
    matrix[:3] *= np.array([micrometres(unit, layer.name) for unit in layer.units[-_SPATIAL:]])[:, None]
    matrix[:3, :3] = without_rounding(matrix[:3, :3])
    matrix[:3, 3][np.abs(matrix[:3, 3]) < _NOWHERE_ELSE] = 0.0
    return matrix


def _in_own_units(layer: Image) -> np.ndarray:
    """4 x 4 matrix from the layer's voxels (z, y, x, 1) to the world as napari has it."""
    return _to_world(layer)[-_SPATIAL - 1 :, -_SPATIAL - 1 :]


def _to_world(layer: Image) -> np.ndarray:
    """Square matrix from the layer's voxels, all axes and 1, to the world as napari has it."""
    matrix = np.eye(layer.ndim + 1)
    matrix[:-1, -1] = layer.data_to_world(np.zeros(layer.ndim))
    for axis, step in enumerate(np.eye(layer.ndim)):
        # One step from far away would lose the digits that the translation takes.
        matrix[:-1, axis] = np.subtract(layer.data_to_world(_FAR * step), matrix[:-1, -1]) / _FAR
    return matrix


def micrometres(unit: Any, name: str) -> float:
    """How many micrometres a unit of napari is; 1 where it is none.

    Raises
    ------
    InputError
        If it is no length; `name` is that of the layer.
    """
    length = _length_um(unit)
    if length is None:
        raise InputError(f"layer '{name}' is measured in '{unit}', which is no length: set its units to um")
    return length


@lru_cache
def _length_um(unit: Any) -> float | None:
    """A unit in micrometres, 1 where it is none, None where it is no length; pint takes long to tell."""
    if str(unit) in NO_UNITS:
        return 1.0
    quantity = 1 * unit
    return float(quantity.to("um").magnitude) if quantity.check("[length]") else None


def in_words(leading: tuple[int, ...]) -> str:
    """The axes before z that a layer has."""
    return f"leading axes of {leading}" if leading else "no axes before z"
