"""The grid of the fused volume where views have places of their own: the one function that chooses it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, TypeAlias

import numpy as np

from napari_mvfusion.data.geometry import (
    ALL_KNOWN,
    FloatTriple,
    Grid,
    Known,
    Triple,
    float_triple,
    is_flat,
    is_upright,
    triple,
)
from napari_mvfusion.errors import InputError
from napari_mvfusion.system.words import bytes_words

Voxels: TypeAlias = Literal["isotropic", "first"] | FloatTriple
"""Voxels of a fused volume: cubes of the finest size of all views, those of the first view, or (z, y, x) in um."""

# As a share of a voxel: what is closer is the same place, and voxels that differ by less are of one size.
_SAME_PLACE = 0.01
_SAME_SIZE = 1e-3
# 1 TiB of float32. Whatever is larger comes from a place or a unit that is wrong.
_MOST_VOXELS = 2**38
# Views that lie so sparsely in the fused volume are most likely not of one specimen.
_LARGE = 2**32
_SPARSEST = 1000


@dataclass(frozen=True, eq=False)
class Placed:
    """A view as far as it matters where it lies.

    Attributes
    ----------
    shape : voxels (z, y, x)
    affine : 4 x 4 matrix from voxel index (z, y, x, 1) to world micrometres
    name : what messages call it
    """

    shape: Triple
    affine: np.ndarray
    name: str = "a view"

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or any(n < 1 for n in self.shape):
            raise InputError(
                f"{self.name} has the shape {tuple(self.shape)}: three positive sizes (z, y, x) are needed"
            )
        matrix = np.asarray(self.affine, np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or not np.array_equal(matrix[3], (0, 0, 0, 1)):
            raise InputError(f"{self.name}: its affine must be a 4 x 4 matrix of finite numbers that ends with 0 0 0 1")
        if is_flat(matrix[:3, :3]):
            raise InputError(f"{self.name}: its affine squeezes it flat, so it cannot be a place: register it again")
        object.__setattr__(self, "affine", matrix)
        try:
            Grid(self.shape, self.voxel_size_um)  # refuses sizes that no microscope has
        except InputError as error:
            raise InputError(f"{self.name}: {error}") from error

    @property
    def voxel_size_um(self) -> FloatTriple:
        """Lengths of the sides of a voxel in the world, along its own (z, y, x)."""
        return float_triple(np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def is_upright(self) -> bool:
        """Whether its axes are those of the world: neither turned nor sheared nor mirrored."""
        return is_upright(self.affine, max(self.shape))

    @property
    def bounds_um(self) -> tuple[np.ndarray, np.ndarray]:
        """Least and largest world position (z, y, x) of the middles of its voxels."""
        corners = np.array(list(product(*((0, n - 1) for n in self.shape))), float)
        places = corners @ self.affine[:3, :3].T + self.affine[:3, 3]
        return places.min(axis=0), places.max(axis=0)

    @property
    def grid(self) -> Grid:
        """The grid of its own voxels, of an upright view."""
        return Grid(self.shape, float_triple(np.diag(self.affine)[:3]), float_triple(self.affine[:3, 3]))

    def lies_on(self, grid: Grid) -> bool:
        """Whether its voxels are those of a grid, so that nothing has to be interpolated."""
        if self.shape != grid.shape or not self.is_upright:
            return False
        size = np.asarray(grid.voxel_size_um)
        apart = np.abs(self.affine[:3, 3] - grid.origin_um) / size
        return bool(
            (apart <= _SAME_PLACE).all() and np.allclose(np.diag(self.affine)[:3], size, rtol=_SAME_SIZE, atol=0)
        )


@dataclass(frozen=True)
class WorldBox:
    """A box in the world, (z, y, x) um: the middles of its first and of its last voxel, as BigStitcher has them."""

    first_um: FloatTriple
    last_um: FloatTriple

    def __post_init__(self) -> None:
        if not np.isfinite((*self.first_um, *self.last_um)).all():
            raise InputError(f"a box of the world needs finite numbers: {self.first_um} to {self.last_um} um")
        if any(b < a for a, b in zip(self.first_um, self.last_um, strict=True)):
            raise InputError(f"a box cannot end before it starts: {self.first_um} to {self.last_um} um (z, y, x)")


@dataclass(frozen=True)
class ChosenGrid:
    """The grid of the fused volume, and how views lie on it.

    Attributes
    ----------
    grid : of the fused volume
    on_grid : for each view, whether its voxels are those of the grid; the others are interpolated, and need their affine
    remark : what was chosen, in words; "" where all views lie on one grid, and that is kept
    """

    grid: Grid
    on_grid: tuple[bool, ...]
    remark: str = ""


def choose_grid(
    placed: Sequence[Placed], *, voxels: Voxels = "isotropic", box: WorldBox | None = None, known: Known = ALL_KNOWN
) -> ChosenGrid:
    """Choose the grid of the fused volume; nothing is allocated.

    Views that lie on one and the same grid keep it, voxel for voxel, where nothing else is asked for. Otherwise the
    grid covers the box, or all views where none is given. Its voxels lie on those of the first view where their sizes
    are the same, so that views that are only shifted by whole voxels keep their pixels.

    Parameters
    ----------
    placed : the views, at least one, in order
    voxels : cubes of the finest size of all views; "first" for those of the first view, and its field where no box is
        given; or (z, y, x) um
    box : the part of the world to cover
    known : along which axes somebody said the voxel size, see `Grid`

    Raises
    ------
    InputError
        If a box meets no view, the first view is turned and its voxels are asked for, or the volume would be larger
        than any recording.
    """
    if not placed:
        raise InputError("no views were given: at least one is needed, two or more to fuse")
    first = placed[0]
    if box is None and (voxels == "first" or (voxels == "isotropic" and _share_grid(placed))):
        grid = _own_grid(first, known)
    else:
        size = _voxel_size(placed, voxels)
        start, shape = _box_of_voxels(placed, size, box)
        _refuse_too_large(placed, shape, size)
        grid = Grid(shape, size, start, known)
    on_grid = tuple(view.lies_on(grid) for view in placed)
    return ChosenGrid(grid, on_grid, _remark(placed, grid, on_grid, box=box))


def _share_grid(placed: Sequence[Placed]) -> bool:
    return placed[0].is_upright and all(view.lies_on(placed[0].grid) for view in placed)


def _own_grid(first: Placed, known: Known) -> Grid:
    if not first.is_upright:
        raise InputError(
            f"{first.name} is turned, sheared or mirrored by its affine, so no fused volume can have its voxels: "
            "let the grid be isotropic, or name the size of its voxels"
        )
    own = first.grid
    return Grid(own.shape, own.voxel_size_um, own.origin_um, known)


def _voxel_size(placed: Sequence[Placed], voxels: Voxels) -> FloatTriple:
    if voxels == "first":
        return _own_grid(placed[0], ALL_KNOWN).voxel_size_um
    if voxels == "isotropic":
        finest = min(min(view.voxel_size_um) for view in placed)
        # A turn leaves 0.49999999999999994 of 0.5.
        finest = float(f"{finest:.9g}")
        return finest, finest, finest
    Grid((1, 1, 1), voxels)  # refuses what no voxels can be
    return float_triple(voxels)


def _box_of_voxels(placed: Sequence[Placed], size: FloatTriple, box: WorldBox | None) -> tuple[FloatTriple, Triple]:
    """Where the first voxel lies, and how many there are.

    All views are covered from voxels of the first view on. A box begins where it says, unless all views lie on one
    lattice of such voxels, which then are not interpolated.
    """
    bounds = [view.bounds_um for view in placed]
    low = np.min([a for a, _ in bounds], axis=0)
    high = np.max([b for _, b in bounds], axis=0)
    anchor = placed[0].affine[:3, 3]
    if box is None:
        first = anchor + np.floor((low - anchor) / size + _SAME_PLACE) * size
        steps = np.ceil((high - first) / size - _SAME_PLACE)
    else:
        first, last = np.array(box.first_um), np.array(box.last_um)
        if all((last < a).any() or (first > b).any() for a, b in bounds):
            raise InputError(
                f"the box from {_shown(first)} to {_shown(last)} um holds no part of a view: they lie between "
                f"{_shown(low)} and {_shown(high)} um (z, y, x)"
            )
        steps = np.floor((last - first) / size + _SAME_PLACE)
        if _on_one_lattice(placed, size):
            first = anchor + np.rint((first - anchor) / size) * size
    return float_triple(first), triple(steps + 1)


def _on_one_lattice(placed: Sequence[Placed], size: FloatTriple) -> bool:
    """Whether all views are shifted by whole voxels of this size, up to their far ends."""
    anchor = placed[0].affine[:3, 3]
    for view in placed:
        if not view.is_upright:
            return False
        drift = np.abs(np.diag(view.affine)[:3] - size) * view.shape / size
        shift = (view.affine[:3, 3] - anchor) / size
        if (drift > _SAME_PLACE).any() or (np.abs(shift - np.rint(shift)) > _SAME_PLACE).any():
            return False
    return True


def _refuse_too_large(placed: Sequence[Placed], shape: Triple, size: FloatTriple) -> None:
    count, held = math.prod(shape), sum(math.prod(view.shape) for view in placed)
    if count <= _LARGE or (count <= _MOST_VOXELS and count <= _SPARSEST * held):
        return
    bounds = [view.bounds_um for view in placed]
    far = placed[int(np.argmax([np.abs(high).max() for _, high in bounds]))]
    raise InputError(
        f"the fused volume would have {_times(shape)} voxels of {_times(size)} um ({memory_of(shape)} as float32): check "
        f"where the views lie, {far.name} most of all, and their units; or name larger voxels, or a box"
    )


def memory_of(shape: Triple) -> str:
    """What a float32 volume takes, in words: "1.5 GB"."""
    return bytes_words(4 * math.prod(shape))


def _remark(placed: Sequence[Placed], grid: Grid, on_grid: Sequence[bool], *, box: WorldBox | None) -> str:
    if all(on_grid):
        return ""
    over = "over the bounds of all views" if box is None else "over the box that is named"
    if placed[0].is_upright and box is None and placed[0].lies_on(grid):
        over = f"as {placed[0].name}"
    lattice = _on_one_lattice(placed, grid.voxel_size_um)
    turned = [view.name for view, kept in zip(placed, on_grid, strict=True) if not kept]
    named = ", ".join(turned[:4]) + (f" and {len(turned) - 4} more" if len(turned) > 4 else "")
    how = "all are shifted by whole voxels" if lattice else f"interpolated on them: {named}"
    return (
        f"the views lie on different grids: the fused volume has {_times(grid.shape)} voxels of "
        f"{_times(grid.voxel_size_um)} um ({memory_of(grid.shape)} as float32) {over}; {how}"
    )


def _times(values: Sequence[float]) -> str:
    return " x ".join(f"{value:.6g}" for value in values)


def _shown(place: np.ndarray) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in place) + ")"
