"""The form of a method's parameters: bounds, words, defaults, for every method there is."""

from typing import Literal

import pytest
from pydantic import BaseModel, Field
from qtpy.QtCore import Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QLabel

from napari_mvfusion.gui.widgets.parameters import ParameterForm
from napari_mvfusion.methods import METHODS


class Everything(BaseModel):
    flag: bool = True
    count: int = Field(3, gt=0, lt=10, title="How many", description="As many as you like")
    share: float = Field(0.004, ge=0, le=1)
    size: float = Field(20.0, gt=0, le=500)
    kind: Literal["a_b", "c"] = "c"
    factor: float | Literal["auto"] = 1.5
    label: str = "as it is"


@pytest.fixture
def form(qtbot):
    form = ParameterForm(Everything)
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
    form = ParameterForm(kind)
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
    Everything(**form.values())


def test_small_numbers_can_be_entered_and_show_no_idle_zeros(form, qtbot):
    type_into(qtbot, form, "share", "0.0125")
    assert form.values()["share"] == 0.0125
    assert form.findChild(object, "share").text() == "0.0125"
    assert form.findChild(object, "size").text() == "20"


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
        ParameterForm(Odd)
