"""Volumes as HDF5, with voxel size and recipe, written in bounded memory."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_mvfusion.data.geometry import Grid, triple
from napari_mvfusion.data.views import VolumeLike
from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.io.atomic import recipe_path, written_aside
from napari_mvfusion.io.hdf5.reader import recipe_name, split
from napari_mvfusion.io.hdf5.watched_file import WatchedFile
from napari_mvfusion.io.streaming import LeadingAxis, check_shape, converted_blocks
from napari_mvfusion.system.file_checks import parsing

_CHUNK = 64
_DATASET = "volume"


def write_hdf5(
    path: str | Path,
    data: VolumeLike,
    grid: Grid,
    *,
    recipe: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    dtype: str | None = None,
    leading: Sequence[LeadingAxis] = (),
) -> None:
    """Write an HDF5 file with one dataset in chunks, and its recipe as text beside it.

    Parameters
    ----------
    path : the file, with the name of the dataset as `fused.h5:/left`, or "volume"; it is written aside and renamed
    data : (z, y, x), read chunk by chunk; with leading axes before z where there are some
    grid : voxel size and origin, um
    recipe : JSON types
    overwrite : replace the file when it exists
    dtype : of the dataset, that of `data` when None
    leading : the axes before z, () for a single volume

    Raises
    ------
    OutputError
        If the file exists or cannot be written, a value is not finite or does not fit into `dtype`, or the file to be
        replaced holds other datasets than the one that is named.
    """
    import h5py

    check_shape(data, grid, leading)
    kind = np.dtype(data.dtype if dtype is None else dtype)
    file, inner = split(Path(path))
    if "." in inner.split("/"):
        raise OutputError(f"{path} names a dataset '.', which HDF5 cannot hold: choose another name")
    name = _dataset_name(inner)
    if overwrite:
        refuse_others(Path(path))
    with written_aside(file, overwrite=overwrite) as aside, aside.open("xb+", buffering=0) as raw:
        target = WatchedFile(raw)
        with h5py.File(target, "w") as opened:
            dataset = _create(opened, name, kind, grid, leading, recipe)
            block = triple(4 * _CHUNK for _ in grid.shape)
            for place, pixels in converted_blocks(data, grid.shape, leading, block, kind):
                dataset[place] = pixels
                target.check()
        target.check()


def _create(
    opened: Any,
    name: str,
    kind: np.dtype[Any],
    grid: Grid,
    leading: Sequence[LeadingAxis],
    recipe: Mapping[str, Any] | None,
) -> Any:
    """An empty dataset with all that is known of it."""
    dataset = opened.create_dataset(
        name,
        shape=(*(axis.size for axis in leading), *grid.shape),
        dtype=kind,
        chunks=(*(1 for _ in leading), *(min(_CHUNK, n) for n in grid.shape)),
        compression="gzip",
        compression_opts=1,
        shuffle=True,
    )
    for dimension, axis in zip(dataset.dims, (*(axis.name for axis in leading), *"zyx"), strict=True):
        dimension.label = axis
    if any(grid.known):
        # What is not known is not a number.
        dataset.attrs["element_size_um"] = [math.nan if size is None else size for size in grid.stated_size_um]
    dataset.attrs["origin_um"] = grid.origin_um
    for axis in leading:
        if axis.name == "t":
            dataset.attrs["time_step_s"] = axis.step
    if recipe is not None:
        # Not an attribute, of which HDF5 holds 64 KiB.
        opened.create_dataset(recipe_name(name), data=np.bytes_(json.dumps(dict(recipe)).encode()))
    return dataset


def refuse_others(path: Path) -> None:
    """Refuse to replace a file for the sake of one dataset where it holds others.

    A result that is damaged, so that nobody can tell what it holds, may be replaced: its recipe lies beside it.

    Raises
    ------
    OutputError
        If it does, or it cannot be read and is no result.
    """
    import h5py

    file, inner = split(path)
    name = _dataset_name(inner)
    if not file.is_file():
        return
    others: list[str] = []

    def note(found: str, value: Any) -> None:
        if isinstance(value, h5py.Dataset) and f"/{found}" not in (name, recipe_name(name)):
            others.append(found)

    try:
        with parsing(f"{file} cannot be read as an HDF5 file", "choose another output"), h5py.File(file, "r") as opened:
            opened.visititems(note)
    except InputError as error:
        if not recipe_path(file).exists():
            raise OutputError(str(error)) from error
    if others:
        raise OutputError(
            f"{file} also holds /{others[0]}, which would be lost: an HDF5 file is written as a whole, choose another one"
        )


def _dataset_name(inner: str) -> str:
    return "/" + (inner.strip("/") or _DATASET)
