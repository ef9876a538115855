"""The layer of a fused volume: there from the start, filled while the run goes on, marked when it ends early."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import zarr
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QObject, QTimer, Signal

from napari_mvfusion.events import Cancelled, Event, Finished, Prepared, TileDone
from napari_mvfusion.fusion import Fused
from napari_mvfusion.gui.layers import KEY, annotate, contrast_limits, lazy, placement
from napari_mvfusion.gui.worker import Failed, FuseJob
from napari_mvfusion.workspace import partial_folder

_REFRESH_MS = 200
_CHUNK = 64


class ResultLayer(QObject):
    """Adds a layer for a job and keeps it in step with the job's events.

    What is not computed yet is NaN, which napari shows as nothing: the views can be seen until the result covers them.

    Attributes
    ----------
    filled : whether there is anything to see so far

    Parameters
    ----------
    viewer : gets the layer
    job : its array or file is what the layer shows
    name : of the layer
    limits : contrast limits until the result is complete
    parent : usually the run
    """

    removed = Signal()

    def __init__(
        self, viewer: ViewerModel, job: FuseJob, name: str, limits: tuple[float, float], parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._job = job
        self._limits = limits
        self.filled = False
        grid = job.views.grid
        empty = da.full(grid.shape, np.nan, dtype=np.float32, chunks=_CHUNK)
        self._layer: Image | None = viewer.add_image(
            empty if job.into is None else job.into,
            name=name,
            contrast_limits=limits,
            # Values arrive while the run goes on: napari must not keep what it read before.
            cache=False,
            metadata={KEY: {"role": "fused"}},
            **placement(grid),
        )
        self._due = QTimer(self)
        self._due.setSingleShot(True)
        self._due.setInterval(_REFRESH_MS)
        self._due.timeout.connect(self._refresh)
        viewer.layers.events.removed.connect(self._notice_removal)

    def follow(self, event: Event | Failed) -> None:
        """Show what an event brought."""
        if self._layer is None:
            return
        match event:
            case Prepared() if self._job.out is not None:
                written = self._written()
                self._layer.data = da.where(written == 0, np.float32(np.nan), written)
                self.filled = event.resumed_tiles > 0
            case TileDone(updated=True):
                self.filled = True
                if not self._due.isActive():
                    self._due.start()
            case Finished():
                self._complete(event.fused)
            case Cancelled():
                self._end_early("cancelled")
            case Failed():
                self._end_early("failed")

    def _notice_removal(self, event: Any) -> None:
        if self._layer is not None and event.value == self._layer:
            self._release()
            self.removed.emit()

    def _release(self) -> None:
        self._due.stop()
        self._layer = None
        self._viewer.layers.events.removed.disconnect(self._notice_removal)

    def _refresh(self) -> None:
        if self._layer is not None:
            self._layer.refresh(extent=False, highlight=False)

    def _written(self) -> da.Array:
        """The tiles on disk so far; the others read as 0."""
        assert self._job.out is not None
        return lazy(zarr.open_array(partial_folder(self._job.out) / "fused.zarr" / "0", mode="r"))

    def _complete(self, fused: Fused) -> None:
        assert self._layer is not None
        if fused.path is not None:
            self._layer.data = lazy(fused.data)
        annotate(self._layer, recipe=fused.recipe)
        if tuple(self._layer.contrast_limits) == self._limits:
            low, high = contrast_limits([fused.data])
            self._layer.contrast_limits_range = (min(low, self._limits[0]), max(high, self._limits[1]) * 2)
            self._layer.contrast_limits = (low, high)
        self._refresh()
        self._release()

    def _end_early(self, how: str) -> None:
        """Keep what there is and say in the layer's name that it is not all; nothing at all is not kept."""
        assert self._layer is not None
        layer = self._layer
        if not self.filled:
            self._release()
            self._viewer.layers.remove(layer)
            return
        if self._job.into is None:
            layer.data = self._written()
        else:
            np.nan_to_num(self._job.into, copy=False)
        self._refresh()
        self._release()
        layer.name = f"{layer.name} ({how})"
