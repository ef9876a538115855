"""All stages of a method on views that are small enough to be one tile."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Protocol

import torch

from napari_mvfusion.data.geometry import Box
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.estimate import DeviceBuffer, Estimate, VolumesInTurn, begins_iteration
from napari_mvfusion.imaging.threads import Interrupted, interruptible
from napari_mvfusion.methods.base import BoundMethod, TileInput, finished


class TileReader(Protocol):
    """What gives the pixels of views as tensors, as `napari_mvfusion.engine.view_reader.ViewReader` does."""

    def read(self, box: Box, which: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Pixels and coverage of some views over a box, (view, z, y, x) on the device."""


@dataclass(frozen=True, eq=False)
class StageResult:
    """What a stage left: the fused region so far, the iteration that it completed or 0, and whether it is the last."""

    values: torch.Tensor
    label: str
    iteration: int
    last: bool


def stage_results(
    bound: BoundMethod, views: RegisteredViews, reader: TileReader, cancel: Callable[[], bool]
) -> Generator[StageResult, None, None]:
    """Run all stages of a method, the whole volume or region of the views being one tile.

    Parameters
    ----------
    bound : the method, prepared for the views
    views : the views
    reader : of these views
    cancel : polled; `Interrupted` is raised when it returns True

    Yields
    ------
    What each stage left, until the last one or until the method has converged.
    """
    whole = views.grid.box
    estimate = Estimate(VolumesInTurn(DeviceBuffer), bound.extrapolation_floor)
    for index, stage in enumerate(bound.stages):
        pixels, coverage = reader.read(whole, stage.views)
        known = None if stage.estimate_halo is None else estimate.read(whole)
        tile = TileInput(whole, whole, pixels, coverage, None if known is None else whole, known)
        if cancel():
            raise Interrupted
        with interruptible(cancel):
            values = finished(bound.run(stage, tile))
        last = stage is bound.stages[-1]
        sums = estimate.change(whole, values) if stage.iteration else None
        estimate.write(whole, values)
        estimate.end_stage(mark=begins_iteration(stage, index))
        if sums is not None:
            estimate.note_step(sums[2])
            last = last or bound.converged(sums[0] / sums[1])
        yield StageResult(values, stage.label, stage.iteration, last)
        if last:
            return
