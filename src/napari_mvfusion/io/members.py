"""Volumes that say themselves where they lie, opened together as the views of a project."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from napari_mvfusion.data.geometry import assumed_size
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.angles import angles_in
from napari_mvfusion.io.base import ProjectContents, StoredVolumes
from napari_mvfusion.io.placing import GridWish, direction_of, own_voxels, place_volumes
from napari_mvfusion.io.volume_choice import ProjectChoice, VolumeChoice
from napari_mvfusion.psf import resample_psf

_SHOWN = 8


@dataclass(frozen=True)
class Member:
    """A view before it is opened.

    Attributes
    ----------
    name : what it is called
    look : looks at its volumes; no pixel is read
    dress : adds what its file says of it beyond its pixels, as its angle, and its PSF in its own frame
    """

    name: str
    look: Callable[[VolumeChoice], StoredVolumes]
    dress: Callable[[View], View] = lambda view: view


def called_by(path: Path) -> str:
    """The name of a view by that of its folder: view0.ome.zarr and view0_msim.zarr are view0."""
    stem = path.name.removesuffix(".zarr").removesuffix(".ome")
    return stem.removesuffix("_msim").removesuffix(".msim") or stem


def open_members(
    path: Path, members: Sequence[Member], choice: ProjectChoice, *, remarks: Sequence[str] = ()
) -> RegisteredViews:
    """Open views in their places; pixels are read when they are needed.

    Parameters
    ----------
    path : of all of them, for messages
    members : all views, at least one
    choice : which of them, and on which grid
    remarks : what is to be said of how they were found

    Raises
    ------
    InputError
        If something is not chosen that has to be, is not there, or a view cannot be used.
    """
    if choice.box is not None:
        raise InputError(f"{path} has no bounding boxes by name: give the first and last place in um, or leave it out")
    if choice.world_unit_um is not None:
        raise InputError(f"{path} says itself which unit its world has: leave --world-unit (world_unit_um=) out")
    by_name = {member.name: member for member in members}
    wanted = list(by_name) if choice.views is None else list(choice.views)
    for name in wanted:
        if name not in by_name:
            raise InputError(f"there is no view '{name}' in {path}: the views are {_some(list(by_name))}")
    at = VolumeChoice(choice.timepoint, choice.channel, choice.level, choice.registration)
    stored = [by_name[name].look(at) for name in wanted]
    pixels = [volume.volume(at.timepoint, at.channel) for volume in stored]
    wish = GridWish(choice.voxel_size_um or choice.voxels, choice.box_um, own_psfs=choice.own_psfs)
    placed = place_volumes(stored, wanted, None, wish)
    turned = any(volume.affine_um is not None for volume in stored)
    # Views that are turned say by that which angle they were recorded at, whatever they are called.
    angles = [direction_of(_affine(volume)) for volume in stored] if turned else angles_in(wanted)
    views = []
    for index, name in enumerate(wanted):
        volume, affine = stored[index], placed.affines[index]
        plain = View(pixels[index], name, angle=angles[index], affine=affine, source=str(volume.path))
        view = replace(by_name[name].dress(plain), name=name)
        if view.psf is not None and not choice.own_psfs and (affine is not None or at.level):
            # The PSF is on the voxels of the full resolution.
            full = volume if at.level == 0 else by_name[name].look(replace(at, level=0))
            own = own_voxels(_affine(full), placed.grid)
            centre = np.array(view.psf.shape) // 2
            psf = resample_psf(view.psf, own.to_grid, centre=centre)
            view = replace(view, psf=psf, psf_notes=(*view.psf_notes, own.said))
        views.append(view)
    notes = dict.fromkeys(note for volume in stored for note in volume.notes)
    return RegisteredViews(views, placed.grid, remarks=[*remarks, *notes, *placed.remarks])


def describe_members(
    path: Path, members: Sequence[Member], *, kept: str, registrations: tuple[str, ...], psfs: int = 0
) -> ProjectContents:
    """What volumes hold that are opened together.

    Parameters
    ----------
    path : of all of them, for messages
    members : the views, at least one
    kept : how their pixels are kept, in words
    registrations : that can be chosen
    psfs : how many have one

    Raises
    ------
    InputError
        If the first view cannot be used.
    """
    if not members:
        raise InputError(f"{path} holds no views")
    first = members[0].look(VolumeChoice(registration=registrations[0] if registrations else None))
    names = tuple(member.name for member in members)
    times, channels = first.leading.get("t", 1), first.leading.get("c", 1)
    return ProjectContents(
        kept=kept,
        # What files do not say of it nobody can say here.
        world_unit="one world unit is 1 um" if all(first.in_um) else "the unit of its world is not known",
        timepoints=tuple(range(times)),
        channels=tuple(map(str, range(channels))) if channels > 1 else (),
        angles=(),
        illuminations=(),
        tiles=(),
        boxes=(),
        views=len(names) * times * channels,
        missing=0,
        psfs=psfs,
        channel_numbers=tuple(range(channels)) if channels > 1 else (),
        registrations=registrations,
        images=names,
    )


def _affine(volume: StoredVolumes) -> np.ndarray:
    """From its voxels to the world, but for its place where it is upright."""
    size = assumed_size(volume.voxel_size_um)[0]
    return np.diag([*size, 1.0]) if volume.affine_um is None else volume.affine_um


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f", … ({len(names)})" if len(names) > _SHOWN else "")
