"""The controls of the shared contrast: a range, the layer to take it from, and whether brightness is fitted."""

from __future__ import annotations

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QGridLayout, QHBoxLayout, QLabel, QWidget
from superqt.utils import signals_blocked

from napari_mvfusion.gui.panels.compare.shared_contrast import SharedContrast
from napari_mvfusion.gui.widgets.inputs import DropList, NumberField, RangeSlider, describe

_FAR = 1e12
_DIGITS = 4


class ContrastBar(QWidget):
    """Shows and sets the limits of a shared contrast.

    `fit_changed` tells that the user wants brightness to be fitted, or not any more.

    Parameters
    ----------
    contrast : what it controls
    """

    fit_changed = Signal()

    def __init__(self, contrast: SharedContrast, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._contrast = contrast
        self._slider = RangeSlider()
        describe(self._slider, "contrast", "Contrast", "Black and white of all layers that are compared")
        self._low, self._high = _number("low", "Shown black"), _number("high", "Shown white")
        self._source = DropList()
        describe(self._source, "contrast_from", "Contrast as in", "Give all layers the contrast that one of them has")
        self._fit = QCheckBox("Fit brightness")
        self._fit.setObjectName("fit")
        self._fit.setChecked(True)
        self._fit.setToolTip(
            "Methods differ in gain: bring each layer to the first by the scale and offset of least squares. "
            "Only the contrast changes, never the values"
        )
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._low, 0, 0)
        layout.addWidget(self._slider, 0, 1)
        layout.addWidget(self._high, 0, 2)
        row = QHBoxLayout()
        row.addWidget(QLabel("As in"))
        row.addWidget(self._source, 1)
        row.addWidget(self._fit)
        layout.addLayout(row, 1, 0, 1, 3)
        layout.setColumnStretch(1, 1)
        self._slider.valueChanged.connect(self._slide)
        for field in (self._low, self._high):
            field.editingFinished.connect(self._type)
        self._source.activated.connect(self._take)
        self._fit.toggled.connect(self._tell)
        contrast.changed.connect(self.refresh)

    @property
    def fits(self) -> bool:
        """Whether brightness is to be fitted."""
        return bool(self._fit.isChecked())

    def offer(self, layers: list[Image]) -> None:
        """List the layers that the contrast can be taken from."""
        self._source.clear()
        self._source.addItem("choose a layer…", None)
        for layer in layers:
            self._source.addItem(layer.name, layer)

    def refresh(self) -> None:
        """Show the limits as they are."""
        low, high = self._contrast.limits
        least, most = self._contrast.range()
        with signals_blocked(self._slider):
            self._slider.setRange(least, most)
            self._slider.setValue((low, high))
        digits = max(0, _DIGITS - len(f"{int(max(abs(low), abs(high)))}"))
        for field, value in ((self._low, low), (self._high, high)):
            with signals_blocked(field):
                field.setDecimals(digits)
                field.setSingleStep((most - least) / 100)
                field.setValue(value)

    def _slide(self, limits: tuple[float, float]) -> None:
        self._contrast.set(*limits)

    def _type(self) -> None:
        self._contrast.set(float(self._low.value()), float(self._high.value()))

    def _take(self) -> None:
        layer = self._source.currentData()
        if layer is not None:
            self._contrast.take_from(layer)
            self._source.setCurrentIndex(0)

    def _tell(self) -> None:
        self.fit_changed.emit()


def _number(name: str, words: str) -> NumberField:
    field = NumberField()
    describe(field, name, words, words)
    field.setRange(-_FAR, _FAR)
    field.setStepType(NumberField.StepType.DefaultStepType)
    field.setKeyboardTracking(False)
    field.setButtonSymbols(NumberField.ButtonSymbols.NoButtons)
    field.setFixedWidth(70)
    return field
