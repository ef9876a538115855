"""The fourth tab: numbers for every ticked volume, and files of them."""

from __future__ import annotations

from typing import Any

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.jobs.bar import TaskBar
from napari_mvfusion.gui.jobs.tasks import Failed, Latest
from napari_mvfusion.gui.panels.compare.compared_layers import role_of, view_layers_with_psfs, views_of, volume_at
from napari_mvfusion.gui.panels.compare.figure_box import FigureBox
from napari_mvfusion.gui.panels.compare.layer_list import ComparedLayers
from napari_mvfusion.gui.panels.compare.look_tab import LookTab
from napari_mvfusion.gui.panels.compare.metrics_table import MetricsTable
from napari_mvfusion.gui.widgets.inputs import DropList, ask_for_file, describe, push_button, text_label
from napari_mvfusion.measures.metric import Needs
from napari_mvfusion.measures.metrics import METRICS, PARTS
from napari_mvfusion.measures.scores import Key, Row, Score, ScoringTask, compute, write_table

_PARTS = {words.removeprefix("the "): part for part, words in PARTS.items()}
_NOTHING = "Tick results to compare. Scores need a ground truth, residuals need views with PSFs."


class MetricsTab(QWidget):
    """A table of residuals and scores, computed when the user asks for it and kept while the data are the same.

    Parameters
    ----------
    viewer : the viewer
    compared : the layers
    look : knows the shared contrast, for figures
    """

    failed = Signal(object)
    warned = Signal(str)
    said = Signal(str)
    begun = Signal()

    def __init__(
        self, viewer: ViewerModel, compared: ComparedLayers, look: LookTab, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._compared = compared
        self._known: dict[Key, Score] = {}
        self._versions: dict[Image, int] = {}
        self._rows: list[Row] = []
        self._task = Latest(self)
        self._bar = TaskBar(self._task)
        self._figure = FigureBox(viewer, compared, look, self)
        self._lay_out()
        compared.data_changed.connect(self._notice_data)
        compared.changed.connect(self._follow)
        viewer.dims.events.point.connect(self._notice_time)
        self._over.currentIndexChanged.connect(self._show)
        self._compute.clicked.connect(self._start)
        self._save.clicked.connect(self._save_table)
        self._task.reported.connect(self._take)
        self._task.failed.connect(self.failed)
        self._task.ended.connect(self._show)
        for signal in ("failed", "said", "begun"):
            getattr(self._figure, signal).connect(getattr(self, signal).emit)
        self._follow()

    @property
    def rows(self) -> list[Row]:
        """The table as it stands."""
        return list(self._rows)

    @property
    def part(self) -> str:
        """Which voxels scores are over: "all" or "foreground"."""
        return _PARTS[self._over.currentText()]

    def close_down(self) -> None:
        """The panel is closed."""
        self._viewer.dims.events.point.disconnect(self._notice_time)

    def _lay_out(self) -> None:
        self._table = MetricsTable()
        self._over = DropList()
        describe(self._over, "part", "Scores over", "Foreground: where the normalised ground truth is above zero")
        self._over.addItems(list(_PARTS))
        self._compute = push_button("Compute", "compute")
        self._save = push_button("Save table…", "save_table")
        self._hint = text_label("metrics_hint")
        self._over_row = QWidget()
        over = QHBoxLayout(self._over_row)
        over.setContentsMargins(0, 0, 0, 0)
        over.addWidget(QLabel("Scores over"))
        over.addWidget(self._over, 1)
        buttons = QGridLayout()
        buttons.addWidget(self._compute, 0, 0)
        buttons.addWidget(self._save, 0, 1)
        layout = QVBoxLayout(self)
        layout.addWidget(self._over_row)
        layout.addWidget(self._table)
        layout.addWidget(self._hint)
        layout.addLayout(buttons)
        layout.addWidget(self._bar)
        layout.addWidget(self._figure)
        layout.addStretch()

    def _notice_data(self, layer: Image) -> None:
        self._versions[layer] = self._versions.get(layer, 0) + 1

    def _notice_time(self, event: Any = None) -> None:
        """Another time point is shown, where there are any."""
        del event
        if any(layer.ndim > 3 for layer in self._compared.ticked()):
            self._follow()

    def _follow(self) -> None:
        """Layers, ticks, ground truth or data are others: what is known about them stays."""
        listed = self._compared.listed()
        self._versions = {layer: self._versions.get(layer, 0) for layer in listed}
        current = {(id(layer), version) for layer, version in self._versions.items()}
        self._known = {key: score for key, score in self._known.items() if current.issuperset(key.made_of)}
        truth = self._compared.truth()
        self._rows = [self._row(layer, truth) for layer in self._compared.ticked() if layer is not truth]
        self._show()

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
        leading = tuple(self._viewer.dims.current_step[:-3]) if any(layer.ndim > 3 for layer in layers) else ()
        return Key(needs, leading, tuple((id(layer), self._versions.get(layer, 0)) for layer in layers))

    def _missing(self) -> list[ScoringTask]:
        """What is still to be computed."""
        listed, truth, point = self._compared.listed(), self._compared.truth(), self._viewer.dims.point
        missing = []
        for row, layer in zip(self._rows, (one for one in self._compared.ticked() if one is not truth), strict=True):
            for key in row.missing:
                volume = volume_at(layer, point)
                if key.needs == "nothing":
                    missing.append(ScoringTask(key, volume))
                    continue
                if key.needs == "truth" and truth is not None:
                    missing.append(ScoringTask(key, volume, truth=volume_at(truth, point)))
                    continue
                try:
                    missing.append(ScoringTask(key, volume, views=views_of(volume, listed, point)))
                except InputError as error:
                    missing.append(ScoringTask(key, volume, problem=str(error)))
        return missing

    def _start(self) -> None:
        self.begun.emit()
        try:
            parts = self._missing()
        except InputError as error:
            self.failed.emit(Failed(str(error)))
            return
        self._bar.begin("Starting…")
        self._task.start(lambda check: compute(parts, check.report))
        self._show()

    def _take(self, score: Score) -> None:
        self._known[score.key] = score
        self._follow()

    def _show(self) -> None:
        truth = self._compared.truth()
        self._table.show_rows(self._rows, self.part, with_truth=truth is not None)
        self._table.setVisible(bool(self._rows))
        self._over_row.setVisible(truth is not None and bool(self._rows))
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
        self._figure.set_captions(self._rows, self.part)

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
        return "\n".join(problem[:1].upper() + problem[1:] + "." for problem in problems if problem)

    def _save_table(self) -> None:
        self.begun.emit()
        path = ask_for_file(self, "Save the table", "metrics", {"csv": "Table"})
        if path is None:
            return
        truth = self._compared.truth()
        try:
            write_table(path, self._rows, "" if truth is None else truth.name)
        except OSError as error:
            self.failed.emit(Failed(str(error)))
        else:
            self.said.emit(f"The table is saved as {path}.")
