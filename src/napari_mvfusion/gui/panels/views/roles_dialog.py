"""A dialog in which each of some files gets its role: view, PSF, ground truth, beads, or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qtpy.QtWidgets import QDialog, QDialogButtonBox, QGridLayout, QLabel, QVBoxLayout, QWidget

from napari_mvfusion.gui.widgets.inputs import AngleField, WordList, describe, elided_label, text_label
from napari_mvfusion.gui.widgets.layout import scrolled
from napari_mvfusion.io.roles import Guess, Role, angles_of
from napari_mvfusion.system.words import times

_WORDS = [("View", "view"), ("PSF", "psf"), ("Ground truth", "truth"), ("Beads", "beads"), ("Leave out", "ignore")]
_WIDTH, _HEIGHT = 700, 360
_EXPLAINED = "Say what each file is. Their names do not tell all of it; angles match PSFs to views where names do not."


@dataclass(frozen=True)
class Given:
    """What a file is to be, and the angle of its view in degrees where that is known."""

    path: Path
    role: Role
    angle: float | None


class RolesDialog(QDialog):
    """A row a file, filled in with what the files seem to be.

    Parameters
    ----------
    guesses : of the files
    parent : the panel
    """

    def __init__(self, guesses: Sequence[Guess], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("roles")
        self.setWindowTitle("What are these files?")
        self.resize(_WIDTH, _HEIGHT)
        self._rows: list[tuple[Path, WordList, AngleField]] = []
        inner = QWidget()
        grid = QGridLayout(inner)
        for column, title in enumerate(("File", "Voxels (z, y, x)", "Role", "Angle °")):
            grid.addWidget(QLabel(title), 0, column)
        for row, (guess, angle) in enumerate(zip(guesses, angles_of(guesses), strict=True), 1):
            self._add_row(grid, row, guess, angle)
        grid.setColumnStretch(0, 1)
        grid.setRowStretch(len(guesses) + 1, 1)
        self._buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Open | QDialogButtonBox.StandardButton.Cancel)
        self._buttons.accepted.connect(self.accept)
        self._buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(text_label("explained", _EXPLAINED))
        layout.addWidget(scrolled(inner), 1)
        layout.addWidget(self._buttons)
        self._check()

    def given(self) -> list[Given]:
        """What the user has said, in the order of the rows."""
        return [Given(path, role.currentData(), angle.number()) for path, role, angle in self._rows]

    def _add_row(self, grid: QGridLayout, row: int, guess: Guess, angle: float | None) -> None:
        file = elided_label("file", guess.path.name)
        # It is cut to the width of the label, padding and all.
        file.setStyleSheet("padding: 0px;")
        file.setToolTip(f"{guess.path}: {guess.reason}")
        size = QLabel("no volume" if guess.shape is None else times(guess.shape))
        size.setToolTip("" if guess.shape is not None else guess.reason)
        role = WordList(_WORDS)
        describe(role, "role", f"Role of {guess.path.name}", f"Proposed, as {guess.reason}")
        role.set_value(guess.role)
        # A file that cannot be opened can only be left out.
        role.setEnabled(guess.shape is not None)
        degrees = AngleField()
        describe(degrees, "role_angle", f"Angle of {guess.path.name}, degrees")
        degrees.set_number(angle)
        role.currentIndexChanged.connect(self._check)
        for column, widget in enumerate((file, size, role, degrees)):
            grid.addWidget(widget, row, column)
        self._rows.append((guess.path, role, degrees))

    def _check(self) -> None:
        some = any(role.currentData() != "ignore" for _, role, _ in self._rows)
        button = self._buttons.button(QDialogButtonBox.StandardButton.Open)
        button.setEnabled(some)
        button.setToolTip("" if some else "All files are left out")
        for _, role, angle in self._rows:
            angle.setEnabled(role.currentData() in ("view", "psf"))
