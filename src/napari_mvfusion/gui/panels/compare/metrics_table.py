"""The table of metrics: a row a volume, the best value of each column bold, and what a column means as tooltip."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from napari_mvfusion.measures.metric import Metric
from napari_mvfusion.measures.metrics import METRICS, PARTS
from napari_mvfusion.measures.scores import Row, best

_MOST_ROWS = 9
_WIDEST_NAME = 150
_ARROWS = {"lower": "↓", "higher": "↑"}


class MetricsTable(QTableWidget):
    """Shows rows of numbers; it computes nothing."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("table")
        self.setColumnCount(1 + len(METRICS))
        self.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QTableWidget.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setWordWrap(False)
        self.setStyleSheet("QHeaderView::section { padding: 2px 1px; } QTableWidget::item { padding: 0px 2px; }")
        self.setHorizontalScrollMode(QTableWidget.ScrollMode.ScrollPerPixel)
        self.verticalHeader().hide()
        self.horizontalHeader().setMinimumSectionSize(30)
        self.horizontalHeader().setHighlightSections(False)
        self.setHorizontalHeaderItem(0, QTableWidgetItem("Volume"))
        for number, metric in enumerate(METRICS, 1):
            item = QTableWidgetItem(f"{metric.title}\n{_ARROWS[metric.better]}")
            item.setToolTip(metric.help)
            self.setHorizontalHeaderItem(number, item)

    def show_rows(self, rows: Sequence[Row], part: str, *, with_truth: bool) -> None:
        """Show what is known.

        Parameters
        ----------
        rows : of the table
        part : "all" or "foreground", the voxels that scores are over
        with_truth : False hides the columns that need a ground truth
        """
        self.setRowCount(len(rows))
        for number, metric in enumerate(METRICS, 1):
            winner = best(rows, metric, part)
            self.setColumnHidden(number, metric.needs == "truth" and not with_truth)
            for place, row in enumerate(rows):
                item = QTableWidgetItem(_cell(row, metric, part))
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                item.setToolTip(_tip(row, metric, part))
                font = item.font()
                font.setBold(place == winner)
                item.setFont(font)
                self.setItem(place, number, item)
        shared = _shared_words([row.name for row in rows])
        for place, row in enumerate(rows):
            item = QTableWidgetItem(row.name[shared:])
            item.setToolTip(f"{row.name} ({row.role})")
            self.setItem(place, 0, item)
        self._fit(len(rows))

    def resizeEvent(self, event: object) -> None:
        """Share the width out again."""
        super().resizeEvent(event)
        self._fit(self.rowCount())

    def _fit(self, count: int) -> None:
        """Numbers as wide as they are, names take the rest; as high as the rows, up to a limit."""
        header = self.horizontalHeader()
        shown = [column for column in range(1, self.columnCount()) if not self.isColumnHidden(column)]
        for column in shown:
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Interactive)
        left = self.viewport().width() - sum(self.columnWidth(column) for column in shown)
        wanted = min(self.sizeHintForColumn(0), _WIDEST_NAME)
        self.setColumnWidth(0, max(left, wanted, 60))
        rows = sum(self.rowHeight(row) for row in range(min(count, _MOST_ROWS)))
        bar = self.horizontalScrollBar().height() if left < wanted else 0
        self.setFixedHeight(header.height() + rows + bar + 2 * self.frameWidth() + 2)


def _shared_words(names: Sequence[str]) -> int:
    """How many characters are whole words that all names begin with; none where that would leave a name empty."""
    if len(names) < 2:
        return 0
    columns = zip(*(name.split(" ")[:-1] for name in names), strict=False)
    return sum(len(words[0]) + 1 for words in takewhile(lambda words: len(set(words)) == 1, columns))


def _cell(row: Row, metric: Metric, part: str) -> str:
    number = row.number(metric, part)
    if number is None:
        return "–" if row.problem(metric) else ""
    return metric.text(number)


def _tip(row: Row, metric: Metric, part: str) -> str:
    """Each view's number, or those of both sets of voxels, or why there is none."""
    if row.number(metric, part) is None:
        return row.problem(metric) or "Not computed yet"
    values = row.values(metric)
    if metric.needs == "views":
        return "\n".join(f"view {view}: {value:.{metric.decimals + 1}f}" for view, value in values.items())
    return "\n".join(f"{value:.6g} over {PARTS[name]}" for name, value in values.items())
