"""Runs what "Copy as" put on the clipboard, as somebody would elsewhere."""

import shlex

import zarr
from qtpy.QtGui import QGuiApplication
from typer.testing import CliRunner

from napari_mvfusion.cli.app import app


def fused_elsewhere(person, kind, folder, monkeypatch):
    """Copy the run as a command or as Python, do it in a folder, and return the fused pixels."""
    next(action for action in person.see("copy").menu().actions() if action.text() == kind).trigger()
    text = QGuiApplication.clipboard().text()
    folder.mkdir()
    monkeypatch.chdir(folder)
    if kind == "Command":
        assert CliRunner().invoke(app, shlex.split(text)[1:]).exit_code == 0, text
    else:
        exec(text, {})
    return zarr.open_array(folder / "fused.zarr" / "0", mode="r")[:]
