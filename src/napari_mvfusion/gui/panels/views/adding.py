"""Open what the user names or drops: folders, view files, PSF files."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_mvfusion.data.geometry import FloatTriple
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.jobs.tasks import Checkpoint
from napari_mvfusion.gui.layers.layer_data import (
    LayerData,
    all_volumes,
    first_volume,
    truth_layer,
    view_layers,
    view_series,
)
from napari_mvfusion.gui.layers.notes import KEY
from napari_mvfusion.io.angles import angles_in
from napari_mvfusion.io.formats import has_file_suffix, volume_files
from napari_mvfusion.io.opening import open_views, open_volume
from napari_mvfusion.io.psf_files import ViewPSF, prepare_stored, read_psf
from napari_mvfusion.io.roles import Guess, Role, guess_roles
from napari_mvfusion.io.volume_choice import VolumeChoice

_NOT_SAID = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Sorted:
    """What was dropped: folders (also OME-Zarr), files of views and of PSFs, and what cannot be used."""

    folders: tuple[Path, ...]
    views: tuple[Path, ...]
    psfs: tuple[Path, ...]
    others: tuple[Path, ...]


def sort_paths(paths: Iterable[Path]) -> Sorted:
    """Sort paths by what they are; a file whose name says "psf" is a PSF."""
    kinds: dict[str, list[Path]] = {"folder": [], "view": [], "psf": [], "other": []}
    for path in sorted(paths):
        if path.is_dir():
            kind = "folder"
        elif has_file_suffix(path):
            kind = "psf" if "psf" in path.name.lower() else "view"
        else:
            kind = "other"
        kinds[kind].append(path)
    return Sorted(*(tuple(found) for found in kinds.values()))


def volumes_in(folder: Path, word: str) -> list[Path]:
    """The volumes of a folder, by name; where the names of some say a word, only these."""
    files = volume_files(folder)
    return [path for path in files if word in path.name.lower()] or files


def guess_all(check: Checkpoint, files: Sequence[Path]) -> Generator[None, None, list[Guess]]:
    """What files seem to be; see `readers.roles`."""
    yield
    check()
    return guess_roles(files)


def open_others(check: Checkpoint, given: Sequence[tuple[Path, Role]]) -> Generator[None, None, list[LayerData]]:
    """Ground truths and beads as layers, unseen at first.

    Raises
    ------
    InputError
        If a file cannot be used.
    """
    layers = []
    for path, role in given:
        check()
        # Beads are measured in one volume.
        first = first_volume([path]) if role == "truth" else VolumeChoice()
        volume, grid = open_volume(path, timepoint=first.timepoint, channel=first.channel)
        data, look, kind = all_volumes(truth_layer(volume, grid, sample=""), path)
        look["name"] = path.stem.removesuffix(".ome")
        if role == "beads":
            look["metadata"] = {KEY: {"included": False, "source": str(path)}}
        layers.append((data, look, kind))
        yield
    return layers


def open_files(
    check: Checkpoint, files: Sequence[Path], given: Mapping[Path, float | None] | None = None
) -> Generator[None, None, list[LayerData]]:
    """View files as layers; those that do not fit together are opened each on its own grid.

    Parameters
    ----------
    files : one a view
    given : the angles of files, where the user has said them; else they are told from the names

    Raises
    ------
    InputError
        If a file cannot be used.
    """
    yield
    names = [path.stem.removesuffix(".ome") for path in files]
    angles = angles_in(names) if given is None else [given.get(path) for path in files]
    try:
        layers = _together(files)
    except InputError:
        layers = []
        for path in files:
            check()
            layers += _together([path])
            yield
    for (_, look, _), name, angle in zip(layers, names, angles, strict=True):
        look["name"] = name
        look["metadata"]["mvfusion"]["angle"] = angle
    return layers


def _together(files: Sequence[Path]) -> list[LayerData]:
    """View files of one grid as layers, with all their time points and channels."""
    first = first_volume(files)
    views = open_views(files, timepoint=first.timepoint, channel=first.channel)
    return view_series(views, view_layers(views, sample="", inputs=_inputs(files)))


def _inputs(files: Sequence[Path]) -> dict[str, object]:
    return Inputs(source=[str(path.resolve()) for path in files]).model_dump(mode="json")


def load_psf_for(path: Path, grid_size_um: FloatTriple | None) -> ViewPSF:
    """A PSF from a TIFF file, made ready to fuse with as the command line does it.

    Parameters
    ----------
    path : the file
    grid_size_um : voxel size (z, y, x) of the fused volume; 1 um stands for a size that is not known

    Returns
    -------
    The PSF, and what was done to it; as the file holds it, and why it is refused, where it cannot be made ready.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    stored = read_psf(path)
    try:
        prepared = prepare_stored(stored, str(path), None if grid_size_um == _NOT_SAID else grid_size_um)
    except InputError as error:
        return ViewPSF(stored.values, flaw=str(error))
    return ViewPSF(prepared.psf, prepared.notes)


def read_psfs(
    check: Checkpoint, files: Sequence[Path], grid_size_um: FloatTriple | None
) -> Generator[None, None, tuple[dict[Path, ViewPSF], list[str]]]:
    """PSFs from files, and what could not be read, in words; see `load_psf_for`."""
    found, problems = {}, []
    for path in files:
        check()
        try:
            found[path] = load_psf_for(path, grid_size_um)
        except InputError as error:
            problems.append(str(error))
        yield
    return found, problems
