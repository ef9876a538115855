"""How panels are laid out: rows and columns, what scrolls or folds, and the order in which the Tab key goes through it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import (
    QAbstractItemView,
    QBoxLayout,
    QFrame,
    QGridLayout,
    QGroupBox,
    QHBoxLayout,
    QLayout,
    QScrollArea,
    QSizePolicy,
    QSplitter,
    QStackedWidget,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

_FOLDED, _UNFOLDED = "▸", "▾"

Part: TypeAlias = QWidget | QLayout | tuple[QWidget | QLayout, int] | None
"""What is laid out: a number beside it is its share of the room that is left; None is room that stays empty."""


def column(owner: QWidget, *parts: Part, margins: tuple[int, int, int, int] = (0, 0, 0, 0)) -> QVBoxLayout:
    """Lay parts out one below the other.

    Parameters
    ----------
    owner : holds them
    margins : pixels to the left, above, to the right and below
    """
    layout = QVBoxLayout(owner)
    layout.setContentsMargins(*margins)
    fill(layout, parts)
    return layout


def row(*parts: Part) -> QHBoxLayout:
    """Parts beside each other, for a column."""
    layout = QHBoxLayout()
    fill(layout, parts)
    return layout


def group(title: str, *parts: Part) -> QGroupBox:
    """Parts one below the other in a box with a title."""
    box = QGroupBox(title)
    fill(QVBoxLayout(box), parts)
    return box


def fill(layout: QBoxLayout, parts: Iterable[Part]) -> None:
    """Add parts to a layout."""
    for part in parts:
        what, share = part if isinstance(part, tuple) else (part, 0)
        if what is None:
            layout.addStretch()
        elif isinstance(what, QWidget):
            layout.addWidget(what, share)
        else:
            layout.addLayout(what, share)


def scrolled(inner: QWidget) -> QScrollArea:
    """Put a widget into an area that scrolls up and down, without a frame; it takes the width there is."""
    return _dressed(QScrollArea(), inner)


def _dressed(area: QScrollArea, inner: QWidget) -> QScrollArea:
    area.setWidget(inner)
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    # It follows the focus of what it holds; by itself it would be a stop where nothing is seen.
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return area


def discard(widget: QWidget) -> None:
    """Take a widget away at once. Deleting waits for the event loop: until then it would show through what comes next."""
    widget.hide()
    widget.setParent(None)
    widget.deleteLater()


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


class Fold(QCollapsible):
    """A part that is folded away under its title: superqt's, as high as what it holds at any time.

    What is folded is no stop for the Tab key.

    Parameters
    ----------
    title : on the button
    name : of the button, for the program
    content : what is folded
    """

    def __init__(self, title: str, name: str, content: QWidget) -> None:
        # Its arrows are pictures, in a colour that cannot be seen in every theme: these are letters.
        super().__init__(title, expandedIcon=QIcon(), collapsedIcon=QIcon())
        self._title = title
        self._most_pixels = content.maximumHeight()
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self.setDuration(0)
        empty = self.content()
        self.setContent(content)
        empty.deleteLater()
        self.layout().setContentsMargins(0, 0, 0, 0)
        self.layout().setSpacing(2)
        self.toggleButton().setObjectName(name)
        self.toggleButton().setStyleSheet("text-align: left; border: none; background: transparent;")
        self.toggled.connect(self._show_content)
        self._show_content(False)

    def _show_content(self, on: bool) -> None:
        self.setText(f"{_UNFOLDED if on else _FOLDED} {self._title}")
        # It folds by height alone, and forgets that what it holds may grow.
        self.content().setMaximumHeight(self._most_pixels)
        self.content().setVisible(on)


def stops(widget: QWidget) -> list[QWidget]:
    """The widgets inside that the Tab key stops at now, in reading order: seen, enabled, and open to the key."""
    return [stop for stop in _inside(widget) if _is_stop(stop)]


def neighbour(panel: QWidget, focused: QWidget | None, *, forward: bool) -> QWidget | None:
    """Where the Tab key goes from a widget, also to rows that came later; None where it leaves the panel."""
    order = stops(panel)
    if focused not in order:
        return None
    place = order.index(focused) + (1 if forward else -1)
    return order[place] if 0 <= place < len(order) else None


def _is_stop(widget: QWidget) -> bool:
    opens = (widget.focusPolicy() & Qt.FocusPolicy.TabFocus) == Qt.FocusPolicy.TabFocus
    return bool(opens and widget.isVisible() and widget.isEnabled() and widget.focusProxy() is None)


def _inside(widget: QWidget | None) -> Iterator[QWidget]:
    """A widget and all that is laid out in it, in order."""
    if widget is None:
        return
    yield widget
    match widget:
        case QTabWidget():
            parts = [widget.tabBar(), widget.currentWidget()]
        case QStackedWidget():
            parts = [widget.currentWidget()]
        case QScrollArea():
            parts = [widget.widget()]
        case QSplitter():
            parts = [widget.widget(number) for number in range(widget.count())]
        case QAbstractItemView():
            cells = [cell for cell in widget.viewport().children() if isinstance(cell, QWidget)]
            parts = sorted(cells, key=lambda cell: (cell.y(), cell.x()))
        case _:
            parts = [] if widget.layout() is None else _laid_out(widget.layout())
    for part in parts:
        yield from _inside(part)


def _laid_out(layout: QLayout) -> list[QWidget]:
    numbers = list(range(layout.count()))
    if isinstance(layout, QGridLayout):
        numbers.sort(key=lambda number: layout.getItemPosition(number)[:2])
    found = []
    for item in map(layout.itemAt, numbers):
        found += [item.widget()] if item.widget() is not None else _laid_out(item.layout()) if item.layout() else []
    return found
