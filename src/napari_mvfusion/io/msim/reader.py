"""Volumes from an msim zarr of multiview-stitcher, lazily: pixels, coordinates and registrations lie beside each other.

`scaleN/image` has the axes t, c, z, y and x, of which t and c may be absent. `scaleN/z` and so on are the coordinates of its
voxels in um. Every other array of `scale0` is a registration: a matrix, or one for each time point, whose rows and columns
are labelled, and that is applied to coordinates.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from napari_mvfusion.data.fused_grid import Placed
from napari_mvfusion.data.geometry import ALL_KNOWN, triple
from napari_mvfusion.data.views import VolumeLike
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.base import StoredVolumes
from napari_mvfusion.io.ome_zarr.array_volume import ArrayVolume
from napari_mvfusion.io.ome_zarr.axes import SPACE
from napari_mvfusion.io.ome_zarr.checked_store import weigh
from napari_mvfusion.io.ome_zarr.placement import upright_or_turned
from napari_mvfusion.io.ome_zarr.reader import attributes_of
from napari_mvfusion.io.ome_zarr.stores import has_file, is_zarr, store_of
from napari_mvfusion.io.volume_choice import NotChosenError, VolumeChoice, check_level, choose
from napari_mvfusion.system.file_checks import parsing

# What its own readers call the place that the microscope stated.
STATED = "affine_metadata"
_USUAL = "affine_registered"
_AXES = ("t", "c", *SPACE)
_LABELS = (*SPACE, "1")
_COLUMNS, _ROWS = "x_out", "x_in"
_DAMAGED = "copy it again"
_MOST_LEVELS = 64
_EVEN = 1e-3
_MOST_NUMBERS = 2**24


def is_msim(path: Path) -> bool:
    """Whether a folder looks like an msim zarr; some OME-Zarrs call their arrays alike."""
    found = is_zarr(path) and any(has_file(path, f"scale0/image/{name}") for name in ("zarr.json", ".zarray"))
    return found and "multiscales" not in attributes_of(path)


def open_msim(path: Path, at: VolumeChoice) -> StoredVolumes:
    """Look at the volumes of an msim zarr; no pixel is read.

    Parameters
    ----------
    path : the folder
    at : resolution level, registration, and the time point whose place is taken where it differs between them

    Raises
    ------
    InputError
        If it is damaged or has other axes; a `NotChosenError` where it has several registrations and none is chosen.
    """
    with _reading(path) as group:
        check_level(path, at.level, sum(f"scale{n}/image" in group for n in range(_MOST_LEVELS)))
        level = group[f"scale{at.level}"]
        image = level["image"]
        axes = _names(image)
        if axes[-3:] != SPACE or not set(axes) <= set(_AXES) or len(set(axes)) != len(axes):
            raise InputError(f"{path} has the axes {', '.join(axes)}: z, y and x are needed, with t and c before them")
        weigh(path, image)
        leading = {axis: int(n) for axis, n in zip(axes[:-3], image.shape[:-3], strict=True) if n > 1}
        steps, first = zip(*(_even(path, _coordinates(group, level, axis), axis) for axis in SPACE), strict=True)
        own = np.diag([*steps, 1.0])
        own[:3, 3] = first
        name, said = _registration(path, _registrations(group, path), at.registration)
        world = np.eye(4) if name is None else _matrix(path, group["scale0"], name, leading, at.timepoint)
    shape = triple(image.shape[-3:])
    placed = Placed(shape, world @ own, str(path))  # refuses what squeezes it flat, and sizes that no microscope has
    size, origin, turned, _ = upright_or_turned(placed.affine, ALL_KNOWN)

    def volume(chosen: Mapping[str, int]) -> VolumeLike:
        return ArrayVolume(path, image, axes, {axis: chosen.get(axis, 0) for axis in axes[:-3]})

    return StoredVolumes(
        path,
        shape,
        image.dtype,
        volume,
        leading,
        size,
        origin,
        notes=() if said is None else (said,),
        affine_um=turned,
    )


def registrations_of(path: Path) -> tuple[str, ...]:
    """Names of the registrations of an msim zarr, without the place that the microscope stated where there are others."""
    with _reading(path) as group:
        found = _registrations(group, path)
    return tuple(name for name in found if name != STATED) or tuple(found)


def levels_of(path: Path) -> int:
    """How many resolution levels it has."""
    return sum(1 for _ in takewhile(lambda n: is_zarr(path / f"scale{n}"), range(_MOST_LEVELS)))


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    """Its group; whatever zarr says of content that it was not made for becomes one line."""
    damaged = f"{path} is no readable msim zarr: its arrays are missing or damaged"
    with parsing(damaged, _DAMAGED), warnings.catch_warnings():
        # Texts of fixed length, which xarray writes for labels, are not in the specification of zarr 3 yet.
        warnings.filterwarnings("ignore", message=".*does not have a Zarr V3 specification")
        warnings.filterwarnings("ignore", message="Numcodecs codecs are not in")
        yield zarr.open_group(store_of(path), mode="r")


def _names(array: Any) -> tuple[str, ...]:
    """Names of the axes of an array, as xarray notes them in either version of zarr."""
    found = getattr(array.metadata, "dimension_names", None) or array.attrs["_ARRAY_DIMENSIONS"]
    return tuple(str(name) for name in found)


def _registrations(group: Any, path: Path) -> list[str]:
    """Names of all registrations, also of those that were added later, each in a group of its own."""
    level = group["scale0"]
    names = {str(name) for name, _ in level.members()}
    # Metadata that was put together once does not know of those that came later, and at an address nothing is listed.
    folder = path / "scale0"
    names |= {child.name for child in folder.iterdir()} if folder.is_dir() else {STATED, _USUAL}
    names -= {"image", *_AXES, _ROWS, _COLUMNS}
    return sorted(name for name in names if _stored(level, name) is not None)


def _stored(level: Any, name: str) -> Any:
    """The array of a registration, None where there is none of this name."""
    found = level.get(name)
    if isinstance(found, zarr.Group):
        found = found.get(name)
    return found if isinstance(found, zarr.Array) and found.ndim in (2, 3) else None


def _registration(path: Path, names: Sequence[str], wanted: str | None) -> tuple[str | None, str | None]:
    """Which registration is taken, and a line where that is not what its user may think."""
    if wanted is not None:
        if wanted not in names:
            raise InputError(f"{path} has no registration '{wanted}': it has {', '.join(names) or 'none'}")
        return wanted, None
    made = [name for name in names if name != STATED]
    if len(made) > 1:
        raise NotChosenError(
            f"{path} has {len(made)} registrations: choose one with --registration, of {', '.join(made)} (registration=)",
            "registration",
            made[-1],
        )
    if made:
        return made[0], None
    said = f"{path} was not registered: it is laid where the microscope stated"
    return (STATED, said) if names else (None, said)


def _coordinates(group: Any, level: Any, axis: str) -> np.ndarray:
    """Coordinates of the voxels along an axis; those that all levels share lie beside these."""
    return _values(level[axis] if axis in level else group[axis])


def _even(path: Path, values: np.ndarray, axis: str) -> tuple[float, float]:
    """Step and first of the coordinates along an axis."""
    if values.ndim != 1 or not np.isfinite(values).all():
        raise InputError(f"{path} is damaged: its coordinates along {axis} are no row of numbers; {_DAMAGED}")
    steps = np.diff(values)
    step = float(values[-1] - values[0]) / len(steps) if len(steps) else 1.0
    if step == 0 or (np.abs(steps - step) > _EVEN * abs(step)).any():
        raise InputError(f"{path} has uneven steps along {axis}, and voxels of one size are needed: resample it first")
    return step, float(values[0])


def _matrix(path: Path, level: Any, name: str, leading: Mapping[str, int], timepoint: int | None) -> np.ndarray:
    """A registration at a time point as 4 x 4 (z, y, x, 1)."""
    array = _stored(level, name)
    axes, values = _names(array), _values(array)
    if axes[:-2] == ("t",):
        # At which time point is asked where the pixels are, which have as many.
        at = choose(str(path), leading, timepoint, 0).get("t", 0) if "t" in leading and timepoint is not None else 0
        values = values[min(at, len(values) - 1)]
    elif axes[:-2]:
        raise InputError(
            f"{path} has the registration '{name}' for each {axes[0]}, where one for each time point is read"
        )
    beside = level[name] if isinstance(level[name], zarr.Group) else level
    orders = [
        [_labels(beside if axis in beside else level, axis).index(label) for label in _LABELS] for axis in axes[-2:]
    ]
    matrix = values[np.ix_(*orders)].astype(np.float64)
    if not np.isfinite(matrix).all() or not np.allclose(matrix[3], (0, 0, 0, 1)):
        raise InputError(f"{path} has no affine as registration '{name}': register it again")
    return matrix


def _labels(level: Any, axis: str) -> list[str]:
    return [str(label) for label in _values(level[axis])]


def _values(array: Any) -> np.ndarray:
    """All values of a small array."""
    if not isinstance(array, zarr.Array) or array.size > _MOST_NUMBERS:
        raise ValueError("a coordinate or registration is too long")
    return np.asarray(array[:])
