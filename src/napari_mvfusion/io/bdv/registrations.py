"""Where the views of a project lie: its transforms as one affine a view, (z, y, x), to micrometres."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from napari_mvfusion.data.geometry import FloatTriple, is_flat, is_impossible_size
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.bdv.project import Project, ViewId, ViewSetup, ViewTransform
from napari_mvfusion.io.lengths import micrometres, unknown_units

# Two conventions are told apart by the size of voxels in the world, which agree with one of them within this share.
_NEAR = 0.05
# World units. The one is a metre in nanometres; the other a kilometre, far beyond all that a stage travels.
_LARGEST_VOXEL, _FARTHEST = 1e9, 1e12
# Far above what planes are farther apart than pixels, and what specimens shrink or swell between views.
_MOST_UNLIKE = 1e4


class UnclearUnitError(InputError):
    """What one unit of a project's world is cannot be told.

    Parameters
    ----------
    message : names the project and the option
    likely_um : what it may be, in micrometres, by what that would be in words
    """

    def __init__(self, message: str, likely_um: Mapping[str, float]) -> None:
        super().__init__(message)
        self.likely_um = likely_um


@dataclass(frozen=True)
class WorldUnit:
    """What one unit of a project's world is.

    Attributes
    ----------
    um : micrometres; 1 where that is not known
    known : whether the project says it in a unit of length
    said : how it was found, in words
    """

    um: float
    known: bool
    said: str


def model_of(transforms: Sequence[ViewTransform]) -> np.ndarray:
    """The transforms of a view as one: 4 x 4 from pixel (x, y, z, 1) to world units; the last of them meets it first."""
    whole = np.eye(4)
    for each in transforms:
        whole = whole @ np.vstack([each.matrix, (0.0, 0.0, 0.0, 1.0)])
    return whole


def reversed_axes(matrix: np.ndarray) -> np.ndarray:
    """A 4 x 4 matrix in (x, y, z) as one in (z, y, x), or back."""
    turned = matrix.copy()
    turned[:3, :3] = matrix[2::-1, 2::-1]
    turned[:3, 3] = matrix[2::-1, 3]
    return turned


def models_of(project: Project, views: Sequence[ViewId]) -> dict[ViewId, np.ndarray]:
    """The model of each view, (z, y, x) to world units; identity for one without transforms.

    Raises
    ------
    InputError
        If one cannot be a place: it squeezes the view flat, or puts it out of all reach.
    """
    found = {}
    for view in views:
        model = reversed_axes(model_of(project.transforms.get(view, ())))
        sides = np.linalg.norm(model[:3, :3], axis=0)
        called = f"{project.path}: the registration of setup {view[1]} at time point {view[0]}"
        if is_flat(model[:3, :3]):
            raise InputError(f"{called} squeezes the view flat, so it cannot be a place: register it again")
        far = sides.max() > _LARGEST_VOXEL or np.abs(model[:3, 3]).max() > _FARTHEST
        if not np.isfinite(model).all() or far:
            raise InputError(f"{called} puts the view out of all reach: register it again")
        found[view] = model
    return found


def world_unit(project: Project, models: Mapping[ViewId, np.ndarray], asked_um: float | None = None) -> WorldUnit:
    """What one unit of the world is, of the two conventions that there are and nothing in the file tells apart.

    BigStitcher and npy2bdv take the smallest voxel size of all setups as the unit, BigDataViewer the unit of the voxel
    size itself. Voxels of a recording are as large in the world as its setup says, so their size there tells which.

    Parameters
    ----------
    project : with its setups
    models : of the views that are looked at, (z, y, x) to world units
    asked_um : what the user says it is

    Raises
    ------
    InputError
        If setups state their sizes in different units, or these fit neither convention; and nothing is asked for.
    """
    if asked_um is not None:
        return WorldUnit(asked_um, True, f"one unit of the world is {asked_um:g} um, as asked for")
    if (stated_um := project.own.world_unit_um) is not None:
        return WorldUnit(stated_um, True, f"one unit of the world is {stated_um:g} um, as the project says")
    shown = f"{project.path}: what one unit of its world is in um"
    say = "say it with --world-unit UM (world_unit_um=)"
    sized = [s for s in project.setups.values() if s.voxel_size is not None]
    units = {micrometres(setup.unit): setup for setup in sized}
    if not sized or set(units) == {None}:
        return WorldUnit(1.0, False, _no_length(project, sized))
    if len(units) > 1:
        one, other = list(units.values())[:2]
        raise UnclearUnitError(
            f"{shown} is not clear, as setup {one.number} is measured in '{one.unit}' and setup {other.number} in "
            f"'{other.unit}': {say}",
            {f"1 {setup.unit}": um for um, setup in units.items() if um is not None},
        )
    unit_um = next(iter(units))
    assert unit_um is not None
    smallest = min(min(setup.voxel_size or ()) for setup in sized)
    unit = sized[0].unit
    for setup in sized:
        if is_impossible_size([size * unit_um for size in setup.voxel_size or ()]):
            raise UnclearUnitError(
                f"{project.path} states the voxels of setup {setup.number} ('{setup.name}') as "
                f"{' x '.join(f'{size:g}' for size in setup.voxel_size or ())} {unit} (z, y, x), which no microscope has: "
                f"correct the unit there, or say what one unit of its world is in um with --world-unit UM (world_unit_um=)",
                {"1 um": 1.0, f"{smallest:g} um, if voxels were measured in um": smallest},
            )
    likely = {f"1 {unit}": unit_um, f"{smallest:g} {unit}, the smallest voxel size": unit_um * smallest}
    found = _mean_ratio(project.setups, models)
    if not models:
        raise UnclearUnitError(
            f"{project.path} registers no view, so {shown.partition(': ')[2]} cannot be told: register its views in "
            f"BigStitcher; or, to lay all from 0 on with pixels of one unit, {say}",
            likely,
        )
    if found is None:
        raise UnclearUnitError(f"{shown} cannot be told, as no view it registers states a voxel size: {say}", likely)
    physical, by_voxel = abs(found - 1), abs(found / smallest - 1)
    if min(physical, by_voxel) > _NEAR:
        _refuse_unlike(project, models)
        likely[f"{found:.3g} {unit}, as the registrations have it"] = unit_um * found
        raise UnclearUnitError(
            f"{shown} is not clear: its registrations make it {found:.3g} {unit}, which is neither 1 {unit} (BigDataViewer) "
            f"nor its smallest voxel size, {smallest:g} {unit} (BigStitcher): {say}",
            likely,
        )
    if physical <= by_voxel:
        return WorldUnit(unit_um, True, f"one unit of the world is 1 {unit}")
    return WorldUnit(
        unit_um * smallest,
        True,
        f"one unit of the world is the smallest voxel size, {smallest:g} {unit}, as in BigStitcher",
    )


def _no_length(project: Project, sized: Sequence[ViewSetup]) -> str:
    """What is said where no unit of the voxel sizes is a length."""
    units = [setup.unit for setup in sized]
    say = "so sizes are voxels: say them with --world-unit UM"
    if unknown_units(project.path, [*units[:1]] * 3):
        return f"{project.path} measures its voxels in '{units[0]}', no unit of length that is known, {say}"
    return f"the project states no length, {say}"


def _refuse_unlike(project: Project, models: Mapping[ViewId, np.ndarray]) -> None:
    """Refuse a registration that scales an axis of a view as no unit of the world explains, beside all the others."""
    scales = {
        view: np.linalg.norm(model[:3, :3], axis=0) / (project.setups[view[1]].voxel_size or 1.0)
        for view, model in models.items()
    }
    every = np.concatenate(list(scales.values()))
    # With most others alike; of two such, the one that fits what setups say of their voxels.
    alike = [int(np.sum((every < scale * _MOST_UNLIKE) & (every > scale / _MOST_UNLIKE))) for scale in every]
    usual = min(zip(every, alike, strict=True), key=lambda each: (-each[1], abs(math.log(each[0]))))[0]
    for (timepoint, number), sides in scales.items():
        for axis, scale in zip("zyx", sides, strict=True):
            if not 1 / _MOST_UNLIKE < scale / usual < _MOST_UNLIKE:
                raise InputError(
                    f"{project.path}: the registration of setup {number} at time point {timepoint} scales its {axis} axis "
                    f"by {scale / usual:.3g} beside the other axes and views, so it cannot be a place: register it again"
                )


def _mean_ratio(setups: Mapping[int, ViewSetup], models: Mapping[ViewId, np.ndarray]) -> float | None:
    """Geometric mean of voxel size by size in the world, over views and axes."""
    logs = []
    for (_, number), model in models.items():
        size = setups[number].voxel_size
        if size is not None:
            logs.append(np.log(size) - np.log(np.linalg.norm(model[:3, :3], axis=0)))
    return math.exp(float(np.mean(logs))) if logs else None


def to_um(model: np.ndarray, unit: WorldUnit) -> np.ndarray:
    """A model to world units as one to micrometres."""
    scaled = model.copy()
    scaled[:3] *= unit.um
    return scaled


def at_level(affine: np.ndarray, factors: FloatTriple, shift: FloatTriple) -> np.ndarray:
    """The affine of a view at a resolution level.

    Parameters
    ----------
    affine : 4 x 4, of its full resolution
    factors : voxels of the full resolution in one of the level, (z, y, x)
    shift : where the middle of the level's first voxel lies in those of the full resolution, (z, y, x)
    """
    level = np.diag([*factors, 1.0])
    level[:3, 3] = shift
    moved: np.ndarray = affine @ level
    return moved
