"""Imaris among the formats."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from napari_mvfusion.io.base import StoredVolumes
from napari_mvfusion.io.imaris.reader import open_imaris
from napari_mvfusion.io.numbered_images import NumberedImages


class Imaris(NumberedImages):
    """Imaris files, from Imaris 5.5 on."""

    name: ClassVar[str] = "Imaris"
    suffixes: ClassVar[tuple[str, ...]] = (".ims",)

    def open(self, path: Path) -> StoredVolumes:
        """Look at an image; see `open_imaris`."""
        return open_imaris(path, *self.split(path))
