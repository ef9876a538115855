"""The volumes of a series fused as one run, each opened when its turn comes; what fails is left out and told."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_mvfusion.data.events import Cancelled, Event, Prepared, Preparing, Warned
from napari_mvfusion.data.geometry import Triple
from napari_mvfusion.engine.fusion import check_before_reading, until
from napari_mvfusion.engine.progress import ProgressFile
from napari_mvfusion.engine.recipe import Recipe
from napari_mvfusion.engine.running_series import (
    FuseVolume,
    InTurn,
    RepeatVolume,
    RunningSeries,
    SeriesSteps,
    VolumeBegun,
    VolumeDone,
    VolumeFailed,
    VolumeRunner,
    VolumeTask,
)
from napari_mvfusion.engine.series_choice import SeriesChoice
from napari_mvfusion.engine.series_findings import Findings, SeriesFindings
from napari_mvfusion.engine.series_output import GatheredSeries, Index, SeriesOutput, series_output
from napari_mvfusion.engine.series_recipe import SeriesRecipe, repeated_fingerprint, series_fingerprint
from napari_mvfusion.engine.shared_light import SharedLight
from napari_mvfusion.engine.tile_work import Stop
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.atomic import sweep, writing
from napari_mvfusion.methods.base import Method
from napari_mvfusion.system.locks import locked

# Who looks whether the place of an output is taken holds its lock for an instant.
_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class SeriesFinished:
    """The series is complete, but for the volumes that failed.

    Attributes
    ----------
    fused : how many volumes it has, those of earlier runs too
    failed : those that it has not
    files : what holds them: one file, or that of each
    made_before : whether an earlier run had finished it, so that this one had nothing to do
    seconds : that this run took
    """

    fused: int
    failed: tuple[VolumeFailed, ...]
    files: tuple[Path, ...]
    made_before: bool = False
    seconds: float = 0.0


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
    runner: VolumeRunner | None = None,
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
    runner : who fuses them, as `napari_mvfusion.engine.cluster` on other computers; None for this process, in turn

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
    runner = runner or InTurn()
    kind, here = yield from runner.begin(choice, device)
    fingerprint = series_fingerprint(choice, method, kind, per_timepoint=per_timepoint)
    findings = SeriesFindings(choice, method, here, memory_bytes, cancel)
    output = series_output(out, choice, fingerprint, resume=resume, overwrite=overwrite)
    _check_output(output, choice)
    _check_channels(choice, method)
    gathered = isinstance(output, GatheredSeries)

    def task_of(index: Index) -> Generator[Event, None, VolumeTask]:
        inputs = choice.inputs_at(index)
        found = Findings() if per_timepoint else (yield from findings.of(index, output.kept))
        return FuseVolume(inputs, method, device, tile, memory_bytes, found, gathered)

    yield from _fuse_volumes(output, choice, task_of, runner, cancel)


def repeat_series(
    recipe: SeriesRecipe,
    out: Path,
    *,
    device: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    cancel: Callable[[], bool] = lambda: False,
    memory_bytes: int | None = None,
    runner: VolumeRunner | None = None,
) -> RunEvents:
    """Make the volumes of a recipe again; those that failed then are left out again.

    See `fuse_chosen` for parameters, events and errors; and `Recipe.repeat` for what is checked of each volume.
    """
    choice = recipe.choice
    runner = runner or InTurn()
    run = next((made.run for made in recipe.series if isinstance(made, Recipe)), None)
    kind, _ = yield from runner.begin(choice, device or ("auto" if run is None else run.device))
    fingerprint = repeated_fingerprint(recipe, kind)
    output = series_output(out, choice, fingerprint, resume=resume, overwrite=overwrite)
    _check_output(output, choice)
    recipes = dict(zip(choice.indices, recipe.series, strict=True))
    lights: dict[str, SharedLight | None] = {}

    def task_of(index: Index) -> Generator[Event, None, VolumeTask]:
        made = recipes[index]
        if not isinstance(made, Recipe):
            raise InputError(f"it failed when the recipe was made: {made.failed}")
        found_on = json.dumps(made.run.lost_light_from)
        if found_on not in lights:
            lights[found_on] = yield from until(made.shared_light(), cancel)
        return RepeatVolume(made, device, memory_bytes, lights[found_on])

    yield from _fuse_volumes(output, choice, task_of, runner, cancel)


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
    task_of: Callable[[Index], Generator[Event, None, VolumeTask]],
    runner: VolumeRunner,
    cancel: Callable[[], bool],
) -> RunEvents:
    """Fuse what is not kept."""
    count, began = len(choice.indices), time.monotonic()
    with ExitStack() as held:
        with writing(output.place):
            held.enter_context(locked(output.place, wait_seconds=_LOOK_SECONDS))
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
        series = RunningSeries(output, choice, task_of)
        in_turn = isinstance(runner, InTurn)
        settled = yield from _with_progress(output, count, runner.fuse(series, cancel), in_turn=in_turn)
        if not settled:
            yield Cancelled(len(output.kept), count, output.folder)
            return
        if output.kept:
            output.finish([_recipe_of(index, series) for index in choice.indices])
        else:
            output.discard()
    seconds = time.monotonic() - began
    yield SeriesFinished(len(output.kept), tuple(series.failed.values()), output.files, seconds=seconds)


def _with_progress(output: SeriesOutput, count: int, steps: SeriesSteps, *, in_turn: bool) -> SeriesSteps:
    """The steps of a series, which are noted in its folder as they come."""
    file = ProgressFile(output.folder)
    file.tell(replace(file.now, finished=len(output.kept), share=len(output.kept) / count, count=count))
    while True:
        try:
            event = next(steps)
        except StopIteration as end:
            settled: bool = end.value
            return settled
        match event:
            case VolumeBegun(number, words=words) if in_turn:
                file.tell(replace(file.now, label="", volume=(number, words)))
            case VolumeDone() | VolumeFailed():
                done = file.now.finished + 1
                file.tell(replace(file.now, share=done / count, finished=done, written=file.now.written + 1))
            case Preparing() if not file.now.preparing:
                pass  # how far that is counts for one volume alone
            case _ if in_turn or isinstance(event, (Prepared, Preparing)):
                file.follow(event)
        yield event


def _recipe_of(index: Index, series: RunningSeries) -> dict[str, Any]:
    if index in series.failed:
        return {"failed": series.failed[index].reason}
    recipe: dict[str, Any] = json.loads(series.output.kept[index])
    return recipe
