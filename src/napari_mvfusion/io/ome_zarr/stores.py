"""Where the files of a zarr lie, on a disk, in a zip file or at an address, and the store that reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zarr
from zarr.storage import StorePath

from napari_mvfusion.addresses import address_of
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.ome_zarr.checked_store import LARGEST_METADATA, PlainFiles
from napari_mvfusion.io.ome_zarr.remote_store import RemoteFiles
from napari_mvfusion.io.ome_zarr.zipped_store import SUFFIXES, ZippedFiles

METADATA = ("zarr.json", ".zgroup", ".zarray", ".zattrs")


def store_of(path: Path) -> Any:
    """The store, with the place in it, that reads the group or array of a path.

    Raises
    ------
    InputError
        If the zip file or address that it lies in cannot be read.
    """
    address = address_of(path)
    if address is not None:
        return RemoteFiles.at(address)
    archive = zip_of(path)
    if archive is None:
        return PlainFiles(path)
    store = ZippedFiles(archive)
    inner = "/".join(filter(None, [store.root, *path.parts[len(archive.parts) :]]))
    return StorePath(store, inner)


def zip_of(path: Path) -> Path | None:
    """The zip file of a zarr that a path is or lies in, None where there is none."""
    # Asked of each path again and again: most have no such name in them.
    written = str(path).lower()
    if not any(suffix in written for suffix in SUFFIXES):
        return None
    for place in (path, *path.parents):
        if place.name.lower().endswith(SUFFIXES) and not place.is_dir():
            return place
    return None


def is_zarr(path: str | Path) -> bool:
    """Whether a place looks like a zarr group or array."""
    path = Path(path)
    if _on_disk(path):
        return any(_is_file(path / name) for name in METADATA)
    return any(has_file(path, name) for name in METADATA)


def may_say(path: Path, key: str) -> bool:
    """Whether the metadata of a group may have a key; False where a look at their text tells that they do not.

    Opening a group takes milliseconds, and what a path is, is asked again and again.
    """
    if not _on_disk(path):
        return True
    word = f'"{key}"'.encode()
    return any(_is_file(file) and word in _text_of(file) for file in (path / name for name in METADATA))


def has_file(path: Path, name: str) -> bool:
    """Whether there is a file of this name in a folder, zip file or address; False also where that cannot be read."""
    if _on_disk(path):
        return _is_file(path / name)
    try:
        store = store_of(path)
    except InputError:
        return False
    if isinstance(store, StorePath):
        return bool(store.store.has(f"{store.path}/{name}".lstrip("/")))
    return bool(zarr.core.sync.sync(store.exists(name)))


def _on_disk(path: Path) -> bool:
    """Whether a path is one of folders and files, and neither an address nor in a zip file."""
    return address_of(path) is None and zip_of(path) is None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _text_of(path: Path) -> bytes:
    """The text of a file of metadata; nothing where it cannot be read, or is too long for one."""
    try:
        return path.read_bytes() if path.stat().st_size <= LARGEST_METADATA else b""
    except OSError:
        return b""
