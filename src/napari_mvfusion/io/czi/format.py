"""CZI among the formats."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from napari_mvfusion.io.base import StoredVolumes
from napari_mvfusion.io.czi.reader import open_czi, views_in_set
from napari_mvfusion.io.numbered_images import NumberedImages


class CZI(NumberedImages):
    """CZI files of ZEN."""

    name: ClassVar[str] = "CZI"
    suffixes: ClassVar[tuple[str, ...]] = (".czi",)

    def open(self, path: Path) -> StoredVolumes:
        """Look at an image; see `open_czi`."""
        return open_czi(path, *self.split(path))

    def views_in(self, path: Path) -> Mapping[str, Path]:
        """The views of a file and its set, where it holds several; see `views_in_set`."""
        file, number = self.split(path)
        return views_in_set(file) if number is None else {}
