"""A dialog that asks for the voxel size of views whose files do not say it."""

from __future__ import annotations

from qtpy.QtWidgets import QDialog, QDialogButtonBox, QGridLayout, QLabel, QVBoxLayout, QWidget

from napari_mvfusion.data.geometry import FloatTriple, StatedSize
from napari_mvfusion.gui.widgets.inputs import NumberField, describe, text_label

_DECIMALS = 5
_LARGEST_UM = 10_000.0
_AXES = ("z, from plane to plane", "y", "x")


class SizeDialog(QDialog):
    """A number for each axis, filled in where the size is known.

    Parameters
    ----------
    name : of the layer
    stated : its voxel size (z, y, x) in um, None along axes where it is not known
    parent : the panel
    """

    def __init__(self, name: str, stated: StatedSize, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("voxel_size")
        self.setWindowTitle("Voxel size")
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
        self._buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        self._buttons.accepted.connect(self.accept)
        self._buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        text = f"How far apart are the voxels of {name}? Other views of as many voxels that lack their size get it too."
        layout.addWidget(text_label("explained", text))
        layout.addLayout(grid)
        layout.addWidget(self._buttons)
        self._check()

    def given(self) -> FloatTriple | None:
        """The size (z, y, x) in um, None as long as one of the numbers is lacking."""
        z, y, x = (field.number() for field in self._fields)
        return (z, y, x) if z is not None and y is not None and x is not None else None

    def _check(self) -> None:
        button = self._buttons.button(QDialogButtonBox.StandardButton.Ok)
        button.setEnabled(self.given() is not None)
        button.setToolTip("" if self.given() is not None else "Enter the size along every axis")
