"""A series while it runs: what fuses each of its volumes, which are safe, and which failed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from napari_mvfusion.data.events import Cancelled, Event, Finished, Noted, TileDone, TileStep, Warned
from napari_mvfusion.data.fused import Fused
from napari_mvfusion.data.geometry import Triple
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.engine.recipe import Inputs, Recipe
from napari_mvfusion.engine.series import volume_label
from napari_mvfusion.engine.series_choice import SeriesChoice
from napari_mvfusion.engine.series_findings import Findings
from napari_mvfusion.engine.series_output import Index, SeriesOutput
from napari_mvfusion.engine.shared_light import SharedLight
from napari_mvfusion.engine.tile_work import Stop
from napari_mvfusion.errors import InputError
from napari_mvfusion.methods.base import Method
from napari_mvfusion.system.devices import pick_device
from napari_mvfusion.system.words import times

_SIZES = {"shape": "voxels", "voxel_size_um": "um a voxel"}

VolumeEvents = Generator[Event, None, Fused | None]


class VolumeTask(Protocol):
    """What fuses one volume of a series; it can be sent to another process."""

    @property
    def gathered(self) -> bool:
        """Whether it has to be as large as the first volume, with which it goes into one file."""

    @property
    def memory_bytes(self) -> int | None:
        """What it may take, None for half of what is free."""

    def within(self, memory_bytes: int) -> VolumeTask:
        """The same, taking at most that."""

    def events(
        self, target: Path, first: Mapping[str, Any] | None, how: Mapping[str, bool], cancel: Callable[[], bool]
    ) -> VolumeEvents:
        """Fuse it.

        Parameters
        ----------
        target : the output
        first : the recipe of the first volume that is done; None where there is none
        how : `resume` and `overwrite`, as for `fuse_events`
        cancel : as for `fuse_events`

        Raises
        ------
        InputError
            If it cannot be fused, which the others do not mind.
        """


@dataclass(frozen=True)
class FuseVolume:
    """A volume that is fused as all others of its series.

    Attributes
    ----------
    inputs : how its views are opened
    method, device, tile, memory_bytes : as for `fuse_events`
    found : what it has in common with the others of its channel
    gathered : see `VolumeTask.gathered`
    """

    inputs: Inputs
    method: Method
    device: str
    tile: Triple | None
    memory_bytes: int | None
    found: Findings
    gathered: bool

    def within(self, memory_bytes: int) -> FuseVolume:
        """See `VolumeTask.within`."""
        return replace(self, memory_bytes=memory_bytes)

    def events(
        self, target: Path, first: Mapping[str, Any] | None, how: Mapping[str, bool], cancel: Callable[[], bool]
    ) -> VolumeEvents:
        """See `VolumeTask.events`."""
        views = self.inputs.open()
        if first is not None and self.gathered:
            grid = {key: getattr(views.grid, key) for key in ("shape", "voxel_size_um", "origin_um")}
            yield from check_grid(grid, first["grid"])
        light = self.found.light
        if light is not None and not light.fits(views):
            light = None
            yield Noted("lost light is found on each time point whose shape or views are not those of the first")
        fused = yield from fuse_events(
            views,
            self.method,
            device=self.device,
            tile=self.tile,
            out=target,
            cancel=cancel,
            memory_bytes=self.memory_bytes,
            inputs=self.inputs.model_dump(mode="json"),
            like=self.found.iterations,
            light=light,
            resume=how["resume"],
            overwrite=how["overwrite"],
        )
        return fused


@dataclass(frozen=True)
class RepeatVolume:
    """A volume that is made again from its recipe.

    Attributes
    ----------
    made : its recipe
    device, memory_bytes, light : as for `Recipe.repeat`
    gathered : see `VolumeTask.gathered`; the recipes are of volumes that were
    """

    made: Recipe
    device: str | None
    memory_bytes: int | None
    light: SharedLight | None
    gathered: bool = False

    def within(self, memory_bytes: int) -> RepeatVolume:
        """See `VolumeTask.within`."""
        return replace(self, memory_bytes=memory_bytes)

    def events(
        self, target: Path, first: Mapping[str, Any] | None, how: Mapping[str, bool], cancel: Callable[[], bool]
    ) -> VolumeEvents:
        """See `VolumeTask.events`."""
        del first
        repeated = self.made.repeat(
            target,
            device=self.device,
            resume=how["resume"],
            overwrite=how["overwrite"],
            cancel=cancel,
            memory_bytes=self.memory_bytes,
            light=self.light,
        )
        fused = yield from repeated
        return fused


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


TaskOf = Callable[[Index], Generator[Event, None, VolumeTask]]


class RunningSeries:
    """What of a series is done and what is not. Whoever makes one holds the lock of its output, which has begun.

    Attributes
    ----------
    output : where the volumes go
    task_of : gives what fuses a volume when its turn comes; raises InputError where it cannot be fused
    todo : number, counted from 0, and index of those that no earlier run has kept, in order
    failed : those that cannot be fused
    """

    def __init__(self, output: SeriesOutput, choice: SeriesChoice, task_of: TaskOf) -> None:
        self.output, self.task_of = output, task_of
        self.todo = [(number, index) for number, index in enumerate(choice.indices) if index not in output.kept]
        self.failed: dict[Index, VolumeFailed] = {}
        self._words = {index: choice.words_at(index) for index in choice.indices}
        self._numbers = {index: number for number, index in self.todo}
        self._first: tuple[str, dict[str, Any]] = ("", {})
        self._settled, self._computed, self._started = 0, 0, time.perf_counter()

    @property
    def count(self) -> int:
        """How many volumes the series has."""
        return len(self._words)

    @property
    def first(self) -> dict[str, Any] | None:
        """The recipe of the first volume that is kept, None where there is none."""
        text = next(iter(self.output.kept.values()), None)
        if text is not None and self._first[0] is not text:
            self._first = text, json.loads(text)
        return None if text is None else self._first[1]

    def begun(self, index: Index) -> VolumeBegun:
        """A volume is begun."""
        return VolumeBegun(self._numbers[index] + 1, self.count, self._words[index])

    def keep(self, index: Index, recipe: Mapping[str, Any], seconds: float) -> VolumeDone:
        """A volume is complete at its target: it is safe from now on."""
        self.output.keep(index, recipe)
        self._settled += 1
        self._computed += 1
        left = (time.perf_counter() - self._started) / self._computed * (len(self.todo) - self._settled)
        return VolumeDone(self._numbers[index] + 1, self.count, self._words[index], seconds, left)

    def fail(self, index: Index, reason: str) -> VolumeFailed:
        """A volume cannot be fused: it is left out."""
        self.output.drop(index)
        self._settled += 1
        self.failed[index] = VolumeFailed(self._numbers[index] + 1, self.count, self._words[index], reason)
        return self.failed[index]


VolumeEvent = Event | VolumeBegun | VolumeDone | VolumeFailed
SeriesSteps = Generator[VolumeEvent, None, bool]


class VolumeRunner(Protocol):
    """Who fuses the volumes of a series."""

    def begin(self, choice: SeriesChoice, device: str) -> Generator[Event, None, tuple[str, torch.device]]:
        """Look whether all is there that it takes, before anything is read or written.

        Parameters
        ----------
        choice : which volumes
        device : as for `fuse_events`

        Returns
        -------
        The kind of device that fuses: "cpu", "cuda" or "mps"; and that on which is found here what volumes have in common.

        Raises
        ------
        InputError, DeviceError
            If something is missing.
        """

    def fuse(self, series: RunningSeries, cancel: Callable[[], bool]) -> SeriesSteps:
        """Fuse what is to do, and tell the series of each volume.

        Returns
        -------
        Whether all is settled; False where it was cancelled.

        Raises
        ------
        OutputError, DeviceError, MemoryShortage
            What would end the run of every volume; what is finished is kept.
        """


class InTurn:
    """Fuses volumes in this process, one after the other."""

    def begin(self, choice: SeriesChoice, device: str) -> Generator[Event, None, tuple[str, torch.device]]:
        """See `VolumeRunner.begin`."""
        del choice
        yield from ()
        found = pick_device(device)
        return found.type, found

    def fuse(self, series: RunningSeries, cancel: Callable[[], bool]) -> SeriesSteps:
        """See `VolumeRunner.fuse`."""
        for _, index in series.todo:
            begun = time.perf_counter()
            volume = series.begun(index)
            yield volume
            try:
                fused = yield from _as_part(series, index, volume, cancel)
            except InputError as error:
                yield series.fail(index, str(error))
                continue
            except Stop:
                return False
            if fused is None:
                return False
            done = series.keep(index, fused.recipe, time.perf_counter() - begun)
            if cancel():
                return False
            yield done
        return True


def check_grid(now: Mapping[str, Any], first: Mapping[str, Any]) -> Generator[Warned, None, None]:
    """Refuse a volume that is not as large as the first one, in the same file; both grids are those of recipes.

    Yields
    ------
    A warning where it only lies elsewhere.

    Raises
    ------
    InputError
        If its size is another one.
    """
    for key, what in _SIZES.items():
        if any(abs(a - b) > 1e-6 * abs(b) for a, b in zip(now[key], first[key], strict=True)):
            raise InputError(
                f"its fused volume has {times(now[key])} {what}, and that of the first {times(first[key])}: fuse it alone, "
                "give all the same --box and --grid, or write a file for each, as fused.tif"
            )
    places = zip(now["origin_um"], first["origin_um"], strict=True)
    if any(abs(a - b) > 1e-6 * min(now["voxel_size_um"]) for a, b in places):
        yield Warned("the volumes begin at other places: that of the first is written for all")


def _as_part(series: RunningSeries, index: Index, volume: VolumeBegun, cancel: Callable[[], bool]) -> VolumeEvents:
    """The events of a volume, as parts of those of the series."""
    output = series.output
    task = yield from series.task_of(index)
    events = task.events(output.target(index), series.first, output.how(), cancel)
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            fused: Fused | None = end.value
            return fused
        match event:
            case TileDone() | TileStep():
                before, count = volume.number - 1, volume.count
                label = volume_label(event.label, before, count, volume.words)
                yield replace(event, label=label, fraction=(before + event.fraction) / count)
            case Finished() | Cancelled():
                pass  # the end of a volume is not that of the series
            case _:
                yield event
