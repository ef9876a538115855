"""The process that trains: it gets a job on its standard input, and answers with events on its standard output.

It is a program of its own rather than a fork or a spawn of the one that started it, so it imports neither that one's
main script nor napari. When the standard input ends, whoever started it is gone: it saves a checkpoint and ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from types import FrameType
from typing import IO, Any

import psutil

from napari_mvfusion.training.job import TrainJob, run_job
from napari_mvfusion.training.outcome import Acknowledged, TrainingOutcome, failed
from napari_mvfusion.training.pipe import receive, send
from napari_mvfusion.training.training_events import Stopped, Trained

# One that was left alone ends after this time, whatever it is doing.
_ORPHAN_SECONDS = 60.0
# A step aside for what the user looks at.
_NICER = 5


class _Commands:
    """What the other side asked for; read in a thread.

    Parameters
    ----------
    answers : where to say that it was heard
    """

    def __init__(self, answers: IO[bytes]) -> None:
        self.stop = False
        self.pause = False
        self.alone = False
        self.signal = ""
        self._answers = answers
        self._answering = threading.Lock()
        self._answered = False

    def stopping(self) -> bool:
        """Whether to stop; polled by the work, which thereby shows that it does not hang."""
        if self.stop:
            # The thread that sends events waits for the work, and the work may be shared by threads.
            with self._answering:
                if not self._answered:
                    self._answered = True
                    _tell(self._answers, self, Acknowledged())
        return self.stop

    def end(self, number: int, frame: FrameType | None) -> None:
        """The system asks this process to end: what is there is kept."""
        del frame
        self.signal = signal.Signals(number).name
        self.stop = True

    def follow(self, pipe: IO[bytes]) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                command = receive(pipe)
                self.stop |= command == "stop"
                self.pause = command == "pause" or (self.pause and command != "go on")
        self.alone = self.stop = True
        time.sleep(_ORPHAN_SECONDS)
        os._exit(1)


def main() -> None:
    """Run the job that comes on the standard input."""
    commands_in, events_out = _take_pipes()
    # Ctrl-C in a terminal reaches every process; the one that started this one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(psutil.Error, OSError):
        _be_nice()
    outcome: TrainingOutcome
    commands = _Commands(events_out)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), commands.end)
    try:
        try:
            job = receive(commands_in)
        except EOFError:
            return
        threading.Thread(target=commands.follow, args=(commands_in,), daemon=True).start()
        outcome = _run(job, commands, events_out)
    except Exception as error:  # whatever it is, the other process tells the user
        outcome = failed(error, traceback.format_exc())
    _tell(events_out, commands, outcome)
    # Threads of libraries must not keep it, and the memory of the GPU, alive.
    sys.stderr.flush()
    os._exit(0)


def _run(job: TrainJob, commands: _Commands, events_out: IO[bytes]) -> TrainingOutcome:
    outcome = TrainingOutcome("stopped", None, "", "")
    for event in run_job(job, cancel=commands.stopping, paused=lambda: commands.pause):
        _tell(events_out, commands, event)
        if isinstance(event, Stopped | Trained):
            words = f"the system asked the training to end ({commands.signal})" if commands.signal else ""
            outcome = TrainingOutcome("trained", event.path, "", "")
            if isinstance(event, Stopped):
                outcome = TrainingOutcome("stopped", event.path, words, "")
    return outcome


def _tell(pipe: IO[bytes], commands: _Commands, value: Any) -> None:
    if commands.alone:
        return
    try:
        send(pipe, value)
    except OSError:
        commands.alone = commands.stop = True


def _take_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """The pipes to the other process; what libraries print goes to the standard error from here on."""
    commands = os.fdopen(os.dup(0), "rb")
    events = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return commands, events


def _be_nice() -> None:
    process = psutil.Process()
    if sys.platform == "win32":
        process.nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
    else:
        process.nice(process.nice() + _NICER)


if __name__ == "__main__":
    main()
