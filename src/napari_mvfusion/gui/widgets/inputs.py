"""Lists, numbers and sliders of all panels: they have names for screen readers, and leave the wheel to what scrolls."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QSlider, QWidget
from superqt import QDoubleRangeSlider


class Unscrolled:
    """Leaves the wheel to the panel unless the widget has the focus, so that scrolling past changes nothing."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Take the wheel only with the focus, which the wheel itself does not give."""
        if self.hasFocus():  # type: ignore[attr-defined]
            super().wheelEvent(event)  # type: ignore[misc]
        else:
            event.ignore()


class DropList(Unscrolled, QComboBox):
    """A list to choose from; it is never wider than its place."""

    def __init__(self) -> None:
        super().__init__()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)


class NumberField(Unscrolled, QDoubleSpinBox):
    """A number to type."""

    def __init__(self) -> None:
        super().__init__()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)


class Slider(Unscrolled, QSlider):
    """A horizontal slider."""

    def __init__(self) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)


class RangeSlider(Unscrolled, QDoubleRangeSlider):
    """A horizontal slider with two handles."""

    def __init__(self) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)


def describe(widget: QWidget, name: str, called: str, tip: str = "") -> None:
    """Say what a widget is: to the program, to screen readers, and to those who point at it.

    Parameters
    ----------
    name : of the object
    called : in words, for those who do not see what stands beside it
    tip : may be empty
    """
    widget.setObjectName(name)
    widget.setAccessibleName(called)
    if tip:
        widget.setToolTip(tip)
