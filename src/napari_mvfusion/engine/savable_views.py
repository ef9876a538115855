"""Registered views as files that open again: the ways to save them, what each can hold, and how a run repeats on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.atomic import written_aside
from napari_mvfusion.io.base import Format
from napari_mvfusion.io.formats import growing_format, writers
from napari_mvfusion.io.ome_zarr.scene_writer import write_scene
from napari_mvfusion.io.saved_views import write_views_folder
from napari_mvfusion.io.watched import Watched, share_of


@dataclass(frozen=True)
class Kind:
    """A way to save views: one volume whose channels they are, a folder of files, one a view, or a scene.

    Attributes
    ----------
    known : the format of the volume, or of the files
    in_folder : whether it is a folder of files
    in_places : whether it is a scene, in which each view keeps its own pixels and its place
    """

    known: Format
    in_folder: bool = False
    in_places: bool = False

    @property
    def name(self) -> str:
        """In words, as "OME-Zarr", "OME-Zarr scene" or "TIFF folder"."""
        if self.in_places:
            return f"{self.known.name} scene"
        return f"{self.known.name} folder" if self.in_folder else self.known.written

    @property
    def ending(self) -> str:
        """What its name ends with; "" for a folder of files."""
        return "" if self.in_folder else self.known.new_suffix


def kinds() -> list[Kind]:
    """The ways to save views."""
    as_one = [Kind(known) for known in writers() if known.holds_views]
    return [*as_one, scene(), *(Kind(known, in_folder=True) for known in writers() if not known.is_folder)]


def scene() -> Kind:
    """The way to save views each in its place."""
    return Kind(growing_format(), in_places=True)


@dataclass(frozen=True, eq=False)
class SavedViews:
    """Views as they were written: where, how they are opened again, and the same views from there, in the same order."""

    path: Path
    inputs: dict[str, Any]
    views: tuple[View, ...]


def check_savable(views: RegisteredViews, kind: Kind) -> None:
    """Refuse views that a kind of file cannot hold.

    Raises
    ------
    InputError
        If there is one; says which view and what helps.
    """
    angles = [view.angle for view in views.views]
    for view in views.views:
        if view.affine is not None and not kind.in_places:
            raise InputError(
                f"{view.label} lies elsewhere than the first, or has other voxels, and the views of a file share one grid: "
                f"save as {scene().name}, untick it, or give it the place and size of the first"
            )
        if view.trust is not None:
            raise InputError(
                f"{view.label} counts more in some places than in others, which is not saved with views: let it count alike "
                "everywhere, or untick it"
            )
        if view.transmission is not None:
            raise InputError(
                f"{view.label} has a transmission, which is not saved with views: keep its file, and save it without"
            )
        if view.mask is not None:
            raise InputError(f"{view.label} has a mask, which is not saved with views: untick it")
        if kind.in_folder and (view.angle is None or angles.count(view.angle) > 1):
            raise InputError(
                f"{view.label} needs an angle of its own, as the files of a folder are called by angles: enter it, or "
                f"save as {kinds()[0].name}"
            )


def open_for_scene(inputs: Inputs) -> RegisteredViews:
    """Open views as a scene holds them: each with its PSF in the frame of its own pixels, and counting alike everywhere.

    Raises
    ------
    InputError
        If they cannot be opened, or have PSFs on other voxels than those that are opened of them.
    """
    views = inputs.without_trust().open(own_psfs=True)
    with_psf = [view for view in views.views if view.psf is not None]
    if inputs.level and with_psf:
        raise InputError(
            f"{with_psf[0].label} has a PSF on the voxels of its full resolution, and a scene would hold it beside those of "
            f"level {inputs.level}: take level 0"
        )
    return views


def not_in_scene(inputs: Inputs | None) -> str:
    """What a scene does not hold of the views of a result, in a sentence; "" where it holds all.

    Parameters
    ----------
    inputs : how they were opened, as the recipe of the result says; None where it does not
    """
    if inputs is None or not inputs.says_trust:
        return ""
    return (
        "How much views count from place to place is not in the scene: the recipe of the result says it, and fusing the "
        "views of the scene needs it said again."
    )


def save_views(path: Path, views: RegisteredViews, kind: Kind, tag: str, report: Callable[[float], None]) -> SavedViews:
    """Write views with their PSFs, and open them again; nothing is replaced, and a write that ends early leaves nothing.

    Parameters
    ----------
    path : of what is written, which is new
    views : see `check_savable`; for a scene with PSFs in the frames of their own pixels
    kind : one of `kinds`
    tag : what the names of the files in a folder begin with
    report : is told the share of all pixels that was read; what it raises ends the write

    Raises
    ------
    OutputError
        If there is something already, or it cannot be written.
    """
    note = share_of(sum(prod(view.shape) for view in views.views), report)
    watched = RegisteredViews([replace(v, data=Watched(v.data, note)) for v in views.views], views.grid)
    if kind.in_folder:
        with written_aside(path, overwrite=False) as aside:
            write_views_folder(aside, watched, tag, ending=kind.known.suffixes[0])
    elif kind.in_places:
        write_scene(path, watched)
    else:
        kind.known.write_views(path, watched)
    inputs = Inputs(source=str(path.resolve()), tag=tag if kind.in_folder else None, grid="isotropic")
    opened = inputs.open().views
    if kind.in_places:
        # Names of folders cannot be all that views are called; they keep their order.
        return SavedViews(path, inputs.model_dump(mode="json"), opened)
    by_key = {_key(view, kind): view for view in opened}
    return SavedViews(path, inputs.model_dump(mode="json"), tuple(by_key[_key(view, kind)] for view in views.views))


def _key(view: View, kind: Kind) -> Any:
    return f"{view.angle:g}" if kind.in_folder else view.name
