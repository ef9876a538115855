"""The button that saves a result with its place and recipe, whatever format the dialog of napari would begin with."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtWidgets import QPushButton, QWidget

from napari_mvfusion.errors import MVFusionError
from napari_mvfusion.gui.file_dialog import ask_for_file
from napari_mvfusion.gui.layers import notes
from napari_mvfusion.gui.saver import Saver
from napari_mvfusion.gui.saving import save_volume
from napari_mvfusion.gui.writer import content_of, refuse_shown

_KINDS = {"ome.tif": "OME-TIFF", "zarr": "OME-Zarr"}
_ENDINGS = (".tif", ".tiff", ".zarr")


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
        for event in self._events():
            event.connect(self.show_state)
        self.clicked.connect(self._ask)
        self.show_state()

    def _events(self) -> list[Any]:
        layers = self._viewer.layers
        return [layers.events.inserted, layers.events.removed, layers.selection.events.active]

    def detach(self) -> None:
        """Follow nothing more."""
        for event in self._events():
            event.disconnect(self.show_state)
        self.saver.cancel()

    def show_state(self, _: object = None) -> None:
        """Which result would be saved, or why there is none."""
        layer = self._chosen()
        reason = "Being saved…" if self.saver.running else "" if layer is not None else "There is no result yet"
        self.setEnabled(not reason)
        name = "" if layer is None else layer.name
        self.setToolTip(reason or f"Save “{name}” with its voxel size, place and recipe, as OME-TIFF or OME-Zarr")

    def _chosen(self) -> Image | None:
        """The selected result, or the latest complete one."""
        active = self._viewer.layers.selection.active
        if isinstance(active, Image) and notes(active).get("role") == "fused" and not notes(active).get("running"):
            return active
        found = [layer for layer in self._viewer.layers if isinstance(layer, Image) and notes(layer).get("recipe")]
        return found[-1] if found else None

    def _ask(self) -> None:
        layer = self._chosen()
        if layer is None:
            return
        name = "".join("_" if sign in '<>:"/\\|?*' else sign for sign in layer.name)
        if (path := ask_for_file(self.window(), f"Save {layer.name}", name, _KINDS)) is None:
            return
        named = path if path.suffix.lower() in _ENDINGS else path.with_name(f"{path.name}.ome.tif")
        try:
            refuse_shown(str(named), self._viewer.layers)
            content = content_of(layer)
        except MVFusionError as error:
            self.saver.said.emit("error", str(error))
            return
        # The dialog has asked about the name that was entered only.
        overwrite = named == path
        self.saver.start(
            named.name, save_volume, named, content, done=partial(self._finish, layer), overwrite=overwrite
        )

    def _finish(self, layer: Image, path: Path | None) -> None:
        if path is not None:
            self.saver.said.emit("done", f"Saved {layer.name} as {path}.")
