"""The command `mvfusion`: a thin face of the same engine and recipes as the GUI and Python."""

from __future__ import annotations

import os
import sys

from napari_mvfusion.cli.app import app
from napari_mvfusion.cli.show import say_error
from napari_mvfusion.errors import MVFusionError

CANCELLED = 130
OUT_OF_MEMORY = 4


def main() -> None:
    """Run the command line.

    Exit codes: 0 done; 1 unforeseen failure; 2 unusable input or options; 3 the output cannot be written;
    4 not enough memory; 5 the device is missing or failed; 130 cancelled.
    """
    try:
        app(prog_name="mvfusion")
    except MVFusionError as error:
        if os.environ.get("MVFUSION_TRACEBACK"):
            raise
        say_error(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        say_error("cancelled")
        sys.exit(CANCELLED)
    except (MemoryError, RuntimeError) as error:
        # Loads torch, which most commands have loaded by then and the list of commands does without.
        from napari_mvfusion.devices import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        say_error("memory ran out: close other programs, or choose a smaller --tile or --memory")
        sys.exit(OUT_OF_MEMORY)
