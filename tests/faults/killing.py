"""Runs work in a forked child, which ends, or one of whose steps fails, at the n-th thing that it does to files.

Python tells an audit hook of every file that is opened, renamed or removed before it happens, also where a library in
C does it. The child is a fork: it begins within milliseconds, with all that is imported here, and needs no code in the
product.
"""

import errno
import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import NamedTuple

KILLED = 137
DISK_FULL = errno.ENOSPC
# A child that waits for ever ends; the bound that counts is that of processor time.
_LONGEST_WALL_SECONDS = 300
# Of a process that has imported what commands import, and done nothing yet.
_FRESH_BYTES = 500 * 2**20
_STEPS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link", "os.symlink"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Ended(NamedTuple):
    """How a child ended: its exit code (`KILLED` at the step, negative after a signal), steps counted, what it took."""

    code: int
    steps: int
    seconds: float
    peak_bytes: int


class Child:
    """Work that is under way in a forked child; see `in_child`."""

    def __init__(self, work, *, folder, at=None, since=None, fail_with=None, after=None, seconds=None):
        reading, writing = os.pipe()
        inherited = _resident_bytes()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reading)
            code = 1
            counter = _Counter(Path(folder), at, since, fail_with, writing)
            try:
                signal.alarm(_LONGEST_WALL_SECONDS)
                if after is not None:
                    signal.setitimer(signal.ITIMER_PROF, after)
                if seconds is not None:
                    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
                sys.addaudithook(counter)
                code = work() or 0
            except BaseException:
                traceback.print_exc()
            finally:
                counter.end(code)
        os.close(writing)
        self._reading = reading
        self._inherited = inherited

    def wait(self):
        """Wait for its end."""
        with os.fdopen(self._reading, "rb") as pipe:
            said = pipe.read()
        _, status, used = os.wait4(self.pid, 0)
        peak = used.ru_maxrss * 1024 - max(0, self._inherited - _FRESH_BYTES)
        code = os.waitstatus_to_exitcode(status)
        code = KILLED if code == -signal.SIGPROF else code
        return Ended(code, int(said or 0), used.ru_utime + used.ru_stime, peak)


def in_child(work, **how):
    """Run `work()` in a forked child and say how it ended.

    Parameters
    ----------
    work : called without arguments; what it returns is the exit code
    folder : steps count where they change something in it
    at : before which step, counted from 1, the child ends as by kill -9; None lets it run
    since : steps count from the one on whose path ends with this
    fail_with : number of the system's error that this step fails with, instead of an end
    after : seconds of processor time after which it ends as by kill -9, wherever it is; its code is then `KILLED` too
    seconds : of processor time that it may take; the system ends it then

    Returns
    -------
    `Ended`; its code is 1 after an exception. The memory is all that the child had, libraries included, but for what
    other tests left in the process that it is a fork of.
    """
    return Child(work, **how).wait()


def _resident_bytes():
    pages = Path("/proc/self/statm")
    return int(pages.read_text().split()[1]) * resource.getpagesize() if pages.exists() else 0


class _Counter:
    """Counts steps; see `in_child`."""

    def __init__(self, folder, at, since, fail_with, pipe):
        self.folder = str(folder)
        self.at = at
        self.since = since
        self.fail_with = fail_with
        self.pipe = pipe
        self.count = 0
        self.ended = False

    def __call__(self, event, arguments):
        if self.ended or not self._changes(event, arguments):
            return
        path = os.fsdecode(arguments[0])
        if self.since is not None:
            if not path.endswith(self.since):
                return
            self.since = None
        self.count += 1
        if self.count != self.at:
            return
        if self.fail_with is None:
            self.end(KILLED)
        raise OSError(self.fail_with, os.strerror(self.fail_with), path)

    def _changes(self, event, arguments):
        if event == "open":
            path, _, flags = arguments
            return isinstance(path, (str, bytes)) and self._inside(path) and bool(flags & _WRITES)
        if event not in _STEPS or isinstance(arguments[0], int):
            return False
        # Trees are removed by names within folders that are open.
        within = event in ("os.remove", "os.rmdir") and arguments[1] != -1
        return within or self._inside(arguments[0])

    def _inside(self, path):
        return os.fsdecode(path).startswith(self.folder)

    def end(self, code):
        """End at once: nothing is flushed, no handler runs."""
        self.ended = True
        os.write(self.pipe, str(self.count).encode())
        os._exit(code)
