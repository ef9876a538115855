"""Volumes and views from OME-Zarr 0.4 and 0.5, lazily."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from napari_mvfusion.data.geometry import Grid, triple
from napari_mvfusion.data.views import RegisteredViews, View, VolumeLike
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.angles import angles_in
from napari_mvfusion.io.base import StoredVolumes
from napari_mvfusion.io.ome_zarr.array_volume import ArrayVolume
from napari_mvfusion.io.ome_zarr.checked_store import PlainFiles, weigh
from napari_mvfusion.io.ome_zarr.placement import SPACE, ZarrPlacement, placement_of
from napari_mvfusion.io.volume_choice import SeveralImagesError, choose
from napari_mvfusion.psf import check_size
from napari_mvfusion.system.file_checks import is_folder, parsing

_DAMAGED = "copy it again"
_NAMED_IMAGES = 2
_LISTED_IMAGES = 12
_MOST_WELLS = 1536


@dataclass(frozen=True, eq=False)
class ZarrImage:
    """An OME-Zarr image.

    Attributes
    ----------
    path : the folder
    array : full-resolution level, opened
    axes : names of its axes, for example "czyx"
    placement : where its voxels lie
    attributes : all attributes of the group
    """

    path: Path
    array: Any
    axes: str
    placement: ZarrPlacement
    attributes: dict[str, Any]

    @property
    def leading(self) -> dict[str, int]:
        """Number of volumes along the axes before z; only axes with several."""
        sizes = dict(zip(self.axes, self.array.shape, strict=True))
        return {axis: int(n) for axis, n in sizes.items() if axis not in SPACE and n > 1}

    def volume(self, channel: int | None = None, timepoint: int | None = None) -> VolumeLike:
        """One channel and time point as a lazy (z, y, x) volume, both counted from 0.

        Raises
        ------
        InputError
            If there are several time points or channels and none is named, or other axes than t, c, z, y and x.
        """
        if tuple(axis for axis in self.axes if axis in SPACE) != SPACE:
            raise InputError(f"{self.path} has the axes {self.axes}: z, y and x are needed, in this order")
        other = {axis: n for axis, n in self.leading.items() if axis not in "tc"}
        if other:
            axis, n = next(iter(other.items()))
            raise InputError(
                f"{self.path} has {n} entries on axis {axis}: a volume is one (z, y, x) block; save one alone"
            )
        chosen = choose(str(self.path), self.leading, timepoint, channel)
        return ArrayVolume(
            self.path, self.array, self.axes, {axis: chosen.get(axis, 0) for axis in self.axes if axis not in SPACE}
        )

    @property
    def grid(self) -> Grid:
        """The voxels of a volume, along their own axes: where these lie otherwise in the world says the placement."""
        place = self.placement
        return Grid(
            triple(self.array.shape[self.axes.index(axis)] for axis in SPACE),
            place.size_um,
            place.origin_um,
            place.in_um,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What is left out of a folder that holds several images under one name."""
        scales = _of_ome(self.attributes).get("multiscales", [])
        if len(scales) < 2:
            return ()
        names = ", ".join(repr(str(each.get("name", number))) for number, each in enumerate(scales))
        return (f"{self.path} describes {len(scales)} images ({names}): the first is taken, save the others alone",)

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


def open_stored_image(path: Path) -> StoredVolumes:
    """Look at the volumes of an image; see `open_image`."""
    image = open_image(path)
    other = image.leading.keys() - set("tc")
    if other or tuple(axis for axis in image.axes if axis in SPACE) != SPACE:
        image.volume()  # says what is wrong
    place = image.placement
    steps = dict(zip(image.axes, place.steps, strict=False))

    def at(chosen: Mapping[str, int]) -> VolumeLike:
        return ArrayVolume(
            image.path, image.array, image.axes, {axis: chosen.get(axis, 0) for axis in image.axes if axis not in SPACE}
        )

    return StoredVolumes(
        path,
        triple(image.array.shape[image.axes.index(axis)] for axis in SPACE),
        image.array.dtype,
        at,
        image.leading,
        place.size_um,
        place.origin_um,
        steps.get("t", 1.0),
        image.recipe,
        image.notes,
        in_um=place.in_um,
        affine_um=place.affine_um,
    )


def is_zarr(path: str | Path) -> bool:
    """Whether a folder looks like a zarr group or array."""
    return is_folder(path) and any(
        (Path(path) / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray", ".zattrs")
    )


def open_image(path: str | Path) -> ZarrImage:
    """Open an OME-Zarr image; no pixel is read.

    A group made by bioformats2raw is opened too where it holds a single image.

    Raises
    ------
    InputError
        If it is no OME-Zarr, or its metadata or full-resolution level is missing or damaged; a `SeveralImagesError` where
        it holds several images.
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
        ome = _of_ome(attributes)
        if "multiscales" not in ome:
            inner = _images_in(path, ome)
            if len(inner) == 1 and "bioformats2raw.layout" in ome:
                return open_image(inner[0])
            if inner:
                raise SeveralImagesError(_named(path, inner, ome), inner)
            raise InputError(f"{path} {_what_it_is(group, ome)}")
        scales = ome["multiscales"][0]
        axes = "".join(axis["name"] for axis in scales["axes"])
        level = scales["datasets"][0]
        array: Any = group[level["path"]]
        place = placement_of(path, scales, level, axes)
        if not isinstance(array, zarr.Array):
            raise InputError(
                f"{path} is damaged: its full-resolution level '{level['path']}' holds no pixels; {_DAMAGED}"
            )
    if len(axes) != len(array.shape) or len(set(axes)) != len(axes):
        raise InputError(f"{path} is damaged: it names the axes {axes}, but its pixels have {len(array.shape)}")
    weigh(path, array)
    return ZarrImage(path, array, axes, place, attributes)


def _images_in(path: Path, ome: Mapping[str, Any]) -> list[Path]:
    """The images of a container: those of a plate or well that it names, in their order, else those that lie there."""
    if "plate" in ome:
        wells = [path / str(well["path"]) for well in ome["plate"].get("wells", [])[:_MOST_WELLS]]
        return [image for well in wells if _is_inside(well, path) for image in _images_in(well, _ome_of(well))]
    if "well" in ome:
        named = [path / str(image["path"]) for image in ome["well"].get("images", [])]
        return [image for image in named if _is_inside(image, path) and is_zarr(image)]
    inner = [child for child in path.iterdir() if child.is_dir() and is_zarr(child)]
    images = [child for child in inner if "multiscales" in _ome_of(child)]
    return sorted(images, key=lambda child: (int(child.name) if child.name.isdigit() else _MOST_WELLS, child))


def _is_inside(place: Path, folder: Path) -> bool:
    return is_folder(place) and place.resolve().is_relative_to(folder.resolve())


def _named(path: Path, images: Sequence[Path], ome: Mapping[str, Any]) -> str:
    """What a container is, and what to name instead."""
    kind = "is a plate" if "plate" in ome else "is a well of a plate" if "well" in ome else "holds several images"
    shown = " or ".join(map(str, images[:_NAMED_IMAGES]))
    inner = [str(image.relative_to(path)) for image in images]
    listed = ", ".join(inner[:_LISTED_IMAGES]) + (", …" if len(inner) > _LISTED_IMAGES else "")
    more = f" (there are {len(images)}: {listed})" if len(images) > _NAMED_IMAGES else ""
    which = "the images in its wells" if "plate" in ome else "its images" if "well" in ome else "them"
    return f"{path} {kind}: name one of {which}, as {shown}{more}"


def _what_it_is(stored: Any, ome: Mapping[str, Any]) -> str:
    """What a zarr without images is."""
    if isinstance(stored, zarr.Array):
        return "is a bare zarr array, which says nothing of axes and voxel size: save it as OME-Zarr"
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
    return _of_ome(attributes)


def _of_ome(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the attributes of a group say by the specification: below "ome" from version 0.5 on."""
    ome = attributes.get("ome", attributes)
    return ome if isinstance(ome, Mapping) else {}


def open_zarr_views(path: str | Path, timepoint: int | None = None) -> RegisteredViews:
    """Open an OME-Zarr whose channels are views.

    They lie on the image's own voxels, along their own axes, also where `ZarrImage.placement` turns these.

    Names, angles, weights, offsets and PSFs come from our own attributes where `write_views_zarr` made the file, else
    names from the channel labels, and there are no PSFs.

    Raises
    ------
    InputError
        If the image or an entry of it cannot be used.
    """
    image = open_image(path)
    image.volume(0 if "c" in image.leading else None, timepoint)  # refuses a time point that is not there
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
    return RegisteredViews(views, image.grid, remarks=image.notes)


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
