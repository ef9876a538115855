"""A file for HDF5 to write to that survives writes that fail, as on a full disk."""

from __future__ import annotations

from io import FileIO
from typing import Any


class WatchedFile:
    """The file that HDF5 writes to. Its library may crash where a write fails, so what fails is kept, and told later."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._failed: OSError | None = None

    def check(self) -> None:
        """Raise what failed."""
        if self._failed is not None:
            raise self._failed

    def write(self, data: Any) -> int:
        """Write all of it, unless something failed before."""
        left = memoryview(data).cast("B")
        count = len(left)
        try:
            while self._failed is None and left:
                left = left[self._file.write(left) :]
        except OSError as error:
            self._failed = error
        return count

    def truncate(self, size: int) -> int:
        """Set the length of the file."""
        try:
            if self._failed is None:
                self._file.truncate(size)
        except OSError as error:
            self._failed = error
        return size

    def read(self, count: int = -1) -> bytes:
        """As of any file."""
        return self._file.read(count)

    def readinto(self, buffer: Any) -> int:
        """Read what was written; nothing where that failed."""
        view = memoryview(buffer).cast("B")
        count = self._file.readinto(view)
        view[count:] = bytes(len(view) - count)
        return len(view)

    def seek(self, *where: int) -> int:
        """As of any file."""
        return self._file.seek(*where)

    def tell(self) -> int:
        """As of any file."""
        return self._file.tell()

    def flush(self) -> None:
        """Nothing is kept back."""
