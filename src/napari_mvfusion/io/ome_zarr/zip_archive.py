"""A zip file whose directory is read once, however many arrays are opened in it, and that is open only while it is read."""

from __future__ import annotations

import io
import os
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from napari_mvfusion.errors import InputError

_KEPT_ARCHIVES = 4
_ROOTS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")


class ZipArchive:
    """A zip file; one thread at a time reads in it.

    Parameters
    ----------
    path : of the file
    known : its size and when it was changed, as its directory was read

    Attributes
    ----------
    lock : held while it is read
    entries : what it holds

    Raises
    ------
    ValueError
        If it is no zip file.
    """

    def __init__(self, path: Path, known: tuple[int, int]) -> None:
        self.lock = threading.RLock()
        self._file = _OpenedToRead(path, known)
        with self.reading():
            self.entries = zipfile.ZipFile(self._file)

    @cached_property
    def root(self) -> str:
        """The folder in the zip that holds everything, where it was made of a folder; "" for the zip itself."""
        names = self.entries.namelist()
        if any(name in _ROOTS for name in names):
            return ""
        tops = {name.split("/", 1)[0] for name in names}
        top = next(iter(tops), "")
        return top if len(tops) == 1 and any(f"{top}/{root}" in self.entries.NameToInfo for root in _ROOTS) else ""

    @contextmanager
    def reading(self) -> Iterator[None]:
        """The file is open inside; what is no zip file raises a ValueError."""
        try:
            with self.lock, self._file.opened():
                yield
        except zipfile.BadZipFile as error:
            raise ValueError(str(error)) from error


def archive_of(path: Path) -> ZipArchive:
    """The zip file of a path, with the directory that was read before, unless the file was changed since.

    Raises
    ------
    ValueError, OSError
        If it is no zip file, or cannot be read.
    """
    # A lock that a thread of the parent held would never come free in a fork.
    return _archive(path, _state_of(path.stat()), os.getpid())


@lru_cache(maxsize=_KEPT_ARCHIVES)
def _archive(path: Path, state: tuple[int, int], process: int) -> ZipArchive:
    del process
    return ZipArchive(path, state)


def _state_of(found: os.stat_result) -> tuple[int, int]:
    return found.st_size, found.st_mtime_ns


class _OpenedToRead(io.RawIOBase):
    """A file that is open only inside of `opened`, so that it can be moved or removed in between."""

    def __init__(self, path: Path, known: tuple[int, int]) -> None:
        self._path, self._known = path, known
        self._open: BinaryIO | None = None
        self._position = 0

    @contextmanager
    def opened(self) -> Iterator[None]:
        with self._path.open("rb") as file:
            if _state_of(os.fstat(file.fileno())) != self._known:
                raise InputError(f"{self._path} was changed while it was being read: open it again")
            self._open = file
            try:
                yield
            finally:
                self._open = None

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        before = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._known[0]}[whence]
        if before + offset < 0:
            raise ValueError("there is nothing before the first byte")
        self._position = before + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        if self._open is None:
            raise ValueError("the file is not open")
        self._open.seek(self._position)
        count = self._open.readinto(buffer)  # type: ignore[attr-defined]  # a buffered file has it
        self._position += count
        return int(count)
