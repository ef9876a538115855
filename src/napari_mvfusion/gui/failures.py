"""What the user reads when work in a thread ends by an error."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from napari_mvfusion.devices import is_out_of_memory
from napari_mvfusion.errors import MVFusionError


@dataclass(frozen=True)
class Failed:
    """Work ended with an error: what the user reads, and what helps to find a mistake in the program."""

    message: str
    details: str = ""


def failure_of(error: Exception, *, when_memory_ran_out: str = "use smaller volumes") -> Failed:
    """An error in words; to be called where it is caught.

    Parameters
    ----------
    error : our own errors are in words already
    when_memory_ran_out : what to do then, besides closing other programs
    """
    if isinstance(error, MVFusionError):
        return Failed(str(error))
    details = traceback.format_exc()
    if is_out_of_memory(error):
        return Failed(f"memory ran out: close other programs, or {when_memory_ran_out}", details)
    return Failed(f"this should not have happened ({error}): please report it with the details below", details)
