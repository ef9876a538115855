"""Other bindings of Qt than those that the panels are made for are named, with what to install."""

import pytest
from qtpy.QtWidgets import QFormLayout

from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.binding import about_binding, built


def test_the_binding_of_the_tests_is_one_that_the_panels_are_made_for():
    assert about_binding() == ""
    assert about_binding("PySide6", "6.8.1") == ""


@pytest.mark.parametrize(("name", "version"), [("PyQt5", "5.15.14"), ("PySide2", "5.15.2"), ("PyQt5", None)])
def test_another_binding_is_named_with_what_to_do(name, version):
    said = about_binding(name, version)
    assert name in said
    assert str(version or "unknown") in said
    assert 'pip install "PyQt6>=6.7"' in said
    assert "QT_API=pyqt6" in said
    assert "\n" not in said


def test_a_panel_that_needs_what_a_binding_lacks_is_refused_in_one_line(qtbot):
    def lacking():
        return QFormLayout().setRowHidden(0, True)

    with pytest.raises(InputError, match=r"Fuse cannot be opened: this window runs on PyQt5 \(Qt 5\.15\.14\)"):
        built("Fuse", lacking, about_binding("PyQt5", "5.15.14"))
    with pytest.raises(AttributeError):
        built("Fuse", lacking)
    assert built("Fuse", lambda: 7) == 7
