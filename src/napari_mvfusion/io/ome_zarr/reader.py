"""Volumes and views from OME-Zarr 0.4 and 0.5, lazily."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from napari_mvfusion.data.geometry import FloatTriple, Grid, float_triple, triple
from napari_mvfusion.data.views import RegisteredViews, View, VolumeLike
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.angles import angles_in
from napari_mvfusion.io.base import LazyVolume, StoredVolumes, parts_of
from napari_mvfusion.io.ome_zarr.checked_store import PlainFiles, weigh
from napari_mvfusion.io.volume_choice import choose
from napari_mvfusion.psf import check_size
from napari_mvfusion.system.file_checks import is_folder, parsing

_UM = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3, "centimeter": 1e4, "meter": 1e6, "angstrom": 1e-4}
_SECONDS = {"second": 1.0, "millisecond": 1e-3, "minute": 60.0, "hour": 3600.0}
_SPACE = ("z", "y", "x")
_DAMAGED = "copy it again"
_NAMED_IMAGES = 2


@dataclass(frozen=True, eq=False)
class ZarrImage:
    """An OME-Zarr image.

    Attributes
    ----------
    path : the folder
    array : full-resolution level, opened
    axes : names of its axes, for example "czyx"
    voxel_size_um, origin_um : (z, y, x)
    leading_steps : step along each axis before z, seconds for time
    attributes : all attributes of the group
    """

    path: Path
    array: Any
    axes: str
    voxel_size_um: FloatTriple
    origin_um: FloatTriple
    leading_steps: tuple[float, ...]
    attributes: dict[str, Any]

    @property
    def leading(self) -> dict[str, int]:
        """Number of volumes along the axes before z; only axes with several."""
        sizes = dict(zip(self.axes, self.array.shape, strict=True))
        return {axis: int(n) for axis, n in sizes.items() if axis not in _SPACE and n > 1}

    def volume(self, channel: int | None = None, timepoint: int | None = None) -> VolumeLike:
        """One channel and time point as a lazy (z, y, x) volume, both counted from 0.

        Raises
        ------
        InputError
            If there are several time points or channels and none is named, or other axes than t, c, z, y and x.
        """
        if tuple(axis for axis in self.axes if axis in _SPACE) != _SPACE:
            raise InputError(f"{self.path} has the axes {self.axes}: z, y and x are needed, in this order")
        other = {axis: n for axis, n in self.leading.items() if axis not in "tc"}
        if other:
            axis, n = next(iter(other.items()))
            raise InputError(
                f"{self.path} has {n} entries on axis {axis}: a volume is one (z, y, x) block; save one alone"
            )
        chosen = choose(str(self.path), self.leading, timepoint, channel)
        return ZarrVolume(self, {axis: chosen.get(axis, 0) for axis in self.axes if axis not in _SPACE})

    @property
    def recipe(self) -> dict[str, Any] | None:
        """The recipe of a fused volume, None where there is none."""
        ours = self.attributes.get("mvfusion")
        recipe = ours.get("recipe") if isinstance(ours, dict) else None
        return recipe if isinstance(recipe, dict) else None

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.array.shape[self.axes.index("c")]) if "c" in self.axes else 1

    @property
    def is_series(self) -> bool:
        """Whether it is one volume at several times, or a fused one with any axes before z: not channels that are views."""
        if not self.axes.endswith("zyx") or len(self.axes) == 3 or not set(self.axes) <= set("tczyx"):
            return False
        return self.recipe is not None or ("c" not in self.axes and self.array.shape[0] > 1)

    def levels(self) -> list[Any]:
        """All levels from fine to coarse, of a volume or a series; the finest alone where other axes stand before z.

        Raises
        ------
        InputError
            If a level cannot be read in bounded memory.
        """
        if self.axes != "zyx" and not self.is_series:
            return [self.volume()]
        group = zarr.open_group(PlainFiles(self.path), mode="r")
        ome = self.attributes.get("ome", self.attributes)
        found = [group[level["path"]] for level in ome["multiscales"][0]["datasets"]]
        for level in found:
            weigh(self.path, level)
        return found


class ZarrVolume(LazyVolume):
    """One (z, y, x) volume of an image with more axes; a chunk that cannot be read is named."""

    def __init__(self, image: ZarrImage, fixed: Mapping[str, int]) -> None:
        self._image = image
        self._fixed = dict(fixed)
        sizes = dict(zip(image.axes, image.array.shape, strict=True))
        self.shape = tuple(sizes[axis] for axis in _SPACE)
        self.dtype = image.array.dtype

    @property
    def files(self) -> tuple[Path, ...]:
        """The folder."""
        return (self._image.path,)

    @property
    def chunks(self) -> tuple[int, int, int]:
        """Chunk sizes along (z, y, x)."""
        sizes = dict(zip(self._image.axes, self._image.array.chunks, strict=True))
        return sizes["z"], sizes["y"], sizes["x"]

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """Pixels of a box.

        Raises
        ------
        InputError
            If a chunk is damaged.
        """
        space = iter(parts_of(index))
        full = tuple(self._fixed[axis] if axis in self._fixed else next(space) for axis in self._image.axes)
        with parsing(f"{self._image.path} is damaged: a chunk in {full} cannot be read", _DAMAGED):
            pixels: np.ndarray = np.asarray(self._image.array[full])
        return pixels


def open_stored_image(path: Path) -> StoredVolumes:
    """Look at the volumes of an image; see `open_image`."""
    image = open_image(path)
    other = image.leading.keys() - set("tc")
    if other or tuple(axis for axis in image.axes if axis in _SPACE) != _SPACE:
        image.volume()  # says what is wrong
    steps = dict(zip(image.axes, image.leading_steps, strict=False))

    def at(chosen: Mapping[str, int]) -> VolumeLike:
        return ZarrVolume(image, {axis: chosen.get(axis, 0) for axis in image.axes if axis not in _SPACE})

    return StoredVolumes(
        path,
        triple(image.array.shape[image.axes.index(axis)] for axis in _SPACE),
        image.array.dtype,
        at,
        image.leading,
        image.voxel_size_um,
        image.origin_um,
        steps.get("t", 1.0),
        image.recipe,
    )


def is_zarr(path: str | Path) -> bool:
    """Whether a folder looks like a zarr group or array."""
    return is_folder(path) and any(
        (Path(path) / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray", ".zattrs")
    )


def open_image(path: str | Path) -> ZarrImage:
    """Open an OME-Zarr image; no pixel is read.

    A group made by bioformats2raw, with the image in the subgroup "0", is opened too.

    Raises
    ------
    InputError
        If it is no OME-Zarr, or its metadata or full-resolution level is missing or damaged.
    """
    path = Path(path)
    if not is_zarr(path):
        raise InputError(f"{path} is no OME-Zarr: it has no zarr.json and no .zgroup; copy it again, with hidden files")
    damaged = f"{path} is no readable OME-Zarr image: its metadata or full-resolution level is missing or damaged"
    with parsing(damaged, _DAMAGED), warnings.catch_warnings():
        # Whoever reads a file cannot choose its codecs.
        warnings.filterwarnings("ignore", message="Numcodecs codecs are not in")
        group = zarr.open(PlainFiles(path), mode="r")
        attributes = dict(group.attrs)
        ome = attributes.get("ome", attributes)
        if "multiscales" not in ome and "bioformats2raw.layout" in ome and (path / "0").is_dir():
            return open_image(path / "0")
        if "multiscales" not in ome:
            raise InputError(f"{path} {_what_it_is(path, group, ome)}")
        scales = ome["multiscales"][0]
        axes = "".join(axis["name"] for axis in scales["axes"])
        level = scales["datasets"][0]
        array: Any = group[level["path"]]
        size, origin, steps = _placement(scales, level, axes)
        if not isinstance(array, zarr.Array):
            raise InputError(
                f"{path} is damaged: its full-resolution level '{level['path']}' holds no pixels; {_DAMAGED}"
            )
    if len(axes) != len(array.shape) or len(set(axes)) != len(axes):
        raise InputError(f"{path} is damaged: it names the axes {axes}, but its pixels have {len(array.shape)}")
    if not all(math.isfinite(s) and s > 0 for s in size) or not all(math.isfinite(o) for o in origin):
        raise InputError(f"{path} is damaged: its voxels of {size} um at {origin} um cannot be; {_DAMAGED}")
    weigh(path, array)
    return ZarrImage(path, array, axes, size, origin, steps, attributes)


def _what_it_is(path: Path, stored: Any, ome: Mapping[str, Any]) -> str:
    """What a zarr without an image of its own is, and what to name instead."""
    if isinstance(stored, zarr.Array):
        return "is a bare zarr array, which says nothing of axes and voxel size: save it as OME-Zarr"
    inner = sorted(child.name for child in path.iterdir() if child.is_dir() and is_zarr(child))
    images = [name for name in inner if "multiscales" in _ome_of(path / name)][:_NAMED_IMAGES]
    if images:
        return f"holds several images: name one of them, as {' or '.join(str(path / name) for name in images)}"
    if "plate" in ome or "well" in ome:
        return "is a plate: name one of the images in its wells, as PLATE.zarr/A/1/0"
    return "is a zarr, but holds no OME-Zarr image: name an image in it, or save it as OME-Zarr"


def _ome_of(path: Path) -> Mapping[str, Any]:
    """The attributes of an OME-Zarr; none where they cannot be read."""
    try:
        with parsing(str(path), _DAMAGED):
            attributes = dict(zarr.open(PlainFiles(path), mode="r").attrs)
    except InputError:
        return {}
    ome = attributes.get("ome", attributes)
    return ome if isinstance(ome, Mapping) else {}


def open_zarr_views(path: str | Path, timepoint: int | None = None) -> RegisteredViews:
    """Open an OME-Zarr whose channels are views.

    Names, angles, weights, offsets and PSFs come from our own attributes where `write_views_zarr` made the file, else
    names from the channel labels, and there are no PSFs.

    Raises
    ------
    InputError
        If the image or an entry of it cannot be used.
    """
    image = open_image(path)
    grid = Grid(
        triple(image.volume(0 if "c" in image.leading else None, timepoint).shape), image.voxel_size_um, image.origin_um
    )
    with parsing(f"{path} is damaged: what it says of its views cannot be understood", _DAMAGED):
        entries = _entries(image)
    if len(entries) != image.channels:
        raise InputError(f"{path} is damaged: it describes {len(entries)} views, but has {image.channels} channels")
    views = []
    for number, entry in enumerate(entries):
        views.append(
            View(
                image.volume(number if "c" in image.leading else None, timepoint),
                entry.name,
                psf=None if entry.psf is None else _psf(image.path, entry.psf, entry.name),
                angle=entry.angle,
                weight=entry.weight,
                offset=entry.offset,
                gain=entry.gain,
                remove_hot=entry.remove_hot,
                source=str(image.path),
            )
        )
    return RegisteredViews(views, grid)


@dataclass(frozen=True)
class _Entry:
    """What the attributes say of a view; `psf` is the name of an array in the same folder."""

    name: str
    psf: str | None = None
    angle: float | None = None
    weight: float = 1.0
    offset: float = 0.0
    gain: float = 1.0
    remove_hot: bool = False


def _entries(image: ZarrImage) -> list[_Entry]:
    """What our own attributes say of the views, or the labels of the channels."""
    entries = image.attributes.get("mvfusion", {}).get("views")
    if entries is None:
        ome = image.attributes.get("ome", image.attributes)
        labels = [str(channel.get("label", "")) for channel in ome.get("omero", {}).get("channels", [])]
        names = labels if len(set(labels)) == image.channels and "" not in labels else None
        if names is None:
            return [_Entry(f"channel {i}") for i in range(image.channels)]
        return [_Entry(name, angle=angle) for name, angle in zip(names, angles_in(names), strict=True)]
    return [
        _Entry(
            str(entry["name"]),
            None if entry.get("psf") is None else str(entry["psf"]),
            None if entry.get("angle") is None else float(entry["angle"]),
            float(entry.get("weight", 1.0)),
            float(entry.get("offset", 0.0)),
            float(entry.get("gain", 1.0)),
            bool(entry.get("remove_hot", False)),
        )
        for entry in entries
    ]


def _psf(folder: Path, name: str, view: str) -> np.ndarray:
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise InputError(f"{folder} names a PSF outside of itself ({name}): refused")
    with parsing(f"{folder} is damaged: the PSF of view '{view}' cannot be read", _DAMAGED):
        stored = zarr.open_array(PlainFiles(folder / name), mode="r")
        check_size(stored.shape, f"the PSF of view '{view}' in {folder}")
        weigh(folder / name, stored)
        return np.asarray(stored[:], np.float32)


def _placement(
    scales: Mapping[str, Any], level: Mapping[str, Any], axes: str
) -> tuple[FloatTriple, FloatTriple, tuple[float, ...]]:
    """Voxel size and origin in um, and the steps of the other axes, seconds for time.

    The transforms of the level apply first, those of the whole image after.
    """
    size = np.ones(len(axes))
    origin = np.zeros(len(axes))
    for transform in [*level.get("coordinateTransformations", []), *scales.get("coordinateTransformations", [])]:
        if transform["type"] == "scale":
            size = size * np.asarray(transform["scale"], float)
            origin = origin * np.asarray(transform["scale"], float)
        elif transform["type"] == "translation":
            origin = origin + np.asarray(transform["translation"], float)
    units = [
        (_UM if axis["name"] in _SPACE else _SECONDS).get(str(axis.get("unit", "")), 1.0) for axis in scales["axes"]
    ]
    places = [axes.index(axis) for axis in _SPACE]
    steps = tuple(float(size[i] * units[i]) for i, axis in enumerate(axes) if axis not in _SPACE)
    return float_triple(size[i] * units[i] for i in places), float_triple(origin[i] * units[i] for i in places), steps
