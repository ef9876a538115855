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
from collections import deque
from pathlib import Path
from typing import IO

import napari_mvfusion
from napari_mvfusion.data.events import Warned
from napari_mvfusion.errors import MVFusionError
from napari_mvfusion.training.ended import Ended, Heard, crashed, failed
from napari_mvfusion.training.events import Continued, Paused, Started, TrainEvent, Waiting
from napari_mvfusion.training.job import TrainJob
from napari_mvfusion.training.kept import keep_from_checkpoint
from napari_mvfusion.training.loop import run_folder
from napari_mvfusion.training.parcels import packed
from napari_mvfusion.training.setup import model_path
from napari_mvfusion.training.wire import receive, send

__all__ = ["Ended", "TrainingProcess"]

# A run that does not notice within this time that it is to stop hangs, and is killed: what is kept comes from its last
# checkpoint. One that has noticed gets longer, for a slow disk.
_GRACE_SECONDS = 2.0
_KEEPING_SECONDS = 10.0
_LINGER_SECONDS = 1.0
_LAST_LINES = 40
_BEFORE_WORK = (Warned, Started, Waiting, Paused, Continued)
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")
_BEGIN = "import sys; sys.path.append(sys.argv[1]); from napari_mvfusion.training.child import main; main()"


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
        self._events: queue.SimpleQueue[TrainEvent | Ended] = queue.SimpleQueue()
        self._commands: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._started = self._paused = self._stopping = self._at_work = False
        self._heard = threading.Event()
        self._silent = False
        self._not_sent: Ended | None = None

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

    def events(self, timeout: float = 0.0) -> list[TrainEvent | Ended]:
        """What came since the last call; the last event of all is `Ended`.

        Parameters
        ----------
        timeout : seconds to wait for the first one at most
        """
        found: list[TrainEvent | Ended] = []
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
        if self._heard.is_set() and self._over.wait(_KEEPING_SECONDS):
            return
        self._silent = True
        self.kill()

    def _run(self, job: TrainJob) -> None:
        """Start the process and follow it to its end."""
        ended = Ended("stopped", None, "", "")
        try:
            with self._lock:
                if not self._stopping:
                    self._process = _begin()
            if self._process is not None:
                ended = self._follow(self._process, job)
        except OSError as error:
            ended = failed(error, traceback.format_exc())
        self._over.set()
        self._events.put(ended)

    def _follow(self, process: subprocess.Popen[bytes], job: TrainJob) -> Ended:
        """Send the job and the commands, and take what comes back until the process has ended."""
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        lines: deque[bytes] = deque(maxlen=_LAST_LINES)
        listener = threading.Thread(target=_keep_last, args=(process.stderr, lines), daemon=True)
        sender = threading.Thread(target=self._send, args=(process.stdin, job), daemon=True)
        listener.start()
        sender.start()
        out = job.out
        del job
        ended: Ended | None = None
        with contextlib.suppress(EOFError, OSError):
            while ended is None:
                event = receive(process.stdout)
                if isinstance(event, Ended):
                    ended = event
                elif isinstance(event, Heard):
                    self._heard.set()
                else:
                    self._at_work |= not isinstance(event, _BEFORE_WORK)
                    self._events.put(event)
        code = process.wait()
        self._commands.put(None)
        sender.join()
        # A process of a process that was killed may hold the pipe open.
        listener.join(_LINGER_SECONDS)
        process.stdout.close()
        if ended is not None:
            return ended
        if self._not_sent is not None:
            return self._not_sent
        if self._silent:
            return _kept(out)
        if self._stopping:
            return Ended("stopped", None, "", f"it was ended before it answered (exit code {code})")
        return crashed(code, b"".join(lines).decode(errors="replace"))

    def _send(self, pipe: IO[bytes], job: TrainJob) -> None:
        """Send the job, then the commands as they come; runs in a thread, as the pipe is slow."""
        # A pipe that breaks is noticed by who reads the other one.
        with contextlib.suppress(OSError), pipe:
            try:
                parcel = packed(job)
            except Exception as error:  # whatever it is, the user is told
                self._not_sent = failed(error, traceback.format_exc())
                return
            del job
            send(pipe, parcel)
            del parcel
            while (command := self._commands.get()) is not None:
                send(pipe, command)


def _kept(out: str) -> Ended:
    """The end of a run that was killed because it did not stop: what its last checkpoint holds is kept."""
    words = "the training did not answer and was ended"
    try:
        path = model_path(out, resume=True)
        kept = keep_from_checkpoint(run_folder(path), path)
    except MVFusionError as error:
        return Ended("stopped", None, words, str(error))
    return Ended("stopped", kept, f"{words}; what is kept is that of its last checkpoint" if kept else words, "")


def _keep_last(pipe: IO[bytes], lines: deque[bytes]) -> None:
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
