"""A fusion as a process of its own, which goes on when the program that started it ends, and is followed by its output.

It is the command `mvfusion fuse`. Beside the output `fused.zarr` stands `fused.zarr.log`: the command in the first line,
then all that it says. Whoever looks later, in whatever program, is told by the lock of the output whether it still runs.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import napari_mvfusion
from napari_mvfusion.engine.finishing import partial_folder, recipe_path
from napari_mvfusion.engine.progress import Progress, read_progress
from napari_mvfusion.errors import OutputError
from napari_mvfusion.io.atomic import check_place, writing
from napari_mvfusion.io.formats import place_of
from napari_mvfusion.system.locks import Busy, holder, locked, process_of

COMMAND = ("mvfusion", "fuse")
_BEGIN = "import sys; sys.path.append(sys.argv.pop(1)); from napari_mvfusion.cli import main; main()"
_PROMPT = "$ "
# A process takes the lock of its output once it has read its views' names; nobody else starts there until then.
_STARTING_SECONDS = 60.0
_PAUSE_SECONDS = 0.05
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


def log_path(place: Path) -> Path:
    """The file beside an output that holds what its run says."""
    return place.with_name(f"{place.name}.log")


@dataclass(frozen=True)
class Ended:
    """How the process of a run ended.

    Attributes
    ----------
    finished : whether the output is complete
    unfinished : whether what is done is kept, and the run can go on
    code : its exit code, negative for the signal that ended it; None where this program did not start it
    error : the last line in which it says what was wrong; "" where it says nothing
    """

    finished: bool
    unfinished: bool
    code: int | None
    error: str


class BackgroundRun:
    """The run of an output in a process of its own.

    Parameters
    ----------
    out : the output, which may name a place inside a file
    process : where this program has started it; None for one that may run or not
    """

    def __init__(self, out: Path, process: subprocess.Popen[bytes] | None = None) -> None:
        self.out, self.place = out, place_of(out)
        self._process = process
        self._read = 0
        self._before = _identity(recipe_path(self.place)) if process is not None else None
        self._said: list[str] = []

    @property
    def folder(self) -> Path:
        """Of the unfinished run."""
        return partial_folder(self.place)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        if self._process is not None:
            return self._process.poll() is None
        return holder(self.place) is not None

    def progress(self) -> Progress | None:
        """How far it is, None where that is not known yet."""
        return read_progress(self.folder)

    def news(self) -> list[str]:
        """The lines that it has said since the last call, without the command."""
        try:
            with log_path(self.place).open("rb") as file:
                file.seek(self._read)
                complete, end, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return []
        lines = complete.decode("utf-8", "replace").splitlines() if end else []
        if self._read == 0 and lines and lines[0].startswith(_PROMPT):
            del lines[0]
        self._read += len(complete) + len(end)
        lines = [line.rstrip() for line in lines if line.strip()]
        self._said += lines
        return lines

    def ask_to_end(self) -> None:
        """Ask it to end and keep what is done, as Ctrl-C in a terminal does.

        Raises
        ------
        OutputError
            If it runs on another computer.
        """
        pid = self._process.pid if self._process is not None else process_of(self.place)
        if pid is None:
            where = holder(self.place)
            if where is not None:
                raise OutputError(f"the run of {self.place} is {where}: stop it there")
            return
        if self.alive:
            os.kill(pid, signal.SIGTERM if sys.platform == "win32" else signal.SIGINT)

    def ended(self) -> Ended:
        """How it ended, once it is not alive any more."""
        self.news()
        code = None if self._process is None else self._process.poll()
        unfinished = self.folder.is_dir()
        made = _identity(recipe_path(self.place))
        complete = code == 0 if code is not None else made is not None and made != self._before
        finished = complete and not unfinished
        errors = [line.removeprefix("error: ") for line in self._said if line.startswith("error: ")]
        # What is wrong with an option stands in a frame.
        framed = " ".join(line.strip("│ ") for line in self._said if line.startswith("│"))
        return Ended(finished, unfinished, code, errors[-1] if errors else framed)


def begin(
    words: Sequence[str], out: Path, *, threads: int = 0, stopped: Callable[[], bool] = lambda: False
) -> BackgroundRun:
    """Start a run, and wait until its output is its own, or it has ended.

    Parameters
    ----------
    words : the command, as `mvfusion fuse …`
    out : its output
    threads : of the CPU, 0 for all
    stopped : asked while it waits; it waits no longer once that says yes

    Raises
    ------
    Busy
        If another run writes there, or is being started.
    OutputError
        If its folder is missing or cannot be written, or a file that is no log stands where its log goes.
    """
    place = place_of(out)
    check_place(place)
    log = log_path(place)
    with ExitStack() as held:
        try:
            with writing(log):
                held.enter_context(locked(log))
        except Busy:
            raise Busy(f"another run of {place} is being started: wait for its end, or choose another output") from None
        if (who := holder(place)) is not None:
            raise Busy(f"another run writes {place} ({who}): wait for its end, or choose another output")
        _refuse_other_file(log)
        process = _started(words, log, threads)
        until = time.monotonic() + _STARTING_SECONDS
        while process.poll() is None and holder(place) is None and not stopped() and time.monotonic() < until:
            time.sleep(_PAUSE_SECONDS)
    return BackgroundRun(out, process)


def _refuse_other_file(log: Path) -> None:
    """Raise where the log would take the place of a file that is none."""
    if not log.exists():
        return
    with writing(log), log.open("rb") as file:
        begun = file.read(len(_PROMPT))
    if begun not in (_PROMPT.encode(), b""):
        raise OutputError(
            f"{log} is no log of a run, and that of this one would take its place: move it, or name another output"
        )


def _started(words: Sequence[str], log_file: Path, threads: int) -> subprocess.Popen[bytes]:
    """The process of a run, which says what it says in a file."""
    environment = {name: value for name, value in os.environ.items() if name not in _DISPLAYS}
    environment |= {"PYTHONUNBUFFERED": "1"} | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    with writing(log_file), log_file.open("wb") as log:
        log.write(f"{_PROMPT}{shlex.join(words)}\n".encode())
        log.flush()
        process = subprocess.Popen(
            # -P: a file in the working folder must not be taken for a module.
            [sys.executable, "-P", "-c", _BEGIN, str(Path(napari_mvfusion.__file__).parents[1]), *words[1:]],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            **_apart(),
        )
    # Its end is taken note of also where nobody follows it: it would stay in the list of processes.
    threading.Thread(target=process.wait, name="mvfusion-background", daemon=True).start()
    return process


def command_of(out: Path) -> tuple[str, ...] | None:
    """The command that has begun the run of an output, to go on with it where the output lies now; None where none is known.

    Parameters
    ----------
    out : the output
    """
    try:
        with log_path(place_of(out)).open(encoding="utf-8", errors="replace") as file:
            first = file.readline()
        words = shlex.split(first.removeprefix(_PROMPT)) if first.startswith(_PROMPT) else []
    except (FileNotFoundError, ValueError):
        return None
    if tuple(words[:2]) != COMMAND or words[-2:-1] != ["-o"]:
        return None
    # What --overwrite was to replace, it still is.
    words = [word for word in words[:-1] if word != "--resume"]
    return (*words[:-1], "--resume", "-o", str(out))


def _apart() -> dict[str, Any]:
    """Options that keep a process alive when the terminal, or the program, that started it is closed."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def _identity(file: Path) -> tuple[int, int] | None:
    """What tells a file from one that takes its place; None where there is none."""
    try:
        found = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_ino, found.st_mtime_ns
