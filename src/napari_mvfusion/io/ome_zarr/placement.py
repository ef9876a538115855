"""Where the voxels of an OME-Zarr lie: its coordinate transformations as one matrix, in micrometres where units say so."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_mvfusion.data.geometry import FloatTriple, Known, float_triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.lengths import micrometres

SPACE = ("z", "y", "x")

_SECONDS = {"second": 1.0, "millisecond": 1e-3, "minute": 60.0, "hour": 3600.0}
_EXACT = 1e-12
_MOST_NESTED = 8
_A = {"scale": "a scale", "translation": "a translation", "rotation": "a rotation", "affine": "an affine"}


@dataclass(frozen=True, eq=False)
class ZarrPlacement:
    """Where the voxels of an image lie.

    Attributes
    ----------
    size_um, origin_um : (z, y, x)
    in_um : along which of these axes that is micrometres; elsewhere no unit is named, or none that is a length
    affine_um : 4 x 4 matrix from voxel index (z, y, x, 1) to the world where it turns, shears or mirrors, else None
    steps : step along each axis before z, seconds for time
    """

    size_um: FloatTriple
    origin_um: FloatTriple
    in_um: Known
    affine_um: np.ndarray | None
    steps: tuple[float, ...]


def placement_of(path: Path, scales: Mapping[str, Any], level: Mapping[str, Any], axes: str) -> ZarrPlacement:
    """Where the voxels of a level lie. Its own transforms apply first, those of the whole image after.

    Parameters
    ----------
    path : of the image, for messages
    scales : the entry of "multiscales"
    level : its entry of "datasets"
    axes : names of the axes, which contain z, y and x

    Raises
    ------
    InputError
        If a transform is of a kind that is not known, squeezes the volume flat, or mixes space with time or channels.
    """
    matrix = np.eye(len(axes) + 1)
    for transform in [*level.get("coordinateTransformations", []), *scales.get("coordinateTransformations", [])]:
        matrix = _matrix_of(path, transform, axes) @ matrix
    units = [_unit(axis) for axis in scales["axes"]]
    matrix[:-1] *= np.array([1.0 if unit is None else unit for unit in units])[:, None]
    matrix[:, :-1][np.abs(matrix[:, :-1]) < _EXACT * np.abs(matrix[:, :-1]).max()] = 0.0
    places = [axes.index(axis) for axis in SPACE]
    others = [index for index in range(len(axes)) if index not in places]
    if matrix[np.ix_(places, others)].any() or matrix[np.ix_(others, places)].any():
        raise InputError(
            f"{path} has an affine that mixes space with other axes, as where a specimen drifts: save every time point in "
            "its place, as an image of its own"
        )
    affine = np.eye(4)
    affine[:3, :3] = matrix[np.ix_(places, places)]
    affine[:3, 3] = matrix[places, -1]
    z, y, x = (units[place] is not None for place in places)
    steps = tuple(float(matrix[index, index]) for index in others)
    size, origin, turned, known = upright_or_turned(affine, (z, y, x))
    return ZarrPlacement(size, origin, known, turned, steps)


def upright_or_turned(affine: np.ndarray, in_um: Known) -> tuple[FloatTriple, FloatTriple, np.ndarray | None, Known]:
    """The parts of a place that `StoredVolumes` holds.

    Parameters
    ----------
    affine : 4 x 4, from voxel index (z, y, x, 1) to the world
    in_um : along which axes of the world that is micrometres

    Returns
    -------
    Voxel size and origin (z, y, x); the affine where it turns, shears or mirrors, else None; and along which axes of the
    volume the voxel size is micrometres.
    """
    affine = affine.copy()
    affine[:3, :3][np.abs(affine[:3, :3]) < _EXACT * np.abs(affine[:3, :3]).max()] = 0.0
    upright = np.count_nonzero(affine[:3, :3]) == 3 and bool((np.diag(affine)[:3] > 0).all())
    size = np.diag(affine)[:3] if upright else np.linalg.norm(affine[:3, :3], axis=0)
    known = in_um if upright or all(in_um) else (False, False, False)
    return float_triple(size), float_triple(affine[:3, 3]), None if upright else affine, known


def _unit(axis: Mapping[str, Any]) -> float | None:
    """Micrometres or seconds in a unit of an axis; None where it names none that is known."""
    name = str(axis.get("unit", ""))
    return micrometres(name) if axis["name"] in SPACE else _SECONDS.get(name)


def _matrix_of(path: Path, transform: Mapping[str, Any], axes: str, nested: int = 0) -> np.ndarray:
    """A transform as a matrix of homogeneous coordinates."""
    kind, count = str(transform["type"]), len(axes)
    matrix = np.eye(count + 1)
    if kind == "identity":
        return matrix
    if kind == "sequence" and nested < _MOST_NESTED:
        for step in transform["transformations"]:
            matrix = _matrix_of(path, step, axes, nested + 1) @ matrix
        return matrix
    if kind not in ("scale", "translation", "rotation", "affine") or kind not in transform:
        where = "keeps the numbers of its transform in an array" if "path" in transform else "has a transform"
        raise InputError(
            f"{path} {where} of type '{kind}', which is not known here: scale, translation, rotation and affine with "
            "their numbers are; resample it with the program that wrote it"
        )
    values = _numbers(path, kind, transform[kind])
    shapes = {"scale": (count,), "translation": (count,), "rotation": (count, count), "affine": (count, count + 1)}
    if kind == "affine" and values.size == count * (count + 1):
        values = values.reshape(shapes[kind])  # some write it as one row
    if values.shape != shapes[kind]:
        raise InputError(
            f"{path} has {_A[kind]} of {_times(values.shape)} numbers for the axes {axes}: {_times(shapes[kind])} are needed"
        )
    if kind == "scale":
        # One that is negative mirrors, which no scale of an image should.
        if not (values > 0).all():
            raise InputError(f"{path} is damaged: its voxels of {_shown(values)} cannot be; copy it again")
        matrix[:-1, :-1] = np.diag(values)
    elif kind == "translation":
        matrix[:-1, -1] = values
    else:
        matrix[:-1, : values.shape[1]] = values
        if abs(np.linalg.det(matrix)) <= _EXACT * np.abs(values).max() ** count:
            raise InputError(f"{path} has {_A[kind]} that squeezes it flat, so it cannot be a place: register it again")
    return matrix


def _numbers(path: Path, kind: str, stated: Any) -> np.ndarray:
    values = np.asarray(stated, np.float64)
    if not np.isfinite(values).all():
        raise InputError(f"{path} is damaged: its {kind} of {_shown(values.ravel())} cannot be; copy it again")
    return values


def _shown(values: Sequence[float] | np.ndarray) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) if shape and math.prod(shape) else "no"
