"""The volumes of a series fused one after the other, each opened when its turn comes; what fails is left out and told."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_mvfusion.data.events import Cancelled, Event, Finished, Noted, TileDone, TileStep, Warned
from napari_mvfusion.data.fused import Fused
from napari_mvfusion.data.geometry import Grid, Triple
from napari_mvfusion.engine.fusion import check_before_reading, fuse_events, until
from napari_mvfusion.engine.recipe import Recipe
from napari_mvfusion.engine.run import Stop
from napari_mvfusion.engine.series import volume_label
from napari_mvfusion.engine.series_choice import SeriesChoice
from napari_mvfusion.engine.series_findings import Findings, SeriesFindings
from napari_mvfusion.engine.series_output import GatheredSeries, Index, SeriesOutput, series_output
from napari_mvfusion.engine.series_recipe import SeriesRecipe, repeated_fingerprint, series_fingerprint
from napari_mvfusion.engine.shared_light import SharedLight
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.atomic import sweep, writing
from napari_mvfusion.methods.base import Method
from napari_mvfusion.system.devices import pick_device
from napari_mvfusion.system.locks import locked
from napari_mvfusion.system.words import times

_SIZES = {"shape": "voxels", "voxel_size_um": "um a voxel"}


@dataclass(frozen=True)
class VolumeBegun:
    """A volume of a series is begun: which one, counted from 1, of how many, and what it is called."""

    number: int
    count: int
    words: str


@dataclass(frozen=True)
class VolumeDone:
    """A volume of a series is fused and safe.

    Attributes
    ----------
    number, count : which one, counted from 1, of how many
    words : what it is called
    seconds : that it took
    seconds_left : that all others will take, if they take as long
    """

    number: int
    count: int
    words: str
    seconds: float
    seconds_left: float


@dataclass(frozen=True)
class VolumeFailed:
    """A volume of a series cannot be fused, for the reason in one line; the others go on."""

    number: int
    count: int
    words: str
    reason: str


@dataclass(frozen=True)
class SeriesFinished:
    """The series is complete, but for the volumes that failed.

    Attributes
    ----------
    fused : how many volumes it has, those of earlier runs too
    failed : those that it has not
    files : what holds them: one file, or that of each
    made_before : whether an earlier run had finished it, so that this one had nothing to do
    """

    fused: int
    failed: tuple[VolumeFailed, ...]
    files: tuple[Path, ...]
    made_before: bool = False


VolumeEvents = Generator[Event, None, Fused | None]
RunEvent = Event | VolumeBegun | VolumeDone | VolumeFailed | SeriesFinished
RunEvents = Generator[RunEvent, None, None]


def fuse_chosen(
    choice: SeriesChoice,
    method: Method,
    out: Path,
    *,
    device: str = "auto",
    tile: Triple | None = None,
    resume: bool = False,
    overwrite: bool = False,
    per_timepoint: bool = False,
    cancel: Callable[[], bool] = lambda: False,
    memory_bytes: int | None = None,
) -> RunEvents:
    """Fuse the volumes of a series by one method, which finds lost light and iterations once for each channel.

    Parameters
    ----------
    choice : which volumes
    method : with its parameters
    out : a new `.zarr`, which gets all volumes, or another name, from which the names of a file for each are made
    device, tile, cancel, memory_bytes : as for `fuse_events`
    resume : go on with an unfinished run, or do what failed in a finished one; of what is finished no view is read
    overwrite : replace what is there
    per_timepoint : find lost light and iterations on each volume, see `napari_mvfusion.engine.series_findings`

    Yields
    ------
    The events of the volumes, without their ends; `VolumeBegun` before and `VolumeDone` or `VolumeFailed` after each; the
    last one is `SeriesFinished` or `Cancelled`.

    Raises
    ------
    InputError
        If the method cannot use the views of a channel, as where these have no PSFs.
    OutputError, DeviceError, MemoryShortage
        What would end the run of every volume, ends that of the series; what is finished is kept.
    """

    def begin(index: Index, target: Path, how: Mapping[str, bool]) -> VolumeEvents:
        inputs = choice.inputs_at(index)
        views = inputs.open()
        if output.kept and gathered:
            yield from _check_grid(views.grid, json.loads(next(iter(output.kept.values())))["grid"])
        found = Findings() if per_timepoint else (yield from findings.of(index, output.kept))
        light = found.light
        if light is not None and not light.fits(views):
            light = None
            yield Noted("lost light is found on each time point whose shape or views are not those of the first")
        fused = yield from fuse_events(
            views,
            method,
            device=device,
            tile=tile,
            out=target,
            cancel=cancel,
            memory_bytes=memory_bytes,
            inputs=inputs.model_dump(mode="json"),
            like=found.iterations,
            light=light,
            resume=how["resume"],
            overwrite=how["overwrite"],
        )
        return fused

    target_device = pick_device(device)
    fingerprint = series_fingerprint(choice, method, target_device.type, per_timepoint=per_timepoint)
    findings = SeriesFindings(choice, method, target_device, memory_bytes, cancel)
    output = series_output(out, choice, fingerprint, resume=resume, overwrite=overwrite)
    gathered = isinstance(output, GatheredSeries)
    _check_output(output, choice)
    _check_channels(choice, method)
    yield from _fuse_volumes(output, choice, begin, cancel)


def repeat_series(
    recipe: SeriesRecipe,
    out: Path,
    *,
    device: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    cancel: Callable[[], bool] = lambda: False,
    memory_bytes: int | None = None,
) -> RunEvents:
    """Make the volumes of a recipe again; those that failed then are left out again.

    See `fuse_chosen` for parameters, events and errors; and `Recipe.repeat` for what is checked of each volume.
    """
    choice = recipe.choice
    recipes = dict(zip(choice.indices, recipe.series, strict=True))

    lights: dict[str, SharedLight | None] = {}

    def begin(index: Index, target: Path, how: Mapping[str, bool]) -> VolumeEvents:
        made = recipes[index]
        if not isinstance(made, Recipe):
            raise InputError(f"it failed when the recipe was made: {made.failed}")
        found_on = json.dumps(made.run.lost_light_from)
        if found_on not in lights:
            lights[found_on] = yield from until(made.shared_light(), cancel)
        light = lights[found_on]
        fused = yield from made.repeat(
            target, device=device, cancel=cancel, memory_bytes=memory_bytes, light=light, **how
        )
        return fused

    run = next((made.run for made in recipe.series if isinstance(made, Recipe)), None)
    where = device or ("auto" if run is None else run.device)
    fingerprint = repeated_fingerprint(recipe, pick_device(where).type)
    output = series_output(out, choice, fingerprint, resume=resume, overwrite=overwrite)
    _check_output(output, choice)
    yield from _fuse_volumes(output, choice, begin, cancel)


def _check_output(output: SeriesOutput, choice: SeriesChoice) -> None:
    opening = choice.inputs.model_dump(mode="json")
    check_before_reading(output.named, opening, overwrite=output.overwrite, resume=output.resume)
    output.check()


def _check_channels(choice: SeriesChoice, method: Method) -> None:
    """Refuse channels whose views the method cannot use, by the first time point of each."""
    for index in choice.indices[: len(choice.channels)]:
        try:
            views = choice.inputs_at(index).open()
        except InputError:
            continue  # it is told when its turn comes
        try:
            method.check(views)
        except InputError as error:
            where = f"{choice.words_at(index)}: " if len(choice.channels) > 1 else ""
            raise InputError(f"{where}{error}") from error


def _fuse_volumes(
    output: SeriesOutput,
    choice: SeriesChoice,
    begin: Callable[[Index, Path, Mapping[str, bool]], VolumeEvents],
    cancel: Callable[[], bool],
) -> RunEvents:
    """Fuse what is not kept, in order."""
    count = len(choice.indices)
    failed: dict[Index, VolumeFailed] = {}
    with ExitStack() as held:
        with writing(output.place):
            held.enter_context(locked(output.place))
            sweep(output.place)
        try:
            finished = yield from output.begin(cancel)
        except Stop:
            yield Cancelled(0, count, None)
            return
        for note in output.notes:
            yield Warned(note)
        if finished:
            yield SeriesFinished(count, (), output.files, made_before=True)
            return
        computed, started = 0, time.perf_counter()
        todo = [(number, index) for number, index in enumerate(choice.indices) if index not in output.kept]
        for place, (number, index) in enumerate(todo):
            begun = time.perf_counter()
            words = choice.words_at(index)
            volume = VolumeBegun(number + 1, count, words)
            yield volume
            try:
                fused = yield from _one_volume(output, index, volume, begin)
            except InputError as error:
                output.drop(index)
                failed[index] = VolumeFailed(number + 1, count, words, str(error))
                yield failed[index]
                continue
            if fused is None or cancel():
                if fused is not None:
                    output.keep(index, fused.recipe)
                yield Cancelled(len(output.kept), count, output.folder)
                return
            output.keep(index, fused.recipe)
            computed += 1
            now = time.perf_counter()
            left = (now - started) / computed * (len(todo) - place - 1)
            yield VolumeDone(number + 1, count, words, now - begun, left)
        if output.kept:
            output.finish([_recipe_of(index, output, failed) for index in choice.indices])
        else:
            output.discard()
    yield SeriesFinished(len(output.kept), tuple(failed.values()), output.files)


def _one_volume(
    output: SeriesOutput,
    index: Index,
    volume: VolumeBegun,
    begin: Callable[[Index, Path, Mapping[str, bool]], VolumeEvents],
) -> VolumeEvents:
    """The events of a volume, as parts of those of the series."""
    events = begin(index, output.target(index), output.how())
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            fused: Fused | None = end.value
            return fused
        except Stop:
            return None
        match event:
            case TileDone() | TileStep():
                before, count = volume.number - 1, volume.count
                label = volume_label(event.label, before, count, volume.words)
                yield replace(event, label=label, fraction=(before + event.fraction) / count)
            case Finished() | Cancelled():
                pass  # the end of a volume is not that of the series
            case _:
                yield event


def _recipe_of(index: Index, output: SeriesOutput, failed: Mapping[Index, VolumeFailed]) -> dict[str, Any]:
    if index in failed:
        return {"failed": failed[index].reason}
    recipe: dict[str, Any] = json.loads(output.kept[index])
    return recipe


def _check_grid(grid: Grid, first: Mapping[str, Any]) -> Generator[Warned, None, None]:
    """Refuse a volume that is not as large as the first one, in the same file."""
    for key, what in _SIZES.items():
        now, then = getattr(grid, key), first[key]
        if any(abs(a - b) > 1e-6 * abs(b) for a, b in zip(now, then, strict=True)):
            raise InputError(
                f"its fused volume has {times(now)} {what}, and that of the first {times(then)}: fuse it alone, give all "
                "the same --box and --grid, or write a file for each, as fused.tif"
            )
    if any(
        abs(a - b) > 1e-6 * min(grid.voxel_size_um) for a, b in zip(grid.origin_um, first["origin_um"], strict=True)
    ):
        yield Warned("the volumes begin at other places: that of the first is written for all")
