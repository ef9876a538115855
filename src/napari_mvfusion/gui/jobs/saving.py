"""Writing views and results to files, in a thread, and what is known of them afterwards."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from napari.layers import Image

from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.jobs.tasks import Checkpoint
from napari_mvfusion.gui.layers.conversion import Opened
from napari_mvfusion.gui.layers.notes import annotate, notes
from napari_mvfusion.io.atomic import written_aside
from napari_mvfusion.io.base import Format
from napari_mvfusion.io.formats import writer_of, writers
from napari_mvfusion.io.psf_files import ViewPSF
from napari_mvfusion.io.saved_views import write_views_folder
from napari_mvfusion.io.watched import Watched


@dataclass(frozen=True)
class Kind:
    """A way to save views: one volume whose channels they are, or a folder of files, one a view.

    Attributes
    ----------
    known : the format of the volume, or of the files
    in_folder : whether it is a folder of files
    """

    known: Format
    in_folder: bool

    @property
    def name(self) -> str:
        """In words, as "OME-Zarr" or "TIFF folder"."""
        return f"{self.known.name} folder" if self.in_folder else self.known.written

    @property
    def ending(self) -> str:
        """What its name ends with; "" for a folder of files."""
        return "" if self.in_folder else self.known.new_suffix


def kinds() -> list[Kind]:
    """The ways to save views."""
    as_one = [Kind(known, in_folder=False) for known in writers() if known.holds_views]
    return as_one + [Kind(known, in_folder=True) for known in writers() if not known.is_folder]


@dataclass(frozen=True, eq=False)
class SavedViews:
    """Views as they were written: where, how they are opened again, and the same views from there, in the same order."""

    path: Path
    inputs: dict[str, Any]
    views: tuple[View, ...]


def savable(opened: Opened, kind: Kind) -> RegisteredViews:
    """The views as they can be written.

    Raises
    ------
    InputError
        If a kind of file cannot hold them; says which view and what helps.
    """
    if opened.leading:
        raise InputError("a series is not saved as views: save one time point or channel, or each layer for itself")
    views = opened.views
    for view in views.views:
        if view.affine is not None:
            raise InputError(
                f"{view.label} lies elsewhere than the first, or has other voxels, and the views of a file share one grid: "
                "untick it, or give it the place and size of the first"
            )
        if view.mask is not None:
            raise InputError(f"{view.label} has a mask, which is not saved with views: untick it")
    if kind.in_folder:
        angles = [view.angle for view in views.views]
        for view in views.views:
            if view.angle is None or angles.count(view.angle) > 1:
                raise InputError(
                    f"{view.label} needs an angle of its own, as the files of a folder are called by angles: enter it, or "
                    f"save as {kinds()[0].name}"
                )
    return views


def save_views(
    check: Checkpoint, path: Path, views: RegisteredViews, kind: Kind, tag: str
) -> Generator[None, None, SavedViews]:
    """Write views with their PSFs, and open them again; nothing is replaced, and a write that ends early leaves nothing.

    Parameters
    ----------
    check : ends it
    path : of what is written, which is new
    views : see `savable`
    kind : one of `kinds`
    tag : what the names of the files in a folder begin with
    """
    yield
    note = _follower(check, views.grid.box.size * len(views))
    watched = RegisteredViews([replace(v, data=Watched(v.data, note)) for v in views.views], views.grid)
    if kind.in_folder:
        with written_aside(path, overwrite=False) as aside:
            write_views_folder(aside, watched, tag, ending=kind.known.suffixes[0])
    else:
        kind.known.write_views(path, watched)
    inputs = Inputs(source=str(path.resolve()), tag=tag if kind.in_folder else None)
    again = inputs.open()
    by_key = {_key(view, kind): view for view in again.views}
    return SavedViews(path, inputs.model_dump(mode="json"), tuple(by_key[_key(view, kind)] for view in views.views))


def take_over(layers: Sequence[Image], before: RegisteredViews, saved: SavedViews) -> None:
    """Let layers know their files, so that a run on them can be repeated elsewhere.

    A layer that got another PSF while it was written is left as it is.
    """
    for layer, old, view in zip(layers, before.views, saved.views, strict=True):
        if notes(layer).get("psf") is not old.psf:
            continue
        annotate(
            layer,
            role="view",
            name=view.name,
            source=view.source,
            psf=view.psf,
            psf_said=ViewPSF(view.psf, view.psf_notes, view.psf_flaw),
            inputs=saved.inputs,
        )


def save_volume(
    check: Checkpoint, path: Path, content: Mapping[str, Any], *, overwrite: bool
) -> Generator[None, None, Path]:
    """Write a result with its place and recipe.

    Parameters
    ----------
    check : ends it
    path : ends as one of the formats that can be written
    content : arguments of `write_volume`
    overwrite : replace a file that is there; a folder never is
    """
    yield
    data = content["data"]
    watched = Watched(data, _follower(check, prod(data.shape)))
    known = writer_of(path)
    known.write(path, **{**content, "data": watched, "overwrite": overwrite and not known.is_folder})
    return path


def _key(view: View, kind: Kind) -> Any:
    return f"{view.angle:g}" if kind.in_folder else view.name


def _follower(check: Checkpoint, pixels: int) -> Callable[[int], None]:
    """Reports the share of all pixels that was read, and ends the work where it was stopped."""
    done = 0

    def note(count: int) -> None:
        nonlocal done
        done += count
        check.report("Writing…", min(1.0, done / pixels))

    return note
