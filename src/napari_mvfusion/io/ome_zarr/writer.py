"""OME-Zarr 0.5: a chunked, multiscale volume with units and recipe."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from napari_mvfusion.data.geometry import Box, Grid, Triple, float_triple, triple
from napari_mvfusion.data.views import VolumeLike
from napari_mvfusion.errors import OutputError
from napari_mvfusion.io.atomic import written_aside
from napari_mvfusion.io.ome_zarr.shards import is_sharded, pack, shard_shape
from napari_mvfusion.io.pyramid import halved, mean_of_blocks
from napari_mvfusion.io.streaming import LeadingAxis, blocks, check_shape, converted_blocks

VERSION = "0.5"
_AXES = ("z", "y", "x")
_CHUNKS = (64, 64, 64)
_COARSENED = {
    "description": "each level the mean of 2 x 2 x 2 voxels of the one before, along sides longer than a chunk"
}


def write_zarr(
    path: str | Path,
    data: VolumeLike,
    grid: Grid,
    *,
    recipe: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    dtype: str | None = None,
    leading: Sequence[LeadingAxis] = (),
) -> None:
    """Write a volume, or a series of them, as a multiscale OME-Zarr 0.5.

    Parameters
    ----------
    path : the folder; it is written aside and renamed
    data : (z, y, x), read chunk by chunk; with leading axes before z where there are some
    grid : voxel size and origin, um
    recipe : JSON types, kept in the group's attributes
    overwrite : replace the folder when it exists
    dtype : of the file, that of `data` when None
    leading : the axes before z, () for a single volume; time is written before channels

    Raises
    ------
    OutputError
        If the folder exists or cannot be written, or a value is not finite or does not fit into `dtype`.
    """
    check_shape(data, grid, leading)
    kind = np.dtype(data.dtype if dtype is None else dtype)
    with written_aside(path, overwrite=overwrite) as aside:
        # The standard has time before channels, whatever comes first in the data.
        order = sorted(range(len(leading)), key=lambda axis: leading[axis].name != "t")
        array = create_zarr(
            aside,
            grid,
            dtype=kind.name,
            leading=[leading[n] for n in order],
            name=Path(path).name,
            sharded=is_sharded(grid.shape, _CHUNKS),
        )
        # Whole shards, as each is written in one go.
        block = triple(4 * c for c in _CHUNKS)
        for place, pixels in converted_blocks(data, grid.shape, leading, block, kind):
            array[(*(place[n] for n in order), *place[len(order) :])] = pixels
        finish_zarr(aside, recipe=recipe, name=Path(path).name)


def create_zarr(
    path: str | Path,
    grid: Grid,
    *,
    dtype: str = "float32",
    chunks: Triple = _CHUNKS,
    leading: Sequence[LeadingAxis] = (),
    name: str | None = None,
    sharded: bool = False,
) -> Any:
    """Make the group of an OME-Zarr with an empty full-resolution level.

    Parameters
    ----------
    path : a folder that does not exist yet
    grid : shape, voxel size and origin
    dtype : of the pixels
    chunks : (z, y, x) voxels; each is one file, unless `sharded`
    leading : the axes before z, () for a single volume
    name : of the image, where it is written aside; by default that of the folder
    sharded : put several chunks in each file, see `napari_mvfusion.io.ome_zarr.shards`

    Returns
    -------
    The zarr array of level 0, to be filled. `finish_zarr` makes it an image.

    Raises
    ------
    OutputError
        If the folder exists.
    """
    if Path(path).exists():
        raise OutputError(f"{path} exists already: choose another name")
    group = zarr.create_group(Path(path), zarr_format=3)
    shards = shard_shape(grid.shape, chunks) if sharded else None
    array = create_level(group, 0, grid.shape, dtype, chunks, leading, shards)
    group.attrs["ome"] = image_metadata(name or Path(path).name, grid, [(1, 1, 1)], leading)
    return array


def restore_group(path: Path, grid: Grid, *, name: str) -> None:
    """Write the attributes of a group that `create_zarr` made for a single volume once more, whatever became of them."""
    (path / "zarr.json").unlink(missing_ok=True)
    group = zarr.create_group(path, zarr_format=3)
    group.attrs["ome"] = image_metadata(name, grid, [(1, 1, 1)], ())


def shard_zarr(chunked: Path, path: Path, *, recipe: Mapping[str, Any] | None = None) -> None:
    """Write a volume that `create_zarr` has begun, and that is complete, once more: in shards, finished.

    Parameters
    ----------
    chunked : its folder, which stays as it is
    path : a new folder, which is written aside; what is there is replaced
    recipe : as for `finish_zarr`
    """
    source: Any = zarr.open_group(chunked, mode="r")
    grid, _ = places_of(source.attrs["ome"], source["0"].shape)
    name = source.attrs["ome"]["multiscales"][0]["name"]
    with written_aside(path, overwrite=True) as aside:
        dtype, chunks = source["0"].dtype.name, triple(source["0"].chunks)
        level = create_zarr(aside, grid, dtype=dtype, chunks=chunks, name=name, sharded=True)
        pack(chunked / "0", level)
        finish_zarr(aside, recipe=recipe, name=name)


def finish_zarr(path: str | Path, *, recipe: Mapping[str, Any] | None = None, name: str | None = None) -> None:
    """Add the coarser levels, each the mean of 2 x 2 x 2 voxels, and the recipe; safe to repeat.

    Only sides that are longer than a chunk are halved. Memory is bounded by a few chunks, or a shard
    and what it is made of.

    Parameters
    ----------
    path : a folder made by `create_zarr`
    recipe : JSON types
    name : of the image; by default that of the folder
    """
    group: Any = zarr.open_group(Path(path), mode="r+")
    level = group["0"]
    grid, leading = places_of(group.attrs["ome"], level.shape)
    factors: list[Triple] = [(1, 1, 1)]
    chunks = triple(level.chunks[-3:])
    while (step := halved(level.shape, _CHUNKS)) != (1, 1, 1):
        shape = triple(-(-n // s) for n, s in zip(level.shape[-3:], step, strict=True))
        number = len(factors)
        # Not by its name in the group: what a kill left may be chunks without a description.
        if (Path(path) / str(number)).exists():
            shutil.rmtree(Path(path) / str(number))
        shards = None if level.shards is None else shard_shape(shape, chunks)
        coarser = create_level(group, number, shape, level.dtype.name, chunks, leading, shards)
        for index, box in product(np.ndindex(*level.shape[:-3]), blocks(shape, shards or chunks)):
            pixels = np.empty(box.shape, level.dtype)
            for part in blocks(box.shape, chunks):
                pixels[part.slices] = _coarsened(level, index, part.within(box), step)
            coarser[(*index, *box.slices)] = pixels
        factors.append(triple(f * s for f, s in zip(factors[-1], step, strict=True)))
        level = coarser
    group.attrs["ome"] = image_metadata(name or Path(path).name, grid, factors, leading)
    if recipe is not None:
        group.attrs["mvfusion"] = {"recipe": dict(recipe)}


def damaged_level(path: str | Path, at: tuple[int, ...] | None = None) -> str | None:
    """The first coarser level that is not the mean of the next finer one, as `finish_zarr` made it; None where all are.

    Parameters
    ----------
    path : a finished folder
    at : the only volume to look at, by its place along the axes before z; all of them when None
    """
    group: Any = zarr.open_group(Path(path), mode="r")
    names = [dataset["path"] for dataset in group.attrs["ome"]["multiscales"][0]["datasets"]]
    for finer, name in pairwise(names):
        if name not in group:
            return str(name)
        fine, coarse = group[finer], group[name]
        step = halved(fine.shape, _CHUNKS)
        places = np.ndindex(*coarse.shape[:-3]) if at is None else [at]
        for index, box in product(places, blocks(coarse.shape[-3:], triple(coarse.chunks[-3:]))):
            if not np.array_equal(coarse[(*index, *box.slices)], _coarsened(fine, index, box, step)):
                return str(name)
    return None


def _coarsened(finer: Any, index: tuple[int, ...], box: Box, step: Triple) -> np.ndarray:
    """A box of the next level, made of the finer one."""
    fine = tuple(
        slice(a * s, min(b * s, n)) for a, b, s, n in zip(box.start, box.stop, step, finer.shape[-3:], strict=True)
    )
    return mean_of_blocks(np.asarray(finer[(*index, *fine)]), step)


def create_level(
    group: Any,
    number: int,
    shape: Triple,
    dtype: str,
    chunks: Triple,
    leading: Sequence[LeadingAxis],
    shards: Triple | None = None,
) -> Any:
    """Make an empty level of an image.

    Parameters
    ----------
    group : of the image
    number : of the level, 0 for the full resolution
    shape, chunks : (z, y, x)
    dtype : of the pixels
    leading : the axes before z
    shards : (z, y, x) voxels of a file of several chunks; None where each chunk is a file
    """
    ones = tuple(1 for _ in leading)
    return group.create_array(
        str(number),
        shape=(*(axis.size for axis in leading), *shape),
        dtype=dtype,
        chunks=(*ones, *(min(c, n) for c, n in zip(chunks, shape, strict=True))),
        shards=None if shards is None else (*ones, *shards),
        compressors=BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"),
        dimension_names=(*(axis.name for axis in leading), *_AXES),
    )


def image_metadata(name: str, grid: Grid, factors: list[Triple], leading: Sequence[LeadingAxis]) -> dict[str, Any]:
    """The "ome" attributes: axes, and scale and translation of each level, which is coarser by a factor (z, y, x).

    A coarse voxel lies in the middle of those it is the mean of, hence the shift by half of the difference.
    """
    steps, zeros = [axis.step for axis in leading], [0.0 for _ in leading]
    datasets = []
    for number, factor in enumerate(factors):
        scale = [s * f for s, f in zip(grid.voxel_size_um, factor, strict=True)]
        shift = [o + s * (f - 1) / 2 for o, s, f in zip(grid.origin_um, grid.voxel_size_um, factor, strict=True)]
        transforms = [
            {"type": "scale", "scale": steps + scale},
            {"type": "translation", "translation": zeros + shift},
        ]
        datasets.append({"path": str(number), "coordinateTransformations": transforms})
    axes: list[dict[str, str]] = [
        {"name": "t", "type": "time", "unit": "second"} if axis.name == "t" else {"name": "c", "type": "channel"}
        for axis in leading
    ]
    axes += space_axes(grid)
    image = {"name": name, "axes": axes, "datasets": datasets, "type": "mean", "metadata": _COARSENED}
    return {"version": VERSION, "multiscales": [image]}


def space_axes(grid: Grid) -> list[dict[str, str]]:
    """The axes z, y and x; one along which the voxel size is not known has no unit."""
    units = [{"unit": "micrometer"} if known else {} for known in grid.known]
    return [{"name": axis, "type": "space", **unit} for axis, unit in zip(_AXES, units, strict=True)]


def places_of(ome: Mapping[str, Any], shape: Sequence[int]) -> tuple[Grid, tuple[LeadingAxis, ...]]:
    """The grid and leading axes that `image_metadata` wrote down."""
    image = ome["multiscales"][0]
    transforms = image["datasets"][0]["coordinateTransformations"]
    scale, shift = transforms[0]["scale"], transforms[1]["translation"]
    leading = tuple(
        LeadingAxis(axis["name"], int(n), step)
        for axis, n, step in zip(image["axes"][:-3], shape[:-3], scale[:-3], strict=True)
    )
    z, y, x = ("unit" in axis for axis in image["axes"][-3:])
    return Grid(triple(shape[-3:]), float_triple(scale[-3:]), float_triple(shift[-3:]), (z, y, x)), leading
