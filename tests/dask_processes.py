"""A scheduler and workers of Dask in processes of their own, as people start them in terminals."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from patience import PATIENCE_SECONDS

TESTS = Path(__file__).parent


@contextlib.contextmanager
def scheduler(folder):
    """The process of a scheduler, and its address."""
    said = folder / "scheduler.json"
    with _process("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", said) as run:
        yield run, json.loads(_written(said))["address"]


@contextlib.contextmanager
def worker(address, folder, *, first_on_path=()):
    """A worker with one thread; what lies in some folders goes before what else it could import."""
    path = os.pathsep.join(map(str, [*first_on_path, TESTS, *sys.path]))
    # Its files lie in a folder of its own, in which it runs.
    folder.mkdir()
    options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", folder]
    with _process("worker", address, *options, env=os.environ | {"PYTHONPATH": path}, cwd=folder) as run:
        yield run


@contextlib.contextmanager
def _process(kind, *arguments, **how):
    command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *map(str, arguments)]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **how)
    try:
        yield run
    finally:
        run.kill()
        run.wait()


def _written(file):
    """The text of a file, once it is there."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not (file.exists() and file.read_text().strip().endswith("}")):
        assert time.monotonic() < until, f"{file} does not come"
        time.sleep(0.05)
    return file.read_text()
