"""The layer of a fused volume: there from the start, filled while the run goes on, marked when it ends early."""

from __future__ import annotations

from functools import partial
from typing import Any

import dask.array as da
import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_mvfusion.data.events import Cancelled, Prepared, TileDone
from napari_mvfusion.data.fused import Fused
from napari_mvfusion.engine.finishing import partial_folder
from napari_mvfusion.engine.outputs import open_unfinished
from napari_mvfusion.engine.series import Allocated, FuseJob, JobDone, PartBegun, PartDone, SeriesEvent, SeriesPart
from napari_mvfusion.engine.unsupported import NOTABLE
from napari_mvfusion.gui.jobs.shown_outputs import Written
from napari_mvfusion.gui.jobs.tasks import Failed
from napari_mvfusion.gui.layers.layer_data import lazy
from napari_mvfusion.gui.layers.map_layers import UNCERTAINTY, WITHOUT_SUPPORT, add_map
from napari_mvfusion.gui.layers.notes import KEY, annotate, unsized
from napari_mvfusion.gui.widgets.waiting import Later
from napari_mvfusion.io.formats import place_of

_REFRESH_MS = 200
_CHUNK = 64


class ResultLayer(QObject):
    """Adds a layer for a job and keeps it in step with the job's events.

    What is not computed yet is NaN, which napari shows as nothing: the views can be seen until the result covers them.

    Attributes
    ----------
    layer : what was added
    filled : whether there is anything to see so far
    deleted : whether the user took the layer away

    Parameters
    ----------
    viewer : gets the layer
    job : its array or files are what the layer shows
    name : of the layer
    place : where the voxels lie, as arguments of a layer
    limits : contrast limits until the result is complete
    parent : usually the run
    apart : whether another process writes the file, which tells when there is more
    """

    removed = Signal()

    def __init__(
        self,
        viewer: ViewerModel,
        job: FuseJob,
        name: str,
        place: dict[str, Any],
        limits: tuple[float, float],
        parent: QObject | None = None,
        *,
        apart: bool = False,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._apart = viewer, apart
        self._job = job
        self._limits = limits
        self._part: SeriesPart | None = None
        shape = job.views.grid.shape
        empty = da.full(shape, np.nan, dtype=np.float32, chunks=_CHUNK)
        self._volumes: dict[tuple[int, ...], da.Array] = {part.index: empty for part in job.parts}
        self._finished = 0
        self._over = self.filled = self.deleted = False
        self.layer: Image = viewer.add_image(
            self._stacked(),
            name=name,
            contrast_limits=limits,
            # Values arrive while the run goes on: napari must not keep what it read before.
            cache=False,
            metadata={KEY: {"role": "fused", "running": True, **unsized(job.views.grid)}},
            **place,
        )
        self._due = Later(_REFRESH_MS, self._refresh, self)
        viewer.layers.events.removed.connect(self._notice_removal)

    def follow(self, event: SeriesEvent | Written | Failed) -> None:
        """Show what an event brought."""
        if self._over:
            return
        match event:
            case Allocated(values):
                self.layer.data = values
            case PartBegun(part):
                self._part = part
            case Prepared() if self._job.in_files and not self._apart:
                self._show_tiles(self._written())
                self.filled = self.filled or event.resumed_tiles > 0
            case Written():
                self.filled = True
                if event.volume is not None:
                    self._show_tiles(lazy(event.volume))
                elif not self._due.due:
                    self._due.ask()
            case TileDone(updated=True):
                self.filled = True
                if not self._due.due:
                    self._due.ask()
            case PartDone(part, fused):
                self.filled = True
                self._finished += 1
                self._part = part
                if self._job.in_files:
                    self._show_volume(lazy(fused.data))
            case JobDone():
                self._complete(event)
            case Cancelled():
                self._end_early("cancelled")
            case Failed():
                self._end_early("failed")

    def _stacked(self) -> da.Array:
        """All volumes of the job as one array."""
        volumes = [self._volumes[index] for index in np.ndindex(*self._job.leading)]
        if not self._job.leading:
            return volumes[0]
        return da.stack(volumes).reshape((*self._job.leading, *self._job.views.grid.shape))

    def _show_volume(self, volume: da.Array) -> None:
        assert self._part is not None
        self._volumes[self._part.index] = volume
        self.layer.data = self._stacked()

    def _show_tiles(self, written: da.Array) -> None:
        """Show a volume that fills in: what is not done yet is 0 in its file."""
        self._show_volume(da.where(written == 0, np.float32(np.nan), written))

    def _written(self) -> da.Array:
        """The tiles of the running part that are on disk so far; the others read as 0."""
        assert self._part is not None
        assert self._part.out is not None
        return lazy(open_unfinished(self._part.out))

    def _notice_removal(self, event: Any) -> None:
        if event.value == self.layer:
            self._release()
            self.deleted = True
            self.removed.emit()

    def _release(self) -> None:
        self._due.cancel()
        self._over = True
        self._viewer.layers.events.removed.disconnect(self._notice_removal)

    def _refresh(self) -> None:
        self.layer.refresh(extent=False, highlight=False)

    def _complete(self, done: JobDone) -> None:
        annotate(self.layer, running=False, **_recipes(done.fused))
        if tuple(self.layer.contrast_limits) == self._limits:
            low, high = done.limits
            self.layer.contrast_limits_range = (min(low, self._limits[0]), max(high, self._limits[1]) * 2)
            self.layer.contrast_limits = (low, high)
        if (maps := done.fused[0].maps) is not None:
            show = partial(add_map, self._viewer, self.layer, bright=done.limits[1] or 1.0)
            show(WITHOUT_SUPPORT, lazy(maps.unsupported), visible=maps.share >= NOTABLE)
            if maps.uncertainty is not None:
                show(UNCERTAINTY, lazy(maps.uncertainty), visible=False)
        self._refresh()
        self._release()

    def _end_early(self, how: str) -> None:
        """Keep what there is and say in the layer's name that it is not all; nothing at all is not kept."""
        series = len(self._job.parts) > 1
        if series and not self._job.in_files:
            self.filled = self._finished > 0
        if not self.filled:
            self._release()
            self._viewer.layers.remove(self.layer)
            return
        out = None if self._part is None else self._part.out
        if out is not None and partial_folder(place_of(out)).exists():
            self._show_volume(self._written())
        self._refresh()
        self._release()
        annotate(self.layer, running=False)
        kept = f", {self._finished} of {len(self._job.parts)} volumes" if series else ""
        self.layer.name = f"{self.layer.name} ({how}{kept})"


def _recipes(fused: tuple[Fused, ...]) -> dict[str, Any]:
    """The recipe of a volume, or those of all volumes of a series."""
    if len(fused) == 1:
        return {"recipe": fused[0].recipe}
    return {"recipe": {"series": [one.recipe for one in fused]}}
