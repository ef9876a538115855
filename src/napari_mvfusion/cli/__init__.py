"""The command `mvfusion`: a thin face of the same engine and recipes as the GUI and Python."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from napari_mvfusion.addresses import flaw_of
from napari_mvfusion.cli.app import app
from napari_mvfusion.cli.show import say_error
from napari_mvfusion.errors import InputError
from napari_mvfusion.system.file_checks import is_there
from napari_mvfusion.system.unforeseen import in_words

CANCELLED = 130
_DEBUG = "--debug"
_NAMED_FILES = 3


def main() -> None:
    """Run the command line.

    Exit codes: 0 done; 2 unusable input or options, or an unforeseen failure, whose traceback is kept in a log file; 3 the
    output cannot be written; 4 not enough memory; 5 the device is missing or failed; 130 cancelled; 143 or 129
    ended by SIGTERM or SIGHUP. With --debug anywhere on the line, or MVFUSION_TRACEBACK set, errors are shown with their
    traceback instead.
    """
    arguments = [argument for argument in sys.argv[1:] if argument != _DEBUG]
    # What is wrong with a file is said once, by the reader that found it.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)
    debug = _DEBUG in sys.argv[1:] or bool(os.environ.get("MVFUSION_TRACEBACK"))
    try:
        _check_addresses(arguments)
        app(args=arguments, prog_name="mvfusion")
    except KeyboardInterrupt:
        say_error("cancelled")
        sys.exit(CANCELLED)
    except Exception as error:
        if debug:
            raise
        told = in_words(error, doing=_doing(arguments), when_memory_ran_out="choose a smaller --tile or --memory")
        say_error(told.message)
        sys.exit(told.exit_code)


def _check_addresses(arguments: Sequence[str]) -> None:
    """Refuse addresses that hold a password, or cannot be asked, before any work; also those that follow VIEW=."""
    for argument in arguments:
        parts = argument.split("=")
        for first in range(len(parts)):
            if flaw := flaw_of("=".join(parts[first:])):
                raise InputError(flaw)


def _doing(arguments: Sequence[str]) -> str:
    """The command and the files that it was given, for an error that names neither."""
    files = [argument for argument in arguments[1:] if not argument.startswith("-") and is_there(argument)]
    named = ", ".join(files[:_NAMED_FILES]) + (" and others" if len(files) > _NAMED_FILES else "")
    return " of ".join(part for part in (" ".join(arguments[:1]), named) if part)
