"""OME-Zarr among the formats, and how a volume grows in one, box by box."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import zarr

from napari_mvfusion.data.geometry import Box, Grid, Triple
from napari_mvfusion.data.views import RegisteredViews, VolumeLike
from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.io.atomic import remove
from napari_mvfusion.io.base import Format, ProjectContents, StoredVolumes, ViewListing
from napari_mvfusion.io.members import describe_members, open_members
from napari_mvfusion.io.ome_zarr.appending import list_image, refuse_to_lose, takes_images
from napari_mvfusion.io.ome_zarr.channel_views import open_zarr_views
from napari_mvfusion.io.ome_zarr.joined_store import JoinedFiles
from napari_mvfusion.io.ome_zarr.placement import called
from napari_mvfusion.io.ome_zarr.reader import open_image, stored_of
from napari_mvfusion.io.ome_zarr.scene_reader import is_scene, members_of, read_scene
from napari_mvfusion.io.ome_zarr.series_writer import GatheringZarr
from napari_mvfusion.io.ome_zarr.shards import is_sharded
from napari_mvfusion.io.ome_zarr.stores import is_zarr, zip_of
from napari_mvfusion.io.ome_zarr.view_channels import write_views_zarr
from napari_mvfusion.io.ome_zarr.writer import (
    create_zarr,
    damaged_level,
    finish_zarr,
    restore_group,
    shard_zarr,
    write_zarr,
)
from napari_mvfusion.io.ome_zarr.zipped_store import SUFFIXES
from napari_mvfusion.io.streaming import LeadingAxis
from napari_mvfusion.io.volume_choice import ProjectChoice, VolumeChoice


class OMEZarr(Format):
    """OME-Zarr images."""

    name: ClassVar[str] = "OME-Zarr"
    suffixes: ClassVar[tuple[str, ...]] = (".zarr",)
    is_folder: ClassVar[bool] = True
    written: ClassVar[str] = "OME-Zarr"
    new_suffix: ClassVar[str] = ".zarr"
    grows: ClassVar[bool] = True
    holds_views: ClassVar[bool] = True
    has_addresses: ClassVar[bool] = True

    def recognises(self, path: Path) -> bool:
        """By what lies in the folder, however it is called."""
        return is_zarr(path)

    def open(self, path: Path) -> StoredVolumes:
        """Look at an image; see `open_image`."""
        return stored_of(open_image(path))

    def open_at(self, path: Path, at: VolumeChoice) -> StoredVolumes:
        """Look at an image at a level, in one of its coordinate systems; see `open_image`."""
        return stored_of(open_image(path, at))

    def write(self, path: Path, data: VolumeLike, grid: Grid, **how: Any) -> None:
        """Write an image with its levels; see `write_zarr`."""
        self.kept_as(how.get("dtype") or data.dtype)
        write_zarr(path, data, grid, **how)
        self.enter(path)

    def check_replaced(self, path: Path) -> None:
        """An image takes the place of one image; see `refuse_to_lose`."""
        refuse_to_lose(path)

    def takes(self, folder: Path) -> bool:
        """Whether a group takes an image under any name; see `takes_images`."""
        return takes_images(folder)

    def enter(self, path: Path) -> None:
        """Add an image to the list of its container; see `list_image`."""
        list_image(path)

    def flaw(self, path: Path) -> str:
        """Whether the coarser levels are made of the pixels; see `Format.flaw`."""
        level = damaged_level(path)
        return "" if level is None else f"its coarser level {level} is not made of its voxels"

    def open_views(self, path: Path, at: VolumeChoice) -> RegisteredViews:
        """Open the channels of an image as views; see `open_zarr_views`."""
        return open_zarr_views(path, at)

    def write_views(
        self, path: Path, views: RegisteredViews, *, truth: VolumeLike | None = None, overwrite: bool = False
    ) -> None:
        """Write views as the channels of an image; see `write_views_zarr`."""
        write_views_zarr(path, views, truth=truth, overwrite=overwrite)

    def grow(self, place: Path, grid: Grid, chunk: Triple, *, name: str, known: str | None) -> GrowingZarr:
        """Begin, or go on with, an image that is filled box by box; see `Format.grow`."""
        return GrowingZarr(place, grid, chunk, name=name, known=known)

    def join(self, place: Path, known: str, aside: Path) -> JoinedZarr:
        """Help to fill an image that another process has begun; see `Format.join`."""
        return JoinedZarr(place, known, aside)

    def gather(
        self, place: Path, leading: Sequence[LeadingAxis], channel_names: Sequence[str], *, name: str
    ) -> GatheringZarr:
        """Gather finished images of single volumes in one; see `Format.gather`."""
        return GatheringZarr(place, leading, channel_names, name=name)


class ZippedZarr(OMEZarr):
    """OME-Zarr images in zip files, which are read only."""

    name: ClassVar[str] = "zipped OME-Zarr"
    suffixes: ClassVar[tuple[str, ...]] = SUFFIXES
    is_folder: ClassVar[bool] = False
    written: ClassVar[str] = ""
    new_suffix: ClassVar[str] = ""
    grows: ClassVar[bool] = False
    has_addresses: ClassVar[bool] = False

    def place(self, path: Path) -> Path:
        """The zip file; a name may go on in it, as `plate.zarr.zip/A/1/0`."""
        return zip_of(path) or path

    def elsewhere(self, path: Path, place: Path) -> Path:
        """What is named, in another zip file."""
        return place.joinpath(*path.parts[len(self.place(path).parts) :])

    def recognises(self, path: Path) -> bool:
        """By the ending of the zip file, and by what lies in it where a name goes on."""
        archive = zip_of(path)
        return archive is not None and (archive == path or is_zarr(path))


class ZarrScene(Format):
    """Scenes of OME-Zarr 0.6, which place several images."""

    name: ClassVar[str] = "OME-Zarr scene"
    suffixes: ClassVar[tuple[str, ...]] = ()
    is_folder: ClassVar[bool] = True
    is_project: ClassVar[bool] = True
    own_psfs: ClassVar[bool] = True
    has_addresses: ClassVar[bool] = True

    def recognises(self, path: Path) -> bool:
        """By its metadata."""
        return is_scene(path)

    def takes(self, folder: Path) -> bool:
        """Say that a scene names its images; see `takes_images`."""
        return takes_images(folder)

    def open(self, path: Path) -> StoredVolumes:
        """Say that a scene is no single volume.

        Raises
        ------
        InputError
            Always; or what is wrong with the scene.
        """
        images = [str(path / name) for name in read_scene(path).images]
        raise InputError(
            f"{path} is a scene of {len(images)} images, where one volume is needed: name one, as {images[0]}"
        )

    def open_project(self, path: Path, choice: ProjectChoice, *, clean: bool) -> RegisteredViews:
        """Open its images in their places; see `read_scene` and `open_members`."""
        del clean
        scene = read_scene(path)
        return open_members(path, members_of(scene), choice, remarks=scene.left_out)

    def describe(self, path: Path) -> ProjectContents:
        """What it holds; see `describe_members`."""
        scene = read_scene(path)
        return describe_members(
            path,
            members_of(scene),
            kept="an OME-Zarr scene",
            registrations=tuple(called(world) for world in scene.worlds),
            psfs=sum(image.has_psf for image in scene.images.values()),
        )

    def list_views(self, path: Path, choice: ProjectChoice) -> ViewListing:
        """Its images, and the levels that all of them have; see `Format.list_views`."""
        levels = min(len(image.scales["datasets"]) for image in read_scene(path).images.values())
        return replace(super().list_views(path, choice), levels=levels)


class GrowingZarr:
    """An OME-Zarr whose chunks are written as they come: each is a file of its own, renamed when it is complete.

    Where they are many, they are brought together in fewer files when all are there. See `Format.grow` for the parameters.
    """

    def __init__(self, place: Path, grid: Grid, chunk: Triple, *, name: str, known: str | None) -> None:
        self._place, self._name, self._chunk = place, name, chunk
        self._level = place / "0"
        self._sharded = is_sharded(grid.shape, chunk)
        if known is None or self._digest() != known:
            remove(place)
            create_zarr(place, grid, chunks=chunk, name=name)
        restore_group(place, grid, name=name)
        self.description = self._digest()
        self._array: Any = zarr.open_array(self._level, mode="r+")
        self.volume: VolumeLike = self._array

    def write(self, box: Box, pixels: np.ndarray) -> None:
        """Store the pixels of a box; see `Growing`."""
        self._array[box.slices] = pixels

    def read(self, box: Box) -> np.ndarray:
        """The pixels of a box; see `Growing`."""
        return np.asarray(self._array[box.slices])

    def forget(self, box: Box) -> None:
        """Remove the chunks of a box; zarr would first read those that the border of the volume cuts."""
        ranges = (range(a // c, -(-b // c)) for a, b, c in zip(box.start, box.stop, self._chunk, strict=True))
        for number in product(*ranges):
            self._level.joinpath("c", *map(str, number)).unlink(missing_ok=True)

    def finish(self, into: Path, recipe: Mapping[str, Any] | None) -> None:
        """Add the levels and the recipe; see `Growing`."""
        if self._sharded:
            shard_zarr(self._place, into, recipe=recipe)
            return
        for rest in self._place.rglob("*.partial"):
            rest.unlink()
        finish_zarr(self._place, recipe=recipe, name=self._name)
        self._place.rename(into)

    def _digest(self) -> str:
        return _digest_of(self._level)


class JoinedZarr:
    """An OME-Zarr that another process has begun, and whose chunks this one writes too. See `Format.join`."""

    def __init__(self, place: Path, known: str, aside: Path) -> None:
        level = place / "0"
        if _digest_of(level) != known:
            raise OutputError(
                f"{place} is not there as it was begun by the run: its folder must be the same everywhere"
            )
        self._array: Any = zarr.open_array(JoinedFiles(level, aside), mode="r+")

    def write(self, box: Box, pixels: np.ndarray) -> None:
        """Store the pixels of a box; see `Growing`."""
        self._array[box.slices] = pixels


def _digest_of(level: Path) -> str:
    """Of what zarr has written about an array; "" where that is not there."""
    path = level / "zarr.json"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
