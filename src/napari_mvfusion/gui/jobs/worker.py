"""Runs of the engine for the window."""

from __future__ import annotations

from collections.abc import Generator

from qtpy.QtCore import QObject

from napari_mvfusion.engine.series import FuseJob, SeriesEvent, fuse_series
from napari_mvfusion.gui.jobs.tasks import Checkpoint, Failed, Task, failure_of

Report = SeriesEvent | Failed


def fuse_run(job: FuseJob, parent: QObject) -> Task:
    """A run that is to be started: its events are `reported`, an error as the last of them.

    Parameters
    ----------
    job : what to run
    parent : the run is cancelled when it is destroyed; what is finished by then is kept
    """
    return Task(_steps, job, parent=parent, to_its_end=True)


def _steps(check: Checkpoint, job: FuseJob) -> Generator[Report, None, None]:
    """The events; an error becomes the last one."""
    try:
        yield from fuse_series(job, check.stopped)
    except Exception as error:
        yield failure_of(error, when_memory_ran_out="write the result to an OME-Zarr")
