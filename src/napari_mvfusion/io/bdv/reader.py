"""Views of a project as registered views: chosen, placed, and read when they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from napari_mvfusion.data.events import Statement
from napari_mvfusion.data.fused_grid import Placed, WorldBox, choose_grid
from napari_mvfusion.data.geometry import ALL_KNOWN, NOT_KNOWN, Triple, float_triple, triple
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.bdv.grouping import grouped, meets
from napari_mvfusion.io.bdv.loaders import loader_of
from napari_mvfusion.io.bdv.pixels import NotRecordedError, PixelLoader, ViewLevel, called
from napari_mvfusion.io.bdv.places import Places
from napari_mvfusion.io.bdv.project import NamedPart, Project, ViewId
from napari_mvfusion.io.bdv.project_file import read_project
from napari_mvfusion.io.bdv.psfs import with_psf
from napari_mvfusion.io.bdv.registrations import WorldUnit, at_level, models_of, to_um, world_unit
from napari_mvfusion.io.bdv.view_names import names_of
from napari_mvfusion.io.placing import direction_of
from napari_mvfusion.io.volume_choice import NotChosenError, ProjectChoice
from napari_mvfusion.psf.frames import own_to_fused

_SHOWN = 8
# Of more views, so many tell the unit of the world as well.
_MOST_MODELS = 1000
# What makes views of their own, where illuminations and tiles are one.
_TELLING = ("angle", "channel")


@dataclass(frozen=True, eq=False)
class PlacedView:
    """A view of a project before its pixels are opened.

    Attributes
    ----------
    place : time point and setup
    name : as views are called
    affine : 4 x 4, from its pixels at full resolution (z, y, x, 1) to micrometres
    shape : its pixels at full resolution, None where the project does not say
    """

    place: ViewId
    name: str
    affine: np.ndarray
    shape: Triple | None


def open_project_views(path: Path, choice: ProjectChoice, *, clean: bool) -> RegisteredViews:
    """Open views of a project; no pixel is read.

    Parameters
    ----------
    path : the XML file
    choice : which views, and on which grid
    clean : make PSFs ready to fuse with

    Raises
    ------
    InputError
        If something is not chosen that has to be, or the project, or a file of it, cannot be used.
    """
    project = read_project(path)
    places = Places(project, choice.outside)
    loader = loader_of(places)
    unit = project_unit(project, choice.world_unit_um)
    placed, absent = _recorded(project, loader, placed_views(project, unit, *chosen_place(project, choice)))
    every = grouped_views(project, placed, apart=choice.apart or choice.own_psfs)
    groups, by_number = _named(project, every, choice)
    chosen = [view for members in groups.values() for view in members]
    levels = {view: _opened(loader, view, choice.level) for view in chosen}
    affines = {view: at_level(view.affine, level.factors, level.shift) for view, level in levels.items()}
    fields = [Placed(triple(levels[view].data.shape), affines[view], f"view '{view.name}'") for view in chosen]
    found = choose_grid(
        fields,
        voxels=choice.voxel_size_um or choice.voxels,
        box=_box(project, choice.box, unit) or choice.box_um,
        known=ALL_KNOWN if unit.known else NOT_KNOWN,
    )
    inside = {view for view, field in zip(chosen, fields, strict=True) if meets(field, found.grid)}
    made = {}
    for view, kept in zip(chosen, found.on_grid, strict=True):
        plain = View(
            levels[view].data,
            view.name,
            angle=direction_of(view.affine),
            affine=None if kept else affines[view],
            source=str(path),
        )
        to_grid = None if choice.own_psfs else own_to_fused(view.affine, found.grid)
        adjusted = _adjusted(plain, project.adjustments.get(view.place))
        made[view] = with_psf(adjusted, view.place, to_grid, places, clean=clean)
    views, remarks = [], [*by_number, *absent, *_remarks(project, chosen, unit), *_twice(project, levels)]
    for name, members in groups.items():
        met = [view for view in members if view in inside]
        if len(met) > 1:
            views.append(grouped([made[view] for view in met], name, found.grid))
            remarks.append(f"view '{name}' is {_some([view.name for view in met])}, blended where they overlap")
        elif met:
            views.append(replace(made[met[0]], name=name))
    if beyond := [view.name for view in chosen if view not in inside]:
        remarks.append(f"outside of the fused volume, and left out: {_some(beyond)}")
    return RegisteredViews(views, found.grid, remarks=[*remarks, *filter(None, [found.remark])])


def grouped_views(project: Project, views: Sequence[PlacedView], *, apart: bool) -> dict[str, list[PlacedView]]:
    """Views by the names under which they are fused: illuminations and tiles of one angle together, or all apart."""
    if apart:
        return {view.name: [view] for view in views}
    found: dict[tuple[int | None, ...], list[PlacedView]] = {}
    for view in views:
        parts = project.setups[view.place[1]].parts
        found.setdefault(tuple(parts.get(kind) for kind in _TELLING), []).append(view)
    firsts = [project.setups[members[0].place[1]] for members in found.values()]
    return dict(zip(names_of(project, firsts, _TELLING), found.values(), strict=True))


def project_unit(project: Project, asked_um: float | None) -> WorldUnit:
    """What one unit of the world of a project is; see `world_unit`."""
    there = sorted(view for view in project.transforms if view not in project.missing and view[1] in project.setups)
    step = -(-len(there) // _MOST_MODELS) or 1
    return world_unit(project, models_of(project, there[::step]), asked_um)


def placed_views(project: Project, unit: WorldUnit, timepoint: int, channel: int | None) -> list[PlacedView]:
    """The views of a time point and channel, with their names and places.

    Raises
    ------
    InputError
        If there are none, or one cannot be placed.
    """
    places = [
        view
        for view in project.views(timepoint)
        if channel is None or project.setups[view[1]].parts.get("channel") == channel
    ]
    if not places:
        raise InputError(
            f"{project.path} has no views at time point {timepoint}, all of them are missing: choose another"
        )
    setups = [project.setups[setup] for _, setup in places]
    models = models_of(project, places)
    return [
        PlacedView(place, name, to_um(models[place], unit), setup.shape)
        for place, name, setup in zip(places, names_of(project, setups), setups, strict=True)
    ]


def chosen_place(project: Project, choice: ProjectChoice) -> tuple[int, int | None]:
    """The numbers of time point and channel, None for the channel where setups have none.

    Raises
    ------
    NotChosenError
        If there are several, and none is chosen.
    InputError
        If what is chosen is not there.
    """
    return _timepoint(project, choice), _channel(project, choice)


def _timepoint(project: Project, choice: ProjectChoice) -> int:
    if choice.timepoint is None:
        if len(project.timepoints) > 1:
            first = next(iter(project.timepoints))
            raise NotChosenError(
                f"{project.path} has {len(project.timepoints)} time points: choose one with --timepoint, of "
                f"{_numbers(list(project.timepoints))} (timepoint=)",
                "t",
                first,
            )
        return next(iter(project.timepoints))
    if choice.timepoint not in project.timepoints:
        raise InputError(
            f"{project.path} has no time point {choice.timepoint}: it has {_numbers(list(project.timepoints))}"
        )
    return choice.timepoint


def _channel(project: Project, choice: ProjectChoice) -> int | None:
    """The number of a channel, None where setups have none."""
    channels = project.used("channel")
    if choice.channel is None:
        if len(channels) > 1:
            raise NotChosenError(
                f"{project.path} has {len(channels)} channels: choose one with --channel, of {_listed(channels)} (channel=)",
                "c",
                channels[0].number,
            )
        return None
    if choice.channel not in [part.number for part in channels]:
        raise InputError(
            f"{project.path} has no channel {choice.channel}: it has {_listed(channels) or 'none by number'}"
        )
    return choice.channel


def _named(
    project: Project, groups: dict[str, list[PlacedView]], choice: ProjectChoice
) -> tuple[dict[str, list[PlacedView]], list[str]]:
    """The views of these names, in their order, and a line for each that was named by a number; "090" is view 90."""
    if choice.views is None:
        return groups, []
    found: dict[str, list[PlacedView]] = {}
    said: list[str] = []
    for word in choice.views:
        name = next((name for name in (word, word.lstrip("0") or "0") if name in groups), None)
        if name is None:
            name, numbered = _by_number(project, groups, word)
            said.append(f"view '{name}' is taken for {word}, {numbered}")
        found[name] = groups[name]
    return found, said


def _by_number(project: Project, groups: dict[str, list[PlacedView]], word: str) -> tuple[str, str]:
    """The only view that a number of a setup or an angle stands for, and which of them it is, in words."""
    number = word.lstrip("0") or "0"
    meant: dict[str, list[str]] = {}
    for name, members in groups.items():
        setups = [project.setups[view.place[1]] for view in members]
        numbers = {
            "setup": {str(setup.number) for setup in setups},
            "angle": {str(setup.parts.get("angle")) for setup in setups},
        }
        if kinds := [kind for kind, there in numbers.items() if number in there]:
            meant[name] = kinds
    if len(meant) == 1:
        (name, kinds), *_ = meant.items()
        return name, f"the number of its {' and of its '.join(kinds)}"
    hint = "the number of a setup or an angle will do too"
    if meant:
        either = _some([f"'{name}'" for name in meant])
        hint = f"by the numbers of setups and angles {word} may be {either}"
    raise InputError(f"there is no view '{word}' in {project.path}: the views are {_some(list(groups))}; {hint}")


def _opened(loader: PixelLoader, view: PlacedView, level: int) -> ViewLevel:
    """The pixels of a view, whose size must be what the project says."""
    found = loader.open(view.place, level)
    if level == 0 and view.shape is not None and tuple(found.data.shape) != view.shape:
        raise InputError(
            f"{loader.project} says that {called(view.place)} has {_times(view.shape)} pixels (z, y, x), and its file has "
            f"{_times(found.data.shape)}: put the right file there, or correct the size in the project"
        )
    return found


def _box(project: Project, name: str | None, unit: WorldUnit) -> WorldBox | None:
    if name is None:
        return None
    if name not in project.boxes:
        there = ", ".join(f"'{box}'" for box in project.boxes) or "none"
        raise InputError(f"{project.path} has no bounding box '{name}': it has {there}")
    box = project.boxes[name]
    return WorldBox(float_triple(n * unit.um for n in box.first), float_triple(n * unit.um for n in box.last))


def _adjusted(view: View, adjustment: tuple[float, float] | None) -> View:
    """The view with the brightness that the project gives it: scale * pixel + offset."""
    if adjustment is None:
        return view
    scale, offset = adjustment
    return replace(view, gain=1 / scale, offset=-offset / scale)


def _recorded(
    project: Project, loader: PixelLoader, views: Sequence[PlacedView]
) -> tuple[list[PlacedView], tuple[str, ...]]:
    """Views without those that have neither registration nor pixels, as of setups that pybdv wrote at other times.

    Returns
    -------
    The others, and a line about these.

    Raises
    ------
    NotRecordedError
        If there are no others.
    """
    absent: list[PlacedView] = []
    for view in views:
        if view.place not in project.transforms:
            try:
                loader.open(view.place, 0)
            except NotRecordedError:
                if len(absent) == len(views) - 1:
                    raise
                absent.append(view)
    if not absent:
        return list(views), ()
    said = (
        f"{project.path} has neither pixels nor a registration of {_some([view.name for view in absent])}: not recorded"
    )
    return [view for view in views if view not in absent], (said,)


def _remarks(project: Project, views: Sequence[PlacedView], unit: WorldUnit) -> list[str]:
    said = [Statement(unit.said) if unit.known else unit.said]
    unplaced = [view.name for view in views if view.place not in project.transforms]
    if unplaced:
        said.append(
            f"{project.path} has no registration of {_some(unplaced)}: laid from 0 on, with pixels of one world unit"
        )
    adjusted = [view.name for view in views if view.place in project.adjustments]
    if adjusted:
        said.append(f"brightness adjusted as the project says: {_some(adjusted)}")
    return said


def _twice(project: Project, levels: Mapping[PlacedView, ViewLevel]) -> Iterator[str]:
    """A line for each volume that several views are said to be."""
    kept: dict[tuple[object, ...], list[PlacedView]] = {}
    for view, level in levels.items():
        if level.kept_in is not None:
            kept.setdefault(level.kept_in, []).append(view)
    for (file, *_), views in kept.items():
        if len(views) > 1:
            setups = " and ".join(f"setup {view.place[1]} ('{view.name}')" for view in views)
            yield f"{setups} have the same pixels, those of {file}: correct the names of files in {project.path}"


def _numbers(numbers: Sequence[int]) -> str:
    if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(map(str, numbers[:_SHOWN])) + (f", … {numbers[-1]}" if len(numbers) > _SHOWN else "")


def _listed(parts: Sequence[NamedPart]) -> str:
    return ", ".join(map(str, parts[:_SHOWN])) + (", …" if len(parts) > _SHOWN else "")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f", … ({len(names)})" if len(names) > _SHOWN else "")


def _times(shape: Sequence[int]) -> str:
    return " x ".join(str(n) for n in shape)
