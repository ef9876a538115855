"""A zarr in a zip file: `x.ome.zarr.zip`, and the `x.ozx` of RFC 9."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

from zarr.storage import ZipStore

from napari_mvfusion.io.ome_zarr.checked_store import Checked
from napari_mvfusion.system.file_checks import check_file, parsing

SUFFIXES = (".zarr.zip", ".ozx")
_ROOTS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")


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
            self._opened()
        self._process = os.getpid()

    def place_of(self, key: str) -> Path:
        """The zip file, with the name in it."""
        return Path(self.path) / key

    @property
    def root(self) -> str:
        """The folder in the zip that holds everything, where it was made of a folder; "" for the zip itself."""
        names = self._zf.namelist()
        if any(name in _ROOTS for name in names):
            return ""
        tops = {name.split("/", 1)[0] for name in names}
        top = next(iter(tops), "")
        return top if len(tops) == 1 and any(f"{top}/{root}" in names for root in _ROOTS) else ""

    def has(self, key: str) -> bool:
        """Whether there is a file of this name."""
        return key in self._zf.NameToInfo

    def _get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        if self._process != os.getpid():
            # A fork shares the place in the file with its parent.
            self._is_open, self._process = False, os.getpid()
            self._opened()
        if not self.has(key):
            return None
        # No more is unpacked than the entry declares.
        self.check_size(key, self._zf.getinfo(key).file_size)
        with parsing(f"{self.place_of(key)} is damaged: it cannot be unpacked", "copy the zip file again"):
            found = self._unpacked(key, prototype, byte_range)
        self.check_content(key, found, byte_range)
        return found

    def _opened(self) -> None:
        try:
            self._sync_open()
        except zipfile.BadZipFile as error:
            raise ValueError(str(error)) from error

    def _unpacked(self, key: str, prototype: Any, byte_range: Any) -> Any:
        try:
            return super()._get(key, prototype, byte_range)
        except zipfile.BadZipFile as error:
            raise ValueError(str(error)) from error
