"""Messages with buttons that stand in the row of a view."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFrame, QHBoxLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_mvfusion.gui.jobs.status import box_of
from napari_mvfusion.gui.panels.views.problems import Fix, Kind, Problem
from napari_mvfusion.gui.widgets.inputs import text_label


class Notices(QWidget):
    """Shows problems one below the other, each with the buttons of its fixes."""

    pressed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shown: list[tuple[Kind, str, tuple[str, ...]]] = []
        self._fixes: list[Fix] = []
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(3)
        self.hide()

    def show_problems(self, problems: Sequence[Problem]) -> None:
        """Show these problems instead of the last ones; widgets are made again only where the words differ."""
        shown = [(problem.kind, problem.text, tuple(fix.label for fix in problem.fixes)) for problem in problems]
        self._fixes = [fix for problem in problems for fix in problem.fixes]
        self.setVisible(bool(problems))
        if shown == self._shown:
            return
        self._shown = shown
        while (item := self._column.takeAt(0)) is not None:
            old = item.widget()
            old.hide()
            old.setParent(None)
            old.deleteLater()
        number = 0
        for problem in problems:
            self._column.addWidget(self._box(problem, number))
            number += len(problem.fixes)

    def _box(self, problem: Problem, number: int) -> QFrame:
        """One problem; its fixes are counted from `number`, so that buttons find the newest."""
        box = QFrame()
        box.setObjectName(problem.kind)
        if problem.kind != "note":
            box.setStyleSheet(f"QFrame#{problem.kind} {{ {box_of(problem.kind)} }}")
        text = text_label("problem", problem.text)
        text.setTextFormat(Qt.TextFormat.PlainText)
        text.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        line = QHBoxLayout(box)
        line.setContentsMargins(*((0, 0, 0, 0) if problem.kind == "note" else (5, 3, 3, 3)))
        line.addWidget(text, 1)
        buttons = QVBoxLayout()
        buttons.setSpacing(2)
        for i, fix in enumerate(problem.fixes):
            button = QPushButton(fix.label)
            button.setObjectName(f"fix {fix.label}")
            button.setToolTip(f"<qt>{fix.tip}</qt>")
            button.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Fixed)
            button.clicked.connect(partial(self._press, number + i))
            buttons.addWidget(button)
        line.addLayout(buttons)
        return box

    def _press(self, number: int) -> None:
        self.pressed.emit(self._fixes[number])
