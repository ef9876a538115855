"""Runs that were begun and did not come to their end: after a crash, a power cut, or a stop."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from napari_mvfusion.gui.jobs.status import box_of
from napari_mvfusion.gui.panels.finetune.model_actions import file_of
from napari_mvfusion.gui.panels.finetune.prompt import Prompt
from napari_mvfusion.gui.widgets.inputs import push_button, text_label
from napari_mvfusion.system.words import duration
from napari_mvfusion.training.runs import UnfinishedRun, unfinished_runs

_MOST = 3
_DAY_SECONDS = 86400


class UnfinishedRuns(QWidget):
    """A box a run, with buttons to go on with it or to discard it; hidden where there is none."""

    go_on = Signal(object)
    discarded = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._names: list[tuple[str, int]] | None = None
        self._rows = QVBoxLayout()
        self._rows.setSpacing(3)
        self._prompt = Prompt()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(self._rows)
        layout.addWidget(self._prompt)
        self.refresh()

    def refresh(self) -> None:
        """Look again at what is there."""
        runs = [run for run in unfinished_runs() if not _kept_since(run)][:_MOST]
        names = [(run.name, run.step) for run in runs]
        self.setVisible(bool(runs))
        if names == self._names:
            return
        self._names = names
        self._prompt.hide()
        while (item := self._rows.takeAt(0)) is not None:
            box = item.widget()
            box.hide()
            box.setParent(None)
            box.deleteLater()
        for run in runs:
            self._rows.addWidget(self._box(run))

    def _box(self, run: UnfinishedRun) -> QFrame:
        box = QFrame()
        box.setObjectName("unfinished")
        box.setStyleSheet(f"QFrame#unfinished {{ {box_of('warning')} }}")
        ago = max(0.0, (datetime.now(UTC) - run.saved).total_seconds())
        when = f"{duration(ago)} ago" if ago < _DAY_SECONDS else f"{run.saved:%Y-%m-%d}"
        text = text_label(
            "unfinished_text", f"The training of '{run.name}' did not come to its end: step {run.step}, saved {when}."
        )
        go_on = push_button(
            "Continue",
            "continue_unfinished",
            "<qt>Goes on from its last checkpoint, its own settings and the views chosen below</qt>",
        )
        go_on.clicked.connect(partial(self.go_on.emit, run))
        discard = push_button("Discard", "discard_unfinished", "Forget what was learned; asks first")
        discard.clicked.connect(partial(self._ask, run))
        buttons = QHBoxLayout()
        buttons.addStretch()
        buttons.addWidget(go_on)
        buttons.addWidget(discard)
        column = QVBoxLayout(box)
        column.setContentsMargins(6, 4, 6, 4)
        column.addWidget(text)
        column.addLayout(buttons)
        return box

    def _ask(self, run: UnfinishedRun) -> None:
        self._prompt.ask(
            f"Discard all that was learned for '{run.name}'? This cannot be undone.",
            "Discard",
            partial(self.discarded.emit, run),
        )


def _kept_since(run: UnfinishedRun) -> bool:
    """Whether the run was stopped in good order: its model is newer than its last checkpoint, and can be gone on with."""
    path = file_of(run.name)
    return path.is_file() and path.stat().st_mtime >= run.saved.timestamp()
