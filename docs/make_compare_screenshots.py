"""Make the pictures of the Compare panel in docs/images again.

scripts/with-display.sh .venv/bin/python docs/make_compare_screenshots.py
"""

import napari
import numpy as np
from pictures import shoot, wait
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDoubleSpinBox, QPushButton, QSlider, QTabWidget, QTreeWidget

from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.gui.layers.layer_data import placement
from napari_mvfusion.gui.layers.notes import KEY
from napari_mvfusion.gui.layers.opened import open_layers
from napari_mvfusion.methods import CBIF, EBMD, LearnedFusion

SHOWN = ("embryo view 0", "embryo view 90", "embryo cbif", "embryo ebmd", "embryo universal", "embryo ground truth")


class Panel:
    """The panel, pressed by a program."""

    def __init__(self, viewer):
        _, self.widget = viewer.window.add_plugin_dock_widget("napari-mvfusion", "Compare")
        self.tabs = self.widget.findChild(QTabWidget, "tabs")

    def press(self, name):
        """Press a button."""
        self.widget.findChild(QPushButton, name).click()
        wait()

    def tick(self, names):
        """Tick these layers and no others."""
        tree = self.widget.findChild(QTreeWidget, "compared")
        for row in range(tree.topLevelItemCount()):
            item = tree.topLevelItem(row)
            item.setCheckState(0, Qt.CheckState.Checked if item.text(0) in names else Qt.CheckState.Unchecked)
        wait()

    def wide(self, viewer, pixels):
        """Make the dock as wide as that."""
        dock = self.widget.parentWidget()
        while not dock.inherits("QDockWidget"):
            dock = dock.parentWidget()
        viewer.window.resize(910 + pixels, 900)
        wait(0.2)
        dock.window().resizeDocks([dock], [pixels], Qt.Orientation.Horizontal)
        wait()


def fill(viewer):
    """Open the embryo and fuse it by all methods."""
    viewer.open_sample("napari-mvfusion", "embryo")
    truth = viewer.layers["embryo ground truth"]
    views = open_layers([layer for layer in viewer.layers if layer is not truth]).at(())
    for name, method in (("cbif", CBIF()), ("ebmd", EBMD()), ("universal", LearnedFusion())):
        fused = fuse(views, method)
        viewer.add_image(
            fused.data,
            name=f"embryo {name}",
            visible=False,
            metadata={KEY: {"role": "fused", "sample": "embryo", "recipe": fused.recipe}},
            **placement(views.grid),
        )
    viewer.layers.move(viewer.layers.index(truth), len(viewer.layers))


def main():
    """Go once through the panel."""
    viewer = napari.Viewer()
    viewer.theme = "dark"
    viewer.window.resize(1300, 900)
    panel = Panel(viewer)
    shoot(viewer, "compare-empty")
    fill(viewer)
    viewer.reset_view()
    viewer.dims.set_point(0, 62)
    viewer.window.resize(1560, 860)
    viewer.canvas.overlays.scale_bar.visible = True
    panel.tick(SHOWN)
    viewer.scene.camera.zoom *= 1.45
    panel.press("grid")
    wait(4)
    panel.widget.findChild(QDoubleSpinBox, "low").setValue(40)
    panel.widget.findChild(QDoubleSpinBox, "high").setValue(1000)
    panel.widget.findChild(QDoubleSpinBox, "high").editingFinished.emit()
    wait(1)
    shoot(viewer, "compare-grid")
    shoot(viewer, "compare-grid-canvas", canvas_only=True)
    viewer.dims.ndisplay = 3
    viewer.scene.camera.angles = (15, -30, 70)
    panel.widget.findChild(QDoubleSpinBox, "high").setValue(2200)
    panel.widget.findChild(QDoubleSpinBox, "high").editingFinished.emit()
    wait(2)
    shoot(viewer, "compare-3d")
    viewer.dims.ndisplay = 2
    viewer.reset_view()
    panel.press("curtain")
    panel.widget.findChild(QSlider, "split").setValue(520)
    viewer.reset_view()
    wait(1)
    shoot(viewer, "compare-curtain")
    viewer.dims.ndisplay = 3
    viewer.scene.camera.angles = (15, -30, 70)
    shoot(viewer, "compare-curtain-3d")
    viewer.dims.ndisplay = 2
    panel.press("curtain")
    panel.press("flicker")
    viewer.reset_view()
    panel.tabs.setCurrentIndex(1)
    panel.press("draw")
    line = viewer.layers["Profile"]
    z = viewer.dims.point[0]
    line.add([np.array([[z, 64, 14], [z, 70, 114]])], shape_type="line")
    line.mode = "pan_zoom"
    panel.tick(SHOWN[2:])
    wait(1)
    shoot(viewer, "compare-profile")
    panel.tick(SHOWN)
    panel.tabs.setCurrentIndex(3)
    compute = panel.widget.findChild(QPushButton, "compute")
    compute.click()
    wait(1.5)
    shoot(viewer, "compare-computing")
    wait(400, lambda: compute.toolTip() == "All is computed")
    shoot(viewer, "compare-table")
    panel.wide(viewer, 800)
    shoot(viewer, "compare-wide")
    panel.wide(viewer, 390)
    shoot(viewer, "compare-narrow")
    panel.tabs.setCurrentIndex(4)
    find = panel.widget.findChild(QPushButton, "find_resolution")
    find.click()
    wait(600, lambda: find.toolTip() == "All is found")
    shoot(viewer, "compare-resolution")
    panel.press("flicker")
    panel.tabs.setCurrentIndex(2)
    line.visible = False
    panel.press("subtract")
    wait(3)
    panel.press("explain")
    wait(60, lambda: any("Residual" in layer.name for layer in viewer.layers))
    shoot(viewer, "compare-difference")
    viewer.theme = "light"
    panel.tabs.setCurrentIndex(1)
    shoot(viewer, "compare-light-profile")
    panel.tabs.setCurrentIndex(0)
    shoot(viewer, "compare-light")
    panel.tabs.setCurrentIndex(2)
    panel.tick(SHOWN[2:-1])
    viewer.layers["embryo cbif"].visible = True
    find = panel.widget.findChild(QPushButton, "find_unsupported")
    find.click()
    wait(600, find.isEnabled)
    shoot(viewer, "compare-unsupported")
    viewer.close()


if __name__ == "__main__":
    main()
