"""Open what the user names or drops: folders, view files, PSF files."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.layers import LayerData, view_layers
from napari_mvfusion.gui.tasks import Checkpoint
from napari_mvfusion.gui.views.matching import angles_in
from napari_mvfusion.psf import load_psf
from napari_mvfusion.readers import open_views
from napari_mvfusion.recipe import Inputs

_TIFF = (".tif", ".tiff")


@dataclass(frozen=True)
class Sorted:
    """What was dropped: folders (also OME-Zarr), TIFF files of views and of PSFs, and what cannot be used."""

    folders: tuple[Path, ...]
    views: tuple[Path, ...]
    psfs: tuple[Path, ...]
    others: tuple[Path, ...]


def sort_paths(paths: Iterable[Path]) -> Sorted:
    """Sort paths by what they are; a TIFF file whose name says "psf" is a PSF."""
    kinds: dict[str, list[Path]] = {"folder": [], "view": [], "psf": [], "other": []}
    for path in sorted(paths):
        if path.is_dir():
            kind = "folder"
        elif path.suffix.lower() in _TIFF:
            kind = "psf" if "psf" in path.name.lower() else "view"
        else:
            kind = "other"
        kinds[kind].append(path)
    return Sorted(*(tuple(found) for found in kinds.values()))


def tiffs_in(folder: Path, word: str) -> list[Path]:
    """The TIFF files of a folder, by name; where the names of some say a word, only these."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in _TIFF)
    return [path for path in files if word in path.name.lower()] or files


def open_files(check: Checkpoint, files: Sequence[Path]) -> Generator[None, None, list[LayerData]]:
    """View files as layers; those that do not fit together are opened each on its own grid.

    Raises
    ------
    InputError
        If a file cannot be used.
    """
    yield
    names = [path.stem.removesuffix(".ome") for path in files]
    angles = angles_in(names)
    try:
        layers = view_layers(open_views(files), sample="", inputs=_inputs(files))
    except InputError:
        layers = []
        for path in files:
            check()
            layers += view_layers(open_views([path]), sample="", inputs=_inputs([path]))
            yield
    for (_, look, _), name, angle in zip(layers, names, angles, strict=True):
        look["name"] = name
        look["metadata"]["mvfusion"]["angle"] = angle
    return layers


def _inputs(files: Sequence[Path]) -> dict[str, object]:
    return Inputs(source=[str(path.resolve()) for path in files]).model_dump(mode="json")


def read_psfs(
    check: Checkpoint, files: Sequence[Path]
) -> Generator[None, None, tuple[dict[Path, np.ndarray], list[str]]]:
    """PSFs from TIFF files, as they are, and what could not be read, in words."""
    found, problems = {}, []
    for path in files:
        check()
        try:
            found[path] = load_psf(path)
        except InputError as error:
            problems.append(str(error))
        yield
    return found, problems
