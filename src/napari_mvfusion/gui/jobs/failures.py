"""What the user reads when work in a thread ends by an error."""

from __future__ import annotations

from dataclasses import dataclass

from napari_mvfusion.system.unforeseen import in_words


@dataclass(frozen=True)
class Failed:
    """Work ended with an error: what the user reads, and what helps to find a mistake in the program."""

    message: str
    details: str = ""


def failure_of(error: Exception, *, when_memory_ran_out: str = "use smaller volumes") -> Failed:
    """An error in words. What nobody foresaw is written to the log file as well.

    Parameters
    ----------
    error : our own errors are in words already
    when_memory_ran_out : what to do then, besides closing other programs
    """
    told = in_words(error, when_memory_ran_out=when_memory_ran_out)
    return Failed(told.message, told.details)
