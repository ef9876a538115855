"""What a fine-tune learns from: ticked layers or files, the region, and sharp volumes."""

from __future__ import annotations

from typing import Any

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.jobs.fusions import describe
from napari_mvfusion.gui.layers.conversion import Opened, open_layers
from napari_mvfusion.gui.layers.notes import notes
from napari_mvfusion.gui.layers.view_list import NO_VIEWS, ViewList
from napari_mvfusion.gui.panels.finetune.folder_list import FolderList
from napari_mvfusion.gui.panels.finetune.sharp_list import SharpList
from napari_mvfusion.gui.panels.finetune.training_region import RegionForm
from napari_mvfusion.gui.panels.fuse.psf_flaws import PSFFlaws
from napari_mvfusion.gui.widgets.forms import Form, Words
from napari_mvfusion.gui.widgets.inputs import text_label
from napari_mvfusion.training.config import DataSettings
from napari_mvfusion.training.plan import OwnMode

_LAYERS, _FILES = "layers", "files"
_SOURCES = [("Opened layers", _LAYERS), ("Files of volumes", _FILES)]
_MODES = [("Nothing else", "self"), ("Sharp volumes", "semi")]
_SOURCE_TIP = (
    "Where the views are that are learned from; several volumes, such as time points, are learned from together"
)
_MODE_TIP = (
    "<b>Nothing else</b> (self-supervised): what is generated, blurred, has to look like the views.<br>"
    "<b>Sharp volumes</b> (semi-supervised): it also has to look like sharp volumes, which may show other specimens."
)
NO_FILES = "No files yet. Add a folder of views."


class DataForm(QWidget):
    """A choice of data; `changed` tells of another one, `judged` that more is known of the PSFs of this one.

    Parameters
    ----------
    viewer : of the layers
    """

    changed = Signal()
    judged = Signal()
    said = Signal(str, str)
    failed = Signal(object)

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._source = Form([Words(_SOURCES, name="source", label="Where", tooltip=_SOURCE_TIP)])
        self._views = ViewList(viewer.layers)
        self._psfs = PSFFlaws(viewer)
        self._files = FolderList()
        self._volume = text_label("volume")
        self._region = RegionForm(viewer)
        self._mode = Form([Words(_MODES, name="mode", label="Learn also from", tooltip=_MODE_TIP)])
        self._sharp = SharpList(viewer.layers)
        self._lay_out()
        for form in (self._source, self._mode):
            form.changed.connect(self._show_parts)
        for part in (self._views, self._files, self._region, self._sharp):
            part.changed.connect(self.changed)
        self._psfs.changed.connect(self.judged)
        self._views.psf_wanted.connect(self._psfs.choose)
        self._psfs.said.connect(self.said)
        self._psfs.failed.connect(self.failed)
        self._files.failed.connect(self._tell_failure)
        self._show_parts()

    @property
    def mode(self) -> OwnMode:
        """How it is learned."""
        return "semi" if self._mode["mode"].value == "semi" else "self"

    @property
    def from_files(self) -> bool:
        """Whether the views come from files."""
        return bool(self._source["source"].value == _FILES)

    @property
    def nothing(self) -> str:
        """What to do first, where there is nothing to choose from yet."""
        if self.from_files:
            return "" if self._files.inputs() else NO_FILES
        return "" if self._views.topLevelItemCount() else NO_VIEWS

    @property
    def blocked(self) -> bool:
        """Whether a PSF has to be mended first."""
        return not self.from_files and self._psfs.blocking

    @property
    def looking(self) -> bool:
        """Whether a PSF has not been looked at yet."""
        return not self.from_files and self._psfs.looking

    def choose_psf(self, layer: Image) -> None:
        """Let the user choose a file for the PSF of a layer."""
        self._psfs.choose(layer)

    @property
    def layers(self) -> list[Image]:
        """The ticked layers, where they are what is learned from."""
        return [] if self.from_files else self._views.chosen()

    @property
    def sample(self) -> str:
        """What the views show, as far as it is known."""
        layers = self.layers
        if layers:
            return str(notes(layers[0]).get("sample") or "")
        inputs = self._files.inputs() if self.from_files else []
        return str(inputs[0].tag or "") if inputs else ""

    def opened(self) -> Opened | None:
        """The ticked layers as views; None where the views come from files.

        Raises
        ------
        InputError
            If the layers do not fit together.
        """
        return None if self.from_files else open_layers(self._views.chosen())

    def data(self) -> tuple[RegisteredViews | Inputs, ...]:
        """Volumes and time points; those that lie in files as they are there are opened again where they are needed.

        Raises
        ------
        InputError
            If there are none, or the layers do not fit together.
        """
        opened = self.opened()
        if opened is None:
            found = tuple(self._files.inputs())
            if not found:
                raise InputError(NO_FILES)
            return found
        if opened.inputs is not None:
            return (Inputs(**opened.inputs),)
        return tuple(opened.at(index) for index in opened.indices)

    def sharp(self) -> tuple[Any, ...]:
        """Sharp volumes, where they are used."""
        return tuple(self._sharp.chosen()) if self.mode == "semi" else ()

    def region(self) -> DataSettings:
        """Which part is trained on; see `RegionForm.settings`."""
        opened = self.opened()
        return self._region.settings(None if opened is None else opened.views.grid.shape)

    def refresh(self) -> None:
        """Say what is chosen now."""
        layers = self.layers
        self._psfs.show_layers(layers)
        self._region.follow(layers[0] if layers else None)
        text = ""
        if layers:
            try:
                text = describe(open_layers(layers)).replace("fused one after the other", "all are learned from")
            except InputError:
                text = ""  # the panel says why
        elif self.from_files and (count := len(self._files.inputs())):
            text = "1 volume" if count == 1 else f"{count} volumes, all are learned from"
        elif not self.from_files and not self._views.topLevelItemCount():
            text = NO_VIEWS
        self._volume.setText(text)
        self._volume.setVisible(bool(text))
        self._views.setVisible(not self.from_files and self._views.topLevelItemCount() > 0)

    def state(self) -> dict[str, str]:
        """What is chosen, as JSON types."""
        return {"mode": self.mode}

    def restore(self, state: dict[str, str]) -> None:
        """Choose what an earlier `state` holds."""
        self._mode.set_values(state)

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        parts = (self._source, self._views, self._files, self._psfs, self._volume, self._region, self._mode)
        for part in (*parts, self._sharp):
            layout.addWidget(part)

    def _show_parts(self) -> None:
        self._files.setVisible(self.from_files)
        self._sharp.setVisible(self.mode == "semi")
        self.refresh()
        self.changed.emit()

    def _tell_failure(self, text: str) -> None:
        self.said.emit("error", text)
