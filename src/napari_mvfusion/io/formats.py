"""The formats that volumes are stored in, in one list; everything that opens or writes files asks here.

The command line, the engine, the napari reader and writer, file dialogs, drag and drop, folders of views, PSFs, beads,
sharp volumes and training data know no format by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_mvfusion.addresses import address_of
from napari_mvfusion.data.geometry import Grid, Triple
from napari_mvfusion.data.views import VolumeLike
from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.io.atomic import check_on_disk
from napari_mvfusion.io.base import Format, StoredVolumes
from napari_mvfusion.io.bdv.format import BDVFolder, BDVProject, BDVProjectFolder
from napari_mvfusion.io.czi.format import CZI
from napari_mvfusion.io.hdf5.format import HDF5
from napari_mvfusion.io.imaris.format import Imaris
from napari_mvfusion.io.lif import LIF
from napari_mvfusion.io.msim.format import MSim, MSimFolder
from napari_mvfusion.io.nd2_files import ND2
from napari_mvfusion.io.ome_zarr.format import OMEZarr, ZarrScene, ZippedZarr
from napari_mvfusion.io.tiff.format import TIFF
from napari_mvfusion.io.volume_choice import VolumeChoice
from napari_mvfusion.system.file_checks import OVER_NETWORK, check_address, check_there, is_folder

# What say best what is wrong with a file, and with a folder, that no format recognises.
_OF_FILES, _OF_FOLDERS = TIFF(), OMEZarr()
FORMATS: tuple[Format, ...] = (
    _OF_FILES,
    MSim(),
    ZarrScene(),
    ZippedZarr(),
    _OF_FOLDERS,
    HDF5(),
    Imaris(),
    CZI(),
    LIF(),
    ND2(),
    BDVFolder(),
    BDVProject(),
    MSimFolder(),
    BDVProjectFolder(),
)
_VOLUMES = tuple(known for known in FORMATS if not known.is_project)
_FILE_ENDINGS = (*(suffix for known in FORMATS if not known.is_folder for suffix in known.suffixes), ".zip")


def format_of(path: str | Path) -> Format:
    """The format of a file or folder; of what no format recognises, the one that says best what is wrong with it.

    Raises
    ------
    InputError
        If it is an address that cannot be asked, that holds a password or key, or is that of a file.
    """
    path = Path(path)
    check_address(path)
    far = address_of(path) is not None
    if far and path.name.lower().endswith(_FILE_ENDINGS):
        raise InputError(f"{path} is a file: {OVER_NETWORK}")
    for known in FORMATS:
        if (known.has_addresses or not far) and known.recognises(path):
            return known
    return _OF_FOLDERS if is_folder(path) else _OF_FILES


def is_volume(path: str | Path) -> bool:
    """Whether a file or folder is of a format of volumes; what is inside is not looked at."""
    path = Path(path)
    check_address(path)
    far = address_of(path) is not None
    return any(known.recognises(path) for known in _VOLUMES if known.has_addresses or not far)


def is_project(path: str | Path) -> bool:
    """Whether a file or folder is of a format of projects, which say where views lie; what is inside is not looked at."""
    return format_of(path).is_project


def is_volume_folder(path: str | Path) -> bool:
    """Whether a folder is a volume, or is called like one, rather than a folder of files."""
    path = Path(path)
    suffixes = tuple(suffix for known in _VOLUMES if known.is_folder for suffix in known.suffixes)
    named = path.name.lower().endswith(suffixes) or address_of(path) is not None
    return named or (is_folder(path) and is_volume(path))


def is_folder_of_files(path: str | Path) -> bool:
    """Whether it is a folder of files and neither a volume nor a project."""
    return is_folder(path) and not is_volume_folder(path) and not is_project(path)


def open_stored(path: str | Path, at: VolumeChoice | None = None) -> StoredVolumes:
    """Look at what a file or folder holds; no pixel is read.

    Parameters
    ----------
    path : of the file or folder
    at : the resolution level and registration that are wanted; the full resolution, and the only registration, when None

    Raises
    ------
    InputError
        If it is missing, of no known format, damaged, or holds no (z, y, x) volumes.
    """
    path = Path(path)
    known = format_of(path)
    check_there(known.place(path), "check its name")
    return known.open(path) if at is None else known.open_at(path, at)


def views_in(path: str | Path) -> Mapping[str, Path]:
    """Views that a file holds which is named alone, by their names; see `Format.views_in`."""
    path = Path(path)
    return format_of(path).views_in(path)


def parts_of_volume(path: str | Path) -> tuple[Path, ...]:
    """The files that the one volume of a set is spread over, see `Format.parts`."""
    path = Path(path)
    return format_of(path).parts(path)


def plane_of(path: str | Path) -> Triple | None:
    """Shape (1, y, x) of a file that holds a single plane, which is no volume by itself; None otherwise."""
    path = Path(path)
    return format_of(path).plane(path)


def place_of(path: str | Path) -> Path:
    """The file or folder on the disk that holds what is named; a name may go on inside a file, as `views.h5:/left`."""
    path = Path(path)
    return format_of(path).place(path)


def suffixes() -> tuple[str, ...]:
    """Endings, in lower case, of all that holds volumes."""
    return tuple(suffix for known in _VOLUMES for suffix in known.suffixes)


def file_suffixes() -> tuple[str, ...]:
    """Endings of files, in lower case, that hold volumes."""
    return tuple(suffix for known in _VOLUMES if not known.is_folder for suffix in known.suffixes)


def has_file_suffix(path: str | Path) -> bool:
    """Whether a file is called like one that holds volumes."""
    return Path(path).name.lower().endswith(file_suffixes())


def volume_files(folder: Path) -> list[Path]:
    """Files and OME-Zarrs of a folder, by their names, sorted; names that begin with a dot are those of the system."""
    found = (file for file in folder.iterdir() if not file.name.startswith("."))
    return sorted(file for file in found if has_file_suffix(file) or _OF_FOLDERS.recognises(file))


def volumes_called(folder: Path, word: str) -> list[Path]:
    """The volumes of a folder, by name; where the names of some say a word, only these."""
    files = volume_files(folder)
    return [path for path in files if word in path.name.lower()] or files


def dialog_filter(title: str = "Volumes", *, projects: bool = False) -> str:
    """The filter of a file dialog: "Volumes (*.tif *.tiff *.h5)"; with projects also those."""
    named = [suffix for known in FORMATS if known.is_project and not known.is_folder for suffix in known.suffixes]
    return _filter(title, (*file_suffixes(), *named) if projects else file_suffixes())


def writing_filter(known: Format) -> str:
    """The filter of a file dialog that asks for a new file of a format: "OME-TIFF (*.tif *.tiff)"."""
    return _filter(known.written, known.suffixes)


def _filter(title: str, endings: tuple[str, ...]) -> str:
    return f"{title} ({' '.join('*' + ending for ending in endings)})"


def writers() -> tuple[Format, ...]:
    """The formats that can be written."""
    return tuple(known for known in FORMATS if known.written)


def writer_of(path: str | Path) -> Format:
    """The format that something of this name is written in, whether there is anything yet or not.

    Raises
    ------
    OutputError
        If its ending is of no format that can be written, names those that are; unless it lies in a container that takes
        any name. If it is an address, or no more than an ending.
    """
    path = Path(path)
    check_on_disk(path)
    for known in writers():
        name = known.place(path).name.lower()
        if not name.endswith(known.suffixes):
            continue
        if name.removeprefix(".ome") in known.suffixes:
            raise OutputError(f"{path} is an ending alone, and would be hidden: put a name before it, as fused{name}")
        if str(path).endswith(":"):
            raise OutputError(
                f"{path} names no dataset after the colon: leave the colon out, or name one as {path}/fused"
            )
        return known
    if path in (Path(), Path(path.anchor)):
        raise OutputError(f"the output has no name: give one, as fused{growing_format().new_suffix}")
    if is_folder(path.parent) and (known := format_of(path.parent)).takes(path.parent):
        return known
    endings = [f"{known.suffixes[0]} for {known.written}" for known in writers()]
    raise OutputError(f"{path} has no known ending: name it {', '.join(endings[:-1])}, or {endings[-1]}")


def is_written(path: str | Path) -> bool:
    """Whether a name is one under which a format can be written, see `writer_of`."""
    try:
        writer_of(path)
    except OutputError:
        return False
    return True


def split_ending(name: str) -> tuple[str, str]:
    """A name without the ending of a format that can be written, and that ending as it stands there; "" where none does."""
    endings = [ending for known in writers() for ending in (known.new_suffix, *known.suffixes)]
    length = max((len(ending) for ending in endings if name.lower().endswith(ending)), default=0)
    return name[: len(name) - length], name[len(name) - length :]


def growing_format() -> Format:
    """The format in which volumes grow box by box; those of formats that cannot are gathered in it first."""
    return next(known for known in writers() if known.grows)


def write_volume(path: str | Path, data: VolumeLike, grid: Grid, **how: Any) -> None:
    """Write a volume, or a series of them, in the format that its name says.

    Parameters
    ----------
    path : ends as one of the formats; in an HDF5 file a dataset may be named, as `fused.h5:/left`
    data : (z, y, x), read piece by piece; with leading axes before z where there are some
    grid : voxel size and origin, um
    how : recipe, overwrite, dtype and leading, see `Format.write`

    Raises
    ------
    OutputError
        If the ending is not known, there is something already, or it cannot be written.
    """
    writer_of(path).write(Path(path), data, grid, **how)


def new_endings() -> str:
    """The endings of what can be written, in words: ".tif, .zarr or .h5"."""
    return _in_words(writers())


def known_endings() -> str:
    """The endings of volumes that can be read, in words."""
    return _in_words(_VOLUMES)


def _in_words(formats: tuple[Format, ...]) -> str:
    endings = [known.suffixes[0] for known in formats if known.suffixes]
    return f"{', '.join(endings[:-1])} or {endings[-1]}"
