"""How long a fine-tune goes on, what the new model is called, and the parameters for experts, folded away."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import LineEdit
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_mvfusion.gui.settings import preferences
from napari_mvfusion.gui.widgets.forms import Form, Number, ParameterForm, Words
from napari_mvfusion.gui.widgets.inputs import push_button
from napari_mvfusion.gui.widgets.layout import Fold, column
from napari_mvfusion.system.devices import beside_a_window, offered_devices
from napari_mvfusion.training.config import TrainConfig
from napari_mvfusion.training.expert import expert_parameters, expert_values, values_of_version_0_1
from napari_mvfusion.training.plan import OwnMode
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
_LEAST_MINUTES, _MOST_MINUTES = 0.05, 10080


class TrainingForm(QWidget):
    """A form for what is not about data."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._mode: OwnMode = "self"
        self._form = _form()
        self._name = self._form["name"].native
        self._named_by_hand = False
        self._expert = ParameterForm(expert_parameters(_usual(self._mode)))
        self._expert.setObjectName("expert")
        reset = push_button("Back to the usual values", "reset_expert")
        folded = QWidget()
        column(folded, self._expert, reset)
        column(self, self._form, Fold("Expert settings", "unfold", folded))
        self._form["device"].value = preferences().device
        self._show_minutes()
        self._form["how_long"].changed.connect(self._show_minutes)
        self._form.changed.connect(self.changed)
        self._name.textEdited.connect(self._notice_name)
        self._expert.changed.connect(self.changed)
        reset.clicked.connect(self.reset)

    @property
    def minutes(self) -> float:
        """How long to train."""
        chosen = self._form["how_long"].value
        return float(self._form["minutes"].value if chosen == _OTHER else chosen)

    @property
    def name(self) -> str:
        """Of the new model."""
        return str(self._form["name"].value.strip())

    @property
    def device(self) -> str:
        """As `pick_device` takes it."""
        return str(self._form["device"].value)

    def expert(self) -> dict[str, Any]:
        """The folded parameters, by name."""
        return self._expert.values()

    def suggest(self, name: str) -> None:
        """Propose a name, unless the user has entered one."""
        if not self._named_by_hand:
            with self._form["name"].changed.blocked():
                self._form["name"].value = name

    def forget_name(self) -> None:
        """The next proposal counts again: the name is taken now."""
        self._named_by_hand = False

    def set_mode(self, mode: OwnMode) -> None:
        """Take the usual values of another mode, where they were not changed."""
        if mode == self._mode:
            return
        untouched = self.expert() == expert_values(_usual(self._mode))
        self._mode = mode
        if untouched:
            self.reset()

    def reset(self) -> None:
        """The usual values of the mode."""
        self._expert.set_values(expert_values(_usual(self._mode)))

    def state(self) -> dict[str, Any]:
        """What is entered, as JSON types; names are not remembered."""
        entered = self._form.values()
        return {
            "time": entered["how_long"],
            "minutes": entered["minutes"],
            "device": entered["device"],
            "parameters": self.expert(),
            "mode": self._mode,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Enter what an earlier `state` holds; what cannot be used any more is left out."""
        known = {"how_long": state.get("time"), "minutes": state.get("minutes"), "device": state.get("device")}
        self._form.set_values({name: value for name, value in known.items() if value is not None})
        self._mode = "semi" if state.get("mode") == "semi" else "self"
        self.reset()
        old = state.get("expert")
        self._expert.set_values(state.get("parameters", {}) if old is None else values_of_version_0_1(old))

    def _show_minutes(self, _: object = None) -> None:
        self._form.show_field("minutes", self._form["how_long"].value == _OTHER)

    def _notice_name(self, text: str) -> None:
        self._named_by_hand = bool(text.strip())


def _form() -> Form:
    threads = beside_a_window(preferences().threads, "cpu")
    form = Form(
        [
            Words(
                _TIMES,
                name="how_long",
                label="How long",
                value=_USUAL,
                tooltip="When the training ends by itself; it can be stopped sooner, and go on later",
            ),
            Number(_LEAST_MINUTES, _MOST_MINUTES, name="minutes", label="Minutes", value=float(_USUAL)),
            LineEdit(
                name="name",
                label="Name",
                tooltip="What the new model is called in the lists: letters, digits, - _ and .",
            ),
            Words(
                offered_devices(threads),
                name="device",
                label="Compute on",
                tooltip="What computes. Automatic takes the fastest that is there",
            ),
        ]
    )
    form["minutes"].native.setSuffix(" min")
    return form


def _usual(mode: OwnMode) -> TrainConfig:
    return fine_tune_config(mode, minutes=float(_USUAL), views=())
