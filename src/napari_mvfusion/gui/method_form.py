"""Choose a fusion method and its parameters."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_mvfusion.gui.parameters import ParameterForm
from napari_mvfusion.methods import METHODS, make_method
from napari_mvfusion.methods.base import Method


class MethodForm(QWidget):
    """A list of the methods, a line on what the chosen one does, and its parameters.

    Each method keeps what was entered for it while another is looked at.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._names = QComboBox()
        self._names.setObjectName("method")
        self._names.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._names.setToolTip("How the views become one volume")
        self._summary = QLabel()
        self._summary.setWordWrap(True)
        self._forms: dict[str, ParameterForm] = {}
        self._defaults = QPushButton("Restore defaults")
        self._defaults.setObjectName("defaults")
        self._defaults.setToolTip("Set the parameters of this method back")
        self._defaults.clicked.connect(self._restore)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._names)
        layout.addWidget(self._summary)
        for name, kind in METHODS.items():
            self._names.addItem(kind.title, name)
            form = ParameterForm(kind)
            form.changed.connect(self.changed)
            self._forms[name] = form
            layout.addWidget(form)
        layout.addWidget(self._defaults)
        self._names.currentIndexChanged.connect(self._show_chosen)
        self._show_chosen()

    def method(self) -> Method:
        """The chosen method with its parameters.

        Raises
        ------
        InputError
            If a parameter cannot be used.
        """
        name = self._names.currentData()
        method: Method = make_method(name, **self._forms[name].values())
        return method

    def _show_chosen(self) -> None:
        chosen = self._names.currentData()
        self._summary.setText(METHODS[chosen].summary)
        for name, form in self._forms.items():
            form.setVisible(name == chosen)
        self._defaults.setVisible(bool(METHODS[chosen].model_fields))
        self.changed.emit()

    def _restore(self) -> None:
        self._forms[self._names.currentData()].reset()
