"""Runs in processes of their own, followed by what they write: their events, as if they were computed here.

Nothing here knows more of a run than its output does, so that a window that is opened later follows it as well as the one
from which it was started. A window that is closed ends no run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_mvfusion.data.events import Cancelled, Noted, Preparing, Warned
from napari_mvfusion.engine.background import BackgroundRun, Ended, begin, command_of
from napari_mvfusion.engine.progress import Progress
from napari_mvfusion.engine.series import FuseJob
from napari_mvfusion.gui.jobs.series_runs import SeriesJob
from napari_mvfusion.gui.jobs.shown_outputs import Events, FoundOutput, ShownOutput, ShownSeries, ShownVolume
from napari_mvfusion.gui.jobs.tasks import Checkpoint, Failed, failure_of

_LOOK_SECONDS = 0.3
_INTERRUPTED = 130


@dataclass(frozen=True, eq=False)
class BackgroundJob:
    """A run to start in a process of its own.

    Attributes
    ----------
    job : what it computes, with one file or folder as its output
    words : the command that does it
    stop : once this is set, the process is asked to end
    """

    job: FuseJob | SeriesJob
    words: tuple[str, ...]
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def out(self) -> Path:
        """Its output."""
        out = self.job.out if isinstance(self.job, SeriesJob) else self.job.parts[0].out
        assert out is not None, "a process has a file for its result"
        return out


@dataclass(frozen=True, eq=False)
class FollowedJob:
    """A run that was begun elsewhere, or before.

    Attributes
    ----------
    out : its output
    words : the command that goes on with it; none where it is only followed
    stop : once this is set, the process is asked to end
    """

    out: Path
    words: tuple[str, ...] = ()
    stop: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, eq=False)
class LeftUnfinished:
    """A run that is followed has ended before its result was complete.

    Attributes
    ----------
    kind, message : as a status says them
    command : that goes on with it; None where that is not known
    """

    kind: str
    message: str
    command: tuple[str, ...] | None


def background_steps(check: Checkpoint, job: BackgroundJob | FollowedJob) -> Events:
    """The events of a run in a process of its own, until it ends or nobody wants to know; an error becomes the last one."""
    try:
        if job.words:
            yield Preparing("starting a process of its own", 0.0)
        if isinstance(job, FollowedJob):
            run = begin(job.words, job.out, stopped=check.stopped) if job.words else BackgroundRun(job.out)
            end = yield from _followed(check, run, job.stop, FoundOutput(job.out))
            if end is not None and not end.ended.finished:
                yield _left(run, end)
            return
        run = begin(job.words, job.out, threads=job.job.threads, stopped=check.stopped)
        shown = ShownSeries(job.job) if isinstance(job.job, SeriesJob) else ShownVolume(job.job)
        end = yield from _followed(check, run, job.stop, shown)
        if end is None or end.ended.finished:
            return
        if end.cancelled:
            kept = run.folder if end.ended.unfinished else None
            yield Cancelled(end.told.finished, end.told.count, kept)
        else:
            then = "what is done is kept, go on with --resume" if end.ended.unfinished else "begin it again"
            yield Failed(end.ended.error or f"{_why(run, end.ended)}: {then}")
    except Exception as error:
        yield failure_of(error)


@dataclass(frozen=True)
class _End:
    """How a run ended that was followed, how far it was told to be, and whether it ran when that began."""

    ended: Ended
    told: Progress
    cancelled: bool
    ran: bool


def _followed(
    check: Checkpoint, run: BackgroundRun, stop: threading.Event, shown: ShownOutput
) -> Generator[Any, None, _End | None]:
    """The events of a run but for an early end, which is returned; None where nobody wants to know any more."""
    told: Progress | None = None
    asked = ran = False
    while True:
        if check.stopped():
            return None
        if stop.is_set() and not asked:
            asked = True
            run.ask_to_end()
        # What is read after it has ended is the last there is.
        alive = run.alive
        ran = ran or alive
        for line in run.news():
            yield _as_event(line)
        progress = run.progress()
        if progress is not None and progress != told:
            yield from shown.progress(progress, told)
            told = progress
        if not alive:
            break
        time.sleep(_LOOK_SECONDS)
    ended = run.ended()
    if ended.finished:
        yield from shown.finished(None if told is None else told.seconds)
    cancelled = ended.code == _INTERRUPTED or stop.is_set()
    return _End(ended, told or Progress(), cancelled, ran)


def _left(run: BackgroundRun, end: _End) -> LeftUnfinished | Failed:
    """What is to be said of a run that is not finished, and is only followed."""
    if not end.ended.unfinished:
        return Failed(end.ended.error or _why(run, end.ended))
    told = end.told
    share = f"{0 if told.preparing else told.share:.0%} of it"
    done = f"{told.finished} of {told.count} volumes" if told.count else share
    said = f"{run.place.name} is unfinished, with {done} done"
    command = command_of(run.out)
    then = "press “Go on with it”" if command else f"open its views, choose {run.place.name} as their file, and go on"
    if end.ran and not end.cancelled:
        why = (end.ended.error or _why(run, end.ended)).rstrip(".")
        return LeftUnfinished("error", f"{why}.\n{said}: {then}.", command)
    because = f", as {end.ended.error}" if end.ended.error else ""
    return LeftUnfinished("warning", f"{said}{because}: {then}.", command)


def _as_event(line: str) -> Warned | Noted:
    """A line of the log: a warning is one, unless it is told again at the end."""
    if line.startswith("warning: volume ") and " failed: " in line:
        return Noted(line)
    return Warned(line.removeprefix("warning: ")) if line.startswith("warning: ") else Noted(line)


def _why(run: BackgroundRun, ended: Ended) -> str:
    """Why a run is not finished that does not say so itself."""
    if not ended.unfinished and run.place.exists():
        return f"{run.place} is there, but not the recipe that its run leaves beside it, so it may be of another"
    if not ended.unfinished and not (run.place.parent.is_dir() and ended.code is not None):
        return f"the unfinished run of {run.place} is not there any more: its folder was moved or removed"
    how = "ended without a word, as where it was killed or the computer was switched off"
    if ended.code is not None and ended.code < 0:
        how = f"was ended from outside (signal {-ended.code}), as the system does where memory runs out"
    return f"the process that fused {run.place.name} {how}"
