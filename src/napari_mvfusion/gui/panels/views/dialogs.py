"""What Views & PSFs asks in a dialog, and how large voxels are; roles_dialog.py asks what files are."""

from __future__ import annotations

from qtpy.QtWidgets import QCheckBox, QDialog, QDialogButtonBox, QGridLayout, QLabel, QVBoxLayout, QWidget

from napari_mvfusion.data.geometry import FloatTriple, StatedSize
from napari_mvfusion.gui.widgets.inputs import NumberField, describe, text_label
from napari_mvfusion.gui.widgets.layout import Part, fill

_DECIMALS = 5
_LARGEST_UM = 10_000.0
_AXES = ("z, from plane to plane", "y", "x")


class Question(QDialog):
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

    def _ask(self, words: str, *entered: Part) -> None:
        fill(QVBoxLayout(self), (text_label("explained", words), *entered, self._buttons))

    def _let_answer(self, lacking: str) -> None:
        """Let it be answered, or say what is lacking."""
        self._answer.setEnabled(not lacking)
        self._answer.setToolTip(lacking)


class SizeDialog(Question):
    """A number for each axis, filled in where the voxel size is known.

    Parameters
    ----------
    name : of the layer
    stated : its voxel size (z, y, x) in um, None along axes where it is not known
    others : how many other views lack their size, or a part of it, which they can get too
    parent : the panel
    """

    def __init__(self, name: str, stated: StatedSize, others: int = 0, parent: QWidget | None = None) -> None:
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
        views = "view" if others == 1 else f"{others} views"
        self._too = QCheckBox(f"Also for the other {views} whose size is not known")
        self._too.setObjectName("size_of_others")
        self._too.setChecked(others > 0)
        self._too.setVisible(others > 0)
        grid.addWidget(self._too, len(_AXES), 0, 1, 2)
        self._ask(f"How far apart are the voxels of {name}?", grid)
        self._check()

    @property
    def for_others(self) -> bool:
        """Whether other views get the same size along the axes along which they lack theirs."""
        return self._too.isChecked()

    def given(self) -> FloatTriple | None:
        """The size (z, y, x) in um, None as long as one of the numbers is lacking."""
        z, y, x = (field.number() for field in self._fields)
        return (z, y, x) if z is not None and y is not None and x is not None else None

    def _check(self) -> None:
        self._let_answer("" if self.given() is not None else "Enter the size along every axis")
