"""Where the files of a zarr lie, and the store that reads them."""

from __future__ import annotations

from pathlib import Path

from napari_mvfusion.io.ome_zarr.checked_store import PlainFiles
from napari_mvfusion.system.file_checks import is_folder

METADATA = ("zarr.json", ".zgroup", ".zarray", ".zattrs")


def store_of(path: Path) -> PlainFiles:
    """The store that reads the group or array of a path."""
    return PlainFiles(path)


def is_zarr(path: str | Path) -> bool:
    """Whether a folder looks like a zarr group or array."""
    return is_folder(path) and any((Path(path) / name).is_file() for name in METADATA)
