"""Make the pictures of the Fuse panel in docs/images again.

scripts/with-display.sh .venv/bin/python docs/make_screenshots.py
"""

import tempfile

import napari
import numpy as np
from pictures import shoot, wait
from qtpy.QtCore import QSettings, Qt
from qtpy.QtWidgets import QCheckBox, QLabel, QListWidget, QPushButton

from napari_mvfusion.gui.layers.notes import annotate, notes


def shoot_light(viewer, name):
    """Save the window in the light theme."""
    viewer.theme = "light"
    shoot(viewer, name)
    viewer.theme = "dark"
    wait()


def main():
    """Go once through the life of the panel."""
    # As a new user sees it, and without touching what this user used last.
    QSettings.setPath(QSettings.Format.NativeFormat, QSettings.Scope.UserScope, tempfile.mkdtemp())
    viewer = napari.Viewer()
    viewer.window.resize(1300, 860)
    _, panel = viewer.window.add_plugin_dock_widget("napari-mvfusion", "Fuse")
    fuse, cancel = (panel.findChild(QPushButton, name) for name in ("fuse", "cancel"))
    wait(2)
    shoot(viewer, "fuse-empty")
    viewer.open_sample("napari-mvfusion", "embryo")
    wait()
    viewer.fit_to_view()
    shoot(viewer, "fuse-filled")
    live = panel.findChild(QCheckBox, "live")
    live.click()
    wait(120, lambda: panel.findChild(QLabel, "preview").text().endswith("\N{NO-BREAK SPACE}s"))
    shoot(viewer, "fuse-preview")
    live.click()
    methods = panel.findChild(QListWidget, "methods")
    for row in range(methods.count()):
        if methods.item(row).data(Qt.ItemDataRole.UserRole) in ("cbif", "ebmd", "generator"):
            methods.item(row).setCheckState(Qt.CheckState.Checked)
    (ebmd,) = methods.findItems("Multi-view", Qt.MatchFlag.MatchStartsWith)
    methods.setCurrentItem(ebmd)
    wait()
    fuse.click()
    step = panel.findChild(QLabel, "step")
    wait(120, lambda: "iteration 8" in step.text())
    shoot(viewer, "fuse-running")
    wait(400, lambda: not cancel.isEnabled())
    shoot(viewer, "fuse-done")
    methods.setCurrentRow(methods.count() - 1)
    shoot_light(viewer, "fuse-done-light")
    dock = panel.parentWidget()
    width = dock.width()
    for pixels, name in ((300, "fuse-narrow"), (800, "fuse-wide"), (width, "")):
        dock.setFixedWidth(pixels)
        viewer.window.resize(1300, 860)
        wait()
        if name:
            shoot(viewer, name)
    dock.setMinimumWidth(0)
    dock.setMaximumWidth(2000)
    first, second = (viewer.layers[f"embryo view {angle}"] for angle in (0, 90))
    good = [notes(layer)["psf"] for layer in (first, second)]
    annotate(first, psf=np.pad(good[0], ((4, 7), (3, 4), (3, 3))) * 254.0 + 0.02)
    annotate(second, psf=np.where(good[1] == good[1].min(), np.nan, good[1]))
    wait(1)
    shoot(viewer, "fuse-flaws")
    for layer, psf in zip((first, second), good, strict=True):
        annotate(layer, psf=psf)
    wait()
    del viewer.layers[-3:]
    damaged = viewer.layers["embryo view 90"]
    damaged.data = np.where(np.arange(128) == 40, np.nan, damaged.data)
    wait()
    fuse.click()
    wait(60, lambda: not cancel.isEnabled())
    shoot(viewer, "fuse-failed")
    viewer.close()


if __name__ == "__main__":
    main()
