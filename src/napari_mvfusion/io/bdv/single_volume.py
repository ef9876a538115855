"""A project of one view, or of one a channel and time point on the same voxels, as the volumes that it holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_mvfusion.data.geometry import NO_SIZE, FloatTriple, StatedSize, float_triple, same_affine, triple
from napari_mvfusion.data.views import VolumeLike
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.base import StoredVolumes
from napari_mvfusion.io.bdv.loaders import loader_of
from napari_mvfusion.io.bdv.places import Places
from napari_mvfusion.io.bdv.project import Project, ViewSetup
from napari_mvfusion.io.bdv.reader import project_unit
from napari_mvfusion.io.bdv.registrations import models_of, to_um
from napari_mvfusion.io.lengths import micrometres
from napari_mvfusion.system.file_checks import is_there, parsing, read_text

# Voxels as they are stated and as they are placed, to the last digits.
_ALIKE = 1e-9


def open_single(path: Path, project: Project, recipe: Path | None = None) -> StoredVolumes:
    """Open the volumes of a project whose views are one volume, over time points and channels; no pixel is read.

    Parameters
    ----------
    path : as it was named
    project : of views on the same voxels
    recipe : the file that says what made it, where there may be one

    Raises
    ------
    InputError
        If its views lie apart, one is missing, or a file of it cannot be used.
    """
    channels = _channels(project)
    places = [(time, setup.number) for time in project.timepoints for setup in channels]
    models = models_of(project, places)
    first = models[places[0]]
    if any(place in project.missing for place in places) or not all(same_affine(first, m) for m in models.values()):
        raise _several(project)
    unit = project_unit(project, None)
    affine = to_um(first, unit)
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    upright = bool(np.allclose(affine[:3, :3], np.diag(sides), rtol=0, atol=_ALIKE * sides.max()))
    loader = loader_of(Places(project))
    volume = loader.open(places[0], 0).data
    times = list(project.timepoints)

    def at(chosen: Mapping[str, int]) -> VolumeLike:
        place = (times[chosen.get("t", 0)], channels[chosen.get("c", 0)].number)
        return loader.open(place, 0).data

    sizes = {"t": len(times), "c": len(channels)}
    return StoredVolumes(
        path,
        triple(volume.shape),
        volume.dtype,
        at,
        {axis: n for axis, n in sizes.items() if n > 1},
        _voxel_size(project, channels[0], sides) if unit.known else NO_SIZE,
        float_triple(affine[:3, 3]) if upright else None,
        project.own.time_step,
        _recipe(recipe),
        affine_um=None if upright else affine,
    )


def _channels(project: Project) -> list[ViewSetup]:
    """The setups of a project, one a channel, in the order of these."""
    setups = sorted(project.setups.values(), key=lambda setup: setup.parts.get("channel", 0))
    others = {(setup.shape, *(n for kind, n in setup.parts.items() if kind != "channel")) for setup in setups}
    if len(others) > 1 or len({setup.parts.get("channel") for setup in setups}) < len(setups):
        raise _several(project)
    return setups


def _several(project: Project) -> InputError:
    count = len(project.setups)
    return InputError(
        f"{project.path} is a project of {count} {'view' if count == 1 else 'views'}, where one volume is needed: name a "
        "file of one volume"
    )


def _voxel_size(project: Project, setup: ViewSetup, sides: np.ndarray) -> StatedSize:
    """As the setup states it where it lies so, which is exact; else as it lies. None where the project says: not known."""
    stated: FloatTriple = float_triple(sides)
    own_um = micrometres(setup.unit)
    if setup.voxel_size is not None and np.allclose(
        np.multiply(setup.voxel_size, own_um or 1), sides, rtol=_ALIKE, atol=0
    ):
        stated = float_triple(float(f"{size * (own_um or 1):.15g}") for size in setup.voxel_size)
    z, y, x = (size if known else None for size, known in zip(stated, project.own.known, strict=True))
    return z, y, x


def _recipe(file: Path | None) -> dict[str, Any] | None:
    if file is None or not is_there(file):
        return None
    with parsing(f"{file} is damaged: it is no recipe", "restore it, or remove it"):
        found: dict[str, Any] = json.loads(read_text(file, "recipe"))
    return found
