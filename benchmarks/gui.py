"""Latency of the live preview, and how long the window is not answering, in a real window of napari.

    scripts/with-display.sh .venv/bin/python benchmarks/gui.py --psfs FOLDER --json gui.json

Opens the embryo of 128^3 voxels with four views, blurred with measured PSFs, and drives the Fuse panel.

- preview: EBMD with 10 iterations on 128 x 128 x 32 voxels; from the change of a parameter to the first, coarser picture on
  the screen, and to the full one
- handlers: the longest that a handler of the panel held the GUI thread, apart from drawing; and how much of that napari took
  to add or remove a layer or to take its new pixels
- blocks: gaps between the ticks of a 5 ms timer on the GUI thread. Also without any fusion, while napari itself adds a
  layer, draws new pixels in it, hides it and removes it: with software rendering that alone takes its time.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial, wraps
from inspect import signature
from operator import attrgetter
from pathlib import Path
from statistics import median
from typing import ClassVar

import napari
import numpy as np
from napari.components import LayerList, ViewerModel
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QLabel, QListWidget, QPushButton, QSpinBox, QWidget

from napari_mvfusion.gui.jobs.fusions import Fusions
from napari_mvfusion.gui.jobs.result import ResultLayer
from napari_mvfusion.gui.jobs.status import Status
from napari_mvfusion.gui.layers.layer_data import view_layers
from napari_mvfusion.gui.layers.notes import KEY
from napari_mvfusion.gui.panels.fuse.live_preview import LivePreview
from napari_mvfusion.gui.panels.fuse.panel import FusePanel
from napari_mvfusion.io.psf_files import prepare_psf
from napari_mvfusion.simulation import PHANTOMS, simulate
from window import Gaps, live

ANGLES = (0, 90, 180, 270)
ITERATIONS = (10, 9, 11)
_TICK_MS = 5
_TURNS = 5


@dataclass
class Held:
    """How long a handler held the GUI thread, and how much of that napari took inside it."""

    whole_ms: float = 0.0
    napari_ms: float = 0.0


class Handlers:
    """The longest that each handler of the panel held the GUI thread, with all that it calls."""

    _WATCHED: ClassVar = {
        FusePanel: ("_check", "_start", "_follow"),
        Fusions: ("_add_layer", "_follow", "_end"),
        LivePreview: ("_begin_or_end", "_ask", "_show"),
        ResultLayer: ("follow", "_refresh"),
        Status: ("follow",),
    }
    _NAPARI: ClassVar = {ViewerModel: ("add_image",), LayerList: ("remove",), Image: ("refresh",)}

    def __init__(self) -> None:
        self.longest: dict[str, Held] = {}
        self._napari_ms = 0.0
        self._inside_napari = False
        for kind, names in self._WATCHED.items():
            for name in names:
                setattr(kind, name, self._timed(f"{kind.__name__}.{name}", getattr(kind, name)))
        for kind, names in self._NAPARI.items():
            for name in names:
                setattr(kind, name, self._counted(getattr(kind, name)))
        Image.data = Image.data.setter(self._counted(Image.data.fset))

    def _timed(self, name: str, handler: Callable[..., object]) -> Callable[..., object]:
        # Qt looks how many of a signal's arguments a slot takes, which the wrapper hides.
        taken = len(signature(handler).parameters)

        @wraps(handler)
        def timed(*args: object, **keywords: object) -> object:
            started, napari_before = time.perf_counter(), self._napari_ms
            try:
                return handler(*args[:taken], **keywords)
            finally:
                held = Held(1000 * (time.perf_counter() - started), self._napari_ms - napari_before)
                self.longest[name] = max(self.longest.get(name, Held()), held, key=attrgetter("whole_ms"))

        return timed

    def _counted(self, function: Callable[..., object]) -> Callable[..., object]:
        @wraps(function)
        def counted(*args: object, **keywords: object) -> object:
            if self._inside_napari:
                return function(*args, **keywords)
            self._inside_napari, started = True, time.perf_counter()
            try:
                return function(*args, **keywords)
            finally:
                self._inside_napari = False
                self._napari_ms += 1000 * (time.perf_counter() - started)

        return counted


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
    """What napari takes to add a layer, draw new pixels in it, hide it, show it and take it away, without us."""
    rng = np.random.default_rng(0)
    pixels = rng.random((20, 32, 128, 128), np.float32)
    place = {
        "affine": np.eye(4),
        "units": ("um",) * 3,
        "contrast_limits": (0, 1),
        "metadata": {KEY: {"role": "preview"}},
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ("adds", "draws", "hides", "shows", "removes")}

    def watch(name: str, act: Callable[[], object], seconds: float = 1) -> None:
        gaps.start()
        act()
        live(seconds)
        found[name].append(gaps.stop())

    for turn in range(_TURNS):
        layer = Image(pixels[0], **place)
        watch("adds", partial(viewer.layers.append, layer))
        for number in range(1, len(pixels) // _TURNS):
            watch("draws", partial(setattr, layer, "data", pixels[turn + number]), 0.2)
        watch("hides", partial(setattr, layer, "visible", False))
        watch("shows", partial(setattr, layer, "visible", True))
        watch("removes", partial(viewer.layers.remove, layer))
    return {f"napari_{name}": _middle(several) for name, several in found.items()}


def _middle(several: list[dict[str, float]]) -> dict[str, float]:
    """Of several measurements: the median of the longest gaps, the longest of all, and how many gaps were too long."""
    longest = [one["longest_ms"] for one in several]
    return {
        "median_longest_ms": median(longest),
        "longest_ms": max(longest),
        "longer_than_50_ms": sum(one["longer_than_50_ms"] for one in several),
        "times": len(several),
    }


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
        live(30, lambda: words.text().endswith("\N{NO-BREAK SPACE}s"))
        shown.append(time.perf_counter() - started)
        if number.value() == ITERATIONS[0]:
            firsts.append(shown[0])
            fulls.append(shown[1])
        live(0.3)
    return firsts, fulls


def preview(panel: QWidget, gaps: Gaps, rounds: int) -> dict[str, object]:
    """Latencies, then the gaps while the same goes on."""
    words = panel.findChild(QLabel, "preview")
    switch = panel.findChild(QCheckBox, "live")

    def begin() -> dict[str, float]:
        gaps.start()
        switch.click()
        live(0.2)
        live(30, lambda: words.text().endswith("\N{NO-BREAK SPACE}s"))
        return gaps.stop()

    def end() -> dict[str, float]:
        gaps.start()
        switch.click()
        live(0.5)
        return gaps.stop()

    first_block = begin()
    firsts, fulls = latencies(panel, rounds)
    gaps.start()
    latencies(panel, rounds // 3)
    changes = gaps.stop()
    shown = words.text()
    end_block = end()
    again_block = begin()
    end()
    return {
        "region": shown,
        "first_picture_s": median(firsts),
        "full_picture_s": median(fulls),
        "first_preview_blocks": first_block,
        "preview_blocks": changes,
        "preview_ends_blocks": end_block,
        "preview_again_blocks": again_block,
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
    gaps = Gaps(_TICK_MS)
    live(0.5)
    figures: dict[str, object] = dict(napari_alone(viewer, gaps))
    figures |= preview(panel, gaps, options.rounds)
    figures["run_blocks"] = run(panel, gaps)
    figures["cancel_s"] = cancelling(panel)
    figures["handlers_longest_ms"] = {
        name: asdict(held) for name, held in sorted(handlers.longest.items(), key=lambda item: -item[1].whole_ms)
    }
    for key, value in figures.items():
        print(f"{key:22} {value}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    viewer.close()


if __name__ == "__main__":
    main()
