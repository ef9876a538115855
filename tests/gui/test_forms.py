"""Forms: bounds, words, defaults, for the parameters of every method there is; rows that come and go in every Qt."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, Field
from qtpy.QtCore import Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QFormLayout, QLabel

import napari_mvfusion.gui
from napari_mvfusion.gui.widgets.forms import Form, Number, ParameterForm, Words
from napari_mvfusion.gui.widgets.inputs import NumberField
from napari_mvfusion.methods import METHODS
from napari_mvfusion.methods.parameters import parameters_of

OPEN_ALL = """
import napari, qtpy
viewer = napari.Viewer(show=False)
titles = ["Views & PSFs", "Fuse", "Compare", "Fine-tune"]
for title in titles:
    viewer.window.add_plugin_dock_widget("napari-mvfusion", title)
print(qtpy.API_NAME, len(viewer.window.dock_widgets))
"""


class Everything(BaseModel):
    flag: bool = True
    count: int = Field(3, gt=0, lt=10, title="How many", description="As many as you like")
    share: float = Field(0.004, ge=0, le=1)
    average: float = Field(0.99, ge=0, lt=1)
    rate: float = Field(0.0001, gt=0, le=100)
    size: float = Field(20.0, gt=0, le=500)
    kind: Literal["a_b", "c"] = "c"
    factor: float | Literal["auto"] = 1.5
    label: str = "as it is"


@pytest.fixture
def form(qtbot):
    form = ParameterForm(parameters_of(Everything))
    qtbot.addWidget(form)
    form.show()
    return form


def type_into(qtbot, form, name, text):
    field = form.findChild(object, name)
    field.selectAll()
    qtbot.keyClicks(field, text)
    qtbot.keyClick(field, Qt.Key.Key_Return)


@pytest.mark.parametrize("kind", METHODS.values(), ids=METHODS)
def test_the_form_of_each_method_starts_with_its_defaults(kind, qtbot):
    form = ParameterForm(parameters_of(kind))
    qtbot.addWidget(form)
    assert kind(**form.values()) == kind()


def test_values_are_those_of_the_model(form):
    assert Everything(**form.values()) == Everything()


def test_text_is_entered_as_it_is(form, qtbot):
    type_into(qtbot, form, "label", "another one")
    assert form.values()["label"] == "another one"


def test_titles_and_descriptions_are_shown(form):
    label = next(label for label in form.findChildren(QLabel) if label.text() == "How many")
    assert "As many as you like" in label.toolTip()
    assert "As many as you like" in form.findChild(object, "count").toolTip()


def test_nothing_beyond_the_bounds_can_be_entered(form, qtbot):
    type_into(qtbot, form, "count", "99")
    assert 0 < form.values()["count"] < 10
    type_into(qtbot, form, "share", "7")
    assert form.values()["share"] <= 1
    form.findChild(object, "size").setValue(0)
    assert 0 < form.values()["size"] < 0.1
    form.findChild(object, "count").setValue(0)
    assert form.values()["count"] == 1
    form.findChild(object, "average").setValue(1)
    assert 0.99 < form.values()["average"] < 1
    form.findChild(object, "rate").setValue(0)
    assert 0 < form.values()["rate"] < 0.0001
    Everything(**form.values())


def test_small_numbers_can_be_entered_and_show_no_idle_zeros(form, qtbot):
    type_into(qtbot, form, "share", "0.0125")
    assert form.values()["share"] == 0.0125
    assert form.findChild(object, "share").text() == "0.0125"
    assert form.findChild(object, "size").text() == "20"
    assert form.findChild(object, "rate").text() == "0.0001"
    type_into(qtbot, form, "rate", "0.00025")
    assert form.values()["rate"] == 0.00025


@pytest.mark.parametrize(
    ("bounds", "typed", "value"),
    [
        ((0.0, 1.0, 4), "0,02", 0.02),
        ((0.0, 1.0, 4), "1e-3", 0.001),
        ((0.0, 1.0, 4), "0.5e-2", 0.005),
        ((0.0, 1.0, 4), "7", 1.0),
        ((1, 1000, 0), "1e3", 1000),
        ((1, 1000, 0), "2000", 1000),
        ((1, 1000, 0), "12,5", 12),
        ((0.001, 1000.0, 3), "0,5", 0.5),
        ((0.001, 1000.0, 3), "0", 0.001),
        ((-360.001, 360.0, 3), "45,5", 45.5),
        ((-360.001, 360.0, 3), "400", 360.0),
        ((0.0, 1.0, 6), "3e-5", 3e-5),
        ((0.0, 1.0, 4), "e", 0.25),
    ],
    ids=str,
)
@pytest.mark.parametrize("suffix", ["", " min"])
def test_what_is_typed_is_taken_or_its_nearest_and_never_a_part_of_it(qtbot, bounds, typed, value, suffix):
    low, high, decimals = bounds
    field = NumberField(low, high, decimals)
    field.setSuffix(suffix)
    qtbot.addWidget(field)
    field.set_value(0.25)
    field.show()
    field.selectAll()
    qtbot.keyClicks(field, typed)
    qtbot.keyClick(field, Qt.Key.Key_Return)
    assert field.value() == pytest.approx(value)
    assert field.text() == f"{value:.10f}".rstrip("0").rstrip(".") + suffix


def test_the_lowest_position_of_a_number_stands_for_its_word(form, qtbot):
    factor = form.findChild(object, "factor")
    factor.setValue(0)
    assert factor.text() == "auto"
    assert form.values()["factor"] == "auto"
    type_into(qtbot, form, "factor", "2.5")
    assert form.values()["factor"] == 2.5


def test_words_read_without_underscores(form):
    kind = form.findChild(object, "kind")
    assert [kind.itemText(i) for i in range(kind.count())] == ["a b", "c"]
    kind.setCurrentIndex(0)
    assert form.values()["kind"] == "a_b"


def test_reset_and_changed(form, qtbot):
    with qtbot.waitSignal(form.changed):
        form.findChild(object, "flag").click()
    assert form.values()["flag"] is False
    form.reset()
    assert Everything(**form.values()) == Everything()


def test_scrolling_past_a_number_leaves_it_alone(form, qtbot):
    count = form.findChild(object, "count")
    count.clearFocus()
    middle = count.rect().center()
    event = QWheelEvent(
        middle.toPointF(),
        count.mapToGlobal(middle).toPointF(),
        middle * 0,
        middle * 0 + type(middle)(0, 120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    count.wheelEvent(event)
    assert form.values()["count"] == 3
    assert not event.isAccepted()


def test_a_type_without_an_editor_is_refused(qtbot):
    class Odd(BaseModel):
        names: list[str] = []

    with pytest.raises(TypeError, match="no editor"):
        ParameterForm(parameters_of(Odd))


@pytest.mark.parametrize("old", [False, True])
def test_a_row_goes_with_its_label(qtbot, monkeypatch, old):
    if old:
        monkeypatch.delattr(QFormLayout, "setRowVisible", raising=False)
    form = Form([Number(name="size", label="Size"), Words([("a", "a")], name="other", label="Other")])
    qtbot.addWidget(form)
    (label,) = [label for label in form.findChildren(QLabel) if label.text() == "Size"]
    for seen in (False, True):
        form.show_field("size", seen)
        assert (form["size"].native.isVisibleTo(form), label.isVisibleTo(form)) == (seen, seen)


def test_no_panel_asks_qt_6_alone():
    folder = Path(napari_mvfusion.gui.__file__).parent
    asking = [path.name for path in folder.rglob("*.py") if ".setRowVisible(" in path.read_text(encoding="utf-8")]
    assert asking == ["forms.py"]


@pytest.mark.skipif(importlib.util.find_spec("PyQt5") is None, reason="PyQt5 is not installed")
def test_the_panels_open_with_pyqt5():
    environment = {**os.environ, "QT_API": "pyqt5"}
    ran = subprocess.run([sys.executable, "-c", OPEN_ALL], env=environment, capture_output=True, text=True, check=False)
    assert ran.stdout.split() == ["PyQt5", "4"], ran.stderr
