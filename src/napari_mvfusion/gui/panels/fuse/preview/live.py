"""Keeps a preview layer in step with the sliders, the camera and the parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Shapes
from qtpy.QtCore import QObject, Signal

from napari_mvfusion.errors import MVFusionError
from napari_mvfusion.gui.jobs.tasks import Failed
from napari_mvfusion.gui.layers.conversion import Opened, frame_of, place_of_box, same_place
from napari_mvfusion.gui.layers.notes import KEY
from napari_mvfusion.gui.panels.fuse.preview.preview_region import leading_index, region_in_sight, region_of_box
from napari_mvfusion.gui.panels.fuse.preview.runner import Picture, PreviewRunner, Request
from napari_mvfusion.gui.widgets.waiting import Later
from napari_mvfusion.methods.base import Method
from napari_mvfusion.system.words import times

_SETTLE_MS = 30
_NAME, _BOX_NAME = "Preview", "Preview box"


@dataclass(frozen=True, eq=False)
class Source:
    """What is previewed now: ticked layers and how to fuse them.

    Attributes
    ----------
    layers : the ticked layers; the voxels of the first are those of the fused volume
    opened : the same as views
    method : that is looked at
    device : as `pick_device` takes it
    """

    layers: list[Image]
    opened: Opened
    method: Method
    device: str


class LivePreview(QObject):
    """Fuses a region again whenever something that it depends on changes.

    Parameters
    ----------
    viewer : gets the preview layer, and says what is in sight
    source : asked before each preview; may raise `MVFusionError`, whose words are then told
    """

    told = Signal(str, str)
    ended = Signal()

    def __init__(self, viewer: ViewerModel, source: Callable[[], Source], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._source = source
        self._on = False
        self._with_box = False
        self._layer: Image | None = None
        self._box: Shapes | None = None
        self._asked: tuple[Any, ...] | None = None
        self._limits_due = False
        self._hidden = False
        self._runner = PreviewRunner(self)
        self._runner.shown.connect(self._show)
        self._runner.failed.connect(self._tell_failure)
        self._due = Later(_SETTLE_MS, self._ask, self)
        viewer.layers.events.removed.connect(self._notice_removal)

    @property
    def on(self) -> bool:
        """Whether there is a preview."""
        return self._on

    def begin(self, *, with_box: bool) -> None:
        """Show a preview from now on, of what is in sight or of a box that is to be drawn."""
        self.end()
        self._on, self._with_box = True, with_box
        self._limits_due = True
        for event in self._events():
            event.connect(self.refresh)
        if with_box:
            self._show_box()
        self.refresh()

    def end(self) -> None:
        """Show no preview any more. Its layers are hidden until the next one, which is quicker than to take them away."""
        if not self._on:
            return
        self._on = False
        self._due.cancel()
        self._runner.stop()
        self._asked = None
        for event in self._events():
            event.disconnect(self.refresh)
        self._hidden = True
        for layer in (self._layer, self._box):
            if layer is not None:
                layer.visible = False

    def close_down(self) -> None:
        """Show no preview ever again: take its layers away."""
        self.end()
        self._viewer.layers.events.removed.disconnect(self._notice_removal)
        for layer in (self._layer, self._box):
            if layer is not None:
                self._viewer.layers.remove(layer)
        self._layer = self._box = None

    def pause(self) -> None:
        """Compute nothing until the next `refresh`; what is shown stays."""
        self._due.cancel()
        self._runner.stop()
        self._asked = None

    def refresh(self, event: Any = None) -> None:
        """Something may have changed: look again in a moment."""
        del event
        if self._on:
            self._due.ask()

    def _events(self) -> list[Any]:
        camera = self._viewer.scene.camera.events
        dims = self._viewer.dims.events
        canvas = self._viewer.canvas.events
        return [camera.center, camera.zoom, canvas.size, dims.point, dims.current_step, dims.ndisplay, dims.order]

    def _ask(self) -> None:
        try:
            source = self._source()
        except MVFusionError as error:
            self._runner.stop()
            self.told.emit("problem", str(error))
            return
        first, shape = source.layers[0], source.opened.views.grid.shape
        if self._with_box:
            box = None if self._box is None else region_of_box(self._box, self._viewer, first, shape)
            if box is None:
                self.told.emit("note", "Draw a rectangle over the region to fuse.")
                return
        else:
            box = region_in_sight(self._viewer, first, shape)
        index = leading_index(self._viewer, first, source.opened.leading)
        key = (index, *(identity(layer) for layer in source.layers))
        asked = (key, source.method, source.device, box)
        if asked == self._asked:
            return
        self._asked = asked
        self.told.emit("busy", f"{times(box.shape)} voxels…")
        self._place = place_of_box(first, box, index)
        if self._layer is not None and not _same_axes(self._layer, first):
            old, self._layer = self._layer, None
            self._viewer.layers.remove(old)
        if self._layer is None:
            # Before the work begins: adding a layer takes napari longest while all cores are busy.
            self._layer = self._viewer.add_image(
                np.full((*(1 for _ in index), *box.shape), np.nan, np.float32),
                name=_NAME,
                contrast_limits=tuple(first.contrast_limits),
                metadata={KEY: {"role": "preview"}},
                **self._place,
            )
            self._hidden = False
        self._runner.ask(Request(source.opened.at(index), key, source.method, source.device, box))

    def _show(self, picture: Picture) -> None:
        if self._layer is None:
            return
        preview = picture.preview
        values = preview.values[(None,) * (len(self._place["units"]) - 3)]
        if not np.array_equal(self._layer.affine.affine_matrix, self._place["affine"]):
            self._layer.affine = self._place["affine"]
        self._layer.data = values
        if self._hidden:
            self._layer.visible = True
            self._hidden = False
        if self._limits_due:
            # Until the full picture, and never after: what is seen must not change its brightness with parameters.
            low, high = picture.limits
            self._layer.contrast_limits_range = (min(0.0, low), 4 * high)
            self._layer.contrast_limits = (low, high)
            self._limits_due = not preview.final
        words = f"{times(preview.box.shape)} voxels · {picture.request.method.title}"
        seconds = f"{preview.seconds:.1f}\N{NO-BREAK SPACE}s"
        self.told.emit(
            "done" if preview.final else "busy", f"{words} · {preview.label if not preview.final else seconds}"
        )

    def _tell_failure(self, failed: Failed) -> None:
        self.told.emit("problem", failed.message)

    def _show_box(self) -> None:
        first = self._source().layers[0]
        if self._box is not None and not _same_axes(self._box, first):
            old, self._box = self._box, None
            self._viewer.layers.remove(old)
        if self._box is not None:
            self._box.visible = True
            self._viewer.layers.selection.active = self._box
            return
        self._box = self._viewer.add_shapes(
            ndim=first.ndim, name=_BOX_NAME, edge_color="yellow", face_color="transparent", **same_place(first)
        )
        self._box.mode = "add_rectangle"
        self._box.events.set_data.connect(self.refresh)

    def _notice_removal(self, event: Any) -> None:
        """The user took the preview or its box away: that ends it."""
        if event.value not in (self._layer, self._box):
            return
        if event.value == self._layer:
            self._layer = None
        else:
            self._box = None
        if self._on:
            self.end()
            self.ended.emit()


def identity(layer: Image) -> tuple[Any, ...]:
    """Equal as long as a layer gives the same pixels, PSF and place."""
    known = layer.metadata.get(KEY, {})
    frame, to_frame = frame_of(layer)
    numbers = tuple(known.get(name, usual) for name, usual in (("weight", 1.0), ("offset", 0.0), ("gain", 1.0)))
    choices = (known.get("remove_hot", False), known.get("no_data", "auto"))
    settings = (*numbers, *choices, known.get("name"), layer.name)
    return (id(layer.data), id(known.get("psf")), id(known.get("mask")), frame, to_frame.tobytes(), *settings)


def _same_axes(one: Image | Shapes, other: Image) -> bool:
    return (one.ndim, one.units, one.axis_labels) == (other.ndim, other.units, other.axis_labels)
