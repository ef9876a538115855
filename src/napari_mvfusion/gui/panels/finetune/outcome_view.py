"""What became of a run, in a sentence, and what can be done with its model."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_mvfusion.gui.jobs.status import box_of
from napari_mvfusion.gui.widgets.inputs import NumberField, describe, push_button, text_label

_MORE_MINUTES = 5.0
_BUTTONS = (
    ("compare", "Compare with the start", "Fuses the views with both models, side by side, with their residuals"),
    ("use", "Fuse with it", "Fuses the ticked views with the new model, as a new layer"),
    ("export", "Export…", "Saves a copy of the model as a file, for another computer"),
    ("rename", "Rename…", "Gives the model another name"),
    ("delete", "Delete…", "Deletes the model; asks first"),
    ("another", "New fine-tune", "Back to the settings; the model stays in the lists"),
)


class OutcomeView(QWidget):
    """Shown when a run is over. `pressed` names the button; `go_on` gives the minutes to train on."""

    pressed = Signal(str)
    go_on = Signal(float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._words = text_label("outcome")
        self._buttons: dict[str, QPushButton] = {}
        self._tips: dict[str, str] = {}
        grid = QGridLayout()
        grid.setSpacing(4)
        for number, (name, label, tip) in enumerate(_BUTTONS):
            button = QPushButton(label)
            button.setObjectName(name)
            button.clicked.connect(lambda _, name=name: self.pressed.emit(name))
            self._buttons[name], self._tips[name] = button, tip
            grid.addWidget(button, number // 2, number % 2)
        self._minutes = NumberField(0.05, 10080, 2)
        describe(self._minutes, "more_minutes", "Minutes to continue for")
        self._minutes.setSuffix(" min")
        self._minutes.set_value(_MORE_MINUTES)
        self._continue = push_button("Continue for", "continue")
        self._continue.clicked.connect(lambda: self.go_on.emit(float(self._minutes.value())))
        row = QHBoxLayout()
        row.addWidget(self._continue, 1)
        row.addWidget(self._minutes, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._words)
        layout.addLayout(row)
        layout.addLayout(grid)
        self.allow({})

    def say(self, kind: str, text: str) -> None:
        """Show how it ended; `kind` is "done", "warning" or "error"."""
        self._words.setText(text)
        self._words.setStyleSheet(f"{box_of(kind)} padding: 5px;")

    def allow(self, obstacles: dict[str, str]) -> None:
        """Enable the buttons, except those with an obstacle, which then stands in their tooltip."""
        for name, button in self._buttons.items():
            obstacle = obstacles.get(name, "")
            button.setEnabled(not obstacle)
            button.setToolTip(f"<qt>{obstacle or self._tips[name]}</qt>")
        obstacle = obstacles.get("continue", "")
        self._continue.setEnabled(not obstacle)
        self._minutes.setEnabled(not obstacle)
        self._continue.setToolTip(f"<qt>{obstacle or 'Trains on from where it ended, with the same data'}</qt>")
