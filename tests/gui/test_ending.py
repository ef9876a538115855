"""Python ends while threads of the plugin are at work: in silence, and with their work stopped."""

import os
import subprocess
import sys

import pytest

from patience import PATIENCE_SECONDS

BEGIN = """
import threading
import time

import numpy as np
from qtpy.QtWidgets import QApplication, QWidget

application = QApplication([])
at_work = threading.Event()


def until_stopped(stopped):
    at_work.set()
    while not stopped():
        time.sleep(0.001)


def wait():
    while not at_work.is_set():
        application.processEvents()
"""
# Each ends in the midst of work that goes on until it is stopped.
SCRIPTS = {
    "a task that yields": """
from napari_mvfusion.gui.jobs.tasks import Tasks

def steps(check):
    at_work.set()
    while True:
        yield "on and on"

window = QWidget()
Tasks(window).start("endless", steps, done=print)
wait()
""",
    "a task that reports, after its window": """
from napari_mvfusion.gui.jobs.tasks import Tasks

def steps(check):
    at_work.set()
    while True:
        check.report("on and on", 0.5)
    yield

window = QWidget()
Tasks(window).start("endless", steps, done=print)
wait()
window.close()
window.deleteLater()
application.processEvents()
""",
    "a task that waits in the line": """
from qtpy.QtCore import QThreadPool
from napari_mvfusion.gui.jobs.tasks import Tasks

def steps(check):
    at_work.set()
    while True:
        yield

window = QWidget()
tasks = Tasks(window)
for number in range(QThreadPool.globalInstance().maxThreadCount() + 3):
    tasks.start(f"endless {number}", steps, done=print)
wait()
""",
    "a run": """
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine import series
from napari_mvfusion.gui.jobs.fusions import fuse_run
from napari_mvfusion.methods import Average

def endless(*_, cancel, **__):
    until_stopped(cancel)
    yield series.Cancelled(0, 0, None)

series.fuse_events = endless
views = RegisteredViews([View(np.ones((4, 4, 4), np.float32), name) for name in "ab"])
run = fuse_run(series.FuseJob((series.SeriesPart((), views),), (), Average(), "cpu"), application)
run.start()
wait()
""",
    "a preview": """
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.gui.jobs.tasks import Latest
from napari_mvfusion.gui.panels.fuse.live_preview import Previewer, preview_steps
from napari_mvfusion.methods import Average

def endless(self, method, box, *, cancel):
    until_stopped(cancel)
    return
    yield

Previewer.run = endless
views = RegisteredViews([View(np.ones((4, 4, 4), np.float32), name) for name in "ab"])
task = Latest(in_turn=True)
task.start(preview_steps, Previewer(views, "cpu"), Average(), views.grid.box)
wait()
""",
    "a forecast, after its panel": """
from napari.components import ViewerModel
from napari_mvfusion.engine.forecast import Forecaster
from napari_mvfusion.gui.panels.fuse.panel import FusePanel
from napari_mvfusion.gui.layers.layer_data import view_layers
from napari_mvfusion.imaging.threads import Interrupted
from napari_mvfusion.simulation import sample

def endless(self, *_, cancel, **__):
    until_stopped(cancel)
    raise Interrupted

Forecaster.forecast = endless
model = ViewerModel()
for data, look, _ in view_layers(sample("nuclei", 32).views, sample="nuclei"):
    model.add_image(data, **look)
panel = FusePanel(model)
panel.show()
wait()
panel.close()
panel.setParent(None)
""",
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_python_ends_in_silence_whatever_is_at_work(script, tmp_path):
    file = tmp_path / "script.py"
    file.write_text(f"{BEGIN}{script}")
    places = {"HOME": tmp_path, "XDG_CONFIG_HOME": tmp_path, "XDG_CACHE_HOME": tmp_path, "XDG_RUNTIME_DIR": tmp_path}
    tmp_path.chmod(0o700)
    environment = os.environ | {name: str(place) for name, place in places.items()}
    command = [sys.executable, file]
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
