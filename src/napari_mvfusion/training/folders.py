"""Volumes and time points in a folder, as descriptions of how to open them."""

from __future__ import annotations

from pathlib import Path

from napari_mvfusion.addresses import absolute
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.formats import is_folder_of_files
from napari_mvfusion.io.opening import list_tags
from napari_mvfusion.system.file_checks import is_folder


def inputs_in(folder: Path) -> list[Inputs]:
    """All registered views in a folder: its own samples, or those of the folders and OME-Zarrs in it.

    Raises
    ------
    InputError
        If there are none.
    """
    found = _samples(folder)
    if not found and is_folder_of_files(folder):
        for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
            found += _samples(inner)
    if not found:
        raise InputError(
            f"{folder} holds no registered views: choose a folder of NAME_view_ANGLE.tif and psf_ANGLE.tif, an OME-Zarr, or "
            "a folder of these"
        )
    return found


def _samples(folder: Path) -> list[Inputs]:
    if is_folder(folder) and not is_folder_of_files(folder):
        return [Inputs(source=absolute(folder), no_data="auto", grid="isotropic")]
    try:
        tags = list_tags(folder)
    except InputError:
        return []
    return [Inputs(source=absolute(folder), tag=tag, no_data="auto", grid="isotropic") for tag in tags]
