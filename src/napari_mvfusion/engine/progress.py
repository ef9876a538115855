"""How far a run into a file is, as a small file in its folder: whoever looks at the output can follow the run.

It stands beside the journal, which says what is safe; nothing that a rerun takes over depends on it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

from napari_mvfusion.data.events import IterationDone, Prepared, Preparing, TileDone, TileStep
from napari_mvfusion.data.geometry import triple
from napari_mvfusion.methods.steps import map_steps

T = TypeVar("T")
E = TypeVar("E")

PROGRESS = "progress.json"
# Steps may be many in a second; what is written to the disk is told at once.
_PAUSE_SECONDS = 0.3


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes
    ----------
    label : what is being done
    share : of the run that is done, 0 to 1; while it prepares, of that
    preparing : whether it still goes over the whole volume before its first tile
    seconds : since the run began
    plan : of its tiles, once that stands
    written : how often tiles were written, or a volume of a series was finished
    volume : of a series, which one is being fused, counted from 1, and what it is called; None where several are at once
    finished, count : of a series, volumes that are finished or have failed, of how many; 0 and 0 for one volume
    """

    label: str = ""
    share: float = 0.0
    preparing: bool = True
    seconds: float = 0.0
    plan: Prepared | None = None
    written: int = 0
    volume: tuple[int, str] | None = None
    finished: int = 0
    count: int = 0


class ProgressFile:
    """Writes how far a run is, wherever its folder is there; what cannot be written nobody misses but a watcher.

    Attributes
    ----------
    now : how far it is

    Parameters
    ----------
    folder : of the unfinished run
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / PROGRESS
        self._began = time.monotonic()
        self._written_at = -1.0
        self.now = Progress()

    def follow(self, event: object) -> None:
        """Note an event of a run."""
        now = self.now
        match event:
            case Preparing(label, fraction):
                self.tell(replace(now, label=label, share=fraction), at_once=False)
            case Prepared():
                self.tell(replace(now, label="", share=0.0, preparing=False, plan=event))
            case TileStep(label, fraction):
                self.tell(replace(now, label=label, share=fraction, preparing=False), at_once=False)
            case TileDone():
                label = event.label + (f", tile {event.tile} of {event.tiles}" if event.tiles > 1 else "")
                more = now.written + event.updated
                done = replace(now, label=label, share=event.fraction, preparing=False, written=more)
                self.tell(done, at_once=event.updated)
            case IterationDone():
                self.tell(now)

    def tell(self, now: Progress, *, at_once: bool = True) -> None:
        """Write how far the run is.

        Parameters
        ----------
        now : without the seconds
        at_once : also where the last time is hardly over
        """
        seconds = time.monotonic() - self._began
        self.now = replace(now, seconds=seconds)
        if not at_once and self._written_at >= 0 and seconds - self._written_at < _PAUSE_SECONDS:
            return
        self._written_at = seconds
        # A folder that is not there yet, or has left, and a full disk: the run itself has to tell of these.
        with suppress(OSError):
            self._file.write_text(json.dumps(asdict(self.now)), encoding="utf-8")


def with_progress(folder: Path, events: Generator[E, None, T]) -> Generator[E, None, T]:
    """The events of a run, which are noted in its folder as they come.

    Parameters
    ----------
    folder : of the unfinished run
    events : those of `fuse_events`
    """
    file = ProgressFile(folder)

    def noted(event: E) -> E:
        file.follow(event)
        return event

    return (yield from map_steps(events, noted))


def read_progress(folder: Path) -> Progress | None:
    """How far the run of a folder is; None where that is not said, or is being written.

    Raises
    ------
    OSError
        If the file is there and cannot be read.
    """
    try:
        values: dict[str, Any] = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
        plan, volume = values["plan"], values["volume"]
        return Progress(
            label=str(values["label"]),
            share=_number(values["share"]),
            preparing=bool(values["preparing"]),
            seconds=_number(values["seconds"]),
            plan=None if plan is None else Prepared(**plan | {"tile_shape": triple(plan["tile_shape"])}),
            written=int(values["written"]),
            volume=None if volume is None else (int(volume[0]), str(volume[1])),
            finished=int(values["finished"]),
            count=int(values["count"]),
        )
    except (FileNotFoundError, NotADirectoryError, ValueError, LookupError, TypeError, AttributeError, OverflowError):
        return None


def _number(value: object) -> float:
    """A finite number of a file that anything may have written to."""
    if not isinstance(value, (int, float)) or not isfinite(value):
        raise ValueError(f"{value!r} is no finite number")
    return float(value)
