"""What the output of a run in another process holds so far, as events and layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np

from napari_mvfusion.addresses import absolute
from napari_mvfusion.data.events import Preparing, TileStep
from napari_mvfusion.data.fused import Fused
from napari_mvfusion.data.views import VolumeLike
from napari_mvfusion.engine.finishing import Finishing, named_apart, recipe_path
from napari_mvfusion.engine.outputs import open_output, open_unfinished
from napari_mvfusion.engine.progress import Progress
from napari_mvfusion.engine.recipe import read_values
from napari_mvfusion.engine.running_series import VolumeBegun, VolumeFailed
from napari_mvfusion.engine.series import FuseJob, JobDone, PartBegun, PartDone
from napari_mvfusion.engine.series_recipe import recipe_beside
from napari_mvfusion.engine.series_run import SeriesFinished
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.jobs.series_runs import SeriesJob, SeriesLayers
from napari_mvfusion.gui.layers.fused_series import series_layers
from napari_mvfusion.gui.layers.layer_data import LayerData, lazy, stacked_levels, volume_layer
from napari_mvfusion.gui.layers.notes import KEY
from napari_mvfusion.io.formats import is_written, open_stored, writer_of
from napari_mvfusion.io.ome_zarr.reader import open_image
from napari_mvfusion.measures.contrast import contrast_limits

Events = Generator[Any, None, None]


@dataclass(frozen=True, eq=False)
class Written:
    """More of the result is in its file than before.

    Attributes
    ----------
    volume : what to show of it from now on, 0 where nothing is done yet; None where that stays
    limits : contrast limits that suit it, where these were not known before
    """

    volume: VolumeLike | None = None
    limits: tuple[float, float] | None = None


class ShownOutput(ABC):
    """What of a run's output becomes events."""

    @abstractmethod
    def progress(self, now: Progress, before: Progress | None) -> Events:
        """The run is so far, and was so far when this was last called."""

    @abstractmethod
    def finished(self, seconds: float | None) -> Events:
        """The output is complete; the run took so long, None where it was complete before."""


def _step(now: Progress) -> Events:
    """What is being done."""
    if now.preparing:
        yield Preparing(now.label, now.share)
    elif now.count and now.volume is None:
        yield TileStep(f"{now.finished} of {now.count} volumes are finished", now.share)
    elif now.label:
        yield TileStep(now.label, now.share)


class ShownVolume(ShownOutput):
    """One volume."""

    def __init__(self, job: FuseJob) -> None:
        self._part = job.parts[0]
        self._planned = self._begun = False

    def progress(self, now: Progress, before: Progress | None) -> Events:
        """See `ShownOutput.progress`."""
        if now.plan is not None and not self._planned:
            self._planned = True
            yield PartBegun(self._part)
            yield now.plan
        yield from _step(now)
        if now.written and (before is None or now.written != before.written):
            assert self._part.out is not None
            volume = None if self._begun else _so_far(self._part.out)
            self._begun |= volume is not None
            yield Written(volume)

    def finished(self, seconds: float | None) -> Events:
        """See `ShownOutput.finished`."""
        part = self._part
        assert part.out is not None
        fused = _fused(part.out)
        yield PartBegun(part)
        yield PartDone(part, fused)
        yield JobDone((fused,), contrast_limits([fused.data]), seconds or 0.0)


class ShownSeries(ShownOutput):
    """A series whose volumes are known."""

    def __init__(self, job: SeriesJob) -> None:
        self._job = job
        self._picture = _Picture(job.out)

    def progress(self, now: Progress, before: Progress | None) -> Events:
        """See `ShownOutput.progress`."""
        if now.plan is not None and (before is None or before.plan is None):
            yield now.plan
        yield from _volume_and_step(now, before)
        if writer_of(self._job.out).grows:
            yield from self._picture.of(now, before, self._job)

    def finished(self, seconds: float | None) -> Events:
        """See `ShownOutput.finished`."""
        choice, out = self._job.choice, self._job.out
        made = recipe_beside(_place(out))
        each = [] if made is None else made["series"]
        failed = tuple(
            VolumeFailed(number + 1, len(each), choice.words_at(index), recipe["failed"])
            for number, (index, recipe) in enumerate(zip(choice.indices, each, strict=True))
            if "failed" in recipe
        )
        gathered = writer_of(out).grows
        named = [named_apart(out, choice.suffix_at(index)) for index in choice.indices]
        files = (out,) if gathered else tuple(path for path in named if _place(path).exists())
        yield SeriesFinished(
            len(each) - len(failed), failed, files, made_before=seconds is None, seconds=seconds or 0.0
        )
        if len(failed) < len(each):
            yield SeriesLayers(series_layers(files, choice, out), choice, absolute(out))


class FoundOutput(ShownOutput):
    """Whatever was found at an output."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._picture = _Picture(out)
        self._planned = False

    def progress(self, now: Progress, before: Progress | None) -> Events:
        """See `ShownOutput.progress`."""
        if now.plan is not None and not self._planned:
            self._planned = True
            yield now.plan
        yield from _volume_and_step(now, before)
        yield from self._picture.of(now, before)

    def finished(self, seconds: float | None) -> Events:
        """See `ShownOutput.finished`."""
        place, made = _place(self._out), recipe_beside(_place(self._out))
        if made is not None:
            each = made["series"]
            failed = tuple(
                VolumeFailed(number + 1, len(each), f"volume {number + 1}", recipe["failed"])
                for number, recipe in enumerate(each)
                if "failed" in recipe
            )
            yield SeriesFinished(len(each) - len(failed), failed, (self._out,), seconds=seconds or 0.0)
        else:
            yield JobDone((_fused(self._out),), (0.0, 1.0), seconds or 0.0)
        if place.exists():
            yield SeriesLayers([_finished_layer(self._out)], None, absolute(self._out))


class _Picture:
    """The layer of what an unfinished run has written so far."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._shown, self._limits_known = False, False

    def of(self, now: Progress, before: Progress | None, job: SeriesJob | None = None) -> Events:
        """Show it once there is something, and tell whenever there is more."""
        series = now.count > 0
        if (now.finished if series else now.written) == 0:
            return
        more = before is None or (now.written, now.finished) != (before.written, before.finished)
        if not self._shown:
            layer = unfinished_layer(self._out)
            if layer is None:
                return
            self._shown = True
            choice = None if job is None else job.choice
            yield SeriesLayers([layer], choice, absolute(self._out), unfinished=True)
        elif not more:
            return
        limits = None if self._limits_known else _limits(self._out)
        self._limits_known = limits is not None
        yield Written(limits=limits)


def _volume_and_step(now: Progress, before: Progress | None) -> Events:
    if now.volume is not None and (before is None or now.volume != before.volume):
        yield VolumeBegun(now.volume[0], now.count, now.volume[1])
    yield from _step(now)


def _place(out: Path) -> Path:
    return writer_of(out).place(out) if is_written(out) else out


def _fused(out: Path) -> Fused:
    """A volume that a run has finished."""
    recipe = read_values(recipe_path(_place(out)))
    return Fused(open_output(out), open_stored(out).grid, recipe, out)


def _so_far(out: Path) -> VolumeLike | None:
    """What of a volume is written; None where its run has just ended."""
    try:
        return open_unfinished(out)
    except InputError:
        return None


def _unfinished_place(out: Path) -> Path:
    """What of an unfinished run grows: the tiles of a volume, or, until all are there, the file of a series."""
    finishing = Finishing(_place(out))
    return finishing.scratch if finishing.scratch.exists() else finishing.result


def unfinished_layer(out: Path) -> LayerData | None:
    """What is written as a layer; None where there is nothing yet, or the run has just ended."""
    try:
        image = open_image(_unfinished_place(out))
    except InputError:
        return None
    leading = list(zip(image.axes[:-3], image.placement.steps, strict=True))
    pixels = lazy(image.array)
    shown = da.where(pixels == 0, np.float32(np.nan), pixels)
    data, look, kind = volume_layer(shown, image.grid, name=_place(out).name, recipe=None, leading=leading)
    known = {KEY: look["metadata"].get(KEY, {}) | {"role": "fused", "running": True}}
    # Values arrive while the run goes on: napari must not keep what it read before.
    return data, look | {"metadata": known, "cache": False}, kind


def _limits(out: Path) -> tuple[float, float] | None:
    """Contrast limits that suit what is written; None where too little is."""
    try:
        image = open_image(_unfinished_place(out))
        pixels = lazy(image.array)
        for axis in range(pixels.ndim - 3):
            del axis
            pixels = pixels[0]
        low, high = contrast_limits([da.where(pixels == 0, np.float32(np.nan), pixels)])
    except InputError:
        return None
    return None if (low, high) == (0.0, 1.0) else (low, high)


def _finished_layer(out: Path) -> LayerData:
    """A finished output as a layer."""
    stack = open_stored(out)
    data, leading = stacked_levels(stack)
    return volume_layer(data, stack.grid, name=_place(out).name, recipe=stack.recipe, leading=leading)
