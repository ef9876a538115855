"""Saving a result with its place and recipe, by a button or a menu; the dialog of napari begins with a format without."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import napari.viewer
from napari.components import LayerList, ViewerModel
from napari.layers import Image
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtWidgets import QApplication, QPushButton, QWidget

from napari_mvfusion.data.views import drain
from napari_mvfusion.errors import MVFusionError
from napari_mvfusion.gui.jobs.bar import Saver
from napari_mvfusion.gui.jobs.saving import save_volume
from napari_mvfusion.gui.jobs.tasks import Checkpoint
from napari_mvfusion.gui.layers.follower import LayerFollower
from napari_mvfusion.gui.layers.notes import notes
from napari_mvfusion.gui.widgets.inputs import ask_for_file
from napari_mvfusion.gui.widgets.waiting import while_busy
from napari_mvfusion.gui.writer import content_of, refuse_shown
from napari_mvfusion.io.formats import is_written, writers


def chosen_result(layers: LayerList) -> Image | None:
    """The selected result, or the latest complete one; none that is still computed."""
    active = layers.selection.active
    if isinstance(active, Image) and notes(active).get("role") == "fused" and not notes(active).get("running"):
        return active
    found = [layer for layer in layers if isinstance(layer, Image) and notes(layer).get("recipe")]
    return found[-1] if found else None


@dataclass(frozen=True, eq=False)
class Writing:
    """What is to be written: the file, arguments of the writers, and whether a file that is there is replaced."""

    path: Path
    content: dict[str, Any]
    overwrite: bool


def ask_where(parent: QWidget | None, layer: Image, layers: LayerList) -> Writing | None:
    """Ask where a result is to be saved; None where the user goes back.

    Raises
    ------
    InputError, OutputError
        If the file is one that a layer shows, or the layer cannot be written.
    """
    name = "".join("_" if sign in '<>:"/\\|?*' else sign for sign in layer.name)
    kinds = {known.new_suffix.removeprefix("."): known.written for known in writers()}
    if (path := ask_for_file(parent, f"Save {layer.name}", name, kinds)) is None:
        return None
    named = path if is_written(path) else path.with_name(f"{path.name}.{next(iter(kinds))}")
    refuse_shown(str(named), layers)
    # The dialog has asked about the name that was entered only.
    return Writing(named, content_of(layer), overwrite=named == path)


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
        write = save_volume(Checkpoint(), writing.path, writing.content, overwrite=writing.overwrite)
        while_busy(f"Saving {writing.path.name}…", lambda: drain(write))
    except MVFusionError as error:
        show_error(str(error))
        return
    show_info(f"Saved {layer.name} as {writing.path}.")


class SaveResult(QPushButton):
    """Saves the selected result, or the latest one where none is selected, in a thread.

    Attributes
    ----------
    saver : what is being written; stands where the panel puts it

    Parameters
    ----------
    viewer : whose layers are looked at
    """

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__("Save result…", parent)
        self.setObjectName("save_result")
        self._viewer = viewer
        self.saver = Saver()
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
        kinds = [known.written for known in writers()]
        self.setToolTip(
            reason or f"Save “{name}” with its voxel size, place and recipe, as {', '.join(kinds[:-1])} or {kinds[-1]}"
        )

    def _ask(self) -> None:
        layer = chosen_result(self._viewer.layers)
        if layer is None:
            return
        try:
            writing = ask_where(self.window(), layer, self._viewer.layers)
        except MVFusionError as error:
            self.saver.said.emit("error", str(error))
            return
        if writing is not None:
            done = partial(self._finish, layer)
            self.saver.start(
                writing.path.name, save_volume, writing.path, writing.content, done=done, overwrite=writing.overwrite
            )

    def _finish(self, layer: Image, path: Path | None) -> None:
        if path is not None:
            self.saver.said.emit("done", f"Saved {layer.name} as {path}.")
