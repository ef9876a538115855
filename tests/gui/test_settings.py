"""Napari's preferences of the plugin, and what they change."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from napari.components import ViewerModel
from napari.settings import get_plugin_settings
from qtpy.QtCore import QSettings, QThreadPool
from qtpy.QtWidgets import QComboBox

from napari_mvfusion.gui.layers.notes import KEY
from napari_mvfusion.gui.panels.fuse.panel import FusePanel
from napari_mvfusion.gui.settings import Preferences, keep, last_used, preferences
from patience import PATIENCE, PATIENCE_SECONDS


@pytest.fixture
def settings(plugin_settings, plugin):
    """The preferences as the manifest declares them, apart from the real user's."""
    return get_plugin_settings("napari-mvfusion").run


def test_the_manifest_declares_what_the_code_reads(settings):
    assert preferences() == Preferences(settings.device, settings.threads, settings.memory_share, "") == Preferences()


def test_impossible_values_are_refused_by_napari(settings):
    for name, value in (("device", "abacus"), ("memory_share", 2.0), ("threads", -1)):
        with pytest.raises(ValueError, match=name):
            setattr(settings, name, value)


def test_a_new_panel_begins_with_the_preferred_device(settings, qtbot):
    settings.device = "cpu"
    panel = FusePanel(ViewerModel())
    qtbot.addWidget(panel)
    assert panel.findChild(QComboBox, "device").currentData() == "cpu"


def test_threads_and_folder_reach_the_run(settings, model, person, small_views, show_views, tmp_path):
    settings.threads = 1
    settings.output_folder = str(tmp_path)
    before = torch.get_num_threads()
    show_views(model, small_views)
    person.choose("place", "OME-Zarr")
    person.enter("path", "named")
    person.press("fuse")
    person.wait_until_done()
    assert (tmp_path / "named.zarr" / "zarr.json").exists()
    assert model.layers[-1].metadata[KEY]["recipe"]["run"]["threads"] == 1
    assert torch.get_num_threads() == before


def test_the_share_of_memory_is_the_bound_of_a_run(settings, model, person, small_views, show_views, monkeypatch):
    monkeypatch.setattr("napari_mvfusion.engine.series.free_bytes", lambda device: 2**30)
    settings.memory_share = 0.0625
    show_views(model, small_views)
    person.press("fuse")
    person.wait_until_done()
    assert person.messages("error")[0].startswith("The run does not fit into 0.06 GiB of memory")


def test_what_is_kept_comes_back_and_rubbish_does_not_hurt():
    assert last_used("panel") == {}
    keep("panel", {"a": [1, 2.5, "c"]})
    assert last_used("panel") == {"a": [1, 2.5, "c"]}
    keep("panel", ["no", "dict"])
    assert last_used("panel") == {}


def test_what_is_kept_is_written_while_the_window_goes_on(qtbot, monkeypatch):
    goes, begun = threading.Event(), threading.Event()
    sync = QSettings.sync

    def slow(store):
        begun.set()
        assert goes.wait(10)
        sync(store)

    monkeypatch.setattr(QSettings, "sync", slow)
    for number in range(3):
        keep("panel", {"a": number})
    assert begun.wait(10)
    assert last_used("panel") == {"a": 2}, "it is there while the disk takes its time"
    goes.set()
    assert QThreadPool.globalInstance().waitForDone(PATIENCE)
    path = Path(QSettings("napari-mvfusion", "napari-mvfusion").fileName())
    assert json.loads(QSettings(str(path), QSettings.Format.IniFormat).value("panel")) == {"a": 2}
    assert last_used("panel") == {"a": 2}


KEEP_AND_END = """
import sys
from qtpy.QtCore import QSettings, QThreadPool
from qtpy.QtWidgets import QApplication, QWidget
from napari_mvfusion.gui.jobs.tasks import Tasks
from napari_mvfusion.gui.settings import keep

QSettings.setPath(QSettings.Format.NativeFormat, QSettings.Scope.UserScope, sys.argv[1])
application = QApplication([])

def endless(check):
    while True:
        yield

window = QWidget()
tasks = Tasks(window)
for number in range(QThreadPool.globalInstance().maxThreadCount() + 3):
    tasks.start(f"endless {number}", endless, done=print)
keep("panel", {"a": 1})
print(QSettings("napari-mvfusion", "napari-mvfusion").fileName())
"""


def test_what_waits_behind_other_work_is_written_when_python_ends(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", KEEP_AND_END, tmp_path],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_SECONDS,
    )
    written = QSettings(ended.stdout.strip(), QSettings.Format.IniFormat)
    assert json.loads(written.value("panel")) == {"a": 1}
