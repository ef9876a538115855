"""Writing results and views to files, in a thread, with their places and recipes; by a button or a menu.

The dialog of napari alone begins with a format that keeps neither.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from math import prod
from pathlib import Path
from typing import Any

import napari.viewer
import numpy as np
from napari.components import LayerList, ViewerModel
from napari.layers import Image
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QApplication, QPushButton, QWidget

from napari_mvfusion.data.fused import Fused
from napari_mvfusion.data.views import RegisteredViews, drain
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.engine.savable_views import Kind, SavedViews, not_in_scene, open_for_scene, save_views
from napari_mvfusion.errors import InputError, MVFusionError, OutputError
from napari_mvfusion.gui.jobs.status import Status, TaskBar
from napari_mvfusion.gui.jobs.tasks import Checkpoint, Steps, Task
from napari_mvfusion.gui.layers.conversion import frame_of
from napari_mvfusion.gui.layers.follower import LayerFollower
from napari_mvfusion.gui.layers.notes import annotate, notes
from napari_mvfusion.gui.widgets.inputs import ask_for_kind
from napari_mvfusion.gui.widgets.waiting import while_busy
from napari_mvfusion.gui.writer import content_of, refuse_shown
from napari_mvfusion.io.formats import format_of, growing_format, is_written, split_ending, writer_of, writers
from napari_mvfusion.io.ome_zarr.scene_writer import write_scene
from napari_mvfusion.io.overlap import places_in, refuse_overlap
from napari_mvfusion.io.psf_files import ViewPSF
from napari_mvfusion.io.watched import Watched, share_of
from napari_mvfusion.system.file_checks import is_folder

_SPATIAL = 3
_INTO = "Image in an OME-Zarr: step into its folder, and type a name"
_SCENE = "OME-Zarr scene with its views"


class Saver(TaskBar):
    """One file that is being written, in a thread.

    Parameters
    ----------
    status : says what went wrong, and that it was cancelled
    """

    changed = Signal()

    def __init__(self, status: Status) -> None:
        super().__init__(
            cancel="Cancel saving",
            tip="Stop; nothing is left of the file",
            names=("save_progress", "save_step", "cancel_saving"),
        )
        self._status = status
        self._task: Task | None = None
        self._ending_early = False
        self.cancelled.connect(self.cancel)

    @property
    def running(self) -> bool:
        """Whether something is written."""
        return self._task is not None

    def start(self, what: str, steps: Steps, *args: Any, done: Callable[[Any], None]) -> None:
        """Write in a thread.

        Parameters
        ----------
        what : is written, as the user reads it
        steps, args : a generator function that gets a `Checkpoint` first
        done : is called with what it returns
        """
        words = f"Saving {what}…"
        task = Task(steps, *args, parent=self)
        task.progressed.connect(lambda _, share: self.show_progress(words, share))
        task.succeeded.connect(done)
        task.failed.connect(self._status.fail)
        task.ended.connect(self._end)
        self._task, self._ending_early = task, False
        self.begin(words)
        self.changed.emit()
        task.start()

    def cancel(self) -> None:
        """Stop what is written; the rest of it is removed."""
        if self._task is not None:
            self._task.cancel()
            self._ending_early = True
            self.stopping()

    close_down = cancel

    def _end(self) -> None:
        self._task = None
        self.hide()
        if self._ending_early:
            self._status.say("warning", "Saving was cancelled, and nothing is left of the file.")
        self.changed.emit()


def views_steps(
    check: Checkpoint, path: Path, views: RegisteredViews, kind: Kind, tag: str
) -> Generator[None, None, SavedViews]:
    """Write views, see `napari_mvfusion.engine.savable_views.save_views`; `check` ends it."""
    yield
    return save_views(path, views, kind, tag, partial(check.report, "Writing…"))


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
            placed=before.grid.affine if old.affine is None else old.affine,
            psf_by_hand="",
            file_no_data=old.no_data if old.no_data_stated and saved.inputs["tag"] is None else None,
        )


@dataclass(frozen=True, eq=False)
class Writing:
    """What is to be written.

    Attributes
    ----------
    path : the file or folder
    content : arguments of the writers
    overwrite : whether a file that is there is replaced
    beside : how the views are opened that a scene holds beside the result; None for a result alone
    """

    path: Path
    content: Mapping[str, Any]
    overwrite: bool
    beside: Inputs | None = None

    @property
    def lost(self) -> str:
        """What is not in the files, in a sentence; "" where all is."""
        return not_in_scene(self.beside)


def volume_steps(check: Checkpoint, writing: Writing) -> Generator[None, None, Path]:
    """Write a result with its place and recipe; `check` ends it. A folder is never replaced."""
    yield
    data = writing.content["data"]
    watched = Watched(data, share_of(prod(data.shape), partial(check.report, "Writing…")))
    if writing.beside is not None:
        views = open_for_scene(writing.beside)
        write_scene(writing.path, views, fused=Fused(watched, writing.content["grid"], writing.content["recipe"]))
        return writing.path
    known = writer_of(writing.path)
    overwrite = writing.overwrite and not known.is_folder
    known.write(writing.path, **{**writing.content, "data": watched, "overwrite": overwrite})
    return writing.path


def chosen_result(layers: LayerList) -> Image | None:
    """The selected result, or the latest complete one; none that is still computed."""
    active = layers.selection.active
    if isinstance(active, Image) and notes(active).get("role") == "fused" and not notes(active).get("running"):
        return active
    found = [layer for layer in layers if isinstance(layer, Image) and notes(layer).get("recipe")]
    return found[-1] if found else None


def ask_where(parent: QWidget | None, layer: Image, layers: LayerList) -> Writing | None:
    """Ask where a result is to be saved; None where the user goes back.

    Raises
    ------
    InputError, OutputError
        If the file is one that a layer shows, or the layer cannot be written, or not there.
    """
    name = "".join("_" if sign in '<>:"/\\|?*' else sign for sign in layer.name)
    known = [(each.written, each.new_suffix.removeprefix(".")) for each in writers()]
    into, scene = len(known), len(known) + 1
    kinds = [*known, (_INTO, ""), (_SCENE, growing_format().new_suffix.removeprefix("."))]
    if (asked := ask_for_kind(parent, f"Save {layer.name}", name, kinds)) is None:
        return None
    path, kind = asked
    stem, ending = split_ending(path.name)
    if kind in (into, scene):
        # The name that was proposed may end as that of a file.
        of_folder = ending if ending.lower() in growing_format().suffixes else ""
        named = path.with_name(stem + (of_folder or growing_format().new_suffix * (kind == scene)))
    else:
        named = path if is_written(path) else path.with_name(f"{path.name}.{known[0][1]}")
    if kind == into:
        _check_container(path.parent)
    refuse_shown(str(named), layers)
    content = content_of(layer)
    if kind == scene:
        beside = _views_of(layer)
        refuse_overlap([named], places_in(beside.model_dump(mode="json")))
        return Writing(named, content, overwrite=False, beside=beside)
    # The dialog has asked about the name that was entered only.
    return Writing(named, content, overwrite=named == path)


def _check_container(folder: Path) -> None:
    """Refuse a folder that takes no image under any name."""
    if not (is_folder(folder) and format_of(folder).takes(folder)):
        raise OutputError(
            f"{folder} is no OME-Zarr that holds images by their names: step into the folder of one, and type a new name"
        )


def _views_of(layer: Image) -> Inputs:
    """How the views of a result are opened, each in its place, as its recipe says."""
    recipe = notes(layer).get("recipe") or {}
    if "series" in recipe or layer.ndim > _SPATIAL:
        raise InputError(
            f"{layer.name} is a series, and a scene holds one fused volume: save one time point or channel"
        )
    if recipe.get("inputs") is None:
        raise InputError(
            f"the recipe of {layer.name} does not say where its views lie: save them by Save views… in Views & PSFs, and "
            "fuse them again"
        )
    if not np.allclose(frame_of(layer)[1], np.eye(4)):
        raise InputError(f"{layer.name} was turned after it was fused: undo that, or save it alone")
    # The recipe of the result names them; a scene holds none.
    return Inputs.model_validate(recipe["inputs"]).model_copy(update={"transmissions": {}})


def save_from_menu(viewer: napari.viewer.Viewer) -> None:
    """Ask where, and save the selected result, or the latest one, while the window says so."""
    layer = chosen_result(viewer.layers)
    if layer is None:
        show_warning("There is no result to save yet: fuse views first.")
        return
    try:
        writing = ask_where(QApplication.activeWindow(), layer, viewer.layers)
        if writing is None:
            return
        while_busy(f"Saving {writing.path.name}…", lambda: drain(volume_steps(Checkpoint(), writing)))
    except MVFusionError as error:
        show_error(str(error))
        return
    show_info(_saved(layer, writing))


def _saved(layer: Image, writing: Writing) -> str:
    return " ".join(filter(None, [f"Saved {layer.name} as {writing.path}.", writing.lost]))


class SaveResult(QPushButton):
    """Saves the selected result, or the latest one where none is selected, in a thread.

    Attributes
    ----------
    saver : what is being written; stands where the panel puts it

    Parameters
    ----------
    viewer : whose layers are looked at
    status : says what was saved, or why it could not be, in place of what was said before
    """

    def __init__(self, viewer: ViewerModel, status: Status, parent: QWidget | None = None) -> None:
        super().__init__("Save result…", parent)
        self.setObjectName("save_result")
        self._viewer, self._status = viewer, status
        self.saver = Saver(status)
        self.saver.changed.connect(self.show_state)
        LayerFollower(viewer.layers, self).listed.connect(self.show_state)
        viewer.layers.selection.events.active.connect(self.show_state)
        self.clicked.connect(self._ask)
        self.show_state()

    def close_down(self) -> None:
        """Follow nothing more."""
        self._viewer.layers.selection.events.active.disconnect(self.show_state)

    def show_state(self, _: object = None) -> None:
        """Which result would be saved, or why there is none."""
        layer = chosen_result(self._viewer.layers)
        reason = "Being saved…" if self.saver.running else "" if layer is not None else "There is no result yet"
        self.setEnabled(not reason)
        name = "" if layer is None else layer.name
        *others, last = [known.written for known in writers()]
        self.setToolTip(
            reason
            or f"<qt>Save “{escape(name)}” with its voxel size, place and recipe, as {', '.join(others)} or {last}, into an "
            "OME-Zarr that holds other images, or with its views as an OME-Zarr scene</qt>"
        )

    def _ask(self) -> None:
        self._status.clear()
        layer = chosen_result(self._viewer.layers)
        if layer is None:
            return
        try:
            writing = ask_where(self.window(), layer, self._viewer.layers)
        except MVFusionError as error:
            self._status.say("error", str(error))
            return
        if writing is not None:
            self.saver.start(writing.path.name, volume_steps, writing, done=partial(self._finish, layer, writing))

    def _finish(self, layer: Image, writing: Writing, path: Path | None) -> None:
        if path is not None:
            self._status.say("done", _saved(layer, writing))
