"""Processes that have torch and other libraries loaded already, as loading takes each one seconds of processor time.

One process loads them and waits; whoever asks gets a fork of it. The fork has no threads and has computed nothing. It
loads the package itself, runs in the environment of the test, and ends as any interpreter does: with its own exit code,
handlers and last words. Tests of what loading does, or of memory that libraries take, start an interpreter instead.
"""

from __future__ import annotations

import atexit
import gc
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from functools import cache

_STREAMS = 3
_MOST_BYTES = 2**20
_LENGTH = 8
# Torch loads its compiler with the first optimiser. Nothing of the package: it notices when it is forked.
_LOADED = """
import h5py, imagecodecs, numpy, psutil, pydantic, rich.console, rich.progress, safetensors.torch
import tifffile, typer, yaml, zarr
import scipy.fft, scipy.ndimage, scipy.optimize, scipy.sparse, scipy.spatial, scipy.special
import torch, torch._dynamo
"""


class WarmProcess:
    """A process that runs some code, with its standard output as a pipe; see `start`."""

    def __init__(self, pid: int, stdout: io.TextIOWrapper, stderr: io.TextIOWrapper, ending: io.BufferedReader) -> None:
        self.pid = pid
        self.stdout = stdout
        self._stderr = stderr
        self._ending = ending
        self.returncode: int | None = None

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def poll(self) -> int | None:
        """Its exit code, negative after a signal; None while it runs."""
        if self.returncode is None:
            os.set_blocking(self._ending.fileno(), False)
            said = self._ending.read()
            os.set_blocking(self._ending.fileno(), True)
            self.returncode = int(said) if said else None
        return self.returncode

    def wait(self) -> int:
        """Wait for its end; its exit code, negative after a signal."""
        if self.returncode is None:
            self.returncode = int(self._ending.read())
        return self.returncode

    def said(self) -> str:
        """What it has written to its standard error so far."""
        self._stderr.seek(0)
        return self._stderr.read()

    def close(self) -> None:
        """End it, if it has not ended, and close the pipes."""
        if self.poll() is None:
            self.send_signal(signal.SIGKILL)
            self.wait()
        for each in (self.stdout, self._stderr, self._ending):
            each.close()

    def __enter__(self) -> WarmProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start(code: str, *arguments: object, ignored: tuple[int, ...] = ()) -> WarmProcess:
    """Run code as `python -c CODE ARGUMENTS` would, in the environment and folder of this process.

    Parameters
    ----------
    code : of its main module
    arguments : in its `sys.argv`
    ignored : signals that it does not heed; all others have their defaults, whatever this process made of them
    """
    control = _waiting_process()
    reading, writing = os.pipe()
    ending, told = os.pipe()
    errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
    request = {
        "code": code,
        "arguments": [str(each) for each in arguments],
        "ignored": [int(number) for number in ignored],
        "environment": dict(os.environ),
        "folder": os.getcwd(),  # noqa: PTH109
        "path": [path for path in sys.path if path],
    }
    text = json.dumps(request).encode()
    socket.send_fds(control, [len(text).to_bytes(_LENGTH)], [writing, errors.fileno(), told])
    control.sendall(text)
    for descriptor in (writing, told):
        os.close(descriptor)
    endings = os.fdopen(ending, "rb")
    return WarmProcess(int(endings.readline()), os.fdopen(reading), errors, endings)


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run code as `start` does, to its end, with all that it said."""
    with start(code, *arguments) as process:
        out = process.stdout.read()
        process.wait()
        return subprocess.CompletedProcess(["python", "-c", code], process.wait(), out, process.said())


@cache
def _waiting_process() -> socket.socket:
    """The way to the process that waits, which ends with this one."""
    ours, theirs = socket.socketpair()
    with theirs:
        # It becomes nobody's child: tests look at the children that they have.
        subprocess.run([sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()], check=True)
    atexit.register(ours.close)
    return ours


def _wait_for_requests(control: socket.socket) -> dict[str, object]:
    """Fork whenever somebody asks; returns in the fork, with what it is to do."""
    while True:
        length, descriptors, _, _ = socket.recv_fds(control, _LENGTH, _STREAMS)
        if not length:
            os._exit(0)
        out, errors, told = descriptors
        request = json.loads(_received(control, int.from_bytes(length)))
        if os.fork() == 0:
            # One more process, which waits for the end of the fork and tells how it ended.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            control.close()
            pid = os.fork()
            if pid == 0:
                os.close(told)
                os.dup2(out, 1)
                os.dup2(errors, 2)
                os.close(out)
                os.close(errors)
                os.setsid()
                return request
            os.close(out)
            os.close(errors)
            os.write(told, b"%d\n" % pid)
            _, status = os.waitpid(pid, 0)
            os.write(told, b"%d" % os.waitstatus_to_exitcode(status))
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)


def _received(control: socket.socket, length: int) -> bytes:
    content = b""
    while len(content) < length:
        content += control.recv(min(_MOST_BYTES, length - len(content)))
    return content


def _become(request: dict[str, object]) -> dict[str, object]:
    """Make this process what was asked for; the names that its code begins with."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN if number in request["ignored"] else signal.SIG_DFL)
    if signal.SIGINT not in request["ignored"]:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.path[:] = ["", *request["path"]]
    sys.argv[:] = ["-c", *request["arguments"]]
    return {"__name__": "__main__"}


if __name__ == "__main__":
    _control = socket.socket(fileno=int(sys.argv[1]))
    if os.fork() != 0:
        os._exit(0)
    exec(_LOADED)
    # What is loaded is not garbage: looking through it would copy all of its memory in every fork.
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    _request = _wait_for_requests(_control)
    exec(compile(_request["code"], "<string>", "exec"), _become(_request))
