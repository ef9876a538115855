"""Rows of a form come and go, with the Qt of PyQt5 too, which napari takes where both are installed."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from qtpy.QtWidgets import QFormLayout, QLabel, QLineEdit, QWidget

import napari_mvfusion.gui
from napari_mvfusion.gui.widgets.form_rows import show_row

OPEN_ALL = """
import napari, qtpy
viewer = napari.Viewer(show=False)
titles = ["Views & PSFs", "Fuse", "Compare", "Fine-tune"]
for title in titles:
    viewer.window.add_plugin_dock_widget("napari-mvfusion", title)
print(qtpy.API_NAME, len(viewer.window.dock_widgets))
"""


@pytest.mark.parametrize("old", [False, True])
def test_a_row_goes_with_its_label(qtbot, monkeypatch, old):
    if old:
        monkeypatch.delattr(QFormLayout, "setRowVisible", raising=False)
    widget = QWidget()
    qtbot.addWidget(widget)
    form, field = QFormLayout(widget), QLineEdit()
    form.addRow("Name", field)
    form.addRow("Other", QLineEdit())
    label = form.labelForField(field)
    assert isinstance(label, QLabel)
    for seen in (False, True):
        show_row(form, field, seen)
        assert (field.isVisibleTo(widget), label.isVisibleTo(widget)) == (seen, seen)


def test_no_panel_asks_qt_6_alone():
    folder = Path(napari_mvfusion.gui.__file__).parent
    asking = [path.name for path in folder.rglob("*.py") if ".setRowVisible(" in path.read_text(encoding="utf-8")]
    assert asking == ["form_rows.py"]


@pytest.mark.skipif(importlib.util.find_spec("PyQt5") is None, reason="PyQt5 is not installed")
def test_the_panels_open_with_pyqt5():
    environment = {**os.environ, "QT_API": "pyqt5"}
    ran = subprocess.run([sys.executable, "-c", OPEN_ALL], env=environment, capture_output=True, text=True, check=False)
    assert ran.stdout.split() == ["PyQt5", "4"], ran.stderr
