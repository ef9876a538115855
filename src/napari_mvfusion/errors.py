"""The errors a user can mend: each says in one line what is at fault and what to do."""

from __future__ import annotations


class MVFusionError(Exception):
    """Base of all errors that are written for users.

    The message is one line: the file, view or value at fault, then the fix. The command line prints it
    and exits with `exit_code`; the GUI shows the same words in the panel.
    """

    exit_code = 1


class InputError(MVFusionError, ValueError):
    """A view, PSF, file or parameter cannot be used as it is."""

    exit_code = 2


class OutputError(MVFusionError, OSError):
    """The result cannot be written: it exists already, the folder is read-only, or the disk is full."""

    exit_code = 3


class MemoryShortage(MVFusionError, MemoryError):  # noqa: N818 - it says what is short
    """Even the smallest tile does not fit into the memory of the device."""

    exit_code = 4


class DeviceError(MVFusionError, RuntimeError):
    """The device that was asked for is not there or was lost."""

    exit_code = 5
