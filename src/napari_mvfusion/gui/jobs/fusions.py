"""Fusions one after the other, off the GUI thread: from views, methods and an output to layers that fill meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image, Layer
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QWidget

from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.finishing import volume_suffix
from napari_mvfusion.engine.series import FuseJob, JobDone, SeriesEvent, SeriesPart, fuse_series
from napari_mvfusion.engine.series_choice import SeriesChoice
from napari_mvfusion.engine.series_run import SeriesFinished
from napari_mvfusion.gui.jobs.background_runs import (
    BackgroundJob,
    FollowedJob,
    LeftUnfinished,
    background_steps,
)
from napari_mvfusion.gui.jobs.result import ResultLayer
from napari_mvfusion.gui.jobs.series_runs import SeriesJob, SeriesLayers, series_steps
from napari_mvfusion.gui.jobs.series_status import SeriesStatus
from napari_mvfusion.gui.jobs.shown_outputs import Written
from napari_mvfusion.gui.jobs.status import Status
from napari_mvfusion.gui.jobs.tasks import Checkpoint, Failed, Steps, Task, failure_of
from napari_mvfusion.gui.layers.notes import annotate, notes
from napari_mvfusion.gui.layers.opened import Opened
from napari_mvfusion.gui.widgets.waiting import Later
from napari_mvfusion.io.formats import split_ending
from napari_mvfusion.methods import LearnedFusion
from napari_mvfusion.methods.base import Method
from napari_mvfusion.system.words import size_words, times

# Enough for one drawing of the window.
_LAUNCH_MS = 20
_BESIDE = "goes on when napari is closed"

_Job = FuseJob | SeriesJob | BackgroundJob | FollowedJob


@dataclass(frozen=True)
class Target:
    """What computes, and where results go.

    Attributes
    ----------
    device, threads, memory_share, resume, overwrite : see `FuseJob`
    outs : None for memory, else one file a volume, those of one method together; or one for the series of each method
    maps : of single volumes that are fused here, what says how far they can be trusted too
    apart : whether a process of its own computes, which goes on when napari is closed
    cluster : on whose workers that runs, as `--cluster` takes it; None for this computer
    """

    device: str
    threads: int
    memory_share: float
    outs: tuple[Path, ...] | None = None
    resume: bool = False
    overwrite: bool = False
    maps: bool = False
    apart: bool = False
    cluster: str | None = None


class Fusions(QObject):
    """Fuses views by one or several methods, each result a layer that fills while it is computed.

    A run belongs to the window: when the panel closes, it stops, keeps what is finished, and marks its layer by itself.
    One in a process of its own does not: it is followed while there is a panel, and goes on without one.

    Signals: `changed` tells that a run has begun, or that the last one is over; `reported` gives each event with its job;
    `finished` gives the layers once all are complete; `left` gives an output whose run was followed and is not complete, and
    the command that goes on with it.

    Parameters
    ----------
    viewer : gets the layers
    status : shows how far the runs are, and how they ended
    panel : that they are started from
    """

    changed = Signal()
    reported = Signal(object, object)
    finished = Signal(object)
    left = Signal(object, object)

    def __init__(self, viewer: ViewerModel, status: Status, panel: QWidget) -> None:
        super().__init__(panel)
        self._viewer, self._status, self._panel = viewer, status, panel
        self._of_series = SeriesStatus(status)
        self._waiting: deque[tuple[_Job, str]] = deque()
        self._unfinished: list[Layer] = []
        self._run: Task | None = None
        self._begun = self._complete = 0
        self._done: list[Layer] = []
        # Adding a layer takes napari a while: after the panel has shown that the run begins.
        self._launch = Later(_LAUNCH_MS, self._add_layer, self)

    @property
    def running(self) -> bool:
        """Whether anything is being fused."""
        return self._run is not None

    @property
    def going_on(self) -> str:
        """What of the runs the panel takes with it, as the subject of a sentence; "" where that is nothing."""
        if not self.running:
            return ""
        if isinstance(self._job, (BackgroundJob, FollowedJob)):
            return "A queue of runs" if self._waiting else ""
        return f"The fusion by {self._job.method.title}"

    @property
    def apart(self) -> bool:
        """Whether what runs is a process of its own."""
        return self.running and isinstance(self._job, (BackgroundJob, FollowedJob))

    def start(
        self,
        layers: Sequence[Image],
        opened: Opened,
        methods: Sequence[Method],
        target: Target,
        titles: Sequence[str],
        choice: SeriesChoice | None = None,
        commands: Sequence[Sequence[str]] = (),
    ) -> None:
        """Fuse layers by each of some methods.

        Parameters
        ----------
        layers : the views; the results lie on the grid that is chosen for them now
        opened : the same as views; of a series, the volume that is shown
        methods : in their order; earlier results stay where a later run fails
        target : where the results go
        titles : what messages about each run begin with; "" where it is the only one
        choice : the volumes of the files that are fused; None for those of the layers
        commands : that do it, one a method, where processes of their own are wanted
        """
        first = layers[0]
        at = " ".join(f"{axis}{n}" for axis, n in zip(first.axis_labels, opened.alone, strict=False))
        self._sample = f"{notes(first).get('sample') or ''} {'' if choice is not None else at}".strip()
        self._view = first
        self._place, self._limits = opened.place, tuple(first.contrast_limits)
        jobs: list[FuseJob | SeriesJob] = []
        jobs += jobs_of(opened, methods, target) if choice is None else series_of(choice, opened, methods, target)
        apart = [BackgroundJob(job, tuple(words)) for job, words in zip(jobs, commands, strict=False)]
        self._waiting.extend(zip(apart or jobs, titles, strict=True))
        self._begun, self._complete, self._done = 0, 0, []
        self._next()

    def follow(self, out: Path, command: Sequence[str] = ()) -> None:
        """Follow the run that writes an output, or has left it unfinished, and show what it has written.

        Parameters
        ----------
        out : the output
        command : that goes on with it; none to follow what runs
        """
        self._sample, self._view = "", None
        self._waiting.append((FollowedJob(out, tuple(command)), ""))
        self._begun, self._complete, self._done = 0, 0, []
        self._next()

    def cancel(self) -> None:
        """Stop within a second, and start no other; what is finished is kept."""
        self._waiting.clear()
        if self._run is None:
            return
        if isinstance(self._job, (BackgroundJob, FollowedJob)):
            self._job.stop.set()
        else:
            self._run.cancel()
        self._status.cancelling()

    def close_down(self) -> None:
        """Hear no more of the run, and end it."""
        self._waiting.clear()
        if self._run is not None and self._launch.due:
            self._run.deleteLater()
        elif self._run is not None:
            self._run.cancel()
            self._run.reported.disconnect(self._follow)
            self._run.ended.disconnect(self._end)

    def _next(self) -> None:
        """Begin the run that waits longest."""
        self._result: ResultLayer | None = None
        self._job, title = self._waiting.popleft()
        self._begun += 1
        self._run = fuse_run(self._job, outermost(self._panel))
        self._of_series.begin()
        job = self._job.job if isinstance(self._job, BackgroundJob) else self._job
        what = str(job.out) if isinstance(job, FollowedJob) else describe_views(job.views)
        described = what if isinstance(job, FollowedJob) else f"{title or job.method.title}\n{what}"
        self._status.begin(title, described, beside=_BESIDE if self.apart else "")
        self.changed.emit()
        self._launch.ask()

    def _add_layer(self) -> None:
        assert self._run is not None
        apart = isinstance(self._job, BackgroundJob)
        job = self._job.job if isinstance(self._job, BackgroundJob) else self._job
        if isinstance(job, FuseJob):
            place = self._name, self._place, self._limits
            self._result = ResultLayer(self._viewer, job, *place, self._run, apart=apart)
            if not apart:
                self._result.removed.connect(self._run.cancel)
            self._run.reported.connect(self._result.follow)
        self._run.reported.connect(self._follow)
        self._run.ended.connect(self._end)
        self._run.start()

    @property
    def _name(self) -> str:
        """What the layer of the result is called."""
        if isinstance(self._job, FollowedJob):
            return split_ending(self._job.out.name)[0]
        job = self._job.job if isinstance(self._job, BackgroundJob) else self._job
        return f"{self._sample} {called(job.method)}".strip()

    def _follow(self, event: Any) -> None:
        if isinstance(event, SeriesLayers):
            added = event.add_to(self._viewer, self._name, self._view)
            if event.unfinished:
                self._unfinished = added
            else:
                self._done += added
        elif isinstance(event, Written) and self._result is None:
            self._show_more(event)
        elif isinstance(event, LeftUnfinished):
            assert isinstance(self._job, FollowedJob)
            self._status.end(event.kind, event.message)
            self.left.emit(self._job.out, event.command)
        elif (result := self._result) is None:
            self._of_series.follow(event)
            self._complete += isinstance(event, SeriesFinished) and not event.failed
        else:
            self._status.follow(event, shown=result.filled, deleted=result.deleted, layer=result.layer)
            if isinstance(event, JobDone) and not result.deleted:
                self._done.append(result.layer)
                self._complete += 1
        if isinstance(event, Failed) and self._waiting:
            self._waiting.clear()
            self._status.say("warning", "What was to be fused after it was not started.")
        if not isinstance(self._job, (BackgroundJob, FollowedJob)):
            self.reported.emit(self._job, event)

    def _show_more(self, event: Written) -> None:
        """Draw layers anew whose file holds more than before."""
        for layer in self._unfinished:
            if event.limits is not None:
                layer.contrast_limits = event.limits
            layer.refresh(extent=False, highlight=False)

    def _leave_unfinished(self) -> None:
        """Say of a layer that its run goes on no more."""
        for layer in self._unfinished:
            if layer in self._viewer.layers:
                layer.name = f"{layer.name} (unfinished)"
                annotate(layer, running=False)
        self._unfinished = []

    def _end(self) -> None:
        self._run = None
        self._leave_unfinished()
        if self._waiting:
            self._next()
            return
        own = not isinstance(self._job, FollowedJob)
        complete, done = own and self._complete == self._begun, self._done
        # Their pixels are the user's to take away: nothing here holds them any longer.
        del self._job, self._view
        self._result = None
        self._done = []
        if complete:
            self.finished.emit(done)
        self.changed.emit()


def fuse_run(job: _Job, parent: QObject) -> Task:
    """A run of the engine that is to be started: its events are `reported`, an error as the last of them.

    Parameters
    ----------
    job : what to run
    parent : the run is cancelled when it is destroyed; what is finished by then is kept
    """
    steps: Steps = background_steps
    if isinstance(job, (FuseJob, SeriesJob)):
        steps = run_steps if isinstance(job, FuseJob) else series_steps
    return Task(steps, job, parent=parent, to_its_end=True)


def run_steps(check: Checkpoint, job: FuseJob) -> Generator[SeriesEvent | Failed, None, None]:
    """The events of a run; an error becomes the last one."""
    try:
        yield from fuse_series(job, check.stopped)
    except Exception as error:
        yield failure_of(error, when_memory_ran_out="write the result to an OME-Zarr")


def jobs_of(opened: Opened, methods: Sequence[Method], target: Target) -> list[FuseJob]:
    """One job a method, each with all volumes of a series."""
    each = len(opened.indices)
    jobs = []
    for number, method in enumerate(methods):
        outs: list[Any] = [None] * each if target.outs is None else list(target.outs[number * each :][:each])
        parts = tuple(
            SeriesPart(index, opened.at(index), out, opened.inputs_at(index))
            for index, out in zip(opened.indices, outs, strict=True)
        )
        jobs.append(
            FuseJob(
                parts,
                opened.leading,
                method,
                target.device,
                threads=target.threads,
                memory_share=target.memory_share,
                resume=target.resume,
                overwrite=target.overwrite,
                maps=target.maps,
            )
        )
    return jobs


def series_of(choice: SeriesChoice, opened: Opened, methods: Sequence[Method], target: Target) -> list[SeriesJob]:
    """A series by each method."""
    assert target.outs is not None, "a series goes to disk"
    return [
        SeriesJob(
            choice,
            opened.views,
            method,
            target.device,
            out,
            threads=target.threads,
            memory_share=target.memory_share,
            resume=target.resume,
            overwrite=target.overwrite,
        )
        for method, out in zip(methods, target.outs, strict=True)
    ]


def called(method: Method) -> str:
    """What the layer of a result is called: generators by their models, of which one may try several."""
    return Path(method.model).stem if isinstance(method, LearnedFusion) else method.name


def suffixes(methods: Sequence[Method], opened: Opened) -> tuple[str, ...]:
    """What follows the name in the file of each volume, the volumes of one method together."""
    names = [f"-{method.name}" if len(methods) > 1 else "" for method in methods]
    return tuple(name + volume_suffix(index) for name in names for index in opened.indices)


def describe(opened: Opened, choice: SeriesChoice | None = None) -> str:
    """Number of views, and size of the fused volumes; which these are, where they are a series."""
    count = len(opened.indices)
    series = f"\n{count} volumes, fused one after the other" if count > 1 else ""
    if choice is not None:
        series = f"\n{choice.summary}"
    return describe_views(opened.views) + series


def describe_views(views: RegisteredViews) -> str:
    """Number of views, and size of the fused volume."""
    count = "1 view" if len(views) == 1 else f"{len(views)} views"
    voxels = times(views.grid.shape)
    order = " (z, y, x)" if any(views.grid.known) else ""
    return f"{count}, {voxels} voxels\nvoxel size {size_words(views.grid.stated_size_um)}{order}"


def outermost(widget: QWidget) -> QWidget:
    """The window that a widget is in, also when it floats: a run lives as long as that."""
    while (parent := widget.parentWidget()) is not None:
        widget = parent
    return widget
