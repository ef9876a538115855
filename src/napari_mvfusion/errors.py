"""The errors a user can mend: each says in one line what is at fault and what to do."""

from __future__ import annotations

import errno

from napari_mvfusion.addresses import with_addresses

_SHORTAGE_WORDS = (
    "alloc_cpu",
    "bad alloc",
    "can't allocate memory",
    "can't start new thread",
    "cannot allocate memory",
    "not enough memory",
    "out of memory",
)


class MVFusionError(Exception):
    """Base of all errors that are written for users.

    The message is one line: the file, view or value at fault, then the fix. The command line prints it
    and exits with `exit_code`; the GUI shows the same words in the panel.
    """

    exit_code = 1

    def __str__(self) -> str:
        """The message, in which addresses have both of their slashes."""
        return with_addresses(super().__str__())


class InputError(MVFusionError, ValueError):
    """A view, PSF, file or parameter cannot be used as it is."""

    exit_code = 2


class DamagedError(InputError):
    """A file is damaged or was cut off: another copy of it helps, and no other program."""


class OutputError(MVFusionError, OSError):
    """The result cannot be written: it exists already, the folder is read-only, or the disk is full."""

    exit_code = 3


class DiskFullError(OutputError):
    """There is no space left for a file.

    Parameters
    ----------
    path : of the file
    then : what to do when there is space
    too_long : whether it is the system that lets no file be that long, however much space there is
    """

    def __init__(self, path: object, then: str = "run the command again", too_long: bool = False) -> None:
        full = f"the disk is full while writing {path}: free some space"
        limited = f"the system lets no file be as long as {path} would be: raise that limit (ulimit -f)"
        super().__init__(f"{limited if too_long else full}, then {then}")
        self.path, self.too_long, self._then = path, too_long, then

    def __reduce__(self) -> tuple[type[DiskFullError], tuple[object, str, bool]]:
        """What makes it again, in another process too."""
        return DiskFullError, (self.path, self._then, self.too_long)


class MemoryShortage(MVFusionError, MemoryError):  # noqa: N818 - it says what is short
    """Even the smallest tile does not fit into the memory of the device."""

    exit_code = 4


class DeviceError(MVFusionError, RuntimeError):
    """The device that was asked for is not there or was lost."""

    exit_code = 5


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on the host or on the device.

    The system says it in many ways: a map or a library that finds no room, or a thread that finds none for its stack.
    """
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    if type(error).__name__ == "OutOfMemoryError":  # of torch, which is not imported for this
        return True
    told = isinstance(error, (RuntimeError, OSError, ImportError))
    return told and any(words in str(error).lower() for words in _SHORTAGE_WORDS)
