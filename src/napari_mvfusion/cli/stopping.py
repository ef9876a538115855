"""Stopping in good order: Ctrl-C, and the signals by which a system or a closed terminal ends a program."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import typer

from napari_mvfusion.cli import show

_INTERRUPT = signal.SIGINT
# Those that this system has, and how a shell calls what a program that they end answers: 128 and their number.
_OTHERS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
_SIGNALLED = 128


class StopFlag:
    """True once the program was asked to stop.

    Attributes
    ----------
    exit_code : for a program that stopped: 130 after Ctrl-C, 143 after SIGTERM, 129 where its terminal was closed
    """

    def __init__(self) -> None:
        self.set = False
        self.exit_code = _SIGNALLED + _INTERRUPT

    def __call__(self) -> bool:
        """Tell whether to stop."""
        return self.set


@dataclass(frozen=True)
class Steering:
    """How a run in the background is told to stop or to wait: by signals, and by files in a folder.

    Attributes
    ----------
    folder : where a file `stop` ends the run, and a file `pause` lets it wait; None for signals alone
    signalled : whether a signal asked to stop
    """

    folder: Path | None
    signalled: Callable[[], bool]

    def cancel(self) -> bool:
        """Tell whether to stop."""
        return self.signalled() or self._has("stop")

    def paused(self) -> bool:
        """Tell whether to wait."""
        return self._has("pause")

    def _has(self, name: str) -> bool:
        return self.folder is not None and (self.folder / name).exists()


@contextmanager
def stopped_by_signals() -> Iterator[StopFlag]:
    """Let Ctrl-C, SIGTERM and SIGHUP ask the engine to stop, so that what is finished is kept; Ctrl-C again ends it at once.

    A signal that is ignored, as SIGHUP is under `nohup`, stays ignored.
    """
    flag = StopFlag()
    terminals = [stream for stream in (1, 2) if os.isatty(stream)]

    def interrupt(number: int, frame: FrameType | None) -> None:
        if flag.set:
            raise KeyboardInterrupt
        flag.set = True
        show.note("stopping after this step; press Ctrl-C again to stop at once")

    def end(number: int, frame: FrameType | None) -> None:
        if number == getattr(signal, "SIGHUP", None):
            _look_away(terminals)
        if not flag.set:
            flag.set = True
            flag.exit_code = _SIGNALLED + number
            show.note(f"asked to end ({signal.Signals(number).name}): stopping after this step")

    before = {_INTERRUPT: signal.signal(_INTERRUPT, interrupt)}
    for number in _OTHERS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, end)
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _look_away(terminals: list[int]) -> None:
    """What is written to a terminal that was closed would be an error, and keep the rest from being saved."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in terminals:
        os.dup2(nowhere, stream)
    os.close(nowhere)


def ask(question: str) -> None:
    """Ask whether to go on; an answer other than yes, or none, cancels the command."""
    try:
        agreed = typer.confirm(question, err=True)
    except typer.Abort:
        agreed = False
    if not agreed:
        show.note("cancelled")
        raise typer.Exit(_SIGNALLED + _INTERRUPT)
