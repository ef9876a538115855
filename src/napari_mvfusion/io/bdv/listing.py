"""The views of a project from which some can be chosen: what each is, and why one cannot be opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_mvfusion.data.geometry import triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.base import ListedView, ViewListing
from napari_mvfusion.io.bdv.loaders import loader_of
from napari_mvfusion.io.bdv.pixels import PixelLoader
from napari_mvfusion.io.bdv.places import Places
from napari_mvfusion.io.bdv.project import Project, ViewId, ViewSetup
from napari_mvfusion.io.bdv.project_file import read_project
from napari_mvfusion.io.bdv.reader import PlacedView, chosen_place, grouped_views, placed_views, project_unit
from napari_mvfusion.io.bdv.registrations import UnclearUnitError, WorldUnit, at_level
from napari_mvfusion.io.bdv.view_names import names_of
from napari_mvfusion.io.volume_choice import OutsideError, ProjectChoice

# Of more views, what the project says has to do.
_MOST_LOOKED_AT = 1000
_SHOWN = ("angle", "illumination", "tile")
_NOT_RECORDED = "not recorded at this time point"


def list_project_views(path: Path, choice: ProjectChoice) -> ViewListing:
    """The views of a project at a time point and channel; see `Format.list_views`.

    The files of each are looked for, so that one that is missing is known before it is chosen.

    Raises
    ------
    InputError
        If time point or channel are not chosen where there are several, or the project cannot be used.
    """
    project = read_project(path)
    timepoint, channel = chosen_place(project, choice)
    try:
        unit = project_unit(project, choice.world_unit_um)
    except UnclearUnitError:
        unit = None
    placed = placed_views(project, unit or WorldUnit(1.0, False, ""), timepoint, channel)
    groups = grouped_views(project, placed, apart=False)
    fused_as = {view.place: name for name, members in groups.items() for view in members}
    loader = loader_of(Places(project, choice.outside))
    found: list[ListedView] = []
    levels: list[int] = []
    for number, view in enumerate(placed):
        setup = project.setups[view.place[1]]
        listed = ListedView(
            view.name,
            fused_as[view.place],
            _parts(project, setup),
            view.shape,
            None if unit is None else view.affine,
            view.place in project.psfs,
        )
        if number < _MOST_LOOKED_AT:
            try:
                listed, count = _looked_at(loader, view, listed, choice.level)
                levels.append(count)
            except OutsideError as error:
                return ViewListing((*found, listed), outside=error.place)
            except InputError as error:
                listed = replace(listed, unusable=str(error))
        found.append(listed)
    absent = _absent(project, timepoint, channel, {view.place for view in placed})
    return ViewListing((*found, *absent), min(levels, default=1))


def _looked_at(loader: PixelLoader, view: PlacedView, listed: ListedView, level: int) -> tuple[ListedView, int]:
    """A view as its files have it at a level, and how many levels there are."""
    opened = loader.open(view.place, level)
    affine = None if listed.affine is None else at_level(np.asarray(listed.affine), opened.factors, opened.shift)
    return replace(listed, shape=triple(opened.data.shape), affine=affine), opened.count


def _absent(project: Project, timepoint: int, channel: int | None, there: set[ViewId]) -> list[ListedView]:
    """The views that were not recorded, in the order of their setups."""
    setups = [
        setup
        for number, setup in project.setups.items()
        if (timepoint, number) not in there and (channel is None or setup.parts.get("channel") == channel)
    ]
    every = [s for s in project.setups.values() if channel is None or s.parts.get("channel") == channel]
    names = dict(zip([setup.number for setup in every], names_of(project, every), strict=True))
    return [
        ListedView(names[setup.number], "", _parts(project, setup), setup.shape, unusable=_NOT_RECORDED, recorded=False)
        for setup in setups
    ]


def _parts(project: Project, setup: ViewSetup) -> Mapping[str, str]:
    return {kind: part.name for kind in _SHOWN if (part := project.part(kind, setup)) is not None}
