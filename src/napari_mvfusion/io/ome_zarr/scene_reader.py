"""Scenes of OME-Zarr 0.6: a group that places several images by transformations between coordinate systems.

Where an image lies follows from its levels, its own transformations and those of the scene, as a way through the graph of
all coordinate systems, inverted where a transformation leads the other way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from napari_mvfusion.data.fused_grid import Placed
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.base import StoredVolumes
from napari_mvfusion.io.members import Member, called_by
from napari_mvfusion.io.ome_zarr.channel_views import dressed
from napari_mvfusion.io.ome_zarr.placement import (
    Place,
    Systems,
    called,
    place_of,
    placed,
    system_of,
    systems_of,
    to_system_of_levels,
    unlike_units,
)
from napari_mvfusion.io.ome_zarr.reader import (
    attributes_of,
    numbers_in,
    of_ome,
    open_image,
    reading,
    refuse_outside,
    stored_of,
)
from napari_mvfusion.io.ome_zarr.stores import is_zarr, may_say
from napari_mvfusion.io.volume_choice import NotChosenError, VolumeChoice
from napari_mvfusion.system.file_checks import parsing

_DAMAGED = "copy it again"
_MOST_IMAGES = 10_000
_SHOWN = 8


@dataclass(frozen=True, eq=False)
class SceneImage:
    """An image of a scene: its path in it, what its metadata says of its levels, the system in which these lie, its PSF."""

    name: str
    scales: Mapping[str, Any]
    start: Place
    has_psf: bool


@dataclass(frozen=True, eq=False)
class Scene:
    """A scene, read.

    Attributes
    ----------
    path : of its group
    systems : its own coordinate systems and those of its images, with all transformations
    images : by their paths in it, in the order in which it names them
    left_out : what it names and cannot be a view, in words
    worlds : the coordinate systems to which all images lead, of which one is the world
    """

    path: Path
    systems: Systems
    images: Mapping[str, SceneImage]
    left_out: tuple[str, ...]
    worlds: tuple[Place, ...]

    def world(self, wanted: str | None) -> Place:
        """The coordinate system that is the world.

        Raises
        ------
        InputError
            If it is not there; a `NotChosenError` where there are several and none is chosen.
        """
        names = [called(each) for each in self.worlds]
        if wanted is not None:
            if wanted not in names:
                raise InputError(
                    f"{self.path} has no coordinate system '{wanted}' for all images: it has {_some(names)}"
                )
            return self.worlds[names.index(wanted)]
        if len(self.worlds) > 1:
            raise NotChosenError(
                f"{self.path} has {len(names)} coordinate systems: choose one with --registration, of {_some(names)} "
                "(registration=)",
                "registration",
                names[0],
            )
        return self.worlds[0]

    def look(self, name: str, at: VolumeChoice) -> StoredVolumes:
        """The volumes of an image, in its place in the world; no pixel is read."""
        image = self.images[name]
        world = self.world(at.registration)
        opened = open_image(self.path / name, VolumeChoice(level=at.level, registration=image.start[1] or None))
        level = image.scales["datasets"][at.level]
        damaged = f"{self.path} is damaged: how it places '{name}' cannot be understood"
        with reading(self.path) as group, parsing(damaged, _DAMAGED):

            def load(array: str) -> Any:
                return numbers_in(self.path, group, array)

            own = to_system_of_levels(self.path / name, image.scales, level, len(opened.axes), load)
            onward = self.systems.way(image.start, world, load)
            if onward is None:
                raise InputError(f"{self.path} has no way from '{name}' to '{called(world)}': choose another system")
            before, after = self.systems.known[image.start], self.systems.known[world]
            said = unlike_units(self.path, before, after, world, onward)
            place = placed(self.path / name, onward @ own, opened.axes, after, said)
        stored = stored_of(opened, place)
        if place.affine_um is not None:
            Placed(stored.shape, place.affine_um, f"{self.path / name}")  # refuses what squeezes it flat
        return stored


def is_scene(path: Path) -> bool:
    """Whether a group is a scene."""
    return is_zarr(path) and may_say(path, "scene") and "scene" in attributes_of(path)


def read_scene(path: Path) -> Scene:
    """Read a scene and the metadata of its images; no pixel is read.

    Raises
    ------
    InputError
        If it is damaged, names no image, or leads outside of itself.
    """
    with reading(path) as group:
        stated = of_ome(dict(group.attrs))["scene"]
        known = {("", str(each["name"])): system_of(path, each) for each in stated.get("coordinateSystems", [])}
        systems = Systems(path, known)
        images: dict[str, SceneImage] = {}
        left_out: list[str] = []
        transforms = [
            (place_of(each["input"]), place_of(each["output"]), each)
            for each in stated.get("coordinateTransformations", ())
        ]
        for folder in dict.fromkeys(place[0] for each in transforms for place in each[:2]):
            if folder and len(images) < _MOST_IMAGES:
                _add_image(path, folder, systems, images, left_out)
        for before, after, each in transforms:
            start, end = _named(systems, images, before), _named(systems, images, after)
            if start is not None and end is not None:
                systems.edges.append((start, end, each))
        if not images:
            raise InputError(f"{path} is a scene without images that could be views{_why(left_out)}")
    return Scene(path, systems, images, tuple(left_out), _worlds(path, systems, images))


def members_of(scene: Scene) -> list[Member]:
    """The images of a scene as views, called by their last folder where that tells them apart."""
    last = [called_by(Path(name)) for name in scene.images]
    names = last if len(set(last)) == len(last) else list(scene.images)
    return [
        Member(name, partial(scene.look, path), partial(dressed, path=scene.path / path))
        for name, path in zip(names, scene.images, strict=True)
    ]


def _add_image(path: Path, folder: str, systems: Systems, images: dict[str, SceneImage], left_out: list[str]) -> None:
    """Take in an image that the scene names, with its own coordinate systems."""
    refuse_outside(path, folder, "an image")
    place = path / folder
    if not is_zarr(place):
        raise InputError(
            f"{path} names the image '{folder}', and it is not there: copy the scene again, with all of it"
        )
    if not place.resolve().is_relative_to(path.resolve()):
        raise InputError(
            f"{path} names the image '{folder}', which is a link to {place.resolve()}, outside of it: refused"
        )
    with reading(place) as group:
        attributes = dict(group.attrs)
    ome = of_ome(attributes)
    if "scene" in ome and "multiscales" not in ome:
        raise InputError(f"{path} holds another scene, '{folder}', which is not read: open that by itself")
    if "multiscales" not in ome or "image-label" in ome:
        left_out.append(f"'{folder}' of {path} is no image, and left out")
        return
    ours = attributes.get("mvfusion")
    if isinstance(ours, Mapping) and "recipe" in ours:
        left_out.append(f"'{folder}' of {path} is a fused volume, and left out")
        return
    scales = ome["multiscales"][0]
    if "coordinateSystems" not in scales:
        # An image of an older version has one, without a name.
        start = (folder, "")
        systems.known[start] = system_of(place, scales)
    else:
        own, (_, name) = systems_of(place, scales, scales["datasets"][0])
        start = (folder, name)
        systems.known |= {(folder, other): system for (_, other), system in own.known.items()}
        systems.edges += [((folder, a[1]), (folder, b[1]), each) for a, b, each in own.edges]
    stated = ours.get("views") if isinstance(ours, Mapping) else None
    has_psf = isinstance(stated, list) and len(stated) == 1 and bool(dict(stated[0]).get("psf"))
    images[folder] = SceneImage(folder, scales, start, has_psf)


def _named(systems: Systems, images: Mapping[str, SceneImage], place: Place) -> Place | None:
    """A coordinate system as it is known; that of its levels where an image has none of this name."""
    folder, name = place
    if not folder:
        if place not in systems.known:
            raise InputError(
                f"{systems.path} names the coordinate system '{name}', which it does not define: save it again"
            )
        return place
    if folder not in images:
        return None
    if place in systems.known:
        return place
    if images[folder].start[1] and name:
        raise InputError(
            f"{systems.path} names the coordinate system '{name}' of '{folder}', which has none of this name"
        )
    return images[folder].start


def _worlds(path: Path, systems: Systems, images: Mapping[str, SceneImage]) -> tuple[Place, ...]:
    """The systems that all images reach: those of the scene; else those of its images to which transforms lead only."""
    reached = [systems.leads(image.start) for image in images.values()]
    common = [place for place in systems.known if all(place in each for each in reached)]
    own = [place for place in common if not place[0]]
    ends = [place for place in common if not any(start == place for start, _, _ in systems.edges)]
    found = own or ends or common
    if not found:
        apart = next(name for name, each in zip(images, reached, strict=True) if not each >= reached[0])
        raise InputError(
            f"{path} does not say how '{apart}' lies beside '{next(iter(images))}': no transforms lead from one to the other"
        )
    return tuple(found)


def _why(left_out: list[str]) -> str:
    return f": {'; '.join(left_out[:_SHOWN])}" if left_out else ""


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f", … ({len(names)})" if len(names) > _SHOWN else "")
