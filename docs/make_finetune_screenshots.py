"""Make the pictures of the Fine-tune panel in docs/images again; trains for some minutes.

scripts/with-display.sh .venv/bin/python docs/make_finetune_screenshots.py
"""

import os
import signal
import tempfile

import napari
import numpy as np
import psutil
import torch
from pictures import shoot, wait
from qtpy.QtCore import QSettings, Qt
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QLabel, QPushButton, QScrollArea, QSpinBox, QWidget

from napari_mvfusion.gui.layers import view_layers
from napari_mvfusion.networks import ModelCard, add_model, build
from napari_mvfusion.networks.universal import UniversalArchitecture
from napari_mvfusion.simulation import sample

SIZE = 64
# A small network and small tiles, so that a slow machine comes far enough to see something.
MODEL, TITLE = "starter", "A small network"
SMALL = UniversalArchitecture(view_maps=6, maps=8, deep_maps=8, blocks=1, deep_blocks=1)
TILE, MEASURED = "32", 10
PATIENCE = 1500


class Panel:
    """The panel, pressed by a program."""

    def __init__(self, viewer):
        self.viewer = viewer
        _, self.widget = viewer.window.add_plugin_dock_widget("napari-mvfusion", "Fine-tune")

    def see(self, name, kind=QWidget):
        """The part of this name that is in sight, or else any."""
        parts = self.widget.findChildren(kind, name)
        return next((part for part in parts if part.isVisible()), parts[0])

    def press(self, name):
        """Press a button."""
        self.see(name, QPushButton).click()
        wait()

    def choose(self, name, text):
        """Choose from a list."""
        box = self.see(name, QComboBox)
        box.setCurrentIndex(next(row for row in range(box.count()) if box.itemText(row).startswith(text)))
        wait()

    def read(self, name):
        """The text of a label in sight."""
        label = self.see(name, QLabel)
        return label.text() if label.isVisible() else ""

    def step(self):
        """The step that is shown."""
        words = self.read("step").split()
        return int(words[1]) if words[:1] == ["Step"] else 0

    def until(self, true):
        """Wait for something, no longer than the run goes on."""
        ended = bool(self.read("outcome"))
        wait(PATIENCE, lambda: true() or (not ended and bool(self.read("outcome"))))
        assert true(), self.read("outcome")

    def wide(self, pixels):
        """Make the dock as wide as that."""
        dock = self.widget.parentWidget()
        while not dock.inherits("QDockWidget"):
            dock = dock.parentWidget()
        dock.window().resizeDocks([dock], [pixels], Qt.Orientation.Horizontal)
        wait()

    def scroll(self, share):
        """Scroll what can be scrolled."""
        for area in self.widget.findChildren(QScrollArea):
            bar = area.verticalScrollBar()
            bar.setValue(round(share * bar.maximum()))
        wait()


def main():
    """Go once through the life of the panel."""
    os.environ["MVFUSION_MODELS"] = tempfile.mkdtemp()
    QSettings.setPath(QSettings.Format.NativeFormat, QSettings.Scope.UserScope, tempfile.mkdtemp())
    card = ModelCard(
        name=MODEL, title=TITLE, architecture=SMALL, least_views=2, most_views=8, normalisation="brightness"
    )
    # Random weights that do something everywhere, so that there is something to learn.
    torch.manual_seed(0)
    network = build(SMALL)
    with torch.no_grad():
        for key, weight in network.named_parameters():
            if key == "out.weight" or key.endswith("second.weight"):
                weight.normal_(0, 0.02)
    add_model(network, card)
    viewer = napari.Viewer()
    viewer.theme = "dark"
    viewer.window.resize(1300, 900)
    panel = Panel(viewer)
    wait(2)
    shoot(viewer, "finetune-empty")
    panel.choose("start", MODEL)
    for data, look, _ in view_layers(sample("embryo", SIZE).views, sample="embryo"):
        viewer.add_image(data, **look)
    viewer.fit_to_view()
    panel.until(panel.see("start_training").isEnabled)
    panel.until(lambda: "steps" in panel.read("takes"))
    shoot(viewer, "finetune-ready")
    panel.press("unfold")
    panel.scroll(1)
    shoot(viewer, "finetune-expert")
    panel.choose("mode", "Sharp")
    panel.choose("region", "A box")
    low, high = SIZE * 0.2, SIZE * 0.8
    middle = viewer.dims.point[0]
    corners = [[middle, low, low], [middle, low, high], [middle, high, high], [middle, high, low]]
    viewer.layers["Training box"].add([np.array(corners)], shape_type="rectangle")
    panel.scroll(0.35)
    shoot(viewer, "finetune-sharp-box")
    panel.choose("mode", "Nothing")
    panel.choose("region", "Where")
    panel.choose("tile", TILE)
    panel.see("validate_every", QSpinBox).setValue(MEASURED)
    panel.press("unfold")
    panel.choose("how_long", "Another")
    panel.see("minutes", QDoubleSpinBox).setValue(60)
    panel.scroll(0)
    panel.until(panel.see("start_training").isEnabled)
    panel.press("start_training")
    wait(2)
    shoot(viewer, "finetune-preparing")
    panel.until(lambda: panel.step() > 40 and ":" in panel.read("words_now"))
    shoot(viewer, "finetune-running")
    panel.press("pause")
    panel.until(lambda: "paused" in panel.read("step"))
    shoot(viewer, "finetune-paused")
    panel.press("discard")
    shoot(viewer, "finetune-discard")
    panel.press("question_no")
    (child,) = (p for p in psutil.Process().children() if "napari_mvfusion" in " ".join(p.cmdline()))
    os.kill(child.pid, signal.SIGKILL)
    wait(PATIENCE, lambda: bool(panel.read("outcome")))
    shoot(viewer, "finetune-crash")
    panel.press("another")
    wait(3)
    shoot(viewer, "finetune-unfinished")
    panel.press("continue_unfinished")
    panel.until(lambda: panel.step() > 70)
    panel.press("stop")
    panel.until(lambda: bool(panel.read("outcome")))
    shoot(viewer, "finetune-done")
    panel.press("compare")
    panel.until(lambda: any("Over the whole" in label.text() for label in panel.widget.findChildren(QLabel)))
    viewer.fit_to_view()
    shoot(viewer, "finetune-compare")
    panel.press("leave_grid")
    panel.press("delete")
    shoot(viewer, "finetune-delete")
    panel.press("question_no")
    viewer.theme = "light"
    shoot(viewer, "finetune-done-light")
    viewer.theme = "dark"
    panel.press("another")
    wait(3)
    panel.wide(300)
    shoot(viewer, "finetune-narrow")
    viewer.close()


if __name__ == "__main__":
    main()
