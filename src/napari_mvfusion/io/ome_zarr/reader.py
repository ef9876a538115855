"""Images of OME-Zarr, all versions up to 0.6, lazily."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from napari_mvfusion.addresses import address_of
from napari_mvfusion.data.events import Statement
from napari_mvfusion.data.geometry import NO_SIZE, Grid, refuse_impossible_size, triple
from napari_mvfusion.data.views import VolumeLike
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.base import StoredVolumes
from napari_mvfusion.io.ome_zarr.array_flaws import flaw_in
from napari_mvfusion.io.ome_zarr.array_volume import ArrayVolume
from napari_mvfusion.io.ome_zarr.axes import SPACE, axes_of
from napari_mvfusion.io.ome_zarr.checked_store import weigh
from napari_mvfusion.io.ome_zarr.containers import images_in, several, what_it_is
from napari_mvfusion.io.ome_zarr.placement import ZarrPlacement, not_placed, placement_of, systems_of
from napari_mvfusion.io.ome_zarr.remote_store import RemoteFiles
from napari_mvfusion.io.ome_zarr.stores import is_zarr, store_of
from napari_mvfusion.io.volume_choice import SeveralImagesError, VolumeChoice, check_level, choose
from napari_mvfusion.system.file_checks import cause_of, parsing

_DAMAGED = "copy it again"
_MOST_LEVELS = 64
# What zarr and its codecs say where they have none of a name; for these there is no class of error.
_NOT_KNOWN = ("No Zarr data type found", "codec not available")
_LARGEST_MATRIX = 64
# With what drafts have behind it, as "0.6.dev3".
_KNOWN_VERSION = re.compile(r"0\.[1-6](\.?(dev|rc|a|b)\d*|\.\d+)?")
_SHOWN_LETTERS = 40


@dataclass(frozen=True, eq=False)
class ZarrImage:
    """An OME-Zarr image.

    Attributes
    ----------
    path : the folder
    array : the level that was asked for, opened
    axes : what its axes are, t, c, z, y and x or other names, in the order of the file
    placement : where its voxels lie
    attributes : all attributes of the group
    elsewhere : the folder outside of `path` that its level is a link to, None where it is none
    """

    path: Path
    array: Any
    axes: tuple[str, ...]
    placement: ZarrPlacement
    attributes: dict[str, Any]
    elsewhere: Path | None = None

    @property
    def leading(self) -> dict[str, int]:
        """Number of volumes along the axes that are not space; only axes with several."""
        sizes = dict(zip(self.axes, self.array.shape, strict=True))
        return {axis: int(n) for axis, n in sizes.items() if axis not in SPACE and n > 1}

    def volume(self, channel: int | None = None, timepoint: int | None = None) -> VolumeLike:
        """One channel and time point as a lazy (z, y, x) volume, both counted from 0.

        Raises
        ------
        InputError
            If there are several time points or channels and none is named, or other axes than t, c, z, y and x.
        """
        self.check_axes()
        return self.at(choose(str(self.path), self.leading, timepoint, channel))

    def check_axes(self) -> None:
        """Refuse what is more than volumes at times and in channels.

        Raises
        ------
        InputError
            If there are other axes.
        """
        other = {axis: n for axis, n in self.leading.items() if axis not in ("t", "c")}
        if other:
            axis, n = next(iter(other.items()))
            raise InputError(
                f"{self.path} has {n} entries on axis {axis}: a volume is one (z, y, x) block; save one alone"
            )

    def at(self, chosen: Mapping[str, int]) -> ArrayVolume:
        """The volume at a place along the other axes, 0 where none is named."""
        fixed = {axis: chosen.get(axis, 0) for axis in self.axes if axis not in SPACE}
        return ArrayVolume(self.path, self.array, self.axes, fixed)

    @property
    def grid(self) -> Grid:
        """The voxels of a volume, along their own axes: where these lie otherwise in the world says the placement."""
        place = self.placement
        refuse_impossible_size(place.size_um, str(self.path), place.units)
        return Grid(
            triple(self.array.shape[self.axes.index(axis)] for axis in SPACE),
            place.size_um,
            place.origin_um,
            place.in_um,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What is left out of a folder that holds several images under one name, and versions that nobody knows."""
        ome = of_ome(self.attributes)
        scales = ome.get("multiscales", [])
        said: list[str] = []
        if self.elsewhere is not None:
            said.append(Statement(f"{self.path} keeps its pixels behind a link, in {self.elsewhere}"))
        version = ome.get("version", scales[0].get("version") if scales else None)
        if version is not None and not _KNOWN_VERSION.fullmatch(str(version)):
            said.append(
                f"{self.path} says that it is OME-Zarr of version '{str(version)[:_SHOWN_LETTERS]}', which is not known "
                "here: read as what it looks like"
            )
        if len(scales) > 1:
            names = ", ".join(repr(str(each.get("name", number))) for number, each in enumerate(scales))
            said.append(
                f"{self.path} describes {len(scales)} images ({names}): the first is taken, save the others alone"
            )
        return tuple(said)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Labels of the channels, "" for one without; () where there are none, or others than channels."""
        shown = of_ome(self.attributes).get("omero")
        entries = shown.get("channels") if isinstance(shown, dict) else None
        if not isinstance(entries, list) or len(entries) != self.leading.get("c"):
            return ()
        names = tuple(str(each.get("label", "")) if isinstance(each, dict) else "" for each in entries)
        return names if any(names) else ()

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
        if self.axes[-3:] != SPACE or len(self.axes) == 3 or not set(self.axes) <= {"t", "c", *SPACE}:
            return False
        return self.recipe is not None or ("c" not in self.axes and self.array.shape[0] > 1)

    def levels(self) -> list[Any]:
        """All levels from fine to coarse, of a volume or a series; the finest alone where other axes stand before z.

        Raises
        ------
        InputError
            If a level cannot be read in bounded memory.
        """
        if self.axes != SPACE and not self.is_series:
            return [self.volume()]
        group = zarr.open_group(store_of(self.path), mode="r")
        found = [group[level["path"]] for level in of_ome(self.attributes)["multiscales"][0]["datasets"]]
        for level in found:
            weigh(self.path, level)
        return found


def stored_of(image: ZarrImage, placement: ZarrPlacement | None = None) -> StoredVolumes:
    """The volumes of an image, where it says that it lies, or in another place."""
    image.check_axes()
    place = image.placement if placement is None else placement
    said = place.is_stated
    others = [axis for axis in image.axes if axis not in SPACE]
    return StoredVolumes(
        image.path,
        triple(image.array.shape[image.axes.index(axis)] for axis in SPACE),
        image.array.dtype,
        image.at,
        image.leading,
        place.size_um if said else NO_SIZE,
        place.origin_um if said else None,
        dict(zip(others, place.steps, strict=True)).get("t", 1.0),
        image.recipe,
        (*place.notes, *image.notes),
        in_um=place.in_um,
        affine_um=place.affine_um,
        channel_names=image.channel_names,
        units=place.units,
    )


@contextmanager
def reading(path: Path) -> Iterator[Any]:
    """The group or array of a path, opened; whatever zarr says of damaged content becomes one line that names the path."""
    damaged = f"{path} is no readable OME-Zarr image: its metadata or full-resolution level is missing or damaged"
    with parsing(damaged, _DAMAGED), warnings.catch_warnings():
        # Whoever reads a file cannot choose its codecs.
        warnings.filterwarnings("ignore", message="Numcodecs codecs are not in")
        try:
            yield zarr.open(store_of(path), mode="r")
        except zarr.errors.UnknownCodecError as error:
            raise _not_read(path, error) from error
        except (ValueError, TypeError, ArithmeticError) as error:
            if isinstance(error, InputError):
                raise
            if any(said in str(error) for said in _NOT_KNOWN):
                raise _not_read(path, error) from error
            if flaw := flaw_in(path):
                raise InputError(flaw) from error
            raise


def _not_read(path: Path, error: Exception) -> InputError:
    """What is said of pixels that are kept in a way that nothing here reads, which is no damage."""
    return InputError(
        f"{path} keeps its pixels in a way that is not known here ({cause_of(error)}): save it with another codec or type"
    )


def attributes_in(path: Path) -> dict[str, Any]:
    """All attributes of a group."""
    with reading(path) as node:
        return dict(node.attrs)


def attributes_of(path: Path) -> Mapping[str, Any]:
    """What the attributes of a group say by the specification; nothing where they cannot be read."""
    try:
        return of_ome(attributes_in(path))
    except InputError:
        return {}


def of_ome(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the attributes of a group say by the specification: below "ome" from version 0.5 on."""
    ome = attributes.get("ome", attributes)
    return ome if isinstance(ome, Mapping) else {}


def open_image(path: str | Path, at: VolumeChoice | None = None) -> ZarrImage:
    """Open an OME-Zarr image; no pixel is read.

    A group made by bioformats2raw is opened too where it holds a single image.

    Parameters
    ----------
    path : the folder
    at : its resolution level, and the coordinate system, as registration, that is the world

    Raises
    ------
    InputError
        If it is no OME-Zarr, or its metadata or full-resolution level is missing or damaged; a `SeveralImagesError` where
        it holds several images, a `NotChosenError` where it has several places.
    """
    path, at = Path(path), VolumeChoice() if at is None else at
    if not is_zarr(path):
        store = store_of(path)  # says what is wrong with a zip file
        if isinstance(store, RemoteFiles):
            raise InputError(zarr.core.sync.sync(store.why_none()))
        raise InputError(f"{path} is no OME-Zarr: it has no zarr.json and no .zgroup; copy it again, with hidden files")
    with reading(path) as group:
        attributes = dict(group.attrs)
        ome = of_ome(attributes)
        if isinstance(group, zarr.Array):
            return _bare(path, group, at)
        if "multiscales" not in ome:
            inner = images_in(path, ome, attributes_of)
            if len(inner) == 1 and "bioformats2raw.layout" in ome:
                return open_image(inner[0], at)
            if inner:
                raise SeveralImagesError(several(path, inner, ome), inner)
            raise InputError(f"{path} {what_it_is(path, group, ome)}")
        scales = ome["multiscales"][0]
        check_level(path, at.level, min(len(scales["datasets"]), _MOST_LEVELS))
        for each in scales["datasets"]:
            refuse_outside(path, str(each["path"]), "a level")
            if not str(each["path"]).strip("./"):
                raise InputError(
                    f"{path} names itself as its level ('{each['path']}'), and not its pixels: save it again"
                )
        level = scales["datasets"][at.level]
        array: Any = group[level["path"]]
        place = placement_of(path, scales, level, at.registration, lambda name: numbers_in(path, group, name))
        axes = axes_of(
            path, scales.get("axes") if "coordinateSystems" not in scales else _of_levels(path, scales, level)
        )
        if not isinstance(array, zarr.Array):
            raise InputError(
                f"{path} is damaged: its full-resolution level '{level['path']}' holds no pixels; {_DAMAGED}"
            )
    if len(axes) != len(array.shape):
        raise InputError(
            f"{path} is damaged: it names the axes {', '.join(axes)}, but its pixels have {len(array.shape)}"
        )
    weigh(path, array)
    return ZarrImage(path, array, axes, place, attributes, _elsewhere(path, str(level["path"])))


def _elsewhere(path: Path, level: str) -> Path | None:
    """Where the pixels of a local image lie that is a link to another folder, as facilities keep large data."""
    if address_of(path) is not None or not (path / level).is_dir():
        return None
    place = (path / level).resolve()
    return None if place.is_relative_to(path.resolve()) else place


def coarser_affines(image: ZarrImage, levels: int) -> list[np.ndarray]:
    """Where the coarser levels of a turned image lie: 4 x 4, from voxels to the world, as many as say it.

    Parameters
    ----------
    image : opened at its full resolution
    levels : that it has

    Raises
    ------
    InputError
        If the metadata of a level cannot be used.
    """
    found = []
    for level in range(1, levels):
        affine = open_image(image.path, VolumeChoice(level=level)).placement.affine_um
        if affine is None:
            break
        found.append(affine)
    return found


def _bare(path: Path, array: Any, at: VolumeChoice) -> ZarrImage:
    """An array that is no OME-Zarr, where it is clear which of its axes are z, y and x."""
    at.refuse_unknown(path)
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    if not names or not all(names):
        if array.ndim != len(SPACE):
            raise InputError(
                f"{path} is a bare zarr array of {array.ndim} axes, and does not say which they are: save it as OME-Zarr, "
                "or name its axes"
            )
        names = SPACE
    weigh(path, array)
    return ZarrImage(path, array, axes_of(path, list(names)), not_placed(array.ndim), {})


def _of_levels(path: Path, scales: Mapping[str, Any], level: Mapping[str, Any]) -> Any:
    """The stated axes of the coordinate system in which the levels of an image of version 0.6 lie."""
    _, (_, name) = systems_of(path, scales, level)
    return next(each["axes"] for each in scales["coordinateSystems"] if str(each["name"]) == name)


def numbers_in(path: Path, group: Any, name: str) -> np.ndarray:
    """The numbers of a small array in a group, for a transform that keeps its own there.

    Raises
    ------
    InputError
        If it leads outside of the group.
    """
    refuse_outside(path, name, "the numbers of a transform")
    stored = group[name]
    if not isinstance(stored, zarr.Array) or stored.size > _LARGEST_MATRIX:
        raise ValueError(f"'{name}' is no small array")
    return np.asarray(stored[:])


def refuse_outside(path: Path, name: str, what: str) -> None:
    """Refuse a name that leads out of a group.

    Raises
    ------
    InputError
        If it does.
    """
    if ".." in Path(name).parts or Path(name).is_absolute() or "\\" in name or ":" in name:
        raise InputError(f"{path} names {what} outside of itself ({name[:80]}): refused")
