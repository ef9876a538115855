"""Names on one line, cut so that what tells those of a list apart is seen; pointed at, each is told whole."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from qtpy.QtCore import QAbstractItemModel, QEvent, QModelIndex, Qt
from qtpy.QtGui import QFontMetrics, QHelpEvent, QResizeEvent
from qtpy.QtWidgets import QAbstractItemView, QLabel, QStyle, QStyledItemDelegate, QStyleOptionViewItem, QToolTip
from superqt import QElidingLabel

from napari_mvfusion.system.short_names import Parts, shortened, telling_parts

# Pixels that stay free behind the text of a label.
_BEHIND_TEXT = 2


def cut(name: str, parts: Parts, metrics: QFontMetrics, width: int) -> str:
    """A name as it fits into a width: without what is far from its telling parts, see `shortened`."""
    short = shortened(name, parts, lambda text: metrics.horizontalAdvance(text) <= width)
    return str(metrics.elidedText(short, Qt.TextElideMode.ElideMiddle, width))


class NameLabel(QElidingLabel):
    """A name on one line; of a list of its own, until `tell_apart` says which others stand there."""

    def __init__(self, name: str, text: str = "") -> None:
        super().__init__()
        self._parts: Parts = ()
        self.setObjectName(name)
        # It is cut to the width of the label, padding and all.
        self.setStyleSheet("padding: 0px;")
        self.setText(text)

    @property
    def shown(self) -> str:
        """What is seen of the name."""
        return cut(self.text(), self._parts, self.fontMetrics(), self.width() - _BEHIND_TEXT)

    def setText(self, txt: str) -> None:
        """Show a name."""
        super().setText(txt)
        self.setAccessibleName(txt)
        self._show()

    def set_parts(self, parts: Parts) -> None:
        """What is to be seen of the name."""
        if parts != self._parts:
            self._parts = parts
            self._show()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Cut it anew."""
        super().resizeEvent(event)
        self._show()

    def event(self, event: QEvent) -> bool:
        """Where it is pointed at, tell the whole name above what else there is to say."""
        if event.type() == QEvent.Type.ToolTip and self.shown != self.text():
            QToolTip.showText(event.globalPos(), with_name(self.text(), self.toolTip()), self)
            return True
        return bool(super().event(event))

    def _show(self) -> None:
        QLabel.setText(self, self.shown)


def tell_apart(labels: Iterable[NameLabel]) -> None:
    """Show of the names of a list what tells them apart."""
    labels = list(labels)
    parts = telling_parts([label.text() for label in labels])
    for label in labels:
        label.set_parts(parts[label.text()])


class NameDelegate(QStyledItemDelegate):
    """Draws the names of a column of a list or table.

    Parameters
    ----------
    view : whose delegate it becomes
    column : with the names
    """

    def __init__(self, view: QAbstractItemView, column: int = 0) -> None:
        super().__init__(view)
        self._column = column
        self._parts: dict[str, Parts] | None = None
        model = view.model()
        for signal in (model.dataChanged, model.rowsInserted, model.rowsRemoved, model.modelReset):
            signal.connect(self._forget)
        view.setItemDelegateForColumn(column, self)

    def shown(self, option: QStyleOptionViewItem, index: QModelIndex) -> str:
        """What is seen of a name."""
        whole = QStyleOptionViewItem(option)
        super().initStyleOption(whole, index)
        style = option.widget.style()
        place = style.subElementRect(QStyle.SubElement.SE_ItemViewItemText, whole, option.widget)
        # What Qt leaves free on both sides of it.
        beside = style.pixelMetric(QStyle.PixelMetric.PM_FocusFrameHMargin, whole, option.widget) + 1
        return cut(whole.text, self._parts_of(index, whole.text), whole.fontMetrics, place.width() - 2 * beside)

    def initStyleOption(self, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Draw what is seen of it; the room for the whole is asked for."""
        super().initStyleOption(option, index)
        if option.rect.width() > 0:
            option.text = self.shown(option, index)

    def helpEvent(
        self, event: QHelpEvent, view: QAbstractItemView, option: QStyleOptionViewItem, index: QModelIndex
    ) -> bool:
        """Where it is pointed at, tell the whole name above what else there is to say."""
        name = index.data(Qt.ItemDataRole.DisplayRole)
        if event.type() == QEvent.Type.ToolTip and name and self.shown(option, index) != name:
            QToolTip.showText(event.globalPos(), with_name(name, index.data(Qt.ItemDataRole.ToolTipRole) or ""), view)
            return True
        return bool(super().helpEvent(event, view, option, index))

    def _parts_of(self, index: QModelIndex, name: str) -> Parts:
        if self._parts is None:
            self._parts = dict(telling_parts(_column_of(index.model(), self._column)))
        return self._parts.get(name, ())

    def _forget(self, *_: object) -> None:
        self._parts = None


def _column_of(model: QAbstractItemModel, column: int) -> list[str]:
    return [str(model.index(row, column).data() or "") for row in range(model.rowCount())]


def with_name(name: str, tip: str) -> str:
    """A tooltip that begins with a name, unless it holds it already."""
    if name in tip:
        return tip
    inner = tip.removeprefix("<qt>").removesuffix("</qt>") if tip.startswith("<qt>") else escape(tip)
    return f"<qt>{escape(name)}<br>{inner}</qt>" if inner else f"<qt>{escape(name)}</qt>"
