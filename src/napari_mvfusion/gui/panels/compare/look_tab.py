"""The first tab: comparing by eye, side by side, with a curtain, or by flicker, with one contrast for all."""

from __future__ import annotations

from functools import partial
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtWidgets import QGridLayout, QGroupBox, QHBoxLayout, QPushButton, QVBoxLayout
from superqt.utils import signals_blocked

from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.jobs.status import Status
from napari_mvfusion.gui.jobs.tasks import Failed, Latest
from napari_mvfusion.gui.panels.compare.arrangements import KEY, Flicker, SavedAppearance, SideBySide, show_only
from napari_mvfusion.gui.panels.compare.compared_layers import can_be_compared
from napari_mvfusion.gui.panels.compare.curtain import Curtain
from napari_mvfusion.gui.panels.compare.layer_list import ComparedLayers, ComparePart, PairChoice
from napari_mvfusion.gui.panels.compare.shared_contrast import AS_IT_IS, ContrastBar, Fit, SharedContrast
from napari_mvfusion.gui.widgets.inputs import Slider, describe, push_button, text_label
from napari_mvfusion.measures.brightness import fit_each

_STEPS = 1000
_GRID, _CURTAIN, _FLICKER = "grid", "curtain", "flicker"
_MODES = {
    _GRID: ("Side by side", "The ticked layers next to each other; moving, zooming and turning one moves all"),
    _CURTAIN: ("Curtain", "A on the left, B on the right of a line that you can drag in the canvas"),
    _FLICKER: ("Flicker", f"A and B in turns: tap {KEY} in the canvas to change over, or hold it for a glimpse"),
}


class LookTab(ComparePart):
    """Ways to look at the compared layers, of which one or none is on; with the last one all looks as before.

    Attributes
    ----------
    contrast : that the layers share
    """

    def __init__(self, viewer: ViewerModel, compared: ComparedLayers, status: Status) -> None:
        super().__init__(viewer, compared, status)
        self._mode = ""
        self._fits: dict[tuple[Image, Image], Fit] = {}
        self._appearance = SavedAppearance()
        self._grid = SideBySide(viewer)
        self._curtain = Curtain(viewer, self)
        self._flicker = Flicker(viewer, self)
        self._fitting = Latest(self)
        self.contrast = SharedContrast(self)
        self._bar = ContrastBar(self.contrast)
        self._pair = PairChoice(compared)
        self._lay_out()
        compared.changed.connect(self._follow)
        compared.data_changed.connect(self._forget_fits)
        viewer.layers.events.inserted.connect(self._make_way)
        self._pair.changed.connect(self._show_again)
        self._bar.fit_changed.connect(self._show_again)
        self._slider.valueChanged.connect(lambda value: self._curtain.set_share(value / _STEPS))
        self._curtain.moved.connect(self._show_share)
        self._curtain.lost.connect(partial(self._set_mode, ""))
        self._flicker.wanted.connect(partial(self._set_mode, _FLICKER))
        self._flicker.shown.connect(self._name)
        self._fitting.reported.connect(self._take_fit)
        self._fitting.failed.connect(status.fail)
        self._follow()

    @property
    def fits_brightness(self) -> bool:
        """Whether layers are shown at one brightness."""
        return self._bar.fits

    def leave_grid(self) -> None:
        """No layers side by side: what is drawn would get a cell of its own there."""
        if self._mode == _GRID:
            self._set_mode("")

    def _set_mode(self, mode: str) -> None:
        """Turn one way to look on, or all off with an empty string."""
        if mode == self._mode:
            return
        self._status.clear()
        if self._mode:
            self._leave()
        self._mode = mode
        if mode:
            self._appearance.keep(self._viewer.layers)
            self._show()
        self._describe()

    def close_down(self) -> None:
        """Let everything look as before: the panel is closed."""
        self._viewer.layers.events.inserted.disconnect(self._make_way)
        self._set_mode("")
        self._flicker.release_key()

    def _lay_out(self) -> None:
        self._buttons = {mode: QPushButton(words) for mode, (words, _) in _MODES.items()}
        buttons = QHBoxLayout()
        for mode, button in self._buttons.items():
            button.setObjectName(mode)
            button.setCheckable(True)
            button.clicked.connect(partial(self._press, mode))
            buttons.addWidget(button, 1)
        self._slider = Slider()
        tip = "Where the curtain hangs; you can drag its edge in the canvas too"
        describe(self._slider, "split", "Place of the curtain", tip)
        self._slider.setRange(0, _STEPS)
        self._slider.setValue(_STEPS // 2)
        self._over = push_button(
            "Change over", "change_over", f"Show the other one, as the key {KEY} does in the canvas"
        )
        self._over.clicked.connect(self._flicker.change_over)
        self._now = text_label("now")
        turns = QGroupBox("Curtain and flicker")
        inner = QGridLayout(turns)
        inner.addWidget(self._pair, 0, 0, 1, 2)
        inner.addWidget(self._slider, 1, 0, 1, 2)
        inner.addWidget(self._now, 2, 0)
        inner.addWidget(self._over, 2, 1)
        inner.setColumnStretch(0, 1)
        self._shared = QGroupBox("Shared contrast")
        QVBoxLayout(self._shared).addWidget(self._bar)
        layout = QVBoxLayout(self)
        layout.addLayout(buttons)
        layout.addWidget(turns)
        layout.addWidget(self._shared)
        layout.addStretch()

    def _press(self, mode: str) -> None:
        self._set_mode("" if self._mode == mode else mode)

    def _follow(self) -> None:
        """The layers or ticks are others."""
        alive = set(self._viewer.layers)
        self._fits = {pair: fit for pair, fit in self._fits.items() if alive.issuperset(pair)}
        self._bar.offer(self._compared.ticked())
        if self._mode:
            self._appearance.keep(layer for layer in self._viewer.layers if layer not in self._curtain.helpers)
            if self._works(self._mode):
                self._show_again()
            else:
                self._set_mode("")
        self._describe()

    def _make_way(self, event: Any) -> None:
        """A picture that cannot be compared was opened: it is to be seen, and not under the name of another layer."""
        if self._mode == _FLICKER and isinstance(event.value, Image) and not can_be_compared(event.value):
            self._set_mode("")

    def _works(self, mode: str) -> bool:
        """Whether there is enough to look at."""
        return bool(self._compared.ticked()) if mode == _GRID else self._pair.both is not None

    def _show_again(self) -> None:
        if self._mode:
            self._curtain.stop()
            self._show()

    def _show(self) -> None:
        """Arrange what is on."""
        try:
            shown = self._arrange()
        except InputError as error:
            self._leave()
            self._mode = ""
            self._describe()
            self._status.fail(Failed(str(error)))
            return
        self._link(shown)
        self._ask_for_fits(shown)

    def _link(self, shown: list[Image]) -> None:
        listed = self._compared.listed()
        self.contrast.link(shown, {layer: self._fit(layer, shown[0]) for layer in shown if layer in listed})

    def _arrange(self) -> list[Image]:
        if self._mode == _GRID:
            ticked = self._compared.ticked()
            self._grid.start(ticked)
            return ticked
        both = self._pair.both
        assert both is not None
        a, b = both
        if self._mode == _FLICKER:
            self._flicker.start(a, b)
            return [a, b]
        show_only(self._viewer, ())
        self._curtain.start(a, b, self._fit(b, a))
        return self._curtain.layers

    def _leave(self) -> None:
        self.contrast.unlink()
        self._curtain.stop()
        self._flicker.stop()
        self._grid.stop()
        self._appearance.restore()

    def _describe(self) -> None:
        """Which buttons can be pressed, and why others cannot."""
        for mode, button in self._buttons.items():
            missing = "Tick layers to compare first" if mode == _GRID else "Two layers are needed: choose A and B"
            button.setEnabled(self._works(mode))
            button.setChecked(self._mode == mode)
            button.setToolTip(_MODES[mode][1] if self._works(mode) else missing)
        self._slider.setVisible(self._mode == _CURTAIN)
        self._over.setVisible(self._mode == _FLICKER)
        self._now.setVisible(self._mode == _FLICKER)
        self._shared.setEnabled(bool(self._mode))
        self._shared.setToolTip("" if self._mode else "Turn on one of the ways to compare first")

    def _name(self, name: str) -> None:
        hint = f", {KEY} in the canvas changes over" if self._flicker.has_key else ""
        self._now.setText(f"Shown: {name}{hint}")

    def _show_share(self, share: float) -> None:
        with signals_blocked(self._slider):
            self._slider.setValue(round(share * _STEPS))

    def _fit(self, layer: Image, reference: Image) -> Fit:
        return self._fits.get((layer, reference), AS_IT_IS) if self._bar.fits else AS_IT_IS

    def _ask_for_fits(self, shown: list[Image]) -> None:
        """Fit the brightness of layers that have not been fitted yet, in a thread."""
        listed = self._compared.listed()
        missing = [layer for layer in shown[1:] if layer in listed and (layer, shown[0]) not in self._fits]
        if missing and self._bar.fits:
            try:
                target, *volumes = [self._volume(layer) for layer in (shown[0], *missing)]
            except InputError as error:
                self._status.fail(Failed(str(error)))
            else:
                self._fitting.start(
                    lambda check: (
                        (layer, shown[0], *found)
                        for layer, found in zip(missing, fit_each(volumes, target, check.report), strict=True)
                    )
                )

    def _take_fit(self, found: tuple[Image, Image, Fit, str]) -> None:
        layer, reference, fit, problem = found
        if layer in self._viewer.layers and reference in self._viewer.layers:
            self._fits[layer, reference] = fit
            if problem:
                self._status.say("warning", problem)
            shown = self.contrast.layers
            if layer in shown and shown[0] is reference:
                if self._mode == _CURTAIN:
                    self._curtain.set_fit(self._fit(layer, reference))
                self._link(shown)

    def _forget_fits(self, layer: Image) -> None:
        self._fits = {pair: fit for pair, fit in self._fits.items() if layer not in pair}
