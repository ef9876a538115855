"""What a fine-tune learns from: ticked layers or files, the region, and sharp volumes."""

from __future__ import annotations

from typing import Any

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.jobs.fusions import describe
from napari_mvfusion.gui.jobs.status import Status
from napari_mvfusion.gui.layers.notes import notes
from napari_mvfusion.gui.layers.opened import Opened, open_layers
from napari_mvfusion.gui.layers.view_list import NO_VIEWS, ViewList
from napari_mvfusion.gui.panels.finetune.data_lists import FolderList, SharpList
from napari_mvfusion.gui.panels.fuse.psf_flaws import PSFFlaws
from napari_mvfusion.gui.panels.regions import DrawnBox, drawn_box
from napari_mvfusion.gui.widgets.forms import Form, Number, Words
from napari_mvfusion.gui.widgets.inputs import text_label
from napari_mvfusion.gui.widgets.layout import column
from napari_mvfusion.system.words import times
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

_AUTO, _WHOLE, _BOX = "auto", "whole", "box"
_REGIONS = [("Informative blocks", _AUTO), ("The whole volume", _WHOLE), ("A box that I draw", _BOX)]
_TIPS = {
    _AUTO: "Of large volumes up to 8 blocks where there is most to see, and small ones whole: memory and time stay small.",
    _WHOLE: "All of it is held in memory. For volumes that are small, or that differ from place to place.",
    _BOX: "Draw a rectangle over the views; it is taken as deep as you say.",
}
_ALL = "all"
_DEPTH_TIP = "Voxels across the plane that you drew in, about that plane"


class DataForm(QWidget):
    """A choice of data; `changed` tells of another one, `judged` that more is known of the PSFs of this one.

    Parameters
    ----------
    viewer : of the layers
    status : says what was done to PSFs, and what is wrong with files
    """

    changed = Signal()
    judged = Signal()

    def __init__(self, viewer: ViewerModel, status: Status, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._source = Form([Words(_SOURCES, name="source", label="Where", tooltip=_SOURCE_TIP)])
        self._views = ViewList(viewer.layers)
        self._psfs = PSFFlaws(viewer, status)
        self._files = FolderList(status)
        self._volume = text_label("volume")
        self._region = RegionForm(viewer)
        self._mode = Form([Words(_MODES, name="mode", label="Learn also from", tooltip=_MODE_TIP)])
        self._sharp = SharpList(viewer.layers)
        self.choose_psf = self._psfs.choose
        views = (self._source, self._views, self._files, self._psfs, self._volume)
        column(self, *views, self._region, self._mode, self._sharp)
        for form in (self._source, self._mode):
            form.changed.connect(self._show_parts)
        for source in (self._views, self._files, self._region, self._sharp):
            source.changed.connect(self.changed)
        self._psfs.changed.connect(self.judged)
        self._views.psf_wanted.connect(self.choose_psf)
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

    def data(self) -> tuple[RegisteredViews | Inputs, ...]:
        """Volumes and time points; those that lie in files as they are there are opened again where they are needed.

        Raises
        ------
        InputError
            If there are none, or the layers do not fit together.
        """
        opened = self._opened()
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
        opened = self._opened()
        return self._region.settings(None if opened is None else opened.views.grid.shape)

    def refresh(self) -> None:
        """Say what is chosen now."""
        layers = self.layers
        self._psfs.show_layers(layers)
        text, frame = "", None
        if layers:
            try:
                opened = open_layers(layers)
                frame = opened.frame.layer
                text = describe(opened).replace("fused one after the other", "all are learned from")
            except InputError:
                text = ""  # the panel says why
        elif self.from_files and (count := len(self._files.inputs())):
            text = "1 volume" if count == 1 else f"{count} volumes, all are learned from"
        elif not self.from_files and not self._views.topLevelItemCount():
            text = NO_VIEWS
        self._region.follow(frame)
        self._volume.setText(text)
        self._volume.setVisible(bool(text))
        self._views.setVisible(not self.from_files and self._views.topLevelItemCount() > 0)

    def state(self) -> dict[str, str]:
        """What is chosen, as JSON types."""
        return {"mode": self.mode}

    def restore(self, state: dict[str, str]) -> None:
        """Choose what an earlier `state` holds."""
        self._mode.set_values(state)

    def _opened(self) -> Opened | None:
        """The ticked layers as views; None where the views come from files."""
        return None if self.from_files else open_layers(self._views.chosen())

    def _show_parts(self) -> None:
        self._files.setVisible(self.from_files)
        self._sharp.setVisible(self.mode == "semi")
        self.refresh()
        self.changed.emit()


class RegionForm(QWidget):
    """Which part of the views is trained on; a box is a layer, which goes when another choice is made.

    Parameters
    ----------
    viewer : gets the layer
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._first: Image | None = None
        self._drawn = DrawnBox(viewer, "Training box", self)
        bounds = {"word": _ALL}
        depth = Number(
            0, 100000, 0, name="depth", label="Depth (voxels)", tooltip=_DEPTH_TIP, value=_ALL, bounds=bounds
        )
        self._form = Form([Words(_REGIONS, name="region", label="Region"), depth])
        self._words = text_label("region_words")
        column(self, self._form, self._words)
        self._form.changed.connect(self._notice)
        self._drawn.changed.connect(self._notice)
        self._drawn.removed.connect(self._choose_automatic)
        self.follow(None)

    def follow(self, first: Image | None) -> None:
        """Say which layer's voxels are those of the fused volume; None where the views come from files, or do not fit."""
        self._first = first
        if self._chosen != _BOX:
            self._drawn.take_away()
        elif first is not None and self._drawn.layer is None:
            self._drawn.show(first)
        self._form.show_field("depth", self._chosen == _BOX)
        box = None if first is None else self._box(triple(first.level_shapes[0][-3:]))
        place = "" if box is None else f"{times(box.shape)} voxels from ({', '.join(map(str, box.start))})"
        self._words.setText(place or _TIPS[self._chosen])

    def settings(self, shape: Triple | None) -> DataSettings:
        """What is chosen, for the configuration of a run.

        Parameters
        ----------
        shape : (z, y, x) of the volume; None where the views come from files

        Raises
        ------
        InputError
            If no box is drawn, or there is no volume to draw one in.
        """
        if self._chosen == _AUTO:
            return DataSettings()
        if self._chosen == _WHOLE:
            return DataSettings(whole_below=2**53)
        if self._first is None or shape is None:
            raise InputError("a box can be drawn only in opened layers: choose another region, or learn from layers")
        if (box := self._box(shape)) is None:
            raise InputError("no box is drawn: draw a rectangle over the views")
        return DataSettings(start=box.start, stop=box.stop)

    @property
    def _chosen(self) -> str:
        return str(self._form["region"].value)

    def _box(self, shape: Triple) -> Box | None:
        if self._drawn.layer is None or self._first is None:
            return None
        value = self._form["depth"].value
        return drawn_box(self._drawn.layer, self._first, shape, None if value == _ALL else int(value))

    def _notice(self) -> None:
        self.follow(self._first)
        self.changed.emit()

    def _choose_automatic(self) -> None:
        """The user took the box away: that is another choice."""
        self._form["region"].value = _AUTO
