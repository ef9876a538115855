"""The order in which the Tab key goes through a panel: that in which things are laid out, also of rows that come later."""

from __future__ import annotations

from collections.abc import Iterator

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QGridLayout,
    QLayout,
    QScrollArea,
    QSplitter,
    QStackedWidget,
    QTabWidget,
    QWidget,
)


def stops(widget: QWidget) -> list[QWidget]:
    """The widgets inside that the Tab key stops at now, in reading order: seen, enabled, and open to the key."""
    return [stop for stop in _inside(widget) if _is_stop(stop)]


def neighbour(panel: QWidget, focused: QWidget | None, *, forward: bool) -> QWidget | None:
    """Where the Tab key goes from a widget; None where it leaves the panel."""
    order = stops(panel)
    if focused not in order:
        return None
    place = order.index(focused) + (1 if forward else -1)
    return order[place] if 0 <= place < len(order) else None


def _is_stop(widget: QWidget) -> bool:
    opens = (widget.focusPolicy() & Qt.FocusPolicy.TabFocus) == Qt.FocusPolicy.TabFocus
    return bool(opens and widget.isVisible() and widget.isEnabled() and widget.focusProxy() is None)


def _inside(widget: QWidget) -> Iterator[QWidget]:
    """A widget and all that is laid out in it, in order."""
    yield widget
    if isinstance(widget, QScrollArea):
        yield from _inside(widget.widget())
    elif isinstance(widget, QTabWidget):
        yield from _inside(widget.tabBar())
        if widget.currentWidget() is not None:
            yield from _inside(widget.currentWidget())
    elif isinstance(widget, QStackedWidget):
        if widget.currentWidget() is not None:
            yield from _inside(widget.currentWidget())
    elif isinstance(widget, QSplitter):
        for number in range(widget.count()):
            yield from _inside(widget.widget(number))
    elif isinstance(widget, QAbstractItemView):
        cells = [cell for cell in widget.viewport().children() if isinstance(cell, QWidget)]
        for cell in sorted(cells, key=lambda cell: (cell.y(), cell.x())):
            yield from _inside(cell)
    elif widget.layout() is not None:
        yield from _laid_out(widget.layout())


def _laid_out(layout: QLayout) -> Iterator[QWidget]:
    numbers = list(range(layout.count()))
    if isinstance(layout, QGridLayout):
        numbers.sort(key=lambda number: layout.getItemPosition(number)[:2])
    for number in numbers:
        item = layout.itemAt(number)
        if item.widget() is not None:
            yield from _inside(item.widget())
        elif item.layout() is not None:
            yield from _laid_out(item.layout())
