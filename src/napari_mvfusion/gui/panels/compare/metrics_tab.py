"""The fourth tab: a table with numbers for every ticked volume, the best of each column bold, and files of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import takewhile
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QHeaderView, QTableWidget, QTableWidgetItem, QVBoxLayout

from napari_mvfusion.engine.run_attenuation import attenuation_of_run
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.jobs.status import Status, TaskBar
from napari_mvfusion.gui.jobs.tasks import Latest
from napari_mvfusion.gui.panels.compare.compared_layers import role_of, view_layers_with_psfs, views_of
from napari_mvfusion.gui.panels.compare.data_versions import DataVersions, shown_step
from napari_mvfusion.gui.panels.compare.figure_box import FigureBox
from napari_mvfusion.gui.panels.compare.layer_list import ComparedLayers, ComparePart
from napari_mvfusion.gui.panels.compare.look_tab import LookTab
from napari_mvfusion.gui.widgets.forms import Form, Words
from napari_mvfusion.gui.widgets.inputs import ask_for_file, push_button, text_label
from napari_mvfusion.gui.widgets.names import NameDelegate
from napari_mvfusion.measures.metric import Metric, Needs
from napari_mvfusion.measures.metrics import METRICS, PARTS
from napari_mvfusion.measures.placed_volume import PlacedVolume
from napari_mvfusion.measures.scores import Key, Row, Score, ScoringTask, best, compute, write_table

_PARTS = [(words.removeprefix("the "), part) for part, words in PARTS.items()]
_PARTS_TIP = "Foreground: where the normalised ground truth is above zero"
_NOTHING = "Tick results to compare. Scores need a ground truth, residuals need views with PSFs."
_MOST_ROWS = 9
_WIDEST_NAME = 150
_ARROWS = {"lower": "↓", "higher": "↑"}


class MetricsTab(ComparePart):
    """A table of residuals and scores, computed when the user asks for it and kept while the data are the same.

    Parameters
    ----------
    viewer, compared, status : see `ComparePart`
    look : knows the shared contrast, for figures
    """

    def __init__(self, viewer: ViewerModel, compared: ComparedLayers, status: Status, look: LookTab) -> None:
        super().__init__(viewer, compared, status)
        self._known: dict[Key, Score] = {}
        self._versions = DataVersions()
        self._rows: list[Row] = []
        self._task = Latest(self)
        self._bar = TaskBar(self._task)
        self._figure = FigureBox(viewer, compared, status, look)
        self._lay_out()
        compared.data_changed.connect(self._versions.notice)
        compared.changed.connect(self._follow)
        compared.time_changed.connect(self._follow)
        self._over["part"].changed.connect(self._show)
        self._compute.clicked.connect(self._start)
        self._save.clicked.connect(self._save_table)
        self._task.reported.connect(self._take)
        self._task.failed.connect(status.fail)
        self._task.ended.connect(self._show)
        self._follow()

    def _lay_out(self) -> None:
        self._table = MetricsTable()
        self._over = Form([Words(_PARTS, name="part", label="Scores over", tooltip=_PARTS_TIP)])
        self._compute = push_button("Compute", "compute")
        self._save = push_button("Save table…", "save_table")
        self._hint = text_label("metrics_hint")
        buttons = QHBoxLayout()
        buttons.addWidget(self._compute, 1)
        buttons.addWidget(self._save, 1)
        layout = QVBoxLayout(self)
        for part in (self._over, self._table, self._hint):
            layout.addWidget(part)
        layout.addLayout(buttons)
        layout.addWidget(self._bar)
        layout.addWidget(self._figure)
        layout.addStretch()

    def _follow(self) -> None:
        """Layers, ticks, ground truth, data or time are others: what is known about them stays."""
        current = self._versions.follow(self._compared.listed())
        self._known = {key: score for key, score in self._known.items() if current.issuperset(key.made_of)}
        truth = self._compared.truth()
        self._rows = [self._row(layer, truth) for layer in self._measured()]
        self._show()

    def _measured(self) -> list[Image]:
        """The layers of the rows."""
        return [layer for layer in self._compared.ticked() if layer is not self._compared.truth()]

    def _row(self, layer: Image, truth: Image | None) -> Row:
        views = view_layers_with_psfs(self._compared.listed())
        keys = [self._key("views", [layer, *views])]
        if truth is not None:
            keys.append(self._key("truth", [layer, truth]))
        if any(metric.needs == "nothing" for metric in METRICS):
            keys.append(self._key("nothing", [layer]))
        known = {key.needs: self._known[key] for key in keys if key in self._known}
        missing = tuple(key for key in keys if key not in self._known)
        return Row(layer.name, role_of(layer), known, missing)

    def _key(self, needs: Needs, layers: list[Image]) -> Key:
        return Key(needs, shown_step(self._viewer, layers), self._versions.of(layers))

    def _missing(self) -> list[ScoringTask]:
        """What is still to be computed."""
        missing = []
        for row, layer in zip(self._rows, self._measured(), strict=True):
            for key in row.missing:
                volume = self._volume(layer)
                try:
                    missing.append(ScoringTask(key, volume, **self._compared_with(key.needs, volume)))
                except InputError as error:
                    missing.append(ScoringTask(key, volume, problem=str(error)))
        return missing

    def _compared_with(self, needs: Needs, volume: PlacedVolume) -> dict[str, Any]:
        truth = self._compared.truth()
        if needs == "truth" and truth is not None:
            return {"truth": self._volume(truth)}
        if needs == "views":
            views = views_of(volume, self._compared.listed(), self._viewer.dims.point)
            return {"views": views, "allowing": partial(attenuation_of_run, volume.recipe)}
        return {}

    def _start(self) -> None:
        with self._told():
            parts = self._missing()
            self._bar.begin("Starting…")
            self._task.start(lambda check: compute(parts, check.report))
            self._show()

    def _take(self, score: Score) -> None:
        self._known[score.key] = score
        self._follow()

    def _show(self) -> None:
        with_truth, part = self._compared.truth() is not None, str(self._over["part"].value)
        self._table.show_rows(self._rows, part, with_truth=with_truth)
        self._table.setVisible(bool(self._rows))
        self._over.setVisible(with_truth and bool(self._rows))
        missing = sum(bool(row.missing) for row in self._rows)
        running = self._task.running
        self._compute.setEnabled(missing > 0 and not running)
        why = "It is being computed" if running else _NOTHING if not self._rows else "All is computed"
        self._compute.setToolTip("Compute what is missing in the table" if self._compute.isEnabled() else why)
        known = any(row.known for row in self._rows)
        self._save.setEnabled(known)
        self._save.setToolTip("Save the table as CSV, all numbers in full" if known else "Nothing is computed yet")
        self._hint.setText(self._advice(missing, running=running))
        self._hint.setVisible(bool(self._hint.text()))
        self._figure.set_captions(self._rows, part)

    def _advice(self, missing: int, *, running: bool) -> str:
        """What to do, or what is in the way."""
        if not self._rows:
            return _NOTHING
        if running:
            return ""
        if missing:
            rows = "1 row is" if missing == 1 else f"{missing} rows are"
            scores = "" if self._compared.truth() is not None else " Name a ground truth above to get scores too."
            return f"{rows} not computed yet.{scores}"
        problems = dict.fromkeys(score.problem for row in self._rows for score in row.known.values())
        said = [problem[:1].upper() + problem[1:] + "." for problem in problems if problem]
        return "\n".join([*said, *_attenuation_words(self._rows)])

    def _save_table(self) -> None:
        with self._told():
            path = ask_for_file(self, "Save the table", "metrics", {"csv": "Table"})
            if path is not None:
                truth = self._compared.truth()
                write_table(path, self._rows, "" if truth is None else truth.name)
                self._status.say("done", f"The table is saved as {path}.")


class MetricsTable(QTableWidget):
    """Shows rows of numbers; it computes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("table")
        self.setColumnCount(1 + len(METRICS))
        self.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QTableWidget.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        NameDelegate(self)
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


def _attenuation_words(rows: Sequence[Row]) -> list[str]:
    """What residuals took for the attenuation of the views, a line for all volumes of which it is alike."""
    said: dict[str, list[str]] = {}
    for row in rows:
        if row.attenuation:
            said.setdefault(row.attenuation, []).append(f"'{row.name}'")
    if len(said) == 1:
        return [f"Attenuation in the residual: {next(iter(said))}."]
    return [f"Attenuation in the residual of {', '.join(names)}: {words}." for words, names in said.items()]


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
        lines = [f"view {view}: {value:.{metric.decimals + 1}f}" for view, value in values.items()]
        return "\n".join([*lines, f"Attenuation: {row.attenuation}"])
    return "\n".join(f"{value:.6g} over {PARTS[name]}" for name, value in values.items())
