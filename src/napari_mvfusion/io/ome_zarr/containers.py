"""Groups of zarr that hold images rather than being one: plates and their wells, series, folders; and what else there is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeAlias

import zarr

from napari_mvfusion.io.ome_zarr.stores import is_zarr

Look: TypeAlias = Callable[[Path], Mapping[str, Any]]
"""Reads what the attributes of a group say by the specification."""

# What the levels of images are called.
_LEVEL = re.compile(r"s?\d+")
_NAMED_IMAGES = 2
_LISTED_IMAGES = 12
_MOST_WELLS = 1536
_MOST_IMAGES = 10_000


def images_in(path: Path, ome: Mapping[str, Any], look: Look) -> list[Path]:
    """The images of a container: those that it names, in their order, else those that are counted or lie there.

    Parameters
    ----------
    path : of the group
    ome : what its attributes say by the specification
    look : at the attributes of others
    """
    if "plate" in ome:
        wells = [path / str(well["path"]) for well in ome["plate"].get("wells", [])[:_MOST_WELLS]]
        return [image for well in wells if _is_inside(well, path) for image in images_in(well, look(well), look)]
    if "well" in ome:
        named = [path / str(image["path"]) for image in ome["well"].get("images", [])]
        return [image for image in named if _is_inside(image, path)]
    series = look(path / "OME").get("series", []) if "bioformats2raw.layout" in ome else []
    if series:
        return [
            image for name in series[:_MOST_IMAGES] if _is_inside(image := path / str(name), path) and is_zarr(image)
        ]
    found = sorted(child for child in _folders_in(path) if is_zarr(child) and "multiscales" in look(child))
    return sorted(found, key=lambda child: int(child.name) if child.name.isdigit() else _MOST_IMAGES)


def several(path: Path, images: Sequence[Path], ome: Mapping[str, Any]) -> str:
    """What a container is, and what to name instead."""
    kind = "is a plate" if "plate" in ome else "is a well of a plate" if "well" in ome else "holds several images"
    shown = " or ".join(map(str, images[:_NAMED_IMAGES]))
    inner = [str(image.relative_to(path)) for image in images]
    listed = ", ".join(inner[:_LISTED_IMAGES]) + (", …" if len(inner) > _LISTED_IMAGES else "")
    more = f" (there are {len(images)}: {listed})" if len(images) > _NAMED_IMAGES else ""
    which = "the images in its wells" if "plate" in ome else "its images" if "well" in ome else "them"
    return f"{path} {kind}: name one of {which}, as {shown}{more}"


def what_it_is(path: Path, stored: Any, ome: Mapping[str, Any]) -> str:
    """What a zarr without images is, and what to name instead."""
    if "well" in ome:
        return "is a well of a plate, and none of its images is there: copy it again, or name one, as PLATE.zarr/A/1/0"
    if "plate" in ome:
        return (
            "is a plate, and none of its wells is there: copy it again, or name one of its images, as PLATE.zarr/A/1/0"
        )
    arrays = {str(name): array for name, array in stored.members() if isinstance(array, zarr.Array)}
    volumes = [name for name, array in arrays.items() if array.ndim >= 3]
    if volumes and ("ome" in stored.attrs or "omero" in ome or all(map(_LEVEL.fullmatch, volumes))):
        return (
            "has no multiscales entry in its attributes, which tells what the levels of an OME-Zarr are: save it again, or "
            f"name one of its arrays, as {path / volumes[0]}"
        )
    if volumes:
        kind = "is an xarray store" if any(map(_has_dimensions, arrays.values())) else "is a group of zarr arrays"
        return f"{kind}, and no OME-Zarr: name one of its arrays, as {' or '.join(str(path / n) for n in volumes[:2])}"
    folders = [child for child in _folders_in(path) if is_zarr(child)]
    if folders:
        return f"is a zarr group, and no OME-Zarr image: name what lies in it, as {folders[0]}"
    return "is a zarr group without images: name an OME-Zarr image"


def _has_dimensions(array: Any) -> bool:
    """Whether an array was written by xarray, which names its dimensions."""
    return "_ARRAY_DIMENSIONS" in array.attrs or bool(getattr(array.metadata, "dimension_names", None))


def _folders_in(path: Path) -> Iterator[Path]:
    """The folders in one; where nothing can be listed, those that are counted from 0 on, as bioformats2raw does."""
    if path.is_dir():
        return (child for child in sorted(path.iterdir())[:_MOST_IMAGES] if child.is_dir())
    return takewhile(is_zarr, (path / str(number) for number in range(_MOST_IMAGES)))


def _is_inside(place: Path, folder: Path) -> bool:
    return (
        place != folder
        and ".." not in place.parts
        and is_zarr(place)
        and place.resolve().is_relative_to(folder.resolve())
    )
