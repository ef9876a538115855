"""How long the GUI thread is held while a real fine-tune goes on: in a process of its own, and in a thread of napari's.

    scripts/with-display.sh .venv/bin/python benchmarks/gui_training.py --seconds 60 --json gui_training.json

Opens simulated views of an embryo in a real window of napari and trains the shipped generator on them. A 10 ms timer ticks
on the GUI thread meanwhile; what is longer than 10 ms between two ticks is time in which napari did not answer.

- process: the Fine-tune panel as users have it, with its curves and pictures
- thread: the same job in a thread, whose events are only counted; nothing is drawn
- nothing: the window alone

Run it on a machine that is idle: other work holds a thread too.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from pathlib import Path

import napari
from qtpy.QtCore import QSettings
from qtpy.QtWidgets import QLabel, QPushButton

from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.gui.layers.layer_data import view_layers
from napari_mvfusion.gui.panels.finetune import setup_page
from napari_mvfusion.gui.panels.finetune.panel import FineTunePanel
from napari_mvfusion.gui.settings import Preferences
from napari_mvfusion.simulation import sample
from napari_mvfusion.training.job import TrainJob, run_job
from napari_mvfusion.training.presets import fine_tune_config
from napari_mvfusion.training.training_events import StepDone
from window import Gaps, live

_TICK_MS = 10
_PARTS = ("nothing", "process", "thread")
_PATIENCE_SECONDS = 300.0


def in_a_process(viewer: napari.Viewer, gaps: Gaps, seconds: float, threads: int) -> dict[str, float | str]:
    """The panel, from the first step on, and while it prepares."""
    setup_page.preferences = lambda: Preferences(threads=threads)
    _, panel = viewer.window.add_plugin_dock_widget("napari-mvfusion", "Fine-tune")
    assert isinstance(panel, FineTunePanel)
    start, stop = (panel.findChild(QPushButton, name) for name in ("start_training", "stop"))
    step, outcome = (panel.findChild(QLabel, name) for name in ("step", "outcome"))
    live(_PATIENCE_SECONDS, start.isEnabled)
    live(3)
    gaps.start()
    start.click()
    live(_PATIENCE_SECONDS, lambda: step.text().startswith("Step"))
    preparing = gaps.stop()
    first, began = int(step.text().split()[1]), time.perf_counter()
    gaps.start()
    live(seconds)
    training: dict[str, float | str] = dict(gaps.stop())
    last, device = int(step.text().split()[1]), panel.findChild(QLabel, "machine").text()
    took = time.perf_counter() - began
    began = time.perf_counter()
    stop.click()
    live(30, outcome.isVisible)
    training["stop_s"] = round(time.perf_counter() - began, 2)
    training |= {"steps": last, "steps_per_s": round((last - first) / took, 2), "device": device.split(" · ")[0]}
    training |= {f"preparing_{name}": value for name, value in preparing.items()}
    return training


def in_a_thread(views: RegisteredViews, gaps: Gaps, seconds: float) -> dict[str, float]:
    """The same job in a thread of this process."""
    config = fine_tune_config("self", minutes=60, views=[views])
    stopped = threading.Event()
    steps: list[int] = []

    def work() -> None:
        job = TrainJob(config, "in-a-thread", data=(views,), start_from="universal")
        steps.extend(event.step for event in run_job(job, cancel=stopped.is_set) if isinstance(event, StepDone))

    thread = threading.Thread(target=work)
    gaps.start()
    thread.start()
    live(_PATIENCE_SECONDS, lambda: bool(steps))
    preparing = gaps.stop()
    gaps.start()
    live(seconds)
    training = gaps.stop()
    stopped.set()
    thread.join()
    training["steps"] = len(steps)
    training |= {f"preparing_{name}": value for name, value in preparing.items()}
    return training


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="voxels a side")
    parser.add_argument("--seconds", type=float, default=60, help="of training that are watched")
    parser.add_argument("--threads", type=int, default=0, help="of the process; 0 leaves the choice to the panel")
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=_PARTS, help="what to measure")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MVFUSION_MODELS"] = folder
        QSettings.setPath(QSettings.Format.NativeFormat, QSettings.Scope.UserScope, folder)
        views = sample("embryo", options.size).views
        viewer = napari.Viewer()
        viewer.window.resize(1300, 860)
        for data, look, _ in view_layers(views, sample="embryo"):
            viewer.add_image(data, **look)
        live(2)
        gaps = Gaps(_TICK_MS)
        figures: dict[str, dict[str, float | str]] = {}
        if "nothing" in options.parts:
            gaps.start()
            live(5)
            figures["nothing"] = dict(gaps.stop())
        if "process" in options.parts:
            figures["process"] = in_a_process(viewer, gaps, options.seconds, options.threads)
            live(2)
        if "thread" in options.parts:
            figures["thread"] = dict(in_a_thread(views, gaps, options.seconds))
        viewer.close()
    for key, value in figures.items():
        print(f"{key:10} {value}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
