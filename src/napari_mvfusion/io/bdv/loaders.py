"""The kinds of pixel storage that projects name, in one list, and what is said of those that are not read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from napari_mvfusion.errors import InputError
from napari_mvfusion.io.bdv.hdf5_loader import Hdf5Loader
from napari_mvfusion.io.bdv.n5_loader import N5Loader
from napari_mvfusion.io.bdv.pixels import RESAVE, PixelLoader
from napari_mvfusion.io.bdv.places import Places
from napari_mvfusion.io.bdv.project_file import projects_in, read_project
from napari_mvfusion.io.bdv.tiff_loaders import FileMapLoader, StackLoader
from napari_mvfusion.io.bdv.zarr_loader import ZarrLoader

LOADERS: dict[str, type[PixelLoader]] = {
    "bdv.hdf5": Hdf5Loader,
    "bdv.n5": N5Loader,
    "bdv.multimg.zarr": ZarrLoader,
    "spimreconstruction.filemap2": FileMapLoader,
    "spimreconstruction.filelist": FileMapLoader,
    "spimreconstruction.stack.ij": StackLoader,
    "spimreconstruction.stack.loci": StackLoader,
}

# What is known and not read, by how its name begins, and what it is.
_REFUSED = {
    "split.viewerimgloader": "virtually split images",
    "spimreconstruction.wrapped.flatfield": "flat-field corrected images",
    "spimreconstruction.lightsheetz1": "Lightsheet Z.1 (CZI) files",
    "spimreconstruction.micromanager": "Micro-Manager stacks",
    "spimreconstruction.simview": "SimView stacks",
    "spimreconstruction.dhm": "holographic stacks",
    "bigstitcher.smartspim": "SmartSPIM planes",
    "bdv.remote": "a BigDataServer",
    "bdv.n5.s3": "N5 on S3",
    "bdv.n5.cloud": "N5 in a cloud",
    "ims": "Imaris files",
    "catmaid": "a CATMAID server",
}


def loader_of(places: Places) -> PixelLoader:
    """What opens the pixels of a project.

    Raises
    ------
    InputError
        If they are kept in a way that is not read; names it.
    """
    project = places.project
    name = project.loader.get("format", "")
    known = LOADERS.get(name)
    if known is not None:
        return known(project.loader, places)
    kept = next((what for start, what in _REFUSED.items() if name.startswith(start)), None)
    if kept is not None:
        raise InputError(f"{project.path} keeps its pixels in {kept} ({name}), which are not read: {RESAVE}")
    raise InputError(f"{project.path} keeps its pixels in a way that is not known ('{name[:60]}'): {RESAVE}")


def about_project_of(files: Sequence[Path]) -> list[str]:
    """A line where files that are named one by one are all those of a project beside them or in the folder above."""
    meant = frozenset(file.absolute() for file in files)
    if len(meant) < 2:
        return []
    folder = next(iter(meant)).parent
    for project in (*projects_in(folder), *projects_in(folder.parent)):
        try:
            loader = loader_of(Places(read_project(project)))
            held = loader.files if isinstance(loader, FileMapLoader) else frozenset()
        except InputError:  # what is wrong with a project is said where it is named
            continue
        if meant == {file.absolute() for file in held}:
            return [f"{project} is the project of these very files, and says where they lie: name it to fuse them so"]
    return []
