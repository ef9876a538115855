"""How far a series of volumes is, and what became of it, in words: which volume is fused, and which failed, and why."""

from __future__ import annotations

from collections.abc import Sequence

from napari_mvfusion.data.events import Cancelled, Prepared, Preparing, TileDone, TileStep
from napari_mvfusion.engine.running_series import VolumeBegun, VolumeDone, VolumeFailed
from napari_mvfusion.engine.series_run import RunEvent, SeriesFinished
from napari_mvfusion.gui.jobs.status import Status
from napari_mvfusion.gui.jobs.tasks import Failed
from napari_mvfusion.system.file_checks import shortened
from napari_mvfusion.system.words import duration, sentence

_MOST_FAILED = 6


class SeriesStatus:
    """Shows the events of a series of volumes: the bar is that of all of them.

    Parameters
    ----------
    status : shows them
    """

    def __init__(self, status: Status) -> None:
        self._status = status
        self.begin()

    def begin(self) -> None:
        """Another series starts."""
        self._volume: VolumeBegun | None = None
        self._share, self._planned = 0.0, False

    def follow(self, event: RunEvent | Failed) -> None:
        """Show an event."""
        status = self._status
        match event:
            case VolumeBegun():
                self._volume, self._share = event, (event.number - 1) / event.count
                self._tell("opening…")
            case Preparing(label):
                # How far that is counts for one volume alone, or for those that are looked at again.
                self._tell(label)
            case Prepared() if self._planned:
                self._tell("computing…")
            case TileStep(label, fraction):
                self._share = fraction
                self._tell(label)
            case TileDone():
                self._share = event.fraction
                self._tell(event.label + (f", tile {event.tile} of {event.tiles}" if event.tiles > 1 else ""))
                status.count(event.voxels)
            case VolumeDone():
                status.note(f"{_called(event)}: {event.seconds:.1f} s")
            case VolumeFailed():
                status.note(f"{_called(event)} failed: {event.reason}")
            case Cancelled(finished, count, kept):
                kept_in = f" What is finished is kept in {kept}: press Go on to fuse the rest." if kept else ""
                status.end("warning", f"Cancelled after {finished} of {count} volumes.{kept_in}")
            case SeriesFinished():
                self._end(event)
            case _:
                self._planned = self._planned or isinstance(event, Prepared)
                status.follow(event, shown=False)

    def _tell(self, what: str) -> None:
        """Say what is being done of the volume, always in two lines: nothing below jumps up and down."""
        volume = self._volume
        if volume is None:
            self._status.show_step(what, self._share)
            return
        numbered = f"volume {volume.number} of {volume.count}"
        what = what.removeprefix(f"{_called(volume)}, ")
        self._status.show_step(numbered, self._share, f"{sentence(volume.words)}: {what}")

    def _end(self, done: SeriesFinished) -> None:
        if done.fused:
            files = f" Saved as {done.files[0]}" if done.files else ""
            last = f" to {done.files[-1].name}" if len(done.files) > 1 else ""
            took = "finished before" if done.made_before else f"done in {duration(done.seconds)}"
            self._status.end("done", f"{done.fused} of {done.fused + len(done.failed)} volumes {took}.{files}{last}.")
        if done.failed:
            self._status.end("error", _failures(done.failed, whole=not done.fused))


def _failures(failed: Sequence[VolumeFailed], *, whole: bool) -> str:
    """Which volumes failed and why, a line each, and what helps."""
    lines = [f"• {sentence(each.words)}: {shortened(each.reason)}." for each in failed[:_MOST_FAILED]]
    more = len(failed) - _MOST_FAILED
    lines += [f"… and {more} more, see Details"] if more > 0 else []
    helps = "No volume could be fused." if whole else "Mend the views, and press Go on to fuse what is missing."
    count = "1 volume" if len(failed) == 1 else f"{len(failed)} volumes"
    return "\n".join([f"{count} could not be fused.", *lines, helps])


def _called(event: VolumeBegun | VolumeDone | VolumeFailed) -> str:
    return f"volume {event.number} of {event.count} ({event.words})"
