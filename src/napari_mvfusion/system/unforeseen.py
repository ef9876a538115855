"""The last net: an error that nobody foresaw becomes a line for the user, and its traceback a part of a log file."""

from __future__ import annotations

import os
import platform
import traceback
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from platformdirs import user_log_path

from napari_mvfusion.addresses import hidden
from napari_mvfusion.errors import InputError, MemoryShortage, MVFusionError, is_out_of_memory
from napari_mvfusion.system.file_checks import cause_of, shortened

LOGS_VARIABLE = "MVFUSION_LOGS"
"""Environment variable with the folder of the log file, in place of the system's own for logs."""

_LONGEST_LOG = 2**20
_LONGEST_NAME = 1000


@dataclass(frozen=True)
class ErrorText:
    """An error in words.

    Attributes
    ----------
    message : one line for the user
    exit_code : of the command line
    details : what helps to find a mistake in the program; "" where the message says it all
    """

    message: str
    exit_code: int
    details: str = ""


def in_words(error: Exception, *, doing: str = "", when_memory_ran_out: str) -> ErrorText:
    """Any error in words.

    Errors of our own and the system's about files are told as they are. Any other is a mistake in the program: it is
    written to the log file, whose path is said.

    Parameters
    ----------
    error : in question
    doing : what was being done to which files, for the message and the log
    when_memory_ran_out : what to do then, besides closing other programs
    """
    if isinstance(error, MVFusionError):
        return ErrorText(shortened(str(error)), error.exit_code)
    details = "".join(traceback.format_exception(error))
    if is_out_of_memory(error):
        advice = f"memory ran out: close other programs, or {when_memory_ran_out}"
        return ErrorText(advice, MemoryShortage.exit_code, details)
    if isinstance(error, OSError) and error.filename is not None:
        named = str(error.filename)
        named = named if len(named) <= _LONGEST_NAME else f"'{named[:_LONGEST_NAME]}…'"
        words = f"{named} cannot be read or written ({error.strerror}): check its name, and that it is still there"
        return ErrorText(words, InputError.exit_code, details)
    kept = record(error, doing)
    where = "" if kept is None else f"; the details are in {kept}"
    during = f"{doing}: " if doing else ""
    cause = f"{type(error).__name__}: {cause_of(error).removeprefix(type(error).__name__ + ': ')}"
    return ErrorText(f"{during}this should not have happened ({cause}): please report it{where}", 2, details)


def log_file() -> Path:
    """Where unforeseen errors are written; the file may not exist."""
    folder = os.environ.get(LOGS_VARIABLE)
    return (Path(folder) if folder else user_log_path("napari-mvfusion", appauthor=False)) / "unforeseen.log"


def record(error: Exception, doing: str = "") -> Path | None:
    """Add an error with its traceback to the log file.

    Returns
    -------
    The file, or None where it cannot be written: then only the message is left.
    """
    path = log_file()
    head = f"{datetime.now(UTC).isoformat(timespec='seconds')} Python {platform.python_version()} {platform.platform()}"
    text = "".join(traceback.format_exception(error))
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.stat().st_size > _LONGEST_LOG:
            os.replace(path, path.with_suffix(".old.log"))
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(hidden(f"{head}\n{doing}\n{text}\n"))
        return path
    return None
