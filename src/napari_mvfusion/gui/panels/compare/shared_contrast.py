"""One contrast for several layers, whatever the gain of each, and the controls of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari.layers import Image
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QCheckBox, QGridLayout, QHBoxLayout, QLabel, QWidget
from superqt.utils import signals_blocked

from napari_mvfusion.gui.panels.compare.layer_list import LayerChoice
from napari_mvfusion.gui.widgets.inputs import NumberField, RangeSlider, describe

Fit = tuple[float, float]
AS_IT_IS: Fit = (1.0, 0.0)
"""The fit of a layer whose brightness is left alone."""

_FAR = 1e12
_DIGITS = 4
_FIT_TIP = (
    "Methods differ in gain: bring each layer to the first by the scale and offset of least squares. "
    "Only the contrast changes, never the values"
)


class SharedContrast(QObject):
    """Links the contrast limits of layers: changing those of one, here or in napari, changes all.

    Limits are in units of the first layer. A layer with a fit `(scale, offset)`, which brings its values to those of
    the first, gets limits that look the same on it. `changed` tells that the limits are others.
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._layers: list[Image] = []
        self._fits: dict[Image, Fit] = {}
        self._busy = False
        self.limits = (0.0, 1.0)
        self._usual = self.limits

    @property
    def layers(self) -> list[Image]:
        """The layers that are linked."""
        return list(self._layers)

    def link(self, layers: Sequence[Image], fits: dict[Image, Fit]) -> None:
        """Link these layers, and no others; they take the limits of the first, or keep the common ones.

        Parameters
        ----------
        layers : the first one sets the units
        fits : how layers are brought to the first; the others are as they are
        """
        new_reference = not layers or list(layers[:1]) != self._layers[:1]
        self.unlink()
        self._layers = list(layers)
        self._fits = {layer: fit for layer, fit in fits.items() if fit[0] > 0}
        for layer in layers:
            layer.events.contrast_limits.connect(self._notice)
        if layers and new_reference:
            self.limits = self._usual = tuple(layers[0].contrast_limits)
        self._apply()

    def unlink(self) -> None:
        """Let go of all layers."""
        for layer in self._layers:
            layer.events.contrast_limits.disconnect(self._notice)
        self._layers = []

    def set(self, low: float, high: float) -> None:
        """Set the limits of all layers, in units of the first."""
        if high > low:
            self.limits = (low, high)
            self._apply()

    def take_from(self, layer: Image) -> None:
        """Give all layers the limits that one of them has."""
        scale, offset = self._fits.get(layer, AS_IT_IS)
        low, high = layer.contrast_limits
        self.set(scale * low + offset, scale * high + offset)

    def range(self) -> tuple[float, float]:
        """The least and greatest limits that are usual, in units of the first layer."""
        low, high = self._usual
        return min(self.limits[0], low - (high - low) / 4), max(self.limits[1], 2 * high - low)

    def _notice(self, event: Any) -> None:
        if not self._busy:
            self.take_from(event.source)

    def _apply(self) -> None:
        self._busy = True
        try:
            for layer in self._layers:
                scale, offset = self._fits.get(layer, AS_IT_IS)
                low, high = ((value - offset) / scale for value in self.limits)
                if tuple(layer.contrast_limits) != (low, high):
                    least, most = layer.contrast_limits_range
                    layer.contrast_limits_range = (min(least, low), max(most, high))
                    layer.contrast_limits = (low, high)
        finally:
            self._busy = False
        self.changed.emit()


class ContrastBar(QWidget):
    """Shows and sets the limits of a shared contrast: a range, or those of a layer; and whether brightness is fitted.

    `fit_changed` tells that the user wants brightness to be fitted, or not any more.

    Parameters
    ----------
    contrast : what it controls
    """

    fit_changed = Signal()

    def __init__(self, contrast: SharedContrast) -> None:
        super().__init__()
        self._contrast = contrast
        self._slider = RangeSlider()
        describe(self._slider, "contrast", "Contrast", "Black and white of all layers that are compared")
        self._low, self._high = _number("low", "Shown black"), _number("high", "Shown white")
        self._source = LayerChoice("choose a layer…")
        describe(self._source, "contrast_from", "Contrast as in", "Give all layers the contrast that one of them has")
        self._fit = QCheckBox("Fit brightness")
        describe(self._fit, "fit", "Fit brightness", _FIT_TIP)
        self._fit.setChecked(True)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for column, widget in enumerate((self._low, self._slider, self._high)):
            layout.addWidget(widget, 0, column)
        row = QHBoxLayout()
        row.addWidget(QLabel("As in"))
        row.addWidget(self._source, 1)
        row.addWidget(self._fit)
        layout.addLayout(row, 1, 0, 1, 3)
        layout.setColumnStretch(1, 1)
        self._slider.valueChanged.connect(lambda limits: contrast.set(*limits))
        for field in (self._low, self._high):
            field.editingFinished.connect(self._type)
        self._source.changed.connect(self._take)
        self._fit.toggled.connect(self.fit_changed)
        contrast.changed.connect(self._show)

    @property
    def fits(self) -> bool:
        """Whether brightness is to be fitted."""
        return bool(self._fit.isChecked())

    def offer(self, layers: list[Image]) -> None:
        """List the layers that the contrast can be taken from."""
        self._source.offer(layers)

    def _show(self) -> None:
        """Show the limits as they are."""
        low, high = self._contrast.limits
        least, most = self._contrast.range()
        with signals_blocked(self._slider):
            self._slider.setRange(least, most)
            self._slider.setValue((low, high))
        digits = max(0, _DIGITS - len(f"{int(max(abs(low), abs(high)))}"))
        for field, value in ((self._low, low), (self._high, high)):
            field.setDecimals(digits)
            field.setSingleStep((most - least) / 100)
            field.setValue(value)

    def _type(self) -> None:
        self._contrast.set(float(self._low.value()), float(self._high.value()))

    def _take(self) -> None:
        layer = self._source.value()
        if layer is not None:
            self._contrast.take_from(layer)
            self._source.setCurrentIndex(0)


def _number(name: str, words: str) -> NumberField:
    field = NumberField()
    describe(field, name, words, words)
    field.setRange(-_FAR, _FAR)
    field.setStepType(NumberField.StepType.DefaultStepType)
    field.setKeyboardTracking(False)
    field.setButtonSymbols(NumberField.ButtonSymbols.NoButtons)
    field.setFixedWidth(70)
    return field
