"""The formats that volumes are stored in, in one list; everything that opens files asks here.

The command line, the napari reader, file dialogs, drag and drop, folders of views, PSFs, beads, sharp volumes and training
data know no format by name.
"""

from __future__ import annotations

from pathlib import Path

from napari_mvfusion.io.base import Format, Stored
from napari_mvfusion.io.hdf5 import HDF5
from napari_mvfusion.io.ome_zarr.reader import OMEZarr
from napari_mvfusion.io.tiff.reader import TIFF
from napari_mvfusion.system.files import check_there, is_folder

FORMATS: tuple[Format, ...] = (TIFF(), OMEZarr(), HDF5())


def format_of(path: str | Path) -> Format:
    """The format of a file or folder; of what no format recognises, the one that says best what is wrong with it."""
    path = Path(path)
    for known in FORMATS:
        if known.recognises(path):
            return known
    return next(known for known in FORMATS if known.is_folder == is_folder(path))


def is_volume(path: str | Path) -> bool:
    """Whether a file or folder is of a format; what is inside is not looked at."""
    path = Path(path)
    return any(known.recognises(path) for known in FORMATS)


def is_volume_folder(path: str | Path) -> bool:
    """Whether a folder is a volume, or is called like one, rather than a folder of files."""
    path = Path(path)
    suffixes = tuple(suffix for known in FORMATS if known.is_folder for suffix in known.suffixes)
    return path.name.lower().endswith(suffixes) or (is_folder(path) and is_volume(path))


def open_stored(path: str | Path) -> Stored:
    """Look at what a file or folder holds; no pixel is read.

    Raises
    ------
    InputError
        If it is missing, of no known format, damaged, or holds no (z, y, x) volumes.
    """
    path = Path(path)
    known = format_of(path)
    check_there(known.place(path), "check its name")
    return known.open(path)


def place_of(path: str | Path) -> Path:
    """The file or folder on the disk that holds what is named; a name may go on inside a file, as `views.h5:/left`."""
    path = Path(path)
    return format_of(path).place(path)


def suffixes() -> tuple[str, ...]:
    """Endings, in lower case, of all that holds volumes."""
    return tuple(suffix for known in FORMATS for suffix in known.suffixes)


def file_suffixes() -> tuple[str, ...]:
    """Endings of files, in lower case, that hold volumes."""
    return tuple(suffix for known in FORMATS if not known.is_folder for suffix in known.suffixes)


def has_file_suffix(path: str | Path) -> bool:
    """Whether a file is called like one that holds volumes."""
    return Path(path).name.lower().endswith(file_suffixes())


def volume_files(folder: Path) -> list[Path]:
    """Files of a folder that are called like volumes, sorted; names that begin with a dot are those of the system."""
    return sorted(file for file in folder.iterdir() if has_file_suffix(file) and not file.name.startswith("."))


def dialog_filter(title: str = "Volumes") -> str:
    """The filter of a file dialog: "Volumes (*.tif *.tiff *.h5)"."""
    return f"{title} ({' '.join('*' + suffix for suffix in file_suffixes())})"
