"""Coordinate transformations of OME-Zarr as matrices; those that no matrix can be are refused by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_mvfusion.data.geometry import is_flat
from napari_mvfusion.errors import InputError

_MOST_NESTED = 8
# Of rotations in single precision, or written with few digits.
_ROTATED = 1e-3
_MOST_AXES = 16
_A = {"scale": "a scale", "translation": "a translation", "rotation": "a rotation", "affine": "an affine"}
_FIELDS = ("displacements", "coordinates")
Load = Callable[[str], np.ndarray]


def matrix_of(path: Path, transform: Mapping[str, Any], count: int, load: Load, nested: int = 0) -> np.ndarray:
    """A transformation as a matrix of homogeneous coordinates.

    Parameters
    ----------
    path : of the image or scene, for messages
    transform : as its metadata states it
    count : of the axes that it is applied to
    load : reads the numbers that it keeps in an array, by the path of that
    nested : in how many others it lies

    Returns
    -------
    (axes after + 1, axes before + 1), the last row 0 ... 0 1.

    Raises
    ------
    InputError
        If it is of a kind that is not known, does not fit the axes, or squeezes the volume flat.
    """
    kind = str(transform["type"])
    if nested > _MOST_NESTED:
        raise InputError(f"{path} nests its transforms more than {_MOST_NESTED} times: save it again")
    if kind == "identity":
        return np.eye(count + 1)
    if kind == "sequence":
        matrix = np.eye(count + 1)
        for step in transform["transformations"]:
            matrix = matrix_of(path, step, len(matrix) - 1, load, nested + 1) @ matrix
        return matrix
    if kind == "bijection":
        return matrix_of(path, transform["forward"], count, load, nested + 1)
    if kind == "byDimension":
        return _by_dimension(path, transform, count, load, nested)
    if kind == "mapAxis":
        return _permuted(path, transform["mapAxis"], count)
    if kind == "projectAxis":
        return _projected(path, transform, count)
    if kind not in _A:
        what = "a field of displacements" if kind in _FIELDS else f"a transform of type '{kind}'"
        raise InputError(
            f"{path} has {what}, which is not read here: scale, translation, rotation, affine, mapAxis, projectAxis, "
            "byDimension and sequences of them are; resample it with the program that wrote it"
        )
    stated = transform[kind] if transform.get(kind) is not None else load(str(transform["path"]))
    return _numbers_as_matrix(path, kind, stated, count)


def cannot_be_inverted(matrix: np.ndarray) -> bool:
    """Whether a matrix of homogeneous coordinates loses an axis; it may count each axis in a unit of its own."""
    linear = matrix[:-1, :-1]
    rows = np.linalg.norm(linear, axis=1)
    return linear.shape[0] != linear.shape[1] or not rows.all() or is_flat(linear / rows[:, None])


def axes_before(transform: Mapping[str, Any]) -> int | None:
    """Of how many axes a transformation says itself that it is, None where it says nothing of that."""
    kind = str(transform["type"])
    if kind == "sequence":
        found = (axes_before(step) for step in transform["transformations"])
        return next((count for count in found if count is not None), None)
    if kind == "bijection":
        return axes_before(transform["forward"])
    if kind == "affine" and transform.get(kind) is not None:
        rows = np.asarray(transform[kind], np.float64)
        return rows.shape[1] - 1 if rows.ndim == 2 else None
    if kind in (*_A, "mapAxis") and transform.get(kind) is not None:
        return len(transform[kind])
    return None


def _numbers_as_matrix(path: Path, kind: str, stated: Any, count: int) -> np.ndarray:
    matrix = np.eye(count + 1)
    values = _numbers(path, kind, stated)
    shapes = {"scale": (count,), "translation": (count,), "rotation": (count, count), "affine": (count, count + 1)}
    if kind == "affine" and values.size == count * (count + 1):
        values = values.reshape(shapes[kind])  # some write it as one row
    if values.shape != shapes[kind] and not (kind == "affine" and values.ndim == 2 and values.shape[1] == count + 1):
        raise InputError(
            f"{path} has {_A[kind]} of {_times(values.shape)} numbers for {count} axes: {_times(shapes[kind])} are needed"
        )
    if kind == "scale":
        # One that is negative mirrors, which no scale of an image should.
        if not (values > 0).all():
            raise InputError(f"{path} is damaged: its voxels of {_shown(values)} cannot be; copy it again")
        matrix[:-1, :-1] = np.diag(values)
    elif kind == "translation":
        matrix[:-1, -1] = values
    elif len(values) == count:
        matrix[:-1, : values.shape[1]] = values
        if cannot_be_inverted(matrix):
            raise InputError(f"{path} has {_A[kind]} that squeezes it flat, so it cannot be a place: register it again")
        if kind == "rotation" and not np.allclose(values @ values.T, np.eye(count), atol=_ROTATED):
            raise InputError(
                f"{path} has a rotation that stretches or shears: save it as an affine, or register it again"
            )
    else:
        matrix = np.vstack([values, np.eye(count + 1)[-1:]])
    return matrix


def _permuted(path: Path, stated: Any, count: int) -> np.ndarray:
    """out[i] = in[stated[i]]."""
    order = _indices(path, "mapAxis", stated, count)
    if sorted(order) != list(range(count)):
        raise InputError(f"{path} has a mapAxis of {stated} for {count} axes: each of 0 to {count - 1} is needed once")
    return np.eye(count + 1)[[*order, count]]


def _projected(path: Path, transform: Mapping[str, Any], count: int) -> np.ndarray:
    """The identity without the rows of axes that are dropped, and with rows of 0 for those that are new."""
    dropped = _indices(path, "projectAxis", transform.get("droppedInputs", []), count)
    made = _indices(path, "projectAxis", transform.get("createdOutputs", []), _MOST_AXES)
    kept = [row for number, row in enumerate(np.eye(count + 1)) if number not in dropped]
    for number in sorted(made):
        kept.insert(number, np.zeros(count + 1))
    return np.array(kept)


def _by_dimension(path: Path, transform: Mapping[str, Any], count: int, load: Load, nested: int) -> np.ndarray:
    """Each part on some of the axes; drafts of version 0.6 have these beside the numbers of the part."""
    parts = []
    for part in transform["transformations"]:
        draft = "input_axes" in part
        before = _indices(path, "byDimension", part["input_axes" if draft else "inputAxes"], count)
        after = _indices(path, "byDimension", part["output_axes" if draft else "outputAxes"], _MOST_AXES)
        inner = matrix_of(path, part if draft else part["transformation"], len(before), load, nested + 1)
        if len(inner) - 1 != len(after):
            raise InputError(
                f"{path} has a byDimension whose part gives {len(inner) - 1} axes for {len(after)}: save it again"
            )
        parts.append((before, after, inner))
    rows = sorted(row for _, after, _ in parts for row in after)
    if rows != list(range(len(rows))):
        raise InputError(
            f"{path} has a byDimension that gives the axes {rows}, where each is needed once: save it again"
        )
    matrix = np.zeros((len(rows) + 1, count + 1))
    matrix[-1, -1] = 1
    for before, after, inner in parts:
        matrix[np.ix_(after, [*before, count])] = inner[:-1]
    return matrix


def _indices(path: Path, kind: str, stated: Any, count: int) -> list[int]:
    numbers = [stated] if isinstance(stated, int) else stated
    if not isinstance(numbers, Sequence) or not all(isinstance(n, int) and 0 <= n < count for n in numbers):
        raise InputError(f"{path} has a {kind} with {str(stated)[:80]}, where numbers of axes below {count} are needed")
    return list(numbers)


def _numbers(path: Path, kind: str, stated: Any) -> np.ndarray:
    values = np.asarray(stated, np.float64)
    if not np.isfinite(values).all():
        raise InputError(f"{path} is damaged: its {kind} of {_shown(values.ravel())} cannot be; copy it again")
    return values


def _shown(values: Sequence[float] | np.ndarray) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) if shape and math.prod(shape) else "no"
