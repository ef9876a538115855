"""A lock on the place of an output, which ends with the process that holds it, however that ends.

Beside `fused.zarr` lies `.fused.zarr.lock` while something is written there: a file that the system locks, with the
computer and the process in it for the message that others get. It is the system's lock that counts, not the file: a
number of a process is soon that of another one, and says nothing on a disk that several computers share.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from napari_mvfusion.errors import OutputError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)
# Far behind what the file holds: Windows lets nobody read what is locked.
_LOCKED_BYTE = 2**30
_TRIES = 100
_PAUSE_SECONDS = 0.02

_held: set[int] = set()


class Busy(OutputError):  # noqa: N818 - it says what the place is
    """Another run writes there."""


def lock_path(path: Path) -> Path:
    """The lock of a file or folder, beside it."""
    return path.with_name(f".{path.name}.lock")


@contextmanager
def locked(path: Path, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the lock of an output.

    File systems without locks have the process in the file instead: there, a start is refused while that process lives
    on the same computer.

    Parameters
    ----------
    path : the output; its folder must exist
    wait_seconds : how long to wait for the end of a write that is known to be short

    Raises
    ------
    Busy
        If another run holds it, also after that time; the message names that run.
    OSError
        If no file can be made there.
    """
    lock = lock_path(path)
    until = time.monotonic() + wait_seconds
    while True:
        try:
            number = _take(lock, path)
            break
        except Busy:
            if time.monotonic() >= until:
                raise
            time.sleep(_PAUSE_SECONDS)
    _held.add(number)
    try:
        os.ftruncate(number, 0)
        os.write(number, json.dumps(_myself()).encode())
        yield
    finally:
        # Not in a forked child, where this generator was copied with all else.
        if number in _held:
            _held.discard(number)
            _give_back(lock, number)


def holder(path: Path) -> str | None:
    """Who holds the lock of an output, for a message, or None where nobody does. Leaves the file as it is."""
    owner = _holding(path)
    return None if owner is None else _named(owner).strip(" ()") or "another run"


def process_of(path: Path) -> int | None:
    """The number of the process on this computer that holds the lock of an output, or None where none does."""
    owner = _holding(path) or {}
    pid = owner.get("pid")
    return pid if isinstance(pid, int) and owner.get("host") == socket.gethostname() else None


def is_lock(file: Path) -> bool:
    """Whether a file is a lock that a run has left, by what stands in it."""
    try:
        values = json.loads(file.read_bytes()[:4096])
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and set(values) == {"host", "pid", "started"}


def _holding(path: Path) -> dict[str, object] | None:
    """What the lock of an output says of who holds it, or None where nobody does."""
    try:
        number = os.open(lock_path(path), os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        owner = _owner(number)
        return None if _lock(number, owner) else owner
    finally:
        os.close(number)


def _take(lock: Path, path: Path) -> int:
    """The number of the open and locked file."""
    for _ in range(_TRIES):
        number = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            owner = _owner(number)
            if not _lock(number, owner):
                raise Busy(f"another run writes {path}{_named(owner)}: wait for its end, or choose another output")
            # Whoever held it before may have removed the file after it was opened here.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(number), os.stat(lock)):  # noqa: PTH116
                    return number
        except BaseException:
            os.close(number)
            raise
        os.close(number)
    raise Busy(f"several runs want to write {path} at once: start one of them")


def _lock(number: int, owner: dict[str, object]) -> bool:
    """Ask the system for the lock without waiting."""
    try:
        if sys.platform == "win32":
            os.lseek(number, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
            os.lseek(number, 0, os.SEEK_SET)
        else:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return not _lives(owner)
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK):
            return False
        raise
    return True


def _give_back(lock: Path, number: int) -> None:
    if sys.platform == "win32":
        # An open file cannot be removed there; where somebody else has opened it by now, it stays.
        os.close(number)
        with suppress(OSError):
            lock.unlink()
        return
    # The other way round: a file that is not locked could be somebody else's already.
    with suppress(OSError):
        lock.unlink()
    os.close(number)


def _myself() -> dict[str, object]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time()}


def _owner(number: int) -> dict[str, object]:
    """What the file says about its process; nothing where it is being written."""
    try:
        values = json.loads(os.pread(number, 4096, 0) if hasattr(os, "pread") else os.read(number, 4096))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _lives(owner: dict[str, object]) -> bool:
    """Whether the process that a file names lives on this computer."""
    pid = owner.get("pid")
    if owner.get("host") != socket.gethostname() or not isinstance(pid, int):
        return False
    try:
        return psutil.Process(pid).create_time() == owner.get("started")
    except psutil.Error:
        return False


def _named(owner: dict[str, object]) -> str:
    if not owner:
        return ""
    return f" (process {owner.get('pid')} on {owner.get('host')})"


def _forget_in_child() -> None:
    """A forked child holds no lock: its parent does, and what the child keeps open would outlive the parent."""
    for number in _held:
        os.close(number)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
