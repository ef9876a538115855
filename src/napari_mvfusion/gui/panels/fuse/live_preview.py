"""The live preview: a small region, fused again whenever sliders, camera or parameters move."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtWidgets import QCheckBox, QWidget
from superqt.utils import signals_blocked

from napari_mvfusion.data.geometry import Box
from napari_mvfusion.engine.preview import Preview, Previewer
from napari_mvfusion.errors import MVFusionError
from napari_mvfusion.gui.jobs.tasks import Checkpoint, Latest
from napari_mvfusion.gui.layers.conversion import known_sizes, place_of_box, to_world_um
from napari_mvfusion.gui.layers.notes import KEY
from napari_mvfusion.gui.layers.opened import Opened
from napari_mvfusion.gui.panels.regions import DrawnBox, box_at_slider, leading_index, region_in_sight, same_axes
from napari_mvfusion.gui.widgets.inputs import DropList, describe, text_label
from napari_mvfusion.gui.widgets.layout import column, row
from napari_mvfusion.gui.widgets.waiting import Later
from napari_mvfusion.measures.contrast import contrast_limits
from napari_mvfusion.methods.base import Method
from napari_mvfusion.system.devices import losses_in_words, pick_device
from napari_mvfusion.system.words import sentence, times

_SETTLE_MS = 30
Picture: TypeAlias = tuple[Preview, tuple[float, float]]
_NAME = "Preview"
_SIGHT, _BOX = "what I see", "a box I draw"


@dataclass(frozen=True, eq=False)
class Source:
    """What is previewed now: ticked layers and how to fuse them.

    Attributes
    ----------
    layers : the ticked layers
    opened : the same as views
    method : that is looked at
    device : as `pick_device` takes it
    """

    layers: list[Image]
    opened: Opened
    method: Method
    device: str


class LivePreview(QWidget):
    """A switch, the choice of the region, and a line on what is shown; while it is on, a layer with the region fused.

    Parameters
    ----------
    viewer : gets the preview layer, and says what is in sight
    source : asked before each preview; may raise `MVFusionError`, whose words are then shown
    """

    def __init__(self, viewer: ViewerModel, source: Callable[[], Source], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._source = source
        self._layer: Image | None = None
        self._asked: tuple[Any, ...] | None = None
        self._kept: tuple[Any, Previewer] | None = None
        self._on = self._limits_due = self._hidden = False
        self._lay_out()
        self._box = DrawnBox(viewer, "Preview box", self)
        # One after the other, as they take turns with the same pixels.
        self._task = Latest(self, in_turn=True, when_memory_ran_out="draw a smaller box to preview")
        self._due = Later(_SETTLE_MS, self._ask, self)
        self._switch.toggled.connect(self._begin_or_end)
        self._region.currentIndexChanged.connect(self._begin_or_end)
        self._box.changed.connect(self.refresh)
        self._box.removed.connect(self._turn_off)
        self._task.reported.connect(self._show)
        self._task.failed.connect(lambda failed: self._say(failed.message))
        viewer.layers.events.removed.connect(self._notice_removal)

    def pause(self) -> None:
        """Compute nothing until the next `refresh`; what is shown stays."""
        self._due.cancel()
        self._stop()
        self._asked = None

    def refresh(self, event: Any = None) -> None:
        """Something may have changed: look again in a moment."""
        del event
        if self._on:
            self._due.ask()

    def close_down(self) -> None:
        """Show no preview ever again: take its layers away."""
        self._end()
        self._viewer.layers.events.removed.disconnect(self._notice_removal)
        if self._layer is not None:
            self._viewer.layers.remove(self._layer)
        self._layer = None

    def _lay_out(self) -> None:
        self._switch = QCheckBox("Live preview of")
        self._switch.setObjectName("live")
        self._switch.setToolTip(
            "<qt>Fuses a small region again whenever a parameter or the view changes, with the method that is selected "
            "above</qt>"
        )
        self._region = DropList()
        self._region.addItems([_SIGHT, _BOX])
        describe(
            self._region,
            "region",
            "Live preview of",
            "<qt>The middle of the canvas about the current slice, at most 128 × 128 × 32 voxels; or a rectangle that "
            "you draw and move</qt>",
        )
        self._words = text_label("preview")
        self._words.hide()
        column(self, row(self._switch, (self._region, 1)), self._words)

    def _begin_or_end(self) -> None:
        """Show a preview from now on, of what is in sight or of a box that is to be drawn; or none."""
        self._end()
        if not self._switch.isChecked():
            return
        self._on = self._limits_due = True
        for event in self._events():
            event.connect(self.refresh)
        self.refresh()

    def _end(self) -> None:
        """Show no preview any more. Its layers are hidden until the next one, which is quicker than to take them away."""
        self._words.hide()
        if not self._on:
            return
        self._on = False
        self.pause()
        for event in self._events():
            event.disconnect(self.refresh)
        self._hidden = True
        self._box.hide()
        if self._layer is not None:
            self._layer.visible = False

    def _turn_off(self) -> None:
        """The user took the preview or its box away: that ends it."""
        with signals_blocked(self._switch):
            self._switch.setChecked(False)
        self._end()

    def _events(self) -> list[Any]:
        camera = self._viewer.scene.camera.events
        dims = self._viewer.dims.events
        canvas = self._viewer.canvas.events
        return [camera.center, camera.zoom, canvas.size, dims.point, dims.current_step, dims.ndisplay, dims.order]

    def _stop(self) -> None:
        """Drop what is under way and what waits, and forget all pixels."""
        self._task.cancel()
        self._kept = None

    def _say(self, text: str) -> None:
        self._words.setText(sentence(text))
        self._words.setVisible(bool(text))

    def _ask(self) -> None:
        try:
            source = self._source()
        except MVFusionError as error:
            self._stop()
            self._say(str(error))
            return
        first = source.opened.frame.layer
        box = self._region_of(first, source)
        if box is None:
            self._say("Draw a rectangle over the region to fuse.")
            return
        index = leading_index(self._viewer, first, source.opened.leading)
        key = (index, source.device, *map(identity, source.layers))
        asked = (key, source.method, box)
        if asked == self._asked:
            return
        self._asked = asked
        self._say(f"{times(box.shape)} voxels…")
        self._title, self._place = source.method.title, place_of_box(first, box, index)
        if self._layer is not None and not same_axes(self._layer, first):
            old, self._layer = self._layer, None
            self._viewer.layers.remove(old)
        if self._layer is None:
            # Before the work begins: adding a layer takes napari longest while all cores are busy.
            self._layer = self._viewer.add_image(
                np.full((*(1 for _ in index), *box.shape), np.nan, np.float32),
                name=_NAME,
                contrast_limits=tuple(source.layers[0].contrast_limits),
                metadata={KEY: {"role": "preview"}},
                **self._place,
            )
            self._hidden = False
        if self._kept is None or self._kept[0] != key:
            self._kept = key, Previewer(source.opened.at(index), pick_device(source.device))
        self._task.start(preview_steps, self._kept[1], source.method, box)

    def _region_of(self, first: Image, source: Source) -> Box | None:
        shape = source.opened.views.grid.shape
        if self._region.currentText() == _SIGHT:
            return region_in_sight(self._viewer, first, shape)
        self._box.show(first)
        assert self._box.layer is not None
        return box_at_slider(self._box.layer, self._viewer, first, shape)

    def _show(self, picture: Picture) -> None:
        preview, (low, high) = picture
        if self._layer is None:
            return
        values = preview.values[(None,) * (len(self._place["units"]) - 3)]
        if not np.array_equal(self._layer.affine.affine_matrix, self._place["affine"]):
            self._layer.affine = self._place["affine"]
        self._layer.data = values
        if self._hidden:
            self._layer.visible = True
            self._hidden = False
        if self._limits_due:
            # Until the full picture, and never after: what is seen must not change its brightness with parameters.
            self._layer.contrast_limits_range = (min(0.0, low), 4 * high)
            self._layer.contrast_limits = (low, high)
            self._limits_due = not preview.final
        stage = f"{preview.seconds:.1f}\N{NO-BREAK SPACE}s" if preview.final else preview.label
        self._say(f"{times(preview.box.shape)} voxels · {self._title} · {stage}")

    def _notice_removal(self, event: Any) -> None:
        if self._layer is not None and event.value == self._layer:
            self._layer = None
            if self._on:
                self._turn_off()


def preview_steps(check: Checkpoint, previewer: Previewer, method: Method, box: Box) -> Generator[Picture, None, None]:
    """The previews of a region as they become finer, with contrast limits that suit each."""
    with losses_in_words():
        for preview in previewer.run(method, box, cancel=check.stopped):
            yield preview, contrast_limits([preview.values])


def identity(layer: Image) -> tuple[Any, ...]:
    """Equal as long as a layer gives the same pixels, PSF and place."""
    known = layer.metadata.get(KEY, {})
    place = to_world_um(layer).tobytes(), known_sizes(layer), known.get("grid")
    numbers = tuple(known.get(name, usual) for name, usual in (("weight", 1.0), ("offset", 0.0), ("gain", 1.0)))
    choices = (known.get("remove_hot", False), known.get("no_data", "auto"), known.get("trust"))
    settings = (*numbers, *choices, known.get("name"), layer.name)
    volumes = (id(known.get(name)) for name in ("psf", "mask", "transmission"))
    return (id(layer.data), *volumes, *place, *settings)
