"""The command line in a forked child, with what it said, did to files, and took of time and memory."""

import hashlib
import importlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from faults.killing import KILLED, Child, Ended
from napari_mvfusion import cli
from napari_mvfusion.cli.app import COMMANDS
from napari_mvfusion.system.unforeseen import log_file

# Done, unusable input, output, memory, device.
DOCUMENTED_CODES = (0, 2, 3, 4, 5)
MOST_SECONDS = 20
MOST_BYTES = 2**30
LONGEST_LINE = 2000
# How lines begin that say why a command ended, or what of the command line cannot be used.
_REFUSALS = ("error: ", "Usage: ", "╭─ Error")


@dataclass(frozen=True)
class Outcome:
    """What a command did.

    Attributes
    ----------
    arguments : of the command line
    ended : exit code, steps, seconds, bytes
    out, err : what it printed
    unforeseen : what the last net logged, "" where it was not used
    """

    arguments: tuple[str, ...]
    ended: Ended
    out: str
    err: str
    unforeseen: str

    @property
    def code(self):
        """Exit code."""
        return self.ended.code

    @property
    def error(self):
        """The line that says why it ended, or what of the command line cannot be used; "" where there is none."""
        lines = self.err.splitlines()
        said = [number for number, line in enumerate(lines) if line.strip().startswith(_REFUSALS)]
        return "\n".join(lines[said[0] :]) if said else ""


class Command:
    """A command that runs; see `run_command`."""

    def __init__(self, arguments, logs, number=0, before=None, **how):
        self.arguments = tuple(arguments)
        self._files = [Path(logs) / f"{name}-{number}" for name in ("out", "err")]
        self._child = Child(lambda: _call(self.arguments, self._files, before), seconds=MOST_SECONDS, **how)

    def wait(self):
        """Wait for its end."""
        ended = self._child.wait()
        out, err = (file.read_bytes().decode("utf-8", "replace") if file.exists() else "" for file in self._files)
        log = log_file()
        unforeseen = log.read_text(encoding="utf-8") if log.exists() else ""
        log.unlink(missing_ok=True)
        return Outcome(self.arguments, ended, out, err, unforeseen)


def run_command(arguments, logs, **how):
    """Run `mvfusion ARGUMENTS` in a forked child.

    Parameters
    ----------
    arguments : of the command line
    logs : folder for what it prints
    how : see `killing.in_child`; `folder` is needed
    """
    return Command(arguments, logs, **how).wait()


def prepare_commands():
    """Import all that commands import, so that children have it."""
    for name in COMMANDS:
        importlib.import_module(f"napari_mvfusion.cli.{name}")
    for name in (
        "napari_mvfusion.io.ome_zarr.reader",
        "napari_mvfusion.models.legacy",
        "napari_mvfusion.training.setup",
    ):
        importlib.import_module(name)


def _call(arguments, files, before):
    if before is not None:
        before()
    for number, file in enumerate(files, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", errors="backslashreplace") for number in (1, 2))  # noqa: PTH123, SIM115
    sys.argv = ["mvfusion", *arguments]
    torch.set_num_threads(1)
    code = 0
    try:
        cli.main()
    except SystemExit as end:
        code = end.code or 0
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def complaints(outcome, names=()):
    """What is wrong with how a command ended; empty where it is as documented.

    Parameters
    ----------
    outcome : of the command
    names : one of these must stand in the line, where it ends with an error
    """
    found = []
    if outcome.code == KILLED:
        return found
    if outcome.code not in DOCUMENTED_CODES:
        found.append(f"exit code {outcome.code}")
    if "Traceback" in outcome.err + outcome.out:
        found.append("a traceback")
    if outcome.unforeseen:
        found.append("the last net was used:\n" + "\n".join(outcome.unforeseen.splitlines()[-12:]))
    if outcome.ended.seconds > MOST_SECONDS:
        found.append(f"{outcome.ended.seconds:.1f} s of processor time")
    if outcome.ended.peak_bytes > MOST_BYTES:
        found.append(f"{outcome.ended.peak_bytes / 2**20:.0f} MiB of memory")
    if (outcome.code == 0) != (outcome.error == ""):
        found.append("an error with exit code 0, or none with another")
    if outcome.error.startswith("error: "):
        if len(outcome.error.splitlines()) != 1:
            found.append("more than one line")
        if len(outcome.error) > LONGEST_LINE:
            found.append(f"{len(outcome.error)} letters")
        if names and not any(name in outcome.error for name in names):
            found.append(f"none of {names} is named")
    return found


def contents(folder):
    """Every file of a folder with a hash of what it holds."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file() and not path.is_symlink():
            found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
