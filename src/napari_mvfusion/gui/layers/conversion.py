"""From napari layers to registered views, and where layers lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import dask.array as da
import numpy as np
from napari.layers import Image

from napari_mvfusion.data.fused_grid import Placed, WorldBox, choose_grid
from napari_mvfusion.data.geometry import Box, FloatTriple, Grid, Known, StatedSize, float_triple, triple
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.layers.notes import Kept, notes, said_of_psf
from napari_mvfusion.io.formats import place_of

_SPATIAL = 3


@dataclass(frozen=True, eq=False)
class Opened:
    """Registered views from layers.

    Attributes
    ----------
    leading : sizes of the axes before z, such as time and channel, which are fused one by one; () for plain volumes
    inputs : how to open the views from their files, where that is known, for a recipe
    """

    leading: tuple[int, ...]
    inputs: dict[str, Any] | None
    _views: tuple[View, ...]
    _stacks: tuple[Any, ...]
    _grid: Grid

    @property
    def indices(self) -> list[tuple[int, ...]]:
        """All positions along the leading axes, in order; one empty position for plain volumes."""
        return list(np.ndindex(*self.leading))

    @property
    def views(self) -> RegisteredViews:
        """The views at the first position."""
        return RegisteredViews(self._views, self._grid)

    def at(self, index: tuple[int, ...]) -> RegisteredViews:
        """The views at one position; nothing is read yet."""
        if not self.leading:
            return self.views
        return RegisteredViews(
            [replace(view, data=stack[index]) for view, stack in zip(self._views, self._stacks, strict=True)],
            self._grid,
        )

    @property
    def folder(self) -> str:
        """Where the files of the views lie, "" where they have none."""
        source = self._views[0].source
        place = place_of(source) if source else None
        return str(place.absolute().parent) if place is not None and place.exists() else ""


def open_layers(layers: Sequence[Image]) -> Opened:
    """Registered views from image layers.

    The fused volume gets the voxels of the first layer, also where that is turned or sheared. Layers that lie elsewhere
    are resampled to it. Axes before z, such as time, must be equally long in all layers.

    Raises
    ------
    InputError
        If there is no layer, two would be the same view, their leading axes differ, or one states no voxel size and
        another of the same shape does.
    """
    if not layers:
        raise InputError("no view is ticked: tick the views to fuse")
    first = layers[0]
    grid, to_frame = frame_of(first)
    leading = common_leading(layers)
    views, stacks = [], []
    for layer, name in zip(layers, _names(layers), strict=True):
        if (lacking := lacks_size(layer, first)) is not None:
            raise InputError(f"{lacking}: set its scale, or press Same voxels in its row of Views & PSFs")
        known, said = notes(layer), said_of_psf(layer)
        stack = stack_of(layer)
        if leading_shape(layer) != leading:
            stack = stack.reshape((*leading, *stack.shape[-_SPATIAL:]))
        data = stack[(0,) * len(leading)] if leading else stack
        matrix = to_frame @ to_world_um(layer)
        same = tuple(data.shape) == grid.shape and np.allclose(matrix, grid.affine)
        stacks.append(stack)
        own = kept_view(layer) if same else None
        views.append(
            View(
                data,
                name,
                psf=None if said.flaw else known.get("psf"),
                psf_notes=said.notes,
                psf_flaw=said.flaw,
                angle=known.get("angle"),
                affine=None if same else matrix,
                weight=known.get("weight", 1.0),
                offset=known.get("offset", 0.0),
                gain=known.get("gain", 1.0),
                remove_hot=known.get("remove_hot", False),
                mask=known.get("mask"),
                no_data=known.get("no_data", "auto"),
                source=known.get("source") or layer.source.path or "",
            )
        )
        if own is not None:
            views[-1] = _as_kept(own.view, views[-1])
    return Opened(leading, None if leading else _inputs(layers, views, grid), tuple(views), tuple(stacks), grid)


def _inputs(layers: Sequence[Image], views: Sequence[View], grid: Grid) -> dict[str, Any] | None:
    """How views are opened from the files of their layers, or None where a recipe could not say it in one go."""
    opened = notes(layers[0]).get("inputs")
    if opened is None or any(notes(layer).get("inputs") != opened for layer in layers):
        return None
    if any("kept" in notes(layer) for layer in layers):
        kept = [one for layer in layers if (one := kept_view(layer)) is not None]
        return _kept_inputs(Inputs(**opened), kept, views, grid) if len(kept) == len(layers) else None
    if any(view.affine is not None and not _is_as_opened(layer) for layer, view in zip(layers, views, strict=True)):
        return None
    if any(view.affine is not None for view in views) and any(view.psf is not None for view in views):
        # The panel has brought PSFs from the voxels of their views to those of the first, which no recipe repeats exactly.
        return None
    masks = dict(opened.get("masks") or {})
    for layer, view in zip(layers, views, strict=True):
        known = notes(layer)
        if known.get("mask_layer"):
            if not known.get("mask_file"):
                return None
            masks[view.name] = known["mask_file"]
    inputs = Inputs(**opened).set_as(RegisteredViews(views, grid), masks)
    return None if inputs is None else inputs.model_dump(mode="json")


def kept_view(layer: Image) -> Kept | None:
    """The view that a layer shows on the grid of the fused volume, as long as nobody has changed what it shows or where."""
    kept = notes(layer).get("kept")
    if kept is None or kept.shown is not finest(layer) or notes(layer).get("mask") is not kept.mask:
        return None
    there = np.allclose(to_world_um(layer), kept.grid.affine) and notes(layer).get("no_data") is None
    return kept if there else None


def _as_kept(own: View, set_as: View) -> View:
    """A view as it was opened, with what was set on its layer, which shows it without the offset and gain of its file."""
    return replace(
        set_as,
        data=own.data,
        affine=own.affine,
        mask=own.mask,
        no_data=own.no_data,
        offset=own.offset + own.gain * set_as.offset,
        gain=own.gain * set_as.gain,
        remove_hot=own.remove_hot or set_as.remove_hot,
    )


def _kept_inputs(inputs: Inputs, kept: Sequence[Kept], views: Sequence[View], grid: Grid) -> dict[str, Any] | None:
    """How to open some of the views of a project; None where these alone would not be given the same grid."""
    set_as = inputs.set_as(RegisteredViews(views, grid), {}, keeps_grid=True)
    if set_as is None:
        return None
    if len(views) < len(kept[0].together):
        last = np.array(grid.origin_um) + (np.array(grid.shape) - 1) * grid.voxel_size_um
        pinned = WorldBox(grid.origin_um, float_triple(last))
        fields = [Placed(view.shape, grid.affine if view.affine is None else view.affine) for view in views]
        alone = choose_grid(fields, voxels=grid.voxel_size_um, box=pinned, known=grid.known).grid
        if alone != grid:
            return None
        box = {} if set_as.box is not None else {"box_um": (pinned.first_um, pinned.last_um)}
        set_as = set_as.model_copy(update={"voxel_size_um": grid.voxel_size_um, **box})
    return set_as.model_dump(mode="json")


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
    units = [_micrometres(unit, layer.name) for unit in layer.units[-_SPATIAL:]]
    moved = np.where(known, place * units, place * larger)
    return {
        "scale": np.concatenate([layer.scale[:-_SPATIAL], layer.scale[-_SPATIAL:] * larger]),
        "translate": np.concatenate([layer.translate[:-_SPATIAL], moved]),
        "units": (*map(str, layer.units[:-_SPATIAL]), "um", "um", "um"),
    }


def _is_as_opened(layer: Image) -> bool:
    """Whether a layer lies where its file was opened, beside views on other grids."""
    placed = notes(layer).get("placed")
    return placed is not None and np.allclose(to_world_um(layer), placed)


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
                f"layer '{layer.name}' has {_in_words(shape)}, but '{first.name}' {_in_words(shapes[0])}: "
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
    z, y, x = (str(unit) not in ("pixel", "dimensionless") for unit in layer.units[-_SPATIAL:])
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
    if len(data.shape) == _SPATIAL or isinstance(data, (np.ndarray, da.Array)):
        return data
    return da.from_array(data, name=False)


def frame_of(layer: Image) -> tuple[Grid, np.ndarray]:
    """The grid of a fused volume on the layer's voxels, and how to get there.

    Returns
    -------
    The grid, and the 4 x 4 matrix from world micrometres to the grid's own: the identity, unless the layer is turned,
    sheared or mirrored. A fused volume that is shown with the layer's own transform then lies where the layer does.
    """
    matrix = to_world_um(layer)
    shape = triple(finest(layer).shape[-_SPATIAL:])
    size = np.diag(matrix)[:3]
    if np.allclose(matrix[:3, :3], np.diag(size)) and (size > 0).all():
        return Grid(shape, float_triple(size), float_triple(matrix[:3, 3]), known_sizes(layer)), np.eye(4)
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
    matrix[:3] *= np.array([_micrometres(unit, layer.name) for unit in layer.units[-_SPATIAL:]])[:, None]
    matrix[np.abs(matrix) < 1e-12] = 0.0
    return matrix


def _in_own_units(layer: Image) -> np.ndarray:
    """4 x 4 matrix from the layer's voxels (z, y, x, 1) to the world as napari has it."""
    return _to_world(layer)[-_SPATIAL - 1 :, -_SPATIAL - 1 :]


def _to_world(layer: Image) -> np.ndarray:
    """Square matrix from the layer's voxels, all axes and 1, to the world as napari has it."""
    matrix = np.eye(layer.ndim + 1)
    matrix[:-1, -1] = layer.data_to_world(np.zeros(layer.ndim))
    for axis, step in enumerate(np.eye(layer.ndim)):
        matrix[:-1, axis] = np.subtract(layer.data_to_world(step), matrix[:-1, -1])
    return matrix


def _micrometres(unit: Any, name: str) -> float:
    """How many micrometres a unit of napari is."""
    if str(unit) in ("pixel", "dimensionless"):
        return 1.0
    quantity = 1 * unit
    if not quantity.check("[length]"):
        raise InputError(f"layer '{name}' is measured in '{unit}', which is no length: set its units to um")
    return float(quantity.to("um").magnitude)


def _in_words(leading: tuple[int, ...]) -> str:
    return f"leading axes of {leading}" if leading else "no axes before z"


def _names(layers: Sequence[Image]) -> list[str]:
    """What the views are called in their files, which a recipe goes by; where that is unclear, as the layers are."""
    names = [notes(layer).get("name") for layer in layers]
    return [layer.name for layer in layers] if None in names or len(set(names)) < len(names) else [*map(str, names)]
