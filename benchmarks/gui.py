"""Latency of the live preview, and how long the window is not answering, in a real window of napari.

    scripts/with-display.sh .venv/bin/python benchmarks/gui.py --psfs FOLDER --json gui.json

Opens the embryo of 128^3 voxels with four views, blurred with measured PSFs, and drives the Fuse panel.

- preview: EBMD with 10 iterations on 128 x 128 x 32 voxels; from the change of a parameter to the first, coarser picture on
  the screen, and to the full one
- blocks: gaps between the ticks of a 5 ms timer on the GUI thread. Also without any fusion, while napari itself adds a
  layer and draws new pixels in it: with software rendering that alone takes its time.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import napari
import numpy as np
from napari.qt import get_qapp
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QCheckBox, QLabel, QListWidget, QPushButton, QSpinBox, QWidget

from napari_mvfusion.gui.layers import view_layers
from napari_mvfusion.psf import prepare_psf
from napari_mvfusion.simulation import PHANTOMS, simulate

ANGLES = (0, 90, 180, 270)
ITERATIONS = (10, 9, 11)


class Gaps:
    """Times between the ticks of a timer on this thread, in milliseconds."""

    def __init__(self) -> None:
        self._ticks: list[float] = []
        self._timer = QTimer()
        self._timer.timeout.connect(lambda: self._ticks.append(time.perf_counter()))
        self._timer.start(5)

    def take(self) -> dict[str, float]:
        """The gaps since the last call."""
        gaps = 1000 * np.diff(self._ticks)
        self._ticks = self._ticks[-1:]
        return {
            "longest_ms": float(gaps.max()),
            "99_percent_ms": float(np.percentile(gaps, 99)),
            "longer_than_50_ms": int((gaps > 50).sum()),
            "gaps": len(gaps),
        }


def live(seconds: float, until: Callable[[], bool] = lambda: False) -> None:
    """Let the window live for a while, or until something is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        get_qapp().processEvents()
        time.sleep(0.001)


def open_views(folder: Path) -> tuple[napari.Viewer, QWidget]:
    """A window with the views and the Fuse panel, EBMD ticked."""
    rng = np.random.default_rng(0)
    psfs = [prepare_psf(folder / f"psf_{angle}.tif").psf for angle in ANGLES]
    made = simulate(PHANTOMS["embryo"](128, rng), ANGLES, psfs, rng=rng)
    viewer = napari.Viewer()
    viewer.window.resize(1300, 860)
    for data, look, _ in view_layers(made.views, sample="embryo"):
        viewer.add_image(data, **look)
    _, panel = viewer.window.add_plugin_dock_widget("napari-mvfusion", "Fuse")
    methods = panel.findChild(QListWidget, "methods")
    for row in range(methods.count()):
        wanted = methods.item(row).data(Qt.ItemDataRole.UserRole) == "ebmd"
        methods.item(row).setCheckState(Qt.CheckState.Checked if wanted else Qt.CheckState.Unchecked)
    panel.findChild(QSpinBox, "iterations").setValue(ITERATIONS[-1])
    live(1)
    viewer.fit_to_view()
    live(1)
    return viewer, panel


def napari_alone(viewer: napari.Viewer, gaps: Gaps) -> dict[str, dict[str, float]]:
    """What napari takes to add a layer and to draw new pixels, without us."""
    rng = np.random.default_rng(0)
    gaps.take()
    layer = viewer.add_image(rng.random((32, 128, 128), np.float32), affine=np.diag([1, 1, 1, 1]))
    live(1)
    adding = gaps.take()
    for _ in range(20):
        layer.data = rng.random((32, 128, 128), np.float32)
        live(0.2)
    drawing = gaps.take()
    viewer.layers.remove(layer)
    live(1)
    gaps.take()
    return {"napari_adds_a_layer": adding, "napari_draws": drawing}


def preview(panel: QWidget, gaps: Gaps, rounds: int) -> dict[str, object]:
    """Change a parameter again and again, and wait for both pictures."""
    words = panel.findChild(QLabel, "preview")
    number = panel.findChild(QSpinBox, "iterations")
    panel.findChild(QCheckBox, "live").click()
    live(0.2)
    live(30, lambda: words.text().endswith(" s"))
    live(0.5)
    first_block = gaps.take()
    firsts, fulls = [], []
    for turn in range(rounds):
        number.setValue(ITERATIONS[turn % len(ITERATIONS)])
        started = time.perf_counter()
        first: float | None = None
        while not (first is not None and words.text().endswith(" s")):
            live(0.01)
            if first is None and "coarse" in words.text():
                first = time.perf_counter() - started
        if number.value() == 10:
            firsts.append(first)
            fulls.append(time.perf_counter() - started)
        live(0.3)
    shown = words.text()
    changes = gaps.take()
    panel.findChild(QCheckBox, "live").click()
    live(0.5)
    gaps.take()
    return {
        "region": shown,
        "first_picture_s": median(firsts),
        "full_picture_s": median(fulls),
        "first_preview_blocks": first_block,
        "preview_blocks": changes,
    }


def run(panel: QWidget, gaps: Gaps) -> dict[str, float]:
    """A whole run with the window open."""
    panel.findChild(QPushButton, "fuse").click()
    cancel = panel.findChild(QPushButton, "cancel")
    live(120, lambda: not cancel.isEnabled())
    live(1)
    return gaps.take()


def cancelling(panel: QWidget) -> float:
    """Seconds from Cancel to the end of the run."""
    panel.findChild(QSpinBox, "iterations").setValue(500)
    live(0.3)
    panel.findChild(QPushButton, "fuse").click()
    live(4)
    cancel = panel.findChild(QPushButton, "cancel")
    fuse = panel.findChild(QPushButton, "fuse")
    started = time.perf_counter()
    cancel.click()
    live(30, fuse.isEnabled)
    return time.perf_counter() - started


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--psfs", type=Path, required=True, help="folder with psf_0.tif ... psf_270.tif")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    viewer, panel = open_views(options.psfs)
    gaps = Gaps()
    live(0.5)
    figures: dict[str, object] = dict(napari_alone(viewer, gaps))
    figures |= preview(panel, gaps, options.rounds)
    figures["run_blocks"] = run(panel, gaps)
    figures["cancel_s"] = cancelling(panel)
    for key, value in figures.items():
        print(f"{key:22} {value}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    viewer.close()


if __name__ == "__main__":
    main()
