"""One volume, or a series of them one after the other, fused as one run with its events."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_mvfusion.data.events import Cancelled, Event, Finished, TileDone, TileStep
from napari_mvfusion.data.fused import Fused
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.finished import check_finished
from napari_mvfusion.engine.fusion import fuse_events, until
from napari_mvfusion.engine.iteration_choice import choice_of
from napari_mvfusion.engine.outputs import open_output
from napari_mvfusion.engine.provenance import describe_run, made_alike, method_asked_for, parameters_of
from napari_mvfusion.engine.recipe import load_recipe, recipe_path
from napari_mvfusion.engine.tile_work import Stop
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.formats import place_of
from napari_mvfusion.measures.contrast import contrast_limits
from napari_mvfusion.methods.base import Method
from napari_mvfusion.system.devices import free_bytes, pick_device

_FLOAT_BYTES = 4


@dataclass(frozen=True, eq=False)
class SeriesPart:
    """One volume of a job: a time point or channel, or all there is.

    Attributes
    ----------
    index : position along the axes before z, () for a plain volume
    views : what is fused
    out : a new file or folder, or None for memory
    inputs : how the views were opened, for the recipe
    """

    index: tuple[int, ...]
    views: RegisteredViews
    out: Path | None = None
    inputs: dict[str, Any] | None = None


@dataclass(frozen=True, eq=False)
class FuseJob:
    """What to fuse, how, and where to; see `fuse_events`.

    Attributes
    ----------
    parts : one volume or a series of them, all in files or none
    leading : sizes of the axes before z, () for one volume
    method : with its parameters
    device : as `fuse_events` takes it
    threads : of the CPU, 0 for all
    memory_share : of the memory that is free when a part begins
    resume, overwrite : what to do with files that are there; with `resume`, finished parts are kept
    maps : of a single volume, what says how far it can be trusted too
    """

    parts: tuple[SeriesPart, ...]
    leading: tuple[int, ...]
    method: Method
    device: str
    threads: int = 0
    memory_share: float = 0.5
    resume: bool = False
    overwrite: bool = False
    maps: bool = False

    @property
    def views(self) -> RegisteredViews:
        """The views of the first part."""
        return self.parts[0].views

    @property
    def in_files(self) -> bool:
        """Whether the result goes to files."""
        return self.parts[0].out is not None


@dataclass(frozen=True, eq=False)
class Allocated:
    """The array that the run fills, NaN where nothing is done yet: (leading axes, z, y, x), float32."""

    values: np.ndarray


@dataclass(frozen=True)
class PartBegun:
    """A part of the job begins."""

    part: SeriesPart


@dataclass(frozen=True)
class PartDone:
    """A part of the job is complete; the job goes on."""

    part: SeriesPart
    fused: Fused


@dataclass(frozen=True)
class JobDone:
    """All parts are complete."""

    fused: tuple[Fused, ...]
    limits: tuple[float, float]
    seconds: float


SeriesEvent = Event | Allocated | PartBegun | PartDone | JobDone


def check_memory(grid: Grid, volumes: int) -> None:
    """Refuse results that do not fit into memory.

    Parameters
    ----------
    grid : of each fused volume
    volumes : how many there will be

    Raises
    ------
    InputError
        If they are larger than what is free.
    """
    needed, free = volumes * grid.box.size * _FLOAT_BYTES, free_bytes(pick_device("cpu"))
    if needed > free:
        raise InputError(
            f"the fused volume takes {needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB of memory are free: "
            "write it to disk"
        )


def fuse_series(job: FuseJob, cancel: Callable[[], bool]) -> Generator[SeriesEvent, None, None]:
    """Fuse the parts of a job.

    Parameters
    ----------
    job : what to fuse
    cancel : polled; what is finished is kept, and `Cancelled` is the last event

    Yields
    ------
    The engine's events of each part, and those of the job.

    Raises
    ------
    MVFusionError
        As `fuse_events`; parts that are finished stay.
    """
    with computing_on(job.threads):
        yield from _fuse_parts(job, cancel)


def _fuse_parts(job: FuseJob, cancel: Callable[[], bool]) -> Generator[SeriesEvent, None, None]:
    started = time.perf_counter()
    values: np.ndarray | None = None
    if not job.in_files:
        values = np.full((*job.leading, *job.views.grid.shape), np.nan, np.float32)
        yield Allocated(values)
    results: list[Fused] = []
    try:
        yield from _one_after_the_other(job, values, cancel, results)
    except Exception:
        _keep_finished(values, len(results), job)
        raise
    if len(results) == len(job.parts):
        limits = contrast_limits([fused.data for fused in results])
        yield JobDone(tuple(results), limits, time.perf_counter() - started)


def _one_after_the_other(
    job: FuseJob, values: np.ndarray | None, cancel: Callable[[], bool], results: list[Fused]
) -> Generator[SeriesEvent, None, None]:
    """Fuse the parts of a job and gather what is complete."""
    budget = int(free_bytes(pick_device(job.device)) * job.memory_share)
    for number, part in enumerate(job.parts):
        if cancel():
            _keep_finished(values, number, job)
            yield Cancelled(0, 0, None)
            return
        yield PartBegun(part)
        try:
            done = (yield from _finished_before(part, job, cancel)) if job.resume else None
        except Stop:
            _keep_finished(values, number, job)
            yield Cancelled(0, 0, None)
            return
        if done is None:
            for event in fuse_events(
                part.views,
                job.method,
                device=job.device,
                out=part.out,
                into=None if values is None else values[part.index],
                resume=job.resume,
                overwrite=job.overwrite,
                cancel=cancel,
                memory_bytes=budget,
                inputs=part.inputs,
                # All volumes of a series have to be alike, so the first of them decides for all.
                like=choice_of(results[0].recipe) if results else None,
                maps=job.maps and len(job.parts) == 1,
            ):
                match event:
                    case Finished(fused):
                        done = fused
                    case TileDone() | TileStep():
                        share = (number + event.fraction) / len(job.parts)
                        yield replace(event, label=volume_label(event.label, number, len(job.parts)), fraction=share)
                    case Cancelled():
                        _keep_finished(values, number, job)
                        yield event
                    case _:
                        yield event
        if done is None:
            return  # cancelled, as its last event said
        results.append(done)
        yield PartDone(part, done)


def _keep_finished(values: np.ndarray | None, finished: int, job: FuseJob) -> None:
    """Zero what a run in memory leaves: of a series all volumes that are not complete, else voxels without a value.

    Nobody could tell from its pixels that a volume in the midst of a series is half-way. A single one is marked by the
    name of its layer.
    """
    if values is None:
        return
    if len(job.parts) == 1:
        np.nan_to_num(values, copy=False)
        return
    for part in job.parts[finished:]:
        values[part.index] = 0


def volume_label(label: str, number: int, count: int, words: str = "") -> str:
    """What is done of a volume, with its number, counted from 0, among all where there are several.

    Parameters
    ----------
    label : what is done
    number, count : which volume of how many
    words : what the volume is called, "" where its number says all
    """
    called = f" ({words})" if words else ""
    return label if count == 1 else f"volume {number + 1} of {count}{called}, {label}"


def _finished_before(
    part: SeriesPart, job: FuseJob, cancel: Callable[[], bool]
) -> Generator[SeriesEvent, None, Fused | None]:
    """A part that an earlier run of the same series has finished, of the same views with the same method."""
    if part.out is None or len(job.parts) == 1:
        return None
    place = place_of(part.out)
    written = recipe_path(place)
    if not written.is_file() or not place.exists():
        return None
    load_recipe(written)  # says what is wrong with it
    recipe = json.loads(written.read_text(encoding="utf-8"))
    # Quick where it differs: the views need not be read.
    if method_asked_for(recipe) != {"name": job.method.name, "parameters": parameters_of(job.method)}:
        return None
    yield from until(part.views.scan(), cancel)
    if not made_alike(recipe, describe_run(part.views, job.method, pick_device(job.device), part.inputs)):
        return None
    yield from until(check_finished(part.out, recipe), cancel)
    return Fused(open_output(part.out), part.views.grid, recipe, part.out)


@contextmanager
def computing_on(wanted: int) -> Generator[None, None, None]:
    """Let torch use this many threads of the CPU, 0 for all it would use by itself."""
    before = torch.get_num_threads()
    if wanted:
        torch.set_num_threads(wanted)
    try:
        yield
    finally:
        torch.set_num_threads(before)
