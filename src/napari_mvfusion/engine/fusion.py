"""The engine: reads tiles with their halo, runs a method, writes the result, and yields events.

The command line, the GUI, a notebook and a cluster all run `fuse_events`. It is a generator: between two events it
polls for cancel, and whatever is finished by then is kept.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from napari_mvfusion.addresses import address_of
from napari_mvfusion.data.checks import check_image
from napari_mvfusion.data.events import Cancelled, Event, Finished, Noted, Prepared, Preparing, Warned, as_event
from napari_mvfusion.data.fused import Fused
from napari_mvfusion.data.geometry import Grid, Triple, triple
from napari_mvfusion.data.seen import about_unseen
from napari_mvfusion.data.tiles import TilePlan
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.finished import check_finished, voxels_entry
from napari_mvfusion.engine.finishing import partial_folder, recipe_path
from napari_mvfusion.engine.iteration_choice import IterationChoice, choice_of, choose_iterations
from napari_mvfusion.engine.maps import image_events, map_events, stale_maps, wanted_maps
from napari_mvfusion.engine.outputs import ArrayOutput, CheckedOutput, FileOutput, Output, open_output
from napari_mvfusion.engine.planning import EstimateStorage, RunPlan, plan_run
from napari_mvfusion.engine.progress import with_progress
from napari_mvfusion.engine.provenance import as_done, describe_run, fingerprint, with_iterations
from napari_mvfusion.engine.run import Run
from napari_mvfusion.engine.shared_light import SharedLight
from napari_mvfusion.engine.shared_tiles import SharedRun, TileRunner
from napari_mvfusion.engine.tile_work import Stop
from napari_mvfusion.engine.workspace import Workspace, check_free, check_output, found_before
from napari_mvfusion.errors import DiskFullError, InputError, MemoryShortage, OutputError
from napari_mvfusion.imaging.threads import Interrupted, interruptible, limit_forked_child
from napari_mvfusion.io.absent_pieces import about_absent
from napari_mvfusion.io.atomic import check_place, sweep, writing
from napari_mvfusion.io.folder import scan_folder
from napari_mvfusion.io.formats import is_folder_of_files, open_stored, place_of, writer_of
from napari_mvfusion.io.name_table import read_names
from napari_mvfusion.io.overlap import files_of, places_in, refuse_overlap
from napari_mvfusion.measures.advice import about_gains, about_hot_pixels, about_offsets, about_voids
from napari_mvfusion.measures.camera_offset import find_dark_levels
from napari_mvfusion.methods.base import BoundMethod, Method
from napari_mvfusion.psf.directions import about_one_direction, about_psfs_across
from napari_mvfusion.system.devices import describe_device, free_bytes, losses_in_words, pick_device
from napari_mvfusion.system.file_checks import is_there
from napari_mvfusion.system.locks import locked

T = TypeVar("T")

_CPU_SHARE = 0.5
_GPU_SHARE = 0.8
# A start that is refused holds the lock for an instant, which must not turn away another that would work.
_REFUSAL_SECONDS = 2.0


def fuse(
    views: RegisteredViews,
    method: Method,
    *,
    device: str = "auto",
    tile: Triple | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    memory_bytes: int | None = None,
    maps: bool = False,
) -> Fused:
    """Fuse registered views and return the fused volume; see `fuse_events` for the parameters.

    Warnings of the run, and what was guessed or left out when the views were opened, are Python warnings (`UserWarning`).
    """
    events = fuse_events(
        views,
        method,
        device=device,
        tile=tile,
        out=out,
        resume=resume,
        overwrite=overwrite,
        memory_bytes=memory_bytes,
        maps=maps,
    )
    for event in events:
        if isinstance(event, Warned):
            warnings.warn(event.message, stacklevel=2)
        elif isinstance(event, Finished):
            return event.fused
    raise AssertionError("a run that is not cancelled ends with Finished")


def fuse_events(
    views: RegisteredViews,
    method: Method,
    *,
    device: str = "auto",
    tile: Triple | None = None,
    out: str | Path | None = None,
    into: np.ndarray | None = None,
    resume: bool = False,
    overwrite: bool = False,
    cancel: Callable[[], bool] = lambda: False,
    memory_bytes: int | None = None,
    inputs: Mapping[str, Any] | None = None,
    like: IterationChoice | None = None,
    light: SharedLight | None = None,
    maps: bool = False,
    runner: TileRunner | None = None,
) -> Generator[Event, None, Fused | None]:
    """Fuse registered views, step by step.

    Parameters
    ----------
    views : the views, on one grid
    method : one of `napari_mvfusion.methods`, with its parameters
    device : "auto", "cpu", "cuda", "cuda:1" or "mps"; "auto" takes the fastest that is there
    tile : voxels (z, y, x) of a tile, or None for the largest that fits into memory
    out : a new `.zarr` (OME-Zarr), `.tif` (OME-TIFF) or `.h5` (HDF5, also with the name of a dataset, as `fused.h5:/left`),
        or None for an array in memory
    into : float32 array (z, y, x) of the grid's shape that is filled while the run goes on, or None
    resume : go on with an unfinished run of `out` where there is one
    overwrite : replace `out` when it exists, once the new result is complete
    cancel : polled between steps; when it returns True the run ends with a `Cancelled` event
    memory_bytes : memory that the run may take, or None for half of what is free (0.8 of it on a GPU)
    inputs : how the views were opened, for the recipe: arguments of `open_views`
    like : how many iterations the volumes of the same series take, where the method leaves that to be found; None to
        find it
    light : from which the lost light of all volumes of the same series is found; None to find it on these views
    maps : make what says how far the result can be trusted too; of a file, in files beside it: `fused-uncertainty.tif`,
        for methods that say so, and `fused-unsupported.tif`
    runner : who computes the tiles of a file, as `napari_mvfusion.engine.cluster` on other computers, which open the views
        by `inputs`; None for this process

    Yields
    ------
    Events of `napari_mvfusion.data.events`, the last one `Finished` or `Cancelled`.

    Returns
    -------
    The fused volume, or None when the run was cancelled.

    Raises
    ------
    InputError, OutputError, DeviceError, MemoryShortage
        Before any long work where that is possible; each names the culprit and the fix.
    """
    named = None if out is None else Path(out)
    run = partial(
        _fuse_to,
        device=device,
        tile=tile,
        resume=resume,
        overwrite=overwrite,
        cancel=cancel,
        memory_bytes=memory_bytes,
        inputs=inputs,
        light=light,
        runner=runner,
    )
    if not maps:
        for event in run(views, method, named, into=into, like=like):
            if isinstance(event, Finished):
                for message in stale_maps(event.fused):
                    yield Warned(message)
                yield event
                return event.fused
            yield event
        return None
    wanted = wanted_maps(views, method, named, resume=resume, overwrite=overwrite)
    refuse_overlap(
        [each for place in wanted.places.values() for each in _places_of(place_of(place))], read_from(inputs, views)
    )
    fused, seconds = yield from image_events(run(views, method, named, into=into, like=like, maps=True))
    if fused is None:
        return None
    known = views if light is None else light.given_to(views)
    finding = map_events(fused, known, method, wanted, partial(run, views), pick_device(device), resume=resume)
    started = time.perf_counter()
    try:
        made = yield from until(finding, cancel)
    except Stop:
        made = None
    if made is None:
        yield Warned("the fused volume is complete, and its maps are not: they were cancelled")
    fused = replace(fused, maps=made, made_before=fused.made_before and made is not None and made.made_before)
    yield Finished(fused, seconds + time.perf_counter() - started)
    return fused


def _fuse_to(
    views: RegisteredViews,
    method: Method,
    named: Path | None,
    *,
    into: np.ndarray | None = None,
    resume: bool,
    overwrite: bool,
    inputs: Mapping[str, Any] | None,
    **how: Any,
) -> Generator[Event, None, Fused | None]:
    """Fuse into one place, which nobody else has meanwhile; parameters are those of `fuse_events`."""
    with ExitStack() as held:
        if named is not None:
            if into is not None:
                raise InputError("give either an output file or an array to fill, not both")
            path = writer_of(named).place(named)
            check_place(path)
            refuse_overlap(_places_of(path), read_from(inputs, views))
            with writing(path):
                held.enter_context(locked(path, wait_seconds=_REFUSAL_SECONDS))
                sweep(path)
            check_output(named, overwrite=overwrite, resume=resume)
        events = _fuse(views, method, named=named, into=into, resume=resume, overwrite=overwrite, inputs=inputs, **how)
        if named is not None:
            events = with_progress(partial_folder(place_of(named)), events)
        try:
            fused = yield from (_silent_where_finished(events) if resume else events)
        except DiskFullError as full:
            raise DiskFullError(full.path, "go on with --resume: finished tiles are kept", full.too_long) from full
    return fused


def check_before_reading(
    out: Path, inputs: Mapping[str, Any] | None = None, *, overwrite: bool = False, resume: bool = False
) -> None:
    """Refuse an output that cannot be made, before views are opened; `fuse_events` looks once more.

    Parameters
    ----------
    out : of the run
    inputs : how the views will be opened
    overwrite, resume : as for `fuse_events`

    Raises
    ------
    OutputError
        If its name says no format, its folder is missing or cannot be written, it is one of the inputs, or it exists and may
        not be overwritten.
    """
    place = writer_of(out).place(out)
    check_place(place)
    refuse_overlap(_places_of(place), read_from(inputs))
    check_free(out, overwrite=overwrite, resume=resume)


def _places_of(out: Path) -> list[Path]:
    """What a run makes, replaces or removes."""
    return [out, partial_folder(out), recipe_path(out)]


def _silent_where_finished(
    events: Generator[Event, None, Fused | None],
) -> Generator[Event, None, Fused | None]:
    """The events of a run; what it has to say of its input only once it is clear that something is left to do."""
    held: list[Event] = []
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            fused: Fused | None = end.value
            return fused
        if isinstance(event, (Warned, Noted)):
            held.append(event)
        elif isinstance(event, Preparing):
            yield event
        else:
            if not (isinstance(event, Finished) and event.fused.made_before):
                yield from held
            yield event
            result = yield from events
            return result


def _fuse(
    views: RegisteredViews,
    method: Method,
    *,
    device: str,
    tile: Triple | None,
    named: Path | None,
    into: np.ndarray | None,
    resume: bool,
    overwrite: bool,
    cancel: Callable[[], bool],
    memory_bytes: int | None,
    inputs: Mapping[str, Any] | None,
    like: IterationChoice | None = None,
    light: SharedLight | None,
    maps: bool = False,
    runner: TileRunner | None,
) -> Generator[Event, None, Fused | None]:
    """The run itself, which has the place of its output for itself."""
    started = time.perf_counter()
    kind, target_device = yield from _device_of(device, named, views, inputs, runner)
    if limit_forked_child() and target_device.type == "cpu":
        yield Warned(
            "this process was forked, so one thread computes: start processes with 'spawn' or 'forkserver' to use all"
        )
    checked = method.check(views)
    for message in checked:
        yield as_event(message)
    for message in about_one_direction(views):
        yield Warned(message)
    if any(view.psf is not None or view.psf_flaw for view in views.views):
        yield from _say_psfs(views, method, checked)
    for message in about_absent((view.name, view.data) for view in views.views):
        yield Noted(message)
    recognised = {view.name for view in views.views if view.no_data == "auto"}
    try:
        yield from until(views.scan(), cancel)
        for note in views.notes:
            yield as_event(note)
        for view, numbers in zip(views.views, views.statistics(), strict=True):
            check_image(view, numbers)
        unseen = yield from until(views.unseen_share(), cancel)
        if unseen:
            # Fields seldom fill a volume; that views count nowhere at a place was hardly meant.
            by_trust = any(view.trust is not None for view in views.views)
            if by_trust:
                by_trust = (yield from until(views.counting_everywhere().unseen_share(), cancel)) < unseen
            yield (Warned if by_trust else Noted)(about_unseen(unseen, by_trust=by_trust))
        given = views
        if light is not None:
            views = light.given_to(views)
        if method.removes_hot:
            views = views.without_hot()
        dark = find_dark_levels(views)
        found = [*about_voids(views, recognised), *about_hot_pixels(views), *about_offsets(views, dark)]
        # A method without that parameter allows for no lost light.
        attenuation: Any = getattr(method, "attenuation", "none")
        for message in [*found, *about_gains(views, dark, attenuation)]:
            yield as_event(message)
        views, unit = views.in_safe_unit()
        recipe = describe_run(given, method, torch.device(kind), inputs)
        recipe["run"] |= {} if runner is None else {"threads": runner.threads}
        recipe["run"] |= {"unseen_share": unseen} if unseen else {}
        recipe["run"] |= {"maps": True} if maps else {}
        recipe["run"] |= {} if light is None else {"lost_light_from": list(light.found_on)}
        asked = fingerprint(recipe)
        choice = None
        if method.trial is not None:
            choice = _choice_before(named, asked) if resume else None
            choice = choice or like
            if choice is None:
                method.look_through(views)
                budget = budget_for(target_device, memory_bytes)
                finding = choose_iterations(views, method, target_device, budget=budget, cancel=cancel)
                choice = yield from until(finding, cancel)
            yield Noted(choice.words)
            method = method.with_iterations(choice.number)
            recipe = with_iterations(recipe, choice.number, choice.because)
        bound = yield from until(method.prepare(views, target_device), cancel)
    except Stop:
        yield Cancelled(0, 0, None)
        return None
    workspace = None
    output: Output
    if named is None:
        output = ArrayOutput(views.grid, into)
    else:
        path = place_of(named)
        workspace = Workspace(
            path,
            asked,
            resume=resume,
            overwrite=overwrite,
            made_with=_made_with(path) if resume else (),
            inside=str(named)[len(str(path)) :].strip(":/"),
            found=None if choice is None else {"iterations": choice.number, "because": choice.because},
        )
        if workspace.finished and named != path:
            _check_holds(path, named)
        for note in workspace.notes:
            yield Warned(note)
        if workspace.finished or workspace.placed:
            try:
                finished = yield from until(_finished_before(named, workspace, views.grid, recipe), cancel)
            except Stop:
                yield Cancelled(0, 0, None)
                return None
            yield Finished(finished, time.perf_counter() - started)
            return finished
        output = FileOutput(named, views.grid, workspace, overwrite=overwrite)
    begun = workspace is not None and workspace.plan is not None
    try:
        plan = _plan(bound, views, output, workspace, target_device, tile, memory_bytes, runner)
    except MemoryShortage:
        if workspace is not None:
            workspace.discard()  # without a plan there is nothing in it
        raise
    if note := _about_tiles(tile, plan.tiles, output.chunk, begun=begun):
        yield Noted(note)
    if runner is not None:
        assert isinstance(output, FileOutput)
        assert workspace is not None
        runner.take(
            SharedRun(
                opened=given.given,
                inputs=inputs or {},
                views=views,
                method=method,
                bound=bound,
                plan=plan,
                folder=workspace.folder,
                aside=workspace.begin_sharing(),
                described=output.described,
                unit=unit,
                unseen=bool(unseen),
            )
        )
    output = CheckedOutput(output, unit, views.seen if unseen else None)
    recipe["run"] |= {"tile": list(plan.tiles.tile), "storage": plan.storage.value}
    live = into is not None
    with Run(views, bound, plan, target_device, output, workspace, cancel, live=live, runner=runner) as run:
        if run.lost_tiles:
            tiles = "a tile" if run.lost_tiles == 1 else f"{run.lost_tiles} tiles"
            yield Warned(f"{tiles} of the unfinished run were missing or damaged on the disk: they are computed again")
        yield Prepared(
            method.title,
            describe_device(target_device) if runner is None else runner.words,
            plan.tiles.tile,
            len(plan.tiles.boxes),
            len(bound.stages),
            run.finished_tiles,
            plan.bound_bytes if choice is None else max(plan.bound_bytes, choice.memory_bytes),
        )
        try:
            yield from run.events()
        except Stop:
            kept = None if workspace is None else workspace.folder
            yield Cancelled(run.finished_tiles, run.total_tiles, kept)
            return None
        finally:
            if runner is not None:
                runner.end()
    if outcome := bound.outcome():
        recipe["run"]["outcome"] = outcome
        yield Noted(outcome)
    recipe["run"] |= {"iterations_done": len(run.changes)} if run.changes else {}
    recipe["run"] |= voxels_entry(run.digests) if workspace is not None else {}
    fused = Fused(output.finish(recipe, run.changes), views.grid, recipe, named, tuple(run.changes))
    yield Finished(fused, time.perf_counter() - started)
    return fused


def _device_of(
    device: str,
    named: Path | None,
    views: RegisteredViews,
    inputs: Mapping[str, Any] | None,
    runner: TileRunner | None,
) -> Generator[Event, None, tuple[str, torch.device]]:
    """The kind of device that computes, and that on which is found here what tiles have in common."""
    if runner is None:
        found = pick_device(device)
        return found.type, found
    if named is None or inputs is None:
        raise InputError(
            "others compute what goes from files into a file: save the views, and say where the result goes"
        )
    found_there = yield from runner.begin(device, read_from(inputs, views))
    yield from runner.check_place(place_of(named))
    return found_there


def _say_psfs(views: RegisteredViews, method: Method, before: Sequence[str]) -> Generator[Event, None, None]:
    """What was done to the PSFs, and whether they lie across the views, where the method needs them, unless it was said."""
    try:
        method.check(views.with_psfs([None] * len(views)))
    except InputError:
        for message in about_psfs_across(views):
            if message not in before:
                yield Warned(message)
        for view in views.views:
            if view.psf_notes:
                yield Noted(f"PSF of view '{view.name}': {'; '.join(view.psf_notes)}")
    else:
        for view in views.views:
            if view.psf_flaw:
                yield Noted(f"{view.psf_flaw}; {method.title} needs no PSF")


def read_from(inputs: Mapping[str, Any] | None, views: RegisteredViews | None = None) -> list[Path]:
    """The files and folders that a run reads, as far as is known."""
    known = () if views is None else views.views
    said = (*places_in(inputs), *(Path(view.source) for view in known if view.source))
    here = [path for path in dict.fromkeys(said) if address_of(path) is None]
    named = [place for path in here if is_there(place := place_of(path))]
    places = [
        *named,
        *(path for view in known for array in (view.data, view.mask, view.trust) for path in files_of(array)),
    ]
    pattern, source = (None, None) if inputs is None else (inputs.get("pattern"), inputs.get("source"))
    if pattern is not None and source is not None:
        return [*places, *(path for path, _ in read_names(source, pattern).matched)]
    for folder in filter(is_folder_of_files, named):
        names = scan_folder(folder)
        places += names.psfs.values()
        for sample in names.samples.values():
            places += [*sample.views.values(), *sample.psfs.values(), *filter(None, [sample.truth])]
    return places


def _choice_before(named: Path | None, asked: str) -> IterationChoice | None:
    """What an earlier run of the same, finished or not, has found; a resumed one must not find otherwise."""
    if named is None:
        return None
    path = place_of(named)
    found = found_before(path, asked)
    if found is not None:
        return IterationChoice(int(found["iterations"]), str(found["because"]))
    if asked not in _made_with(path):
        return None
    return choice_of(json.loads(recipe_path(path).read_text(encoding="utf-8")))


def _made_with(out: Path) -> tuple[str, ...]:
    """The fingerprints of runs that make what an output is, by the recipe beside it; none where there is no recipe."""
    try:
        recipe = json.loads(recipe_path(out).read_text(encoding="utf-8"))
        return fingerprint(recipe), fingerprint(as_done(recipe))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ()


def _finished_before(
    named: Path, workspace: Workspace, grid: Grid, recipe: dict[str, Any]
) -> Generator[Event, None, Fused]:
    """What an earlier run has made with a recipe, once all of it is in its place; a damaged recipe is written anew."""
    written = workspace.finishing.recipe
    try:
        recipe = json.loads(written.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        with writing(written):
            written.write_text(json.dumps(recipe, indent=2) + "\n", encoding="utf-8")
    yield from check_finished(named, recipe)
    placing = workspace.last("placing")
    changes = () if placing is None else tuple(placing["changes"])
    if placing is not None:
        workspace.tidy()
    return Fused(open_output(named), grid, recipe, named, changes, made_before=True)


def _check_holds(path: Path, named: Path) -> None:
    """Refuse a file that holds a finished volume of another name; one that is damaged is told later."""
    try:
        open_stored(path)
    except InputError:
        return
    try:
        open_stored(named)
    except InputError as error:
        raise OutputError(
            f"{path} exists already and {named} is not in it ({error}): choose another output, or allow it to be "
            "overwritten (--overwrite)"
        ) from error


def until(steps: Generator[Event, None, T], cancel: Callable[[], bool]) -> Generator[Event, None, T]:
    """Pass events on and return the generator's result, unless the user cancels."""
    while True:
        if cancel():
            steps.close()
            raise Stop
        try:
            with interruptible(cancel), losses_in_words():
                event = next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        except Interrupted:
            raise Stop from None
        yield event


def _about_tiles(wanted: Triple | None, plan: TilePlan, chunk: Triple, *, begun: bool) -> str:
    """Why tiles are not those that were asked for, "" where they are."""
    if wanted is None or all(min(w, n) == t for w, n, t in zip(wanted, plan.shape, plan.tile, strict=True)):
        return ""
    asked, taken, chunks = (" x ".join(map(str, sides)) for sides in (wanted, plan.tile, chunk))
    why = "as in the run that was begun" if begun else f"as they are whole chunks of the output, which are {chunks}"
    return f"tiles are {taken} voxels, not {asked}, {why}"


def budget_for(device: torch.device, memory_bytes: int | None) -> int:
    """Bytes that a run may take; `memory_bytes` are those that were said."""
    share = _CPU_SHARE if device.type == "cpu" else _GPU_SHARE
    return int(free_bytes(device) * share) if memory_bytes is None else memory_bytes


def _plan(
    bound: BoundMethod,
    views: RegisteredViews,
    output: Output,
    workspace: Workspace | None,
    device: torch.device,
    tile: Triple | None,
    memory_bytes: int | None,
    runner: TileRunner | None,
) -> RunPlan:
    """The plan of the unfinished run when there is one, so that the result is the same, else a new one."""
    if workspace is not None and workspace.plan is not None:
        old = workspace.plan
        storage = EstimateStorage(old["storage"])
        if runner is not None and storage not in (EstimateStorage.NONE, EstimateStorage.DISK):
            raise OutputError(
                f"the unfinished run in {workspace.folder} was begun without a cluster and has its estimate in memory: go "
                "on without --cluster, or discard it (--overwrite without --resume)"
            )
        return RunPlan(
            TilePlan(views.grid.shape, triple(old["tile"])), storage, bool(old["keep_views"]), int(old["bound_bytes"])
        )
    if runner is not None and memory_bytes is None:
        memory_bytes = runner.memory_bytes
    plan = plan_run(
        bound,
        views,
        chunk=output.chunk,
        budget=budget_for(device, memory_bytes),
        tile=tile,
        array_result=workspace is None,
        scratch=workspace is not None,
        shared_by=None if runner is None else runner.count,
    )
    if workspace is not None:
        workspace.log(
            {
                "plan": {
                    "tile": list(plan.tiles.tile),
                    "storage": plan.storage.value,
                    "keep_views": plan.keep_views,
                    "bound_bytes": plan.bound_bytes,
                }
            }
        )
    return plan
