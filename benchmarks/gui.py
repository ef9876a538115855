"""Latency of the live preview, and how long the window is not answering, in a real window of napari.

    scripts/with-display.sh .venv/bin/python benchmarks/gui.py --psfs FOLDER --json gui.json

Opens the embryo of 128^3 voxels with four views, blurred with measured PSFs, and drives the Fuse panel.

- preview: EBMD with 10 iterations on 128 x 128 x 32 voxels; from the change of a parameter to the first, coarser picture on
  the screen, and to the full one
- handlers: the longest that our own code held the GUI thread in one go, apart from drawing
- blocks: gaps between the ticks of a 5 ms timer on the GUI thread. Also without any fusion, while napari itself adds a
  layer and draws new pixels in it: with software rendering that alone takes its time.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import wraps
from inspect import signature
from pathlib import Path
from statistics import median
from typing import ClassVar

import napari
import numpy as np
from qtpy.QtCore import QEventLoop, Qt, QTimer
from qtpy.QtWidgets import QCheckBox, QLabel, QListWidget, QPushButton, QSpinBox, QWidget

from napari_mvfusion.gui.fuse_panel import FusePanel
from napari_mvfusion.gui.layers import view_layers
from napari_mvfusion.gui.preview.live import LivePreview
from napari_mvfusion.gui.result import ResultLayer
from napari_mvfusion.gui.status import Status
from napari_mvfusion.psf import prepare_psf
from napari_mvfusion.simulation import PHANTOMS, simulate

ANGLES = (0, 90, 180, 270)
ITERATIONS = (10, 9, 11)
_TICK_MS = 5
# Seldom, because each poll takes the interpreter from the work.
_POLL_MS = 20


class Gaps:
    """Times between the ticks of a timer on this thread, in milliseconds."""

    def __init__(self) -> None:
        self._ticks: list[float] = []
        self._timer = QTimer()
        self._timer.timeout.connect(lambda: self._ticks.append(time.perf_counter()))

    def start(self) -> None:
        """Begin to tick. Latencies are measured without: each tick takes the interpreter from the work."""
        self._ticks = []
        self._timer.start(_TICK_MS)

    def stop(self) -> dict[str, float]:
        """The gaps since `start`."""
        self._timer.stop()
        gaps = 1000 * np.diff(self._ticks)
        return {
            "longest_ms": float(gaps.max()),
            "99_percent_ms": float(np.percentile(gaps, 99)),
            "longer_than_50_ms": int((gaps > 50).sum()),
            "gaps": len(gaps),
        }


class Handlers:
    """How long the panel's own handlers of events hold the GUI thread, with all that they call, napari's part too."""

    _WATCHED: ClassVar = {
        FusePanel: ("_check", "_start", "_show", "_end", "_switch_preview"),
        LivePreview: ("_ask", "_show", "end"),
        ResultLayer: ("follow", "_refresh"),
        Status: ("follow",),
    }

    def __init__(self) -> None:
        self.longest: dict[str, float] = {}
        for kind, names in self._WATCHED.items():
            for name in names:
                setattr(kind, name, self._timed(f"{kind.__name__}.{name}", getattr(kind, name)))

    def _timed(self, name: str, handler: Callable[..., object]) -> Callable[..., object]:
        # Qt looks how many of a signal's arguments a slot takes, which the wrapper hides.
        taken = len(signature(handler).parameters)

        @wraps(handler)
        def timed(*args: object, **keywords: object) -> object:
            started = time.perf_counter()
            try:
                return handler(*args[:taken], **keywords)
            finally:
                self.longest[name] = max(self.longest.get(name, 0.0), 1000 * (time.perf_counter() - started))

        return timed


def live(seconds: float, until: Callable[[], bool] = lambda: False) -> None:
    """Let the window live for a while, or until something is true."""
    loop = QEventLoop()
    end = time.monotonic() + seconds
    poll = QTimer()
    poll.timeout.connect(lambda: (until() or time.monotonic() > end) and loop.quit())
    poll.start(_POLL_MS)
    loop.exec()
    poll.stop()


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
    gaps.start()
    layer = viewer.add_image(rng.random((32, 128, 128), np.float32), affine=np.eye(4), units=("um",) * 3)
    live(1)
    adding = gaps.stop()
    gaps.start()
    for _ in range(20):
        layer.data = rng.random((32, 128, 128), np.float32)
        live(0.2)
    drawing = gaps.stop()
    viewer.layers.remove(layer)
    live(1)
    return {"napari_adds_a_layer": adding, "napari_draws": drawing}


def latencies(panel: QWidget, rounds: int) -> tuple[list[float], list[float]]:
    """Change a parameter again and again; seconds to the first and to the full picture of 10 iterations."""
    words = panel.findChild(QLabel, "preview")
    number = panel.findChild(QSpinBox, "iterations")
    firsts, fulls = [], []
    for turn in range(rounds):
        shown: list[float] = []
        number.setValue(ITERATIONS[turn % len(ITERATIONS)])
        started = time.perf_counter()
        live(30, lambda: "coarse" in words.text())
        shown.append(time.perf_counter() - started)
        live(30, lambda: words.text().endswith(" s"))
        shown.append(time.perf_counter() - started)
        if number.value() == ITERATIONS[0]:
            firsts.append(shown[0])
            fulls.append(shown[1])
        live(0.3)
    return firsts, fulls


def preview(panel: QWidget, gaps: Gaps, rounds: int) -> dict[str, object]:
    """Latencies, then the gaps while the same goes on."""
    words = panel.findChild(QLabel, "preview")
    gaps.start()
    panel.findChild(QCheckBox, "live").click()
    live(0.2)
    live(30, lambda: words.text().endswith(" s"))
    first_block = gaps.stop()
    firsts, fulls = latencies(panel, rounds)
    gaps.start()
    latencies(panel, rounds // 3)
    changes = gaps.stop()
    shown = words.text()
    panel.findChild(QCheckBox, "live").click()
    live(0.5)
    return {
        "region": shown,
        "first_picture_s": median(firsts),
        "full_picture_s": median(fulls),
        "first_preview_blocks": first_block,
        "preview_blocks": changes,
    }


def run(panel: QWidget, gaps: Gaps) -> dict[str, float]:
    """A whole run with the window open."""
    cancel = panel.findChild(QPushButton, "cancel")
    gaps.start()
    panel.findChild(QPushButton, "fuse").click()
    live(120, lambda: not cancel.isEnabled())
    live(1)
    return gaps.stop()


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
    handlers = Handlers()
    viewer, panel = open_views(options.psfs)
    handlers.longest.clear()
    gaps = Gaps()
    live(0.5)
    figures: dict[str, object] = dict(napari_alone(viewer, gaps))
    figures |= preview(panel, gaps, options.rounds)
    figures["run_blocks"] = run(panel, gaps)
    figures["cancel_s"] = cancelling(panel)
    figures["handlers_longest_ms"] = dict(sorted(handlers.longest.items(), key=lambda item: -item[1]))
    for key, value in figures.items():
        print(f"{key:22} {value}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    viewer.close()


if __name__ == "__main__":
    main()
