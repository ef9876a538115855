"""Make the pictures of the Fine-tune panel in docs/images again; trains the shipped generator for some minutes.

scripts/with-display.sh .venv/bin/python docs/make_finetune_screenshots.py [NAME ...]

With names of pictures, such as finetune-compare, only these are made, and only what they need is done.
"""

import argparse
import os
import signal
import tempfile

import napari
import numpy as np
import psutil
from pictures import IMAGES, shoot, wait
from qtpy.QtCore import QSettings, Qt
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QLabel, QPushButton, QScrollArea, QSpinBox, QWidget

from napari_mvfusion.gui.layers.layer_data import view_layers
from napari_mvfusion.simulation import sample

SIZE = 64
# Small tiles, so that a slow machine comes far enough to see something.
TILE, MEASURED = "32", 10
# Steps after which a run is shown, killed, and ended.
SHOWN, ENDED = 40, 90
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


class Album:
    """The pictures that are wanted.

    Parameters
    ----------
    wanted : names, all pictures when empty
    """

    def __init__(self, viewer, wanted):
        self.viewer = viewer
        self._wanted = wanted

    def has(self, *names):
        """Whether any of these is wanted."""
        return not self._wanted or any(f"finetune-{name}" in self._wanted for name in names)

    def shoot(self, name):
        """Take a picture, if it is wanted."""
        if self.has(name):
            shoot(self.viewer, f"finetune-{name}")


def before(panel, album):
    """The settings."""
    album.shoot("empty")
    for data, look, _ in view_layers(sample("embryo", SIZE).views, sample="embryo"):
        album.viewer.add_image(data, **look)
    album.viewer.fit_to_view()
    panel.until(panel.see("start_training").isEnabled)
    panel.until(lambda: "steps" in panel.read("takes"))
    album.shoot("ready")
    if album.has("narrow"):
        panel.wide(300)
        panel.scroll(0)
        album.shoot("narrow")
        panel.wide(390)
    panel.press("unfold")
    panel.scroll(1)
    album.shoot("expert")
    if album.has("sharp-box"):
        panel.choose("mode", "Sharp")
        panel.choose("region", "A box")
        low, high = SIZE * 0.2, SIZE * 0.8
        middle = album.viewer.dims.point[0]
        corners = [[middle, low, low], [middle, low, high], [middle, high, high], [middle, high, low]]
        album.viewer.layers["Training box"].add([np.array(corners)], shape_type="rectangle")
        panel.scroll(0.35)
        album.shoot("sharp-box")
        panel.choose("mode", "Nothing")
        panel.choose("region", "Informative")
        album.viewer.layers.selection.active = album.viewer.layers[-1]
    panel.choose("tile", TILE)
    panel.see("validate_every", QSpinBox).setValue(MEASURED)
    panel.press("unfold")
    panel.choose("how_long", "Another")
    panel.see("minutes", QDoubleSpinBox).setValue(60)
    panel.scroll(0)


def during(panel, album):
    """A run that starts, waits, is killed, and goes on."""
    panel.until(panel.see("start_training").isEnabled)
    panel.press("start_training")
    wait(2)
    album.shoot("preparing")
    if not album.has("running", "paused", "discard", "crash", "unfinished"):
        return
    panel.until(lambda: panel.step() > SHOWN and ":" in panel.read("words_now"))
    album.shoot("running")
    panel.press("pause")
    panel.until(lambda: "paused" in panel.read("step"))
    album.shoot("paused")
    panel.press("discard")
    album.shoot("discard")
    panel.press("question_no")
    (child,) = (p for p in psutil.Process().children() if "napari_mvfusion" in " ".join(p.cmdline()))
    os.kill(child.pid, signal.SIGKILL)
    wait(PATIENCE, lambda: bool(panel.read("outcome")))
    album.shoot("crash")
    panel.press("another")
    wait(3)
    album.shoot("unfinished")
    panel.press("continue_unfinished")


def after(panel, album):
    """A run that has ended, and what can be done with its model."""
    panel.until(lambda: panel.step() > ENDED)
    panel.press("stop")
    panel.until(lambda: bool(panel.read("outcome")))
    album.shoot("done")
    if album.has("compare"):
        panel.press("compare")
        panel.until(lambda: any("Over the whole" in label.text() for label in panel.widget.findChildren(QLabel)))
        album.viewer.fit_to_view()
        album.shoot("compare")
        panel.press("leave_grid")
    if album.has("delete"):
        panel.press("delete")
        album.shoot("delete")
        panel.press("question_no")
    album.viewer.theme = "light"
    album.shoot("done-light")


def main():
    """Go once through the life of the panel."""
    known = sorted(path.stem for path in IMAGES.glob("finetune-*.png"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*known, []], help="of pictures; all when empty")
    wanted = set(parser.parse_args().names)
    os.environ["MVFUSION_MODELS"] = tempfile.mkdtemp()
    QSettings.setPath(QSettings.Format.NativeFormat, QSettings.Scope.UserScope, tempfile.mkdtemp())
    viewer = napari.Viewer()
    viewer.theme = "dark"
    viewer.window.resize(1300, 900)
    panel, album = Panel(viewer), Album(viewer, wanted)
    wait(2)
    before(panel, album)
    running = ("preparing", "running", "paused", "discard", "crash", "unfinished")
    ended = ("done", "compare", "delete", "done-light")
    if album.has(*running, *ended):
        during(panel, album)
    if album.has(*ended):
        after(panel, album)
    viewer.close()


if __name__ == "__main__":
    main()
