"""HDF5 among the formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import VolumeLike
from napari_mvfusion.io.base import Format, StoredVolumes
from napari_mvfusion.io.hdf5.reader import is_named, open_dataset, split
from napari_mvfusion.io.hdf5.writer import refuse_others, write_hdf5
from napari_mvfusion.system.file_checks import is_folder


class HDF5(Format):
    """HDF5 files."""

    name: ClassVar[str] = "HDF5"
    suffixes: ClassVar[tuple[str, ...]] = (".h5", ".hdf5")
    written: ClassVar[str] = "HDF5"
    new_suffix: ClassVar[str] = ".h5"

    def place(self, path: Path) -> Path:
        """The file, without the name of a dataset."""
        return split(path)[0]

    def elsewhere(self, path: Path, place: Path) -> Path:
        """The dataset of the same name in another file."""
        inner = split(path)[1]
        return Path(f"{place}:{inner}") if inner else place

    def check_replaced(self, path: Path) -> None:
        """A file is written as a whole, so it may hold nothing but this dataset; see `refuse_others`."""
        refuse_others(path)

    def recognises(self, path: Path) -> bool:
        """By its ending, also where a dataset is named."""
        return is_named(path) and not is_folder(path)

    def open(self, path: Path) -> StoredVolumes:
        """Look at a dataset; see `open_dataset`."""
        return open_dataset(path)

    def write(self, path: Path, data: VolumeLike, grid: Grid, **how: Any) -> None:
        """Write a file with one dataset; see `write_hdf5`."""
        self.kept_as(how.get("dtype") or data.dtype)
        write_hdf5(path, data, grid, **how)
