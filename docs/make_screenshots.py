"""Make the pictures of the Fuse panel in docs/images again.

scripts/with-display.sh .venv/bin/python docs/make_screenshots.py
"""

import time
from pathlib import Path

import napari
import numpy as np
from napari.qt import get_qapp
from PIL import Image
from qtpy.QtWidgets import QComboBox, QLabel, QPushButton, QSpinBox

from napari_mvfusion.gui.fuse_panel import FusePanel

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


def main():
    """Go once through the life of the panel."""
    IMAGES.mkdir(exist_ok=True)
    viewer = napari.Viewer()
    viewer.window.resize(1300, 860)
    next(action for action in viewer.window.plugins_menu.actions() if action.text().startswith("Fuse")).trigger()
    (panel,) = (widget for widget in get_qapp().allWidgets() if isinstance(widget, FusePanel))
    fuse, cancel = (panel.findChild(QPushButton, name) for name in ("fuse", "cancel"))
    shoot(viewer, "empty")
    viewer.open_sample("napari-mvfusion", "embryo")
    methods = panel.findChild(QComboBox, "method")
    methods.setCurrentIndex(methods.findData("ebmd"))
    shoot(viewer, "filled")
    panel.findChild(QSpinBox, "iterations").setValue(20)
    wait()
    fuse.click()
    step = panel.findChild(QLabel, "step")
    wait(60, lambda: step.text().startswith("Iteration 8"))
    shoot(viewer, "running")
    wait(120, lambda: not cancel.isEnabled())
    shoot(viewer, "done")
    del viewer.layers[-1]
    damaged = viewer.layers["embryo view 90"]
    damaged.data = np.where(np.arange(128) == 40, np.nan, damaged.data)
    wait()
    fuse.click()
    wait(60, lambda: not cancel.isEnabled())
    shoot(viewer, "failed")
    viewer.close()


if __name__ == "__main__":
    main()
