"""A training run in a process of its own.

Why a process and not a thread: the interpreter lock of a training thread makes a viewer stutter, the memory of a GPU
comes back for certain only when its process ends, and a crash in a driver ends no more than the training.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
import traceback
import warnings
from collections import deque
from pathlib import Path
from typing import IO

import napari_mvfusion
from napari_mvfusion.data.events import Warned
from napari_mvfusion.errors import MVFusionError
from napari_mvfusion.training.final_model import final_model_from_checkpoint
from napari_mvfusion.training.job import TrainJob
from napari_mvfusion.training.loop import run_folder
from napari_mvfusion.training.outcome import Acknowledged, TrainingOutcome, crashed, failed
from napari_mvfusion.training.pickling import picklable
from napari_mvfusion.training.pipe import receive, send
from napari_mvfusion.training.setup import model_path
from napari_mvfusion.training.training_events import Continued, Paused, Started, TrainEvent, Waiting

__all__ = ["TrainingOutcome", "TrainingProcess"]


def __getattr__(name: str) -> object:
    """`Ended`, as `TrainingOutcome` was called, for scripts."""
    if name == "Ended":
        warnings.warn(f"{__name__}.Ended is called TrainingOutcome now", DeprecationWarning, stacklevel=2)
        return TrainingOutcome
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# A run that does not notice within this time that it is to stop hangs, and is killed: what is kept comes from its last
# checkpoint. One that has noticed gets longer, for a slow disk.
_GRACE_SECONDS = 2.0
_KEEPING_SECONDS = 10.0
_LINGER_SECONDS = 1.0
_LAST_LINES = 40
_BEFORE_WORK = (Warned, Started, Waiting, Paused, Continued)
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")
_BEGIN = "import sys; sys.path.append(sys.argv[1]); from napari_mvfusion.training.worker_process import main; main()"


class TrainingProcess:
    """One run in a process of its own.

    All methods return at once and may be called from any thread. When the process that made it ends, for whatever
    reason, the run saves a checkpoint and ends too.

    Parameters
    ----------
    job : what to do
    """

    def __init__(self, job: TrainJob) -> None:
        self._job: TrainJob | None = job
        self._events: queue.SimpleQueue[TrainEvent | TrainingOutcome] = queue.SimpleQueue()
        self._commands: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._started = self._paused = self._stopping = self._at_work = False
        self._acknowledged = threading.Event()
        self._silent = False
        self._not_sent: TrainingOutcome | None = None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended yet."""
        return self._started and not self._over.is_set()

    @property
    def paused(self) -> bool:
        """Whether it was asked to wait."""
        return self._paused and self.running

    def start(self) -> None:
        """Start the process; the data are sent to it meanwhile."""
        self._started = True
        job, self._job = self._job, None
        assert job is not None, "a run is started once"
        threading.Thread(target=self._run, args=(job,), name="mvfusion-training", daemon=True).start()

    def events(self, timeout: float = 0.0) -> list[TrainEvent | TrainingOutcome]:
        """What came since the last call; the last event of all is `TrainingOutcome`.

        Parameters
        ----------
        timeout : seconds to wait for the first one at most
        """
        found: list[TrainEvent | TrainingOutcome] = []
        with contextlib.suppress(queue.Empty):
            found.append(self._events.get(timeout=timeout) if timeout > 0 else self._events.get_nowait())
            while True:
                found.append(self._events.get_nowait())
        return found

    def pause(self) -> None:
        """Wait after the step that is being done; a checkpoint is saved."""
        self._paused = True
        self._commands.put("pause")

    def go_on(self) -> None:
        """End a pause."""
        self._paused = False
        self._commands.put("go on")

    def stop(self) -> None:
        """Keep the best weights, save a checkpoint, and end.

        A run that does not notice within two seconds is killed; the best weights of its last checkpoint are kept then.
        """
        if not self._at_work:
            # It gets its data ready: there is nothing to keep yet, and an earlier checkpoint stays.
            self.kill()
            return
        with self._lock:
            if self._stopping:
                return
            self._stopping = True
        self._commands.put("stop")
        threading.Thread(target=self._kill_after_grace, name="mvfusion-stop", daemon=True).start()

    def kill(self) -> None:
        """End it at once; the last checkpoint stays."""
        with self._lock:
            self._stopping = True
            if self._process is not None:
                self._process.kill()

    def _kill_after_grace(self) -> None:
        if self._over.wait(_GRACE_SECONDS):
            return
        if self._acknowledged.is_set() and self._over.wait(_KEEPING_SECONDS):
            return
        self._silent = True
        self.kill()

    def _run(self, job: TrainJob) -> None:
        """Start the process and follow it to its end."""
        outcome = TrainingOutcome("stopped", None, "", "")
        try:
            with self._lock:
                if not self._stopping:
                    self._process = _begin()
            if self._process is not None:
                outcome = self._follow(self._process, job)
        except OSError as error:
            outcome = failed(error, traceback.format_exc())
        self._over.set()
        self._events.put(outcome)

    def _follow(self, process: subprocess.Popen[bytes], job: TrainJob) -> TrainingOutcome:
        """Send the job and the commands, and take what comes back until the process has ended."""
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        lines: deque[bytes] = deque(maxlen=_LAST_LINES)
        listener = threading.Thread(target=_keep_last_lines, args=(process.stderr, lines), daemon=True)
        sender = threading.Thread(target=self._send, args=(process.stdin, job), daemon=True)
        listener.start()
        sender.start()
        out = job.out
        del job
        outcome: TrainingOutcome | None = None
        with contextlib.suppress(EOFError, OSError):
            while outcome is None:
                event = receive(process.stdout)
                if isinstance(event, TrainingOutcome):
                    outcome = event
                elif isinstance(event, Acknowledged):
                    self._acknowledged.set()
                else:
                    self._at_work |= not isinstance(event, _BEFORE_WORK)
                    self._events.put(event)
        code = process.wait()
        self._commands.put(None)
        sender.join()
        # A process of a process that was killed may hold the pipe open.
        listener.join(_LINGER_SECONDS)
        process.stdout.close()
        if outcome is not None:
            return outcome
        if self._not_sent is not None:
            return self._not_sent
        if self._silent:
            return _outcome_from_checkpoint(out)
        if self._stopping:
            return TrainingOutcome("stopped", None, "", f"it was ended before it answered (exit code {code})")
        return crashed(code, b"".join(lines).decode(errors="replace"))

    def _send(self, pipe: IO[bytes], job: TrainJob) -> None:
        """Send the job, then the commands as they come; runs in a thread, as the pipe is slow."""
        # A pipe that breaks is noticed by who reads the other one.
        with contextlib.suppress(OSError), pipe:
            try:
                picklable_job = picklable(job)
            except Exception as error:  # whatever it is, the user is told
                self._not_sent = failed(error, traceback.format_exc())
                return
            del job
            send(pipe, picklable_job)
            del picklable_job
            while (command := self._commands.get()) is not None:
                send(pipe, command)


def _outcome_from_checkpoint(out: str) -> TrainingOutcome:
    """The end of a run that was killed because it did not stop: what its last checkpoint holds is kept."""
    words = "the training did not answer and was ended"
    try:
        path = model_path(out, resume=True)
        kept = final_model_from_checkpoint(run_folder(path), path)
    except MVFusionError as error:
        return TrainingOutcome("stopped", None, words, str(error))
    return TrainingOutcome(
        "stopped", kept, f"{words}; what is kept is that of its last checkpoint" if kept else words, ""
    )


def _keep_last_lines(pipe: IO[bytes], lines: deque[bytes]) -> None:
    with pipe:
        lines.extend(pipe)


def _begin() -> subprocess.Popen[bytes]:
    """Start an interpreter that has neither the display nor the main script of this one."""
    package = Path(napari_mvfusion.__file__).parents[1]
    return subprocess.Popen(
        # -P: a file in the working folder must not be taken for a module.
        [sys.executable, "-P", "-c", _BEGIN, str(package)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if name not in _DISPLAYS},
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
