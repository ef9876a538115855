"""Ends a child process, or fails one of its steps, at the n-th thing that it does to files.

Python tells an audit hook of every file that is opened, renamed or removed before it happens, also where a library in
C does it. The child is a fork: it begins within milliseconds, with all that is imported here, and needs no code in the
product.
"""

import errno
import os
import sys
import traceback
from pathlib import Path

KILLED = 137
_STEPS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link", "os.symlink"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def in_child(work, *, folder, at=None, since=None, fail_with=None):
    """Run `work()` in a forked child.

    Parameters
    ----------
    work : called without arguments
    folder : steps count where they change something in it
    at : before which step, counted from 1, the child ends as by kill -9; None lets it run
    since : steps count from the one on whose path ends with this
    fail_with : number of the system's error that this step fails with, instead of an end

    Returns
    -------
    (exit code, steps that were counted): 0 where it came to its end, 1 after an exception, else `KILLED`.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        code = 1
        counter = _Counter(Path(folder), at, since, fail_with, writing)
        try:
            sys.addaudithook(counter)
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            counter.end(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), int(said or 0)


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


DISK_FULL = errno.ENOSPC
