"""What the command line shows of a series: one bar for all volumes, a line for each, and at the end what failed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from napari_mvfusion.cli import show
from napari_mvfusion.data.events import Cancelled
from napari_mvfusion.engine.running_series import VolumeDone, VolumeFailed
from napari_mvfusion.engine.series_run import SeriesFinished
from napari_mvfusion.system.file_checks import shortened
from napari_mvfusion.system.words import duration


def follow_series(events: Iterable[Any], *, title: str, quiet: bool = False) -> SeriesFinished | None:
    """Show the events of a series and return its end, or None when it was cancelled.

    Parameters
    ----------
    events : those of `fuse_chosen`
    title : what the bar is called
    quiet : show warnings and failures only
    """
    end: SeriesFinished | None = None
    left = ""
    with show.RunBar(title, quiet=quiet, tells_left=False) as bar:
        for event in events:
            match event:
                case VolumeDone():
                    left = f", about {duration(event.seconds_left)} left" if event.seconds_left else ""
                    if not quiet:
                        show.note(f"{_which(event)}: {event.seconds:.1f} s{left}")
                case VolumeFailed():
                    show.say_warning(f"{_which(event)} failed: {shortened(event.reason)}")
                case Cancelled():
                    kept = f"; {event.kept} is kept, go on with --resume" if event.kept else ""
                    show.note(f"cancelled after {event.finished_tiles} of {event.tiles} volumes{kept}")
                case SeriesFinished():
                    end = event
                case _:
                    bar.follow(event, left)
    return end


def say_failures(failed: Iterable[VolumeFailed]) -> None:
    """Each volume that failed, a line with its reason."""
    for each in failed:
        show.say_error(f"{each.words}: {shortened(each.reason)}")


def _which(event: VolumeDone | VolumeFailed) -> str:
    return f"volume {event.number} of {event.count} ({event.words})"
