"""What a project holds, before anything of it is chosen; no file but its XML is looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from napari_mvfusion.errors import InputError
from napari_mvfusion.io.base import BoxContents, ProjectContents
from napari_mvfusion.io.bdv.loaders import loader_of
from napari_mvfusion.io.bdv.places import Places
from napari_mvfusion.io.bdv.project import Project
from napari_mvfusion.io.bdv.project_file import read_project
from napari_mvfusion.io.bdv.reader import project_unit
from napari_mvfusion.io.bdv.registrations import UnclearUnitError


def describe_project(path: Path) -> ProjectContents:
    """Say what a project holds.

    Raises
    ------
    InputError
        If it is no project, or its pixels are kept in a way that is not read.
    """
    project = read_project(path)
    kept = loader_of(Places(project)).kept
    state: Literal["clear", "not stated", "unclear"] = "clear"
    unit_um, likely = 1.0, dict[str, float]()
    try:
        found = project_unit(project, None)
        unit, unit_um = found.said, found.um
        state = "clear" if found.known else "not stated"
    except UnclearUnitError as error:
        unit, state, likely = str(error), "unclear", dict(error.likely_um)
    except InputError as error:
        # A place that is none is said by whoever opens it.
        unit = str(error)
    recorded = len(project.setups) * len(project.timepoints) - len(_missing(project))
    return ProjectContents(
        kept=kept,
        world_unit=unit,
        timepoints=tuple(project.timepoints),
        channels=_parts(project, "channel"),
        angles=_parts(project, "angle"),
        illuminations=_parts(project, "illumination"),
        tiles=_parts(project, "tile"),
        boxes=tuple(BoxContents(box.name, box.first, box.last) for box in project.boxes.values()),
        views=recorded,
        missing=len(_missing(project)),
        psfs=len([view for view in project.psfs if view not in project.missing]),
        channel_numbers=tuple(part.number for part in project.used("channel")),
        unit=state,
        unit_um=unit_um,
        likely_um=likely,
    )


def _missing(project: Project) -> list[tuple[int, int]]:
    """Views that are listed as missing, of those that there could be."""
    return [view for view in project.missing if view[0] in project.timepoints and view[1] in project.setups]


def _parts(project: Project, kind: str) -> tuple[str, ...]:
    return tuple(str(part) for part in project.used(kind))
