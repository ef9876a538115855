"""The bridge between the engine, which runs in a thread, and the GUI: one run, its events, and cancel.

The worker only yields; everything that touches layers or widgets is called on the GUI thread.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from napari.qt.threading import GeneratorWorker, create_worker
from qtpy.QtCore import QObject, Signal

from napari_mvfusion.devices import is_out_of_memory
from napari_mvfusion.errors import MVFusionError
from napari_mvfusion.events import Event, Finished
from napari_mvfusion.fusion import fuse_events
from napari_mvfusion.geometry import Triple
from napari_mvfusion.methods.base import Method
from napari_mvfusion.recipe import recipe_path, save_recipe
from napari_mvfusion.views import RegisteredViews


@dataclass(frozen=True, eq=False)
class FuseJob:
    """What to fuse, how, and where to; the parameters of `fuse_events`.

    Exactly one of `out` and `into` is given.
    """

    views: RegisteredViews
    method: Method
    device: str
    out: Path | None = None
    into: np.ndarray | None = None
    tile: Triple | None = None
    resume: bool = False
    overwrite: bool = False
    inputs: dict[str, Any] | None = None


@dataclass(frozen=True)
class Failed:
    """The run ended with an error: what the user reads, and what helps to find a mistake in the program."""

    message: str
    details: str = ""


class FuseRun(QObject):
    """One run in a thread.

    Parameters
    ----------
    job : what to run
    parent : the run ends when it is destroyed
    """

    reported = Signal(object)
    ended = Signal()

    def __init__(self, job: FuseJob, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._cancel = threading.Event()
        self._worker = create_worker(_steps, job, self._cancel, _worker_class=_Worker, _start_thread=False)
        self._worker.cancel = self._cancel
        self._worker.yielded.connect(self._report)
        self._worker.finished.connect(self._end)
        self.destroyed.connect(_setter(self._cancel))

    def start(self) -> None:
        """Start the thread."""
        self._worker.start()

    def cancel(self) -> None:
        """Ask the engine to stop at its next step; what is finished by then is kept."""
        self._cancel.set()

    def _report(self, event: Event | Failed) -> None:
        self.reported.emit(event)

    def _end(self) -> None:
        self.ended.emit()
        self.deleteLater()


def _setter(cancel: threading.Event) -> Callable[[], None]:
    """A slot that knows the flag only: the run is gone when it is called."""
    return lambda: cancel.set()


class _Worker(GeneratorWorker):
    """A worker that stops by the engine's own cancel, so that the engine can close its files and say what is kept.

    napari asks workers to quit when its window closes.
    """

    cancel: threading.Event

    def quit(self) -> None:
        self.cancel.set()


def _steps(job: FuseJob, cancel: threading.Event) -> Generator[Event | Failed, None, None]:
    """The engine's events; an error becomes the last one, because a worker would lose the errors that Qt may cause."""
    try:
        for event in fuse_events(
            job.views,
            job.method,
            device=job.device,
            tile=job.tile,
            out=job.out,
            into=job.into,
            resume=job.resume,
            overwrite=job.overwrite,
            cancel=cancel.is_set,
            inputs=job.inputs,
        ):
            if isinstance(event, Finished) and event.fused.path is not None:
                save_recipe(event.fused.recipe, recipe_path(event.fused.path))
            yield event
    except MVFusionError as error:
        yield Failed(str(error))
    except Exception as error:
        details = traceback.format_exc()
        if is_out_of_memory(error):
            yield Failed("memory ran out: close other programs, or write the result to an OME-Zarr", details)
        else:
            yield Failed(f"this should not have happened ({error}): please report it with the details below", details)
