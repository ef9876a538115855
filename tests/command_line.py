"""Run the command line in this process, as its entry point does."""

import contextlib
import io
import sys
from dataclasses import dataclass

from napari_mvfusion.cli import main


@dataclass(frozen=True)
class Done:
    stdout: str
    stderr: str


def run(*arguments, code=0):
    """Run the command in this process, as its entry point does."""
    out, err = io.StringIO(), io.StringIO()
    returned = 0
    arguments_before, sys.argv = sys.argv, ["mvfusion", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        returned = int(end.code or 0)
    finally:
        sys.argv = arguments_before
    assert returned == code, f"exit code {returned}\n{out.getvalue()}\n{err.getvalue()}"
    return Done(out.getvalue(), err.getvalue())
