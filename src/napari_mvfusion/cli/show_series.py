"""What the command line shows of a series: one bar for all volumes, a line for each, and at the end what failed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from napari_mvfusion.cli import show
from napari_mvfusion.data.events import Cancelled, Noted, Prepared, Preparing, TileDone, TileHalved, TileStep, Warned
from napari_mvfusion.engine.series_run import SeriesFinished, VolumeDone, VolumeFailed
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
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=show.err,
        disable=quiet or not show.err.is_terminal,
        transient=True,
    )
    end: SeriesFinished | None = None
    left, planned = "", False
    with bar:
        task = bar.add_task(title, total=1.0)
        preparing = bar.add_task("preparing", total=1.0, visible=False)
        for event in events:
            match event:
                case Warned(message):
                    show.say_warning(message)
                case Noted(message) if not quiet:
                    show.note_once(message)
                case Preparing(label, fraction):
                    bar.update(preparing, description=label, completed=fraction, visible=fraction < 1)
                case Prepared():
                    bar.update(preparing, visible=False)
                    if not (quiet or planned):
                        show.say_plan(title, event)
                    planned = True
                case TileStep() | TileDone():
                    bar.update(task, description=f"{title}: {event.label}{left}", completed=event.fraction)
                case TileHalved():
                    show.say_halved(event)
                case VolumeDone():
                    left = f", about {duration(event.seconds_left)} left" if event.seconds_left else ""
                    bar.update(task, completed=event.number / event.count)
                    if not quiet:
                        show.note(f"{_which(event)}: {event.seconds:.1f} s{left}")
                case VolumeFailed():
                    show.say_warning(f"{_which(event)} failed: {shortened(event.reason)}")
                case Cancelled():
                    kept = f"; {event.kept} is kept, go on with --resume" if event.kept else ""
                    show.note(f"cancelled after {event.finished_tiles} of {event.tiles} volumes{kept}")
                case SeriesFinished():
                    end = event
    return end


def say_failures(failed: Iterable[VolumeFailed]) -> None:
    """Each volume that failed, a line with its reason."""
    for each in failed:
        show.say_error(f"{each.words}: {shortened(each.reason)}")


def _which(event: VolumeDone | VolumeFailed) -> str:
    return f"volume {event.number} of {event.count} ({event.words})"
