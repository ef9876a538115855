"""Views of several files in their places: the grid of the fused volume, and the affines of views that do not lie on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from napari_mvfusion.data.fused_grid import Placed, Voxels, WorldBox, choose_grid
from napari_mvfusion.data.geometry import (
    ALL_KNOWN,
    FloatTriple,
    Grid,
    Known,
    StatedSize,
    assumed_size,
    float_triple,
    refuse_impossible_size,
    without_rounding,
)
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.base import StoredVolumes

GridChoice: TypeAlias = Voxels | Literal["same"]
"""`Voxels`; or "same": files lie on one grid, that of the first, whatever they say of their places."""

_SAME_SIZE = 1e-3
# Degrees that a detection axis may lie out of the plane in which views turn about x.
_ACROSS_X = 10.0
_SAY_IT = "say the right one with --voxel-size Z,Y,X (voxel_size_um=)"


@dataclass(frozen=True, eq=False)
class OwnVoxels:
    """The voxels of a view that does not lie on those of the fused volume, which its PSF is brought onto as it is.

    Attributes
    ----------
    size_um : (z, y, x), those of a PSF whose file says none
    grid_size_um : (z, y, x) of the fused volume, in the same unit, known or not
    turn : 3 x 3, the directions of the view's own axes (z, y, x) in the world as columns, where these are others
    """

    size_um: FloatTriple
    grid_size_um: FloatTriple
    turn: np.ndarray | None = None

    @property
    def to_grid(self) -> np.ndarray:
        """3 x 3, from offsets in voxels of the view to those in voxels of the fused volume."""
        turn = np.eye(3) if self.turn is None else self.turn
        matrix: np.ndarray = turn * np.asarray(self.size_um) / np.asarray(self.grid_size_um)[:, None]
        return matrix

    @property
    def said(self) -> str:
        """What is done to a PSF that is on the voxels of the view, in words."""
        turned = "" if self.turn is None else "turned as its view is, and "
        return f"{turned}resampled from the voxels of its view to those of the fused volume"


@dataclass(frozen=True)
class GridWish:
    """What is asked for of the fused volume.

    Attributes
    ----------
    voxels : of the fused volume
    box : of the world, None for the bounds of all views
    names : of the views that will be fused, in this order, which decide alone; all when None
    own_psfs : PSFs stay on the voxels of their views, for whoever brings them into a frame of their own
    stage : files that say nothing else of where they lie lie where the stage was
    """

    voxels: GridChoice = "isotropic"
    box: WorldBox | None = None
    names: tuple[str, ...] | None = None
    own_psfs: bool = False
    stage: bool = False


@dataclass(frozen=True, eq=False)
class PlacedViews:
    """Views beside each other.

    Attributes
    ----------
    grid : of the fused volume
    affines : for each view, from its voxels to the world in um; None where it lies on the grid
    sizes_um : voxel size (z, y, x) of each view
    own_psfs : whether PSFs stay on the voxels of their views
    remarks : what was chosen or assumed, in words
    """

    grid: Grid
    affines: tuple[np.ndarray | None, ...]
    sizes_um: tuple[FloatTriple, ...]
    remarks: tuple[str, ...]
    own_psfs: bool = False

    def size_of_psf(self, index: int) -> StatedSize:
        """Voxel size (z, y, x) in um that the PSF of a view is brought to, None along axes where it is not known."""
        if not self.own_psfs:
            return self.grid.stated_size_um
        z, y, x = (size if known else None for size, known in zip(self.sizes_um[index], self.grid.known, strict=True))
        return z, y, x

    def own_voxels(self, index: int) -> OwnVoxels | None:
        """The voxels of a view that its PSF is not left on, as it does not lie on the grid."""
        affine = self.affines[index]
        return None if affine is None or self.own_psfs else own_voxels(affine, self.grid)


def own_voxels(affine: np.ndarray, grid: Grid) -> OwnVoxels:
    """The voxels of a view, as its PSF has them, beside those of a grid.

    Parameters
    ----------
    affine : 4 x 4, from voxel index (z, y, x, 1) of the view to the world in um
    grid : of the fused volume
    """
    size = np.linalg.norm(affine[:3, :3], axis=0)
    turn = without_rounding(affine[:3, :3] / size)
    return OwnVoxels(
        float_triple(size), grid.voxel_size_um, None if np.allclose(turn, np.eye(3), atol=_SAME_SIZE) else turn
    )


def place_volumes(
    volumes: Sequence[StoredVolumes], names: Sequence[str], voxel_size_um: FloatTriple | None, wish: GridWish
) -> PlacedViews:
    """Find where views lie beside each other, and choose the grid of the fused volume; no pixel is read.

    Parameters
    ----------
    volumes : the files, one a view, at least one
    names : of the views, for messages
    voxel_size_um : (z, y, x), instead of what files say
    wish : what is asked for of the fused volume

    Raises
    ------
    InputError
        If files that do not say where they lie differ in shape or voxel size, one that is to lie where the stage was does
        not say where that is, or `choose_grid` refuses.
    """
    if wish.stage:
        volumes = [_at_stage(volume) for volume in volumes]
    sizes, known, remarks = _sizes(volumes, voxel_size_um)
    for volume, size in zip(volumes, sizes, strict=True):
        refuse_impossible_size(size, str(volume.path), volume.units)
    first = volumes[0]
    if wish.voxels == "same" or any(each.origin_um is None for each in volumes):
        _refuse_unequal(volumes, sizes, same=wish.voxels == "same")
    if wish.voxels == "same":
        affine = Grid(first.shape, sizes[0], first.origin_um or (0.0, 0.0, 0.0)).affine
        affines, sizes = [affine] * len(volumes), [sizes[0]] * len(volumes)
    else:
        affines, said = _affines(volumes, sizes)
        remarks += said
    placed = [
        Placed(volume.shape, affine, f"view '{name}'")
        for volume, affine, name in zip(volumes, affines, names, strict=True)
    ]
    voxels: Voxels = "isotropic" if wish.voxels == "same" else wish.voxels
    by_name = dict(zip(names, placed, strict=True))
    fused = [by_name[name] for name in dict.fromkeys(wish.names or names) if name in by_name]
    chosen = choose_grid(fused or placed, voxels=voxels, box=wish.box, known=known)
    left = tuple(None if view.lies_on(chosen.grid) else affine for view, affine in zip(placed, affines, strict=True))
    said = [chosen.remark] if chosen.remark else []
    return PlacedViews(chosen.grid, left, tuple(sizes), (*remarks, *said), wish.own_psfs)


def direction_of(affine: np.ndarray) -> float | None:
    """Direction of a view's detection axis, its own z, about x in degrees; None where it is not across x.

    Parameters
    ----------
    affine : 4 x 4, from its pixels (z, y, x, 1) to the world
    """
    z, y, x = affine[:3, 0] / np.linalg.norm(affine[:3, 0])
    if abs(x) > np.sin(np.deg2rad(_ACROSS_X)):
        return None
    return round(float(np.rad2deg(np.arctan2(y, z))) % 360, 3) % 360


def _at_stage(volume: StoredVolumes) -> StoredVolumes:
    """A file that lies where the stage was, unless it says itself where it lies."""
    if volume.origin_um is not None:
        return volume
    if volume.stage_um is None:
        raise InputError(
            f"{volume.path} states no position of the stage, nor where else it lies: leave --stage (stage=) out, or state "
            "its place, as the translation of an OME-Zarr does"
        )
    return replace(volume, origin_um=volume.stage_um)


def _sizes(volumes: Sequence[StoredVolumes], wanted: FloatTriple | None) -> tuple[list[FloatTriple], Known, list[str]]:
    """Voxel sizes of the files, along which axes these are known, and what was assumed, in words."""
    if wanted is not None:
        return [wanted] * len(volumes), ALL_KNOWN, []
    found = [_along(volumes, axis) for axis in range(3)]
    taken: dict[tuple[Path, Path], list[str]] = {}
    for name, (_, _, pair) in zip("zyx", found, strict=True):
        if pair is not None:
            taken.setdefault(pair, []).append(name)
    remarks = [
        f"{silent} does not state its voxel size along {' and '.join(axes)}: that of {other} is taken"
        for (silent, other), axes in taken.items()
    ]
    known_sizes = [size for sizes, _, _ in found for size in sizes if size is not None]
    usual = min(known_sizes, default=1.0)
    lacking = [name for name, (sizes, _, _) in zip("zyx", found, strict=True) if None in sizes]
    if known_sizes and lacking:
        remarks.append(
            f"the voxel size along {' and '.join(lacking)} is not known, and {usual:g} um are taken: {_SAY_IT}"
        )
    columns = [[usual if size is None else size for size in sizes] for sizes, _, _ in found]
    z, y, x = (known for _, known, _ in found)
    return [float_triple(row) for row in zip(*columns, strict=True)], (z, y, x), remarks


def _along(volumes: Sequence[StoredVolumes], axis: int) -> tuple[list[float | None], bool, tuple[Path, Path] | None]:
    """Voxel sizes of the files along an axis, whether they are um, and a file that does not say its own and whose it has.

    All sizes are None where no file says one.
    """
    name = "zyx"[axis]
    sizes = [volume.voxel_size_um[axis] for volume in volumes]
    stated = [(volume, size) for volume, size in zip(volumes, sizes, strict=True) if size is not None]
    in_um = [(volume, size) for volume, size in stated if volume.in_um[axis]]
    silent = [volume for volume, size in zip(volumes, sizes, strict=True) if size is None]
    if not stated:
        return sizes, False, None
    leading, usual = (in_um or stated)[0]
    for volume, size in stated:
        if in_um and not volume.in_um[axis] and not _alike(size, usual):
            raise InputError(
                f"{volume.path} states its voxel size along {name} as {size:g} in no known unit, and {leading.path} as "
                f"{usual:g} um: {_SAY_IT}"
            )
    if silent and not all(_alike(size, usual) for _, size in in_um or stated):
        raise InputError(
            f"{silent[0].path} does not state its voxel size along {name}, and other files state different ones: {_SAY_IT}"
        )
    taken = (silent[0].path, leading.path) if silent else None
    return [usual if size is None else size for size in sizes], bool(in_um), taken


def _alike(one: float, other: float) -> bool:
    return abs(one - other) <= _SAME_SIZE * other


def _refuse_unequal(volumes: Sequence[StoredVolumes], sizes: Sequence[FloatTriple], *, same: bool) -> None:
    """Refuse files of other shapes or voxels than the first, where it is not known how they lie beside each other."""
    first = volumes[0]
    if same:
        place = ""
    elif all(volume.origin_um is not None or volume.stage_um is not None for volume in volumes):
        place = (
            "; or, where the stage tells how they lie beside each other, take its positions with --stage (stage=True)"
        )
    else:
        place = "; or state where each lies, as the translation of an OME-Zarr does"
    for other, size in zip(volumes[1:], sizes[1:], strict=True):
        if other.shape != first.shape:
            raise InputError(
                f"{other.path} has shape {other.shape}, but {first.path} {first.shape}: registered views must have one "
                f"shape; resample or crop them{place}"
            )
        if not np.allclose(size, sizes[0], rtol=_SAME_SIZE, atol=0):
            raise InputError(
                f"{other.path} has voxels of {size} um, but {first.path} of {sizes[0]} um (z, y, x): {_SAY_IT}{place}"
            )


def _affines(volumes: Sequence[StoredVolumes], sizes: Sequence[FloatTriple]) -> tuple[list[np.ndarray], list[str]]:
    """From the voxels of each file to the world; a file that does not say where it lies is where the others are."""
    stated = [volume for volume in volumes if volume.origin_um is not None]
    silent = [volume for volume in volumes if volume.origin_um is None]
    remarks = []
    usual = (0.0, 0.0, 0.0)
    if stated and silent:
        usual = stated[0].origin_um or usual
        for other in stated[1:]:
            if not np.allclose(other.origin_um or usual, usual, atol=_SAME_SIZE * min(sizes[0]), rtol=0):
                raise InputError(
                    f"{silent[0].path} does not say where it lies, and {stated[0].path} and {other.path} lie in different "
                    "places: state its place too, as the translation of an OME-Zarr does"
                )
        if any(usual):
            remarks = [f"{silent[0].path} does not say where it lies: it is taken to lie as {stated[0].path}"]
    stages = [(volume.path, np.array(volume.stage_um)) for volume in silent if volume.stage_um is not None]
    away = [(path, place) for path, place in stages if place.any()]
    moved = [path for path, place in stages if np.abs(place - stages[0][1]).max() > min(sizes[0])]
    if moved:
        remarks.append(
            f"{stages[0][0]} and {moved[0]} state other positions of the stage, which are not used: the views are taken to "
            "be registered, on one grid; --stage (stage=True) uses them"
        )
    elif away and not any(usual):
        path, place = away[0]
        remarks.append(
            f"{path} states the position of the stage, {' x '.join(f'{n:g}' for n in place)} um (z, y, x), which is not "
            "used: the fused volume begins at 0; --stage (stage=True) uses it"
        )
    return [_affine(volume, size, usual) for volume, size in zip(volumes, sizes, strict=True)], remarks


def _affine(volume: StoredVolumes, size: FloatTriple, place: FloatTriple) -> np.ndarray:
    """From voxels of a file to the world, with this voxel size, whatever the file states."""
    own = np.array(assumed_size(volume.voxel_size_um)[0])
    if volume.affine_um is None:
        origin = np.array(volume.origin_um or place)
        matrix = np.diag([*size, 1.0])
    else:
        origin = volume.affine_um[:3, 3]
        matrix = volume.affine_um @ np.diag([*np.divide(size, own), 1.0])
    # Where a size is no length, its origin is none either, and both are counted in voxels.
    matrix[:3, 3] = np.where(volume.in_um, origin, origin * np.divide(size, own))
    return matrix
