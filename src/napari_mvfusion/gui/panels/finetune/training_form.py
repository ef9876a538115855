"""How long a fine-tune goes on, what the new model is called, and the parameters for experts, folded away."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFormLayout, QLineEdit, QPushButton, QVBoxLayout, QWidget

from napari_mvfusion.gui.panels.finetune.expert import ExpertSettings, settings_of
from napari_mvfusion.gui.panels.finetune.plan import OwnMode
from napari_mvfusion.gui.panels.finetune.threads import beside_a_window
from napari_mvfusion.gui.settings import preferences
from napari_mvfusion.gui.widgets.editors import Real
from napari_mvfusion.gui.widgets.form_rows import show_row
from napari_mvfusion.gui.widgets.parameters import ParameterForm
from napari_mvfusion.gui.widgets.word_list import WordList, devices
from napari_mvfusion.training.presets import fine_tune_config

_OTHER = "other"
_TIMES = [
    ("A first look: 1 min", "1"),
    ("Usual: 5 min", "5"),
    ("Thorough: 30 min", "30"),
    ("Overnight: 10 h", "600"),
    ("Another time…", _OTHER),
]
_USUAL = "5"
_FOLDED, _UNFOLDED = "▸ Expert settings", "▾ Expert settings"
_LEAST_MINUTES, _MOST_MINUTES = 0.05, 10080


class TrainingForm(QWidget):
    """A form for what is not about data."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._mode: OwnMode = "self"
        self._times = WordList("how_long", _TIMES)
        self._times.setCurrentIndex(self._times.findData(_USUAL))
        self._times.setToolTip("<qt>When the training ends by itself; it can be stopped sooner, and go on later</qt>")
        self._minutes = Real(_LEAST_MINUTES, _MOST_MINUTES, 2)
        self._minutes.setObjectName("minutes")
        self._minutes.setSuffix(" min")
        self._minutes.set_value(float(_USUAL))
        self._name = QLineEdit()
        self._name.setObjectName("name")
        self._name.setToolTip("<qt>What the new model is called in the lists: letters, digits, - _ and .</qt>")
        self._named_by_hand = False
        self._device = WordList("device", devices(beside_a_window(preferences().threads, "cpu")))
        self._device.setToolTip("What computes. Automatic takes the fastest that is there")
        self._expert = ParameterForm(ExpertSettings)
        self._expert.setObjectName("expert")
        self._reset = QPushButton("Back to the usual values")
        self._reset.setObjectName("reset_expert")
        self._fold = QPushButton(_FOLDED)
        self._fold.setObjectName("unfold")
        self._fold.setCheckable(True)
        self._fold.setStyleSheet("text-align: left; border: none; background: transparent;")
        self._lay_out()
        self.reset()
        row = self._device.findData(preferences().device)
        self._device.setCurrentIndex(max(row, 0))
        self._times.currentIndexChanged.connect(self._choose_time)
        self._minutes.changed.connect(self.changed)
        self._name.textEdited.connect(self._notice_name)
        self._device.currentIndexChanged.connect(lambda _: self.changed.emit())
        self._expert.changed.connect(self.changed)
        self._reset.clicked.connect(self.reset)
        self._fold.toggled.connect(self._unfold)
        self._choose_time()
        self._unfold(False)

    @property
    def minutes(self) -> float:
        """How long to train."""
        chosen = str(self._times.currentData())
        return float(self._minutes.value()) if chosen == _OTHER else float(chosen)

    @property
    def name(self) -> str:
        """Of the new model."""
        return str(self._name.text().strip())

    @property
    def device(self) -> str:
        """As `pick_device` takes it."""
        return str(self._device.currentData())

    def expert(self) -> ExpertSettings:
        """The folded parameters."""
        return ExpertSettings(**self._expert.values())

    def suggest(self, name: str) -> None:
        """Propose a name, unless the user has entered one."""
        if not self._named_by_hand:
            self._name.setText(name)

    def forget_name(self) -> None:
        """The next proposal counts again: the name is taken now."""
        self._named_by_hand = False

    def set_mode(self, mode: OwnMode) -> None:
        """Take the usual values of another mode, where they were not changed."""
        if mode == self._mode:
            return
        untouched = self.expert() == _usual(self._mode)
        self._mode = mode
        if untouched:
            self.reset()

    def reset(self) -> None:
        """The usual values of the mode."""
        self._expert.set_values(_usual(self._mode).model_dump())

    def state(self) -> dict[str, Any]:
        """What is entered, as JSON types; names are not remembered."""
        return {
            "time": self._times.currentData(),
            "minutes": float(self._minutes.value()),
            "device": self.device,
            "expert": self._expert.values(),
            "mode": self._mode,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Enter what an earlier `state` holds; what cannot be used any more is left out."""
        for words, value in ((self._times, state.get("time")), (self._device, state.get("device"))):
            row = words.findData(value)
            if row >= 0:
                words.setCurrentIndex(row)
        self._minutes.set_value(float(state.get("minutes", _USUAL)))
        self._mode = "semi" if state.get("mode") == "semi" else "self"
        try:
            self._expert.set_values(ExpertSettings(**state.get("expert", {})).model_dump())
        except ValidationError:
            self.reset()  # from another version

    def _lay_out(self) -> None:
        self._form = QFormLayout()
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._form.addRow("How long", self._times)
        self._form.addRow("Minutes", self._minutes)
        self._form.addRow("Name", self._name)
        self._form.addRow("Compute on", self._device)
        self._folded = QWidget()
        inner = QVBoxLayout(self._folded)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.addWidget(self._expert)
        inner.addWidget(self._reset)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(self._form)
        layout.addWidget(self._fold)
        layout.addWidget(self._folded)

    def _choose_time(self) -> None:
        show_row(self._form, self._minutes, self._times.currentData() == _OTHER)
        self.changed.emit()

    def _notice_name(self, text: str) -> None:
        self._named_by_hand = bool(text.strip())
        self.changed.emit()

    def _unfold(self, on: bool) -> None:
        self._fold.setText(_UNFOLDED if on else _FOLDED)
        self._folded.setVisible(on)


def _usual(mode: OwnMode) -> ExpertSettings:
    return settings_of(fine_tune_config(mode, minutes=float(_USUAL), views=()))
