"""Files and parts of files that servers sent last, kept in bounded memory: a fusion reads every chunk several times."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

# Of all addresses together, as they were sent: compressed.
KEPT_BYTES = 2**28


class RecentFiles:
    """Bytes that were received last, the latest at the end; asked from the event loop of zarr alone.

    Parameters
    ----------
    most_bytes : of all together; what is longer is not kept
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._files: OrderedDict[Hashable, bytes] = OrderedDict()
        self._bytes = 0

    def find(self, key: Hashable) -> bytes | None:
        """What was received, None where it is not kept."""
        if key not in self._files:
            return None
        self._files.move_to_end(key)
        return self._files[key]

    def keep(self, key: Hashable, content: bytes) -> None:
        """Keep it, and forget what was not asked for the longest."""
        if len(content) > self._most_bytes:
            return
        self._bytes += len(content) - len(self._files.pop(key, b""))
        self._files[key] = content
        while self._bytes > self._most_bytes:
            self._bytes -= len(self._files.popitem(last=False)[1])


RECENT = RecentFiles(KEPT_BYTES)
"""Those of all addresses."""
