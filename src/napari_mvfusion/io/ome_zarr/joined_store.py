"""The store of an OME-Zarr that several processes fill: what is written late, after the run it is of, gets no place."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

from zarr.storage import LocalStore

from napari_mvfusion.io.atomic import moved_in


class JoinedFiles(LocalStore):  # type: ignore[misc]  # zarr is not followed by mypy
    """Files of an array that another process has begun.

    Unlike zarr's own store it does not make the folder of the array anew where it is gone, and a file gets its name from
    a folder that is the run's alone: see `napari_mvfusion.io.base.Format.join`.

    Parameters
    ----------
    root : of the array
    aside : folder in which files are written first
    """

    def __init__(self, root: Path, aside: Path) -> None:
        super().__init__(root, read_only=False)
        self._aside = aside
        # Opening would make the folder.
        self._is_open = True

    async def set(self, key: str, value: Any) -> None:
        """Write a file."""
        await asyncio.to_thread(self._write, key, value)

    def set_sync(self, key: str, value: Any) -> None:
        """Write a file."""
        self._write(key, value)

    def _write(self, key: str, value: Any) -> None:
        written = self._aside / uuid.uuid4().hex
        written.write_bytes(value.to_bytes())
        moved_in(written, self.root / key, below=self.root)
