"""What a panel holds beyond its height: scrolled, without a frame, and no stop for the Tab key."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QSizePolicy, QWidget


def scrolled(inner: QWidget) -> QScrollArea:
    """Put a widget into an area that scrolls up and down; it takes the width there is."""
    return _dressed(QScrollArea(), inner)


class Roll(QScrollArea):
    """As high as what it holds, up to a limit beyond which it scrolls: what is below it stays in sight.

    Parameters
    ----------
    inner : what it holds
    most : pixels
    """

    def __init__(self, inner: QWidget, most: int) -> None:
        super().__init__()
        self._most = most
        _dressed(self, inner)
        # No more than its hint would be too little: labels with padding take more for their width than they hint at.
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        inner.installEventFilter(self)

    def heightForWidth(self, width: int) -> int:
        """Of the lines as they wrap in this width."""
        inner, margins = self.widget(), self.contentsMargins()
        width -= margins.left() + margins.right()
        needed = inner.heightForWidth(width) if inner.hasHeightForWidth() else inner.sizeHint().height()
        return min(needed + margins.top() + margins.bottom(), self._most)

    def sizeHint(self) -> QSize:
        """As narrow as it is let."""
        hint = self.widget().sizeHint()
        return QSize(hint.width(), min(hint.height(), self._most))

    def minimumSizeHint(self) -> QSize:
        """No less than what is to be read at a glance."""
        return QSize(0, min(self.widget().minimumSizeHint().height(), self._most))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Something came or went inside."""
        if event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return bool(super().eventFilter(watched, event))


def _dressed(area: QScrollArea, inner: QWidget) -> QScrollArea:
    area.setWidget(inner)
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    # It follows the focus of what it holds; by itself it would be a stop where nothing is seen.
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return area
