"""What Views & PSFs asks in a dialog: what each of some files is, and how large voxels are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qtpy.QtWidgets import QDialog, QDialogButtonBox, QGridLayout, QLabel, QVBoxLayout, QWidget

from napari_mvfusion.data.geometry import FloatTriple, StatedSize
from napari_mvfusion.gui.widgets.inputs import AngleField, NumberField, WordList, describe, elided_label, text_label
from napari_mvfusion.gui.widgets.layout import Part, fill, scrolled
from napari_mvfusion.io.roles import Guess, Role, angles_of
from napari_mvfusion.system.words import times

_ROLES = [("View", "view"), ("PSF", "psf"), ("Ground truth", "truth"), ("Beads", "beads"), ("Leave out", "ignore")]
_WIDTH, _HEIGHT = 700, 360
_FILES = "Say what each file is. Their names do not tell all of it; angles match PSFs to views where names do not."
_DECIMALS = 5
_LARGEST_UM = 10_000.0
_AXES = ("z, from plane to plane", "y", "x")


class _Question(QDialog):
    """Words, what is entered, and two buttons: one answers, as soon as it can, the other goes back.

    Parameters
    ----------
    name : of the object
    title : of the window
    answer : the button that answers
    parent : the panel
    """

    def __init__(self, name: str, title: str, answer: QDialogButtonBox.StandardButton, parent: QWidget | None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.setWindowTitle(title)
        self._buttons = QDialogButtonBox(answer | QDialogButtonBox.StandardButton.Cancel)
        self._answer = self._buttons.button(answer)
        self._buttons.accepted.connect(self.accept)
        self._buttons.rejected.connect(self.reject)

    def _ask(self, words: str, entered: Part) -> None:
        fill(QVBoxLayout(self), (text_label("explained", words), entered, self._buttons))

    def _let_answer(self, lacking: str) -> None:
        """Let it be answered, or say what is lacking."""
        self._answer.setEnabled(not lacking)
        self._answer.setToolTip(lacking)


@dataclass(frozen=True)
class Given:
    """What a file is to be, and the angle of its view in degrees where that is known."""

    path: Path
    role: Role
    angle: float | None


class RolesDialog(_Question):
    """A row a file, in which it gets its role; filled in with what the files seem to be.

    Parameters
    ----------
    guesses : of the files
    parent : the panel
    """

    def __init__(self, guesses: Sequence[Guess], parent: QWidget | None = None) -> None:
        super().__init__("roles", "What are these files?", QDialogButtonBox.StandardButton.Open, parent)
        self.resize(_WIDTH, _HEIGHT)
        self._rows: list[tuple[Path, WordList, AngleField]] = []
        inner = QWidget()
        grid = QGridLayout(inner)
        for number, title in enumerate(("File", "Voxels (z, y, x)", "Role", "Angle °")):
            grid.addWidget(QLabel(title), 0, number)
        for row, (guess, angle) in enumerate(zip(guesses, angles_of(guesses), strict=True), 1):
            self._add_row(grid, row, guess, angle)
        grid.setColumnStretch(0, 1)
        grid.setRowStretch(len(guesses) + 1, 1)
        self._ask(_FILES, (scrolled(inner), 1))
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
        role = WordList(_ROLES)
        describe(role, "role", f"Role of {guess.path.name}", f"Proposed, as {guess.reason}")
        role.set_value(guess.role)
        # A file that cannot be opened can only be left out.
        role.setEnabled(guess.shape is not None)
        degrees = AngleField()
        describe(degrees, "role_angle", f"Angle of {guess.path.name}, degrees")
        degrees.set_number(angle)
        role.currentIndexChanged.connect(self._check)
        for number, widget in enumerate((file, size, role, degrees)):
            grid.addWidget(widget, row, number)
        self._rows.append((guess.path, role, degrees))

    def _check(self) -> None:
        some = any(role.currentData() != "ignore" for _, role, _ in self._rows)
        self._let_answer("" if some else "All files are left out")
        for _, role, angle in self._rows:
            angle.setEnabled(role.currentData() in ("view", "psf"))


class SizeDialog(_Question):
    """A number for each axis, filled in where the voxel size is known.

    Parameters
    ----------
    name : of the layer
    stated : its voxel size (z, y, x) in um, None along axes where it is not known
    parent : the panel
    """

    def __init__(self, name: str, stated: StatedSize, parent: QWidget | None = None) -> None:
        super().__init__("voxel_size", "Voxel size", QDialogButtonBox.StandardButton.Ok, parent)
        grid = QGridLayout()
        self._fields: list[NumberField] = []
        for row, (axis, size) in enumerate(zip(_AXES, stated, strict=True)):
            field = NumberField(0.0, _LARGEST_UM, _DECIMALS, word="not known")
            field.setSuffix(" µm")
            describe(field, f"size_{axis[0]}", f"Voxel size along {axis[0]}, micrometres")
            field.set_number(size)
            field.changed.connect(self._check)
            label = QLabel(axis)
            label.setBuddy(field)
            grid.addWidget(label, row, 0)
            grid.addWidget(field, row, 1)
            self._fields.append(field)
        text = f"How far apart are the voxels of {name}? Other views of as many voxels that lack their size get it too."
        self._ask(text, grid)
        self._check()

    def given(self) -> FloatTriple | None:
        """The size (z, y, x) in um, None as long as one of the numbers is lacking."""
        z, y, x = (field.number() for field in self._fields)
        return (z, y, x) if z is not None and y is not None and x is not None else None

    def _check(self) -> None:
        self._let_answer("" if self.given() is not None else "Enter the size along every axis")
