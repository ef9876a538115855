"""Choose fusion methods, one or several, and their parameters."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QSizePolicy, QWidget

from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.widgets.forms import Form, ParameterForm, Words
from napari_mvfusion.gui.widgets.inputs import describe, text_label
from napari_mvfusion.gui.widgets.layout import column
from napari_mvfusion.methods import METHODS, LearnedFusion, make_method
from napari_mvfusion.methods.base import Method
from napari_mvfusion.methods.parameters import parameters_of

_NAME = Qt.ItemDataRole.UserRole
_STANDARD, _OWN = "Standard", "Own values"
_DEFAULT = LearnedFusion.name
_ROW_PADDING = 10


class MethodForm(QWidget):
    """A list of methods to tick, and of the one that is looked at: what it does, its presets and its parameters.

    Each method keeps what was entered for it while another is looked at.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._list = QListWidget()
        describe(
            self._list,
            "methods",
            "Methods",
            "How the views become one volume. Each method that is ticked gives a result of its own",
        )
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._list.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._list.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self._summary = text_label("summary")
        tip = "Parameters that belong together; change any of them afterwards"
        self._preset_row = Form([Words(name="presets", label="Preset", tooltip=tip)])
        self._presets = self._preset_row["presets"].native
        self._presets.activated.connect(self._apply_preset)
        layout = column(self, self._list, self._summary, self._preset_row)
        self._forms: dict[str, ParameterForm] = {}
        for name, kind in METHODS.items():
            item = QListWidgetItem(kind.title, self._list)
            item.setData(_NAME, name)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Checked if name == _DEFAULT else Qt.CheckState.Unchecked)
            item.setToolTip(f"<qt>{kind.summary}</qt>")
            item.setSizeHint(QSize(0, self.fontMetrics().height() + _ROW_PADDING))
            form = ParameterForm(parameters_of(kind))
            form.changed.connect(self._tell)
            self._forms[name] = form
            layout.addWidget(form)
        height = sum(self._list.sizeHintForRow(row) for row in range(self._list.count()))
        self._list.setFixedHeight(height + 2 * self._list.frameWidth() + 2)
        self._list.setCurrentRow(list(METHODS).index(_DEFAULT))
        self._list.currentRowChanged.connect(self._show_current)
        self._list.itemChanged.connect(self._look_at_ticked)
        self._show_current()

    def methods(self) -> list[Method]:
        """The ticked methods with their parameters, in the order of the list.

        Raises
        ------
        InputError
            If a parameter cannot be used.
        """
        return [self._make(name) for name in self._ticked()]

    def current(self) -> Method:
        """The method that is looked at, whether it is ticked or not.

        Raises
        ------
        InputError
            If a parameter cannot be used.
        """
        return self._make(self._current_name())

    def state(self) -> dict[str, Any]:
        """What is chosen and entered, as JSON types."""
        return {
            "ticked": self._ticked(),
            "current": self._current_name(),
            "parameters": {name: form.values() for name, form in self._forms.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Choose and enter what an earlier `state` holds; what is not known any more is left out."""
        self.tick_only(*state.get("ticked", []))
        for name, values in state.get("parameters", {}).items():
            try:
                make_method(name, **values)
            except InputError:
                continue  # from another version of the method: its defaults stay
            self._forms[name].set_values(values)
        if state.get("current") in METHODS:
            self._list.setCurrentRow(list(METHODS).index(state["current"]))

    def tick_only(self, *names: str) -> None:
        """Tick these methods and no others."""
        for item in self._items():
            ticked = item.data(_NAME) in names
            item.setCheckState(Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked)

    def _items(self) -> list[QListWidgetItem]:
        return [self._list.item(row) for row in range(self._list.count())]

    def _ticked(self) -> list[str]:
        return [item.data(_NAME) for item in self._items() if item.checkState() == Qt.CheckState.Checked]

    def _current_name(self) -> str:
        return str(self._list.currentItem().data(_NAME))

    def _make(self, name: str) -> Method:
        method: Method = make_method(name, **self._forms[name].values())
        return method

    def _look_at_ticked(self, item: QListWidgetItem) -> None:
        if item.checkState() == Qt.CheckState.Checked:
            self._list.setCurrentItem(item)
        self.changed.emit()

    def _show_current(self) -> None:
        current = self._current_name()
        kind = METHODS[current]
        self._summary.setText(kind.summary)
        for name, form in self._forms.items():
            form.setVisible(name == current and bool(kind.model_fields))
        self._presets.offer([(name, name) for name in (*(kind.presets or [_STANDARD]), _OWN)])
        self._preset_row.setVisible(bool(kind.model_fields))
        self._tell()

    def _apply_preset(self) -> None:
        name = self._current_name()
        form = self._forms[name]
        chosen = self._presets.value()
        if chosen != _OWN:
            form.set_values(form.standard_tuning() | dict(METHODS[name].presets.get(chosen, {})))
        self._tell()

    def _tell(self) -> None:
        """Name the preset that the values are, if any, and tell that something changed."""
        name = self._current_name()
        form = self._forms[name]
        same = _OWN
        for preset, parameters in (METHODS[name].presets or {_STANDARD: {}}).items():
            if form.tuning() == form.standard_tuning() | dict(parameters):
                same = preset
        self._presets.set_value(same)
        self.changed.emit()
