"""A zarr in a zip file: `x.ome.zarr.zip`, and the `x.ozx` of RFC 9."""

from __future__ import annotations

import os
import threading
import zipfile
from pathlib import Path
from typing import Any

from zarr.storage import ZipStore

from napari_mvfusion.errors import InputError
from napari_mvfusion.io.ome_zarr.checked_store import Checked
from napari_mvfusion.io.ome_zarr.zip_archive import ZipArchive, archive_of
from napari_mvfusion.system.file_checks import check_file, parsing

_ENCRYPTED = 0x1
SUFFIXES = (".zarr.zip", ".ozx")


class ZippedFiles(Checked, ZipStore):  # type: ignore[misc]  # zarr is not followed by mypy
    """The files in a zip; what their entries declare is looked at before any of it is unpacked.

    Raises
    ------
    InputError
        If it is no readable zip file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, mode="r")
        check_file(path)
        with parsing(f"{path} is no readable zip file", "copy it again"):
            self._sync_open()

    def place_of(self, key: str) -> Path:
        """The zip file, with the name in it."""
        return Path(self.path) / key

    @property
    def root(self) -> str:
        """The folder in the zip that holds everything, where it was made of a folder; "" for the zip itself."""
        return self._archive.root

    def has(self, key: str) -> bool:
        """Whether there is a file of this name."""
        return key in self._zf.NameToInfo

    def close(self) -> None:
        """Forget the zip file, which other stores may read."""
        self._is_open = False

    def _get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        if not self.has(key):
            return None
        # No more is unpacked than the entry declares.
        entry = self._zf.getinfo(key)
        self.check_size(key, entry.file_size)
        if entry.flag_bits & _ENCRYPTED:
            raise InputError(
                f"{self.path} is encrypted ({key}), and no password is asked for: unpack it, or save it without"
            )
        damaged = f"{self.place_of(key)} is damaged: it cannot be unpacked"
        with parsing(damaged, "copy the zip file again"), self._archive.reading():
            found = super()._get(key, prototype, byte_range)
        self.check_content(key, found, byte_range)
        return found

    # zarr reads the entries of `_zf` while it holds `_lock`; both belong to this process alone.
    @property
    def _archive(self) -> ZipArchive:
        if self._opened is None or self._process != os.getpid():
            self._sync_open()
        return self._opened

    @property
    def _zf(self) -> zipfile.ZipFile:
        return self._archive.entries

    @property
    def _lock(self) -> threading.RLock:
        return self._archive.lock

    def _sync_open(self) -> None:
        self._opened, self._process = archive_of(self.path), os.getpid()
        self._is_open = True

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_opened": None}
