"""Make the pictures of the Fuse panel in docs/images again.

scripts/with-display.sh .venv/bin/python docs/make_screenshots.py
"""

import tempfile
import time
from pathlib import Path

import napari
import numpy as np
from napari.qt import get_qapp
from PIL import Image
from qtpy.QtCore import QSettings, Qt
from qtpy.QtWidgets import QCheckBox, QLabel, QListWidget, QPushButton, QSpinBox

IMAGES = Path(__file__).parent / "images"


def wait(seconds=0.5, until=lambda: False):
    """Let the window live for a while, or until something is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        get_qapp().processEvents()
        time.sleep(0.01)


def shoot(viewer, name):
    """Save the whole window."""
    wait()
    picture = Image.fromarray(viewer.screenshot(canvas_only=False, flash=False)).convert("RGB")
    picture.save(IMAGES / f"fuse-{name}.png", optimize=True)


def shoot_light(viewer, name):
    """Save the window in the light theme."""
    viewer.theme = "light"
    shoot(viewer, name)
    viewer.theme = "dark"
    wait()


def main():
    """Go once through the life of the panel."""
    IMAGES.mkdir(exist_ok=True)
    # As a new user sees it, and without touching what this user used last.
    QSettings.setPath(QSettings.Format.NativeFormat, QSettings.Scope.UserScope, tempfile.mkdtemp())
    viewer = napari.Viewer()
    viewer.window.resize(1300, 860)
    _, panel = viewer.window.add_plugin_dock_widget("napari-mvfusion", "Fuse")
    fuse, cancel = (panel.findChild(QPushButton, name) for name in ("fuse", "cancel"))
    shoot(viewer, "empty")
    viewer.open_sample("napari-mvfusion", "embryo")
    wait()
    viewer.fit_to_view()
    shoot(viewer, "filled")
    live = panel.findChild(QCheckBox, "live")
    live.click()
    wait(30, lambda: panel.findChild(QLabel, "preview").text().endswith(" s"))
    shoot(viewer, "preview")
    live.click()
    methods = panel.findChild(QListWidget, "methods")
    for row in range(methods.count()):
        methods.item(row).setCheckState(Qt.CheckState.Checked)
    methods.setCurrentRow(methods.count() - 1)
    panel.findChild(QSpinBox, "iterations").setValue(20)
    wait()
    fuse.click()
    step = panel.findChild(QLabel, "step")
    wait(60, lambda: "iteration 8" in step.text())
    shoot(viewer, "running")
    wait(120, lambda: not cancel.isEnabled())
    shoot(viewer, "done")
    shoot_light(viewer, "done-light")
    for width, name in ((300, "narrow"), (800, "wide")):
        panel.parentWidget().setFixedWidth(width)
        shoot(viewer, name)
    panel.parentWidget().setMinimumWidth(0)
    panel.parentWidget().setMaximumWidth(2000)
    del viewer.layers[-3:]
    damaged = viewer.layers["embryo view 90"]
    damaged.data = np.where(np.arange(128) == 40, np.nan, damaged.data)
    wait()
    fuse.click()
    wait(60, lambda: not cancel.isEnabled())
    shoot(viewer, "failed")
    viewer.close()


if __name__ == "__main__":
    main()
