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
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
from qtpy.QtCore import QEventLoop, QSettings, QTimer
from qtpy.QtWidgets import QLabel, QPushButton

from napari_mvfusion.gui.finetune.panel import FineTunePanel
from napari_mvfusion.gui.layers import view_layers
from napari_mvfusion.simulation import sample
from napari_mvfusion.training.events import StepDone
from napari_mvfusion.training.job import TrainJob, run_job
from napari_mvfusion.training.presets import fine_tune_config
from napari_mvfusion.views import RegisteredViews

_TICK_MS = 10
_POLL_MS = 50
_PATIENCE_SECONDS = 300.0


class Gaps:
    """Times between the ticks of a timer on this thread."""

    def __init__(self) -> None:
        self._ticks: list[tuple[float, float]] = []
        self._timer = QTimer()
        self._timer.timeout.connect(lambda: self._ticks.append((time.perf_counter(), time.thread_time())))

    def start(self) -> None:
        """Begin to tick."""
        self._ticks = [(time.perf_counter(), time.thread_time())]
        self._timer.start(_TICK_MS)

    def stop(self) -> dict[str, float]:
        """The gaps since `start`, milliseconds."""
        self._timer.stop()
        gaps, busy = 1000 * np.diff(self._ticks, axis=0).T
        return {
            "longest_ms": round(float(gaps.max()), 1),
            "99_percent_ms": round(float(np.percentile(gaps, 99)), 1),
            "longer_than_50_ms": int((gaps > 50).sum()),
            # What the thread computed itself; the rest of a gap it waited for the interpreter or a processor.
            "longest_computing_ms": round(float(busy.max()), 1),
            "computing_longer_than_50_ms": int((busy > 50).sum()),
            "ticks": len(gaps),
        }


def live(seconds: float, until: Callable[[], bool] = lambda: False) -> None:
    """Let the window live for a while, or until something is true."""
    loop = QEventLoop()
    end = time.monotonic() + seconds
    poll = QTimer()
    poll.timeout.connect(lambda: (until() or time.monotonic() > end) and loop.quit())
    poll.start(_POLL_MS)
    loop.exec()
    poll.stop()


def in_a_process(viewer: napari.Viewer, gaps: Gaps, seconds: float) -> dict[str, float]:
    """The panel, from the first step on, and while it prepares."""
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
    gaps.start()
    live(seconds)
    training = gaps.stop()
    shown = step.text()
    began = time.perf_counter()
    stop.click()
    live(30, outcome.isVisible)
    training["stop_s"] = round(time.perf_counter() - began, 2)
    training["steps"] = int(shown.split()[1])
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
        gaps = Gaps()
        gaps.start()
        live(5)
        figures = {"nothing": gaps.stop()}
        figures["process"] = in_a_process(viewer, gaps, options.seconds)
        live(2)
        figures["thread"] = in_a_thread(views, gaps, options.seconds)
        viewer.close()
    for key, value in figures.items():
        print(f"{key:10} {value}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
