"""Ask in which box, or to which depth, a view counts, while a layer shows what was entered."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Shapes
from qtpy.QtCore import QObject, QPoint, Signal
from qtpy.QtWidgets import QWidget

from napari_mvfusion.data.geometry import triple
from napari_mvfusion.data.seen import about_unseen
from napari_mvfusion.data.trust import Fade, PlacedTrust
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.errors import MVFusionError
from napari_mvfusion.gui.jobs.status import Say
from napari_mvfusion.gui.jobs.tasks import Checkpoint, Latest
from napari_mvfusion.gui.layers.conversion import micrometres, place_of_volume, stack_of
from napari_mvfusion.gui.layers.notes import KEY, ChosenTrust, notes
from napari_mvfusion.gui.layers.opened import open_layers
from napari_mvfusion.gui.layers.shown_stack import ShownStack
from napari_mvfusion.gui.layers.trusted_views import in_words
from napari_mvfusion.gui.panels.views.trust_dialogs import BoxDialog, FadeDialog, TrustDialog
from napari_mvfusion.gui.panels.views.trust_menu import chosen_or_none
from napari_mvfusion.gui.widgets.waiting import Later
from napari_mvfusion.measures.view_problems import setting
from napari_mvfusion.system.words import sentence

_LOOK_MS = 80
_LIST_EVENTS = ("inserted", "removed", "reordered")
_OPACITY = 0.3
# So many planes tell how much of the volume no view would see.
_PLANES = 16


@dataclass(frozen=True, eq=False)
class _Counting:
    """How much a view would count: its trust, that as the pixels of a layer, and all views with it."""

    trust: PlacedTrust
    shown: ShownStack
    views: RegisteredViews


class TrustChoice(QObject):
    """One dialog at a time, and its layer; `chosen` gives the layer of the view and what is to be done to it.

    Parameters
    ----------
    viewer : of the layers
    say : is told why nothing can be asked, as `Status.say`
    parent : the panel
    """

    chosen = Signal(object, object)

    def __init__(self, viewer: ViewerModel, say: Say, parent: QWidget) -> None:
        super().__init__(parent)
        self._viewer, self._say, self._parent = viewer, say, parent
        self._dialog: TrustDialog | None = None
        self._view: Image | None = None
        self._included: list[Image] = []
        self._shown: Image | None = None
        self._due = Later(_LOOK_MS, self._show, self)
        self._looking = Latest(self)
        self._looking.succeeded.connect(self._say_unseen)
        self._looking.failed.connect(lambda failed: self._say_unseen(failed.message))
        for name in _LIST_EVENTS:
            getattr(viewer.layers.events, name).connect(self._notice)

    def ask(self, view: Image, request: str, included: Sequence[Image]) -> None:
        """Ask for a box or for depths.

        Parameters
        ----------
        view : the layer
        request : "box" or "fade"
        included : the layers that are fused, the view's among them
        """
        self.end()
        self._view, self._included = view, list(included)
        given = notes(view).get("trust") or ChosenTrust()
        try:
            dialog = self._box_dialog(given) if request == "box" else self._fade_dialog(given)
        except MVFusionError as error:
            self._view = None
            self._say("error", str(error))
            return
        self._dialog = dialog
        dialog.changed.connect(self._due.ask)
        dialog.accepted.connect(self._choose)
        rest = replace(given, box_um=None) if request == "box" else replace(given, fade=None)
        dialog.taken_away.connect(partial(self._take_away, rest))
        dialog.finished.connect(self.end)
        self._show()
        # Over the panel, beside what is looked at.
        dialog.move(self._parent.mapToGlobal(QPoint(0, self._parent.height() // 3)))
        dialog.show()

    def end(self) -> None:
        """Close the dialog, if there is one; its layer goes with it unless it is to stay."""
        dialog, self._dialog = self._dialog, None
        self._due.cancel()
        self._looking.cancel()
        if dialog is None:
            return
        shown, self._shown = self._shown, None
        if shown is not None and shown in self._viewer.layers and not dialog.keeps_layer:
            self._viewer.layers.remove(shown)
        self._view = None
        dialog.close()
        dialog.deleteLater()

    def close_down(self) -> None:
        """The panel is closed."""
        for name in _LIST_EVENTS:
            getattr(self._viewer.layers.events, name).disconnect(self._notice)
        self.end()

    def _fade_dialog(self, given: ChosenTrust) -> FadeDialog:
        assert self._view is not None
        trust = self._counting(ChosenTrust(fade=given.fade or Fade(0, 1))).trust
        return FadeDialog(self._view.name, trust.axis, trust.depth_um, given.fade, self._parent)

    def _box_dialog(self, given: ChosenTrust) -> BoxDialog:
        assert self._view is not None
        opened = open_layers(self._included, everywhere=[self._view])
        number = self._included.index(self._view)
        extent = opened.places[number].extent_um(opened.views.views[number])
        edge_um = opened.places[number].edge_um(opened.views.views[number])
        dialog = BoxDialog(self._view.name, extent, edge_um, given.box_um, self._parent)
        dialog.wanted.connect(self._take_shapes)
        dialog.offer(self._shapes())
        return dialog

    def _counting(self, chosen: ChosenTrust) -> _Counting:
        """How much the view would count."""
        assert self._view is not None
        opened = open_layers(self._included, everywhere=[self._view])
        number = self._included.index(self._view)
        place = opened.places[number]
        views = list(opened.views.views)
        views[number] = place.trusted(views[number], chosen)
        trust = views[number].trust
        assert isinstance(trust, PlacedTrust)
        # To recognise fields takes a look at all pixels, which the run takes.
        known = [replace(view, no_data="none") if view.no_data == "auto" else view for view in views]
        return _Counting(
            trust,
            place.shown(trust, triple(stack_of(self._view).shape[-3:])),
            RegisteredViews(known, opened.views.grid),
        )

    def _as_entered(self) -> ChosenTrust:
        assert self._view is not None
        assert self._dialog is not None
        return replace(notes(self._view).get("trust") or ChosenTrust(), **self._dialog.entries())

    def _show(self) -> None:
        """Show how much the view would count as it is entered, or say why it cannot be meant."""
        if self._dialog is None or self._view is None:
            return
        self._dialog.say_unseen("")
        self._looking.cancel()
        try:
            counting = self._counting(self._as_entered())
        except MVFusionError as error:
            self._dialog.say(str(error))
            return
        shown = counting.shown
        self._dialog.say("")
        self._looking.start(_unseen_steps, counting.views)
        if self._shown is not None and self._shown in self._viewer.layers:
            self._shown.data = shown
            return
        self._shown = Image(
            shown,
            name=f"counts {self._view.name}",
            contrast_limits=(0, 1),
            colormap="yellow",
            blending="additive",
            opacity=_OPACITY,
            metadata={KEY: {"role": "trust"}},
            **place_of_volume(self._view),
        )
        active = self._viewer.layers.selection.active
        self._viewer.add_layer(self._shown)
        self._viewer.layers.selection.active = active

    def _say_unseen(self, words: str) -> None:
        if self._dialog is not None:
            self._dialog.say_unseen(words)

    def _choose(self) -> None:
        if self._view is None:
            return
        try:
            # It may have been answered before it was looked at.
            chosen = self._as_entered()
            self._counting(chosen)
        except MVFusionError as error:
            self._say("error", str(error))
            return
        self._set(self._view, chosen, in_words(chosen))

    def _take_away(self, rest: ChosenTrust) -> None:
        view = self._view
        if view is not None:
            self.end()
            self._set(view, rest, "counts alike everywhere" if chosen_or_none(rest) is None else in_words(rest))

    def _set(self, view: Image, chosen: ChosenTrust, said: str) -> None:
        self.chosen.emit(view, setting("", "", said, trust=chosen_or_none(chosen)))

    def _take_shapes(self, name: str) -> None:
        """Enter the box round the chosen shapes of a layer, or round all of them."""
        if isinstance(self._dialog, BoxDialog) and name in self._viewer.layers:
            self._dialog.show_box(*box_round(self._viewer.layers[name]))

    def _shapes(self) -> tuple[str, ...]:
        """Names of Shapes layers; the one that is active first."""
        shapes = [layer for layer in self._viewer.layers if isinstance(layer, Shapes) and layer.ndim >= 2]
        active = self._viewer.layers.selection.active
        return tuple(layer.name for layer in sorted(shapes, key=lambda layer: layer is not active))

    def _notice(self, event: Any = None) -> None:
        del event
        if self._view is not None and self._view not in self._viewer.layers:
            self.end()
        elif isinstance(self._dialog, BoxDialog):
            self._dialog.offer(self._shapes())


def _unseen_steps(check: Checkpoint, views: RegisteredViews) -> Generator[None, None, str]:
    """What no view would see, in words: "" where that is nothing."""
    steps = views.unseen_share(_PLANES)
    while True:
        check()
        try:
            next(steps)
        except StopIteration as end:
            return f"{sentence(about_unseen(end.value, sampled=True))}." if end.value else ""
        yield


def box_round(shapes: Shapes) -> tuple[np.ndarray, np.ndarray]:
    """First and last place (z, y, x) in the world, um, of the chosen shapes of a layer, or of all where none is chosen.

    Along an axis that the layer does not have, and where it holds no shapes, both are 0.
    """
    numbers = sorted(shapes.selected_data) or range(len(shapes.data))
    corners = [shapes.data_to_world(vertex) for number in numbers for vertex in shapes.data[number]]
    low, high = np.zeros(3), np.zeros(3)
    if corners:
        units = [micrometres(unit, shapes.name) for unit in shapes.units]
        places = np.asarray(corners, float) * units
        axes = min(3, places.shape[1])
        low[3 - axes :], high[3 - axes :] = places.min(axis=0)[-axes:], places.max(axis=0)[-axes:]
    return low, high
