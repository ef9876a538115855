"""Series of volumes fused off the GUI thread, each opened when its turn comes; at their end, what they are as layers."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image, Layer

from napari_mvfusion.addresses import absolute
from napari_mvfusion.data.events import Noted, Warned
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.series import computing_on
from napari_mvfusion.engine.series_choice import SeriesChoice
from napari_mvfusion.engine.series_run import RunEvent, SeriesFinished, fuse_chosen
from napari_mvfusion.gui.jobs.tasks import Checkpoint, Failed, failure_of
from napari_mvfusion.gui.layers.fused_series import along_view, series_layers
from napari_mvfusion.gui.layers.layer_data import LayerData
from napari_mvfusion.gui.layers.notes import annotate, notes
from napari_mvfusion.methods.base import Method
from napari_mvfusion.system.devices import free_bytes, pick_device

_SPATIAL = 3


@dataclass(frozen=True, eq=False)
class SeriesJob:
    """A series to fuse; see `fuse_chosen`.

    Attributes
    ----------
    choice : which volumes
    views : of one of them, which tell how large the others are
    method : with its parameters
    device : as `fuse_events` takes it
    out : one OME-Zarr for all, or what the names of a file for each are made of
    threads : of the CPU, 0 for all
    memory_share : of the memory that is free when the run begins
    resume, overwrite : what to do with what is there
    """

    choice: SeriesChoice
    views: RegisteredViews
    method: Method
    device: str
    out: Path
    threads: int = 0
    memory_share: float = 0.5
    resume: bool = False
    overwrite: bool = False


@dataclass(frozen=True, eq=False)
class SeriesLayers:
    """A finished series as layers: one with axes t and c, or one a volume where these differ in size.

    Attributes
    ----------
    choice : its volumes, where these are known
    source : its output; layers of what was there before show it no more
    unfinished : whether it fills in while its run goes on
    """

    layers: list[LayerData]
    choice: SeriesChoice | None
    source: str
    unfinished: bool = False

    def add_to(self, viewer: ViewerModel, name: str, view: Image | None) -> list[Layer]:
        """Add them to a viewer.

        Parameters
        ----------
        viewer : gets them
        name : of each, which a number follows where there are several
        view : the layer of a view, on whose axes before z they lie; None where no view is there
        """
        for layer in [known for known in viewer.layers if self._showed(known)]:
            viewer.layers.remove(layer)
        added = []
        for number, layer in enumerate(self.layers):
            placed = layer if self.choice is None or view is None else along_view(layer, self.choice, view)
            data, look, kind = placed
            own = name if len(self.layers) == 1 else f"{name} {number + 1}"
            added.append(viewer.add_layer(Layer.create(data, look | {"name": own}, kind)))
            annotate(added[-1], source=self.source)
            _look_at(viewer, added[-1], first=self.unfinished and view is None)
        return added

    def _showed(self, layer: Layer) -> bool:
        known = notes(layer)
        return known.get("role") == "fused" and known.get("source") == self.source


def _look_at(viewer: ViewerModel, layer: Layer, *, first: bool) -> None:
    """Move the sliders of axes to where a layer is seen: where it has one volume only, or of all axes to the first."""
    before = layer.ndim - _SPATIAL
    shape = (layer.level_shapes[0] if layer.multiscale else layer.data.shape)[:before]
    for axis, size in enumerate(shape):
        if size == 1 or first:
            viewer.dims.set_point(viewer.dims.ndim - layer.ndim + axis, layer.translate[axis])


def series_steps(check: Checkpoint, job: SeriesJob) -> Generator[RunEvent | SeriesLayers | Failed, None, None]:
    """The events of a series, and its layers after the last one; an error becomes the last one.

    What is said of every volume is said once.
    """
    said: set[Any] = set()
    try:
        with computing_on(job.threads):
            choice = job.choice.model_copy(update={"inputs": job.choice.inputs.resolved()[0]})
            events = fuse_chosen(
                choice,
                job.method,
                job.out,
                device=job.device,
                resume=job.resume,
                overwrite=job.overwrite,
                cancel=check.stopped,
                memory_bytes=int(free_bytes(pick_device(job.device)) * job.memory_share),
            )
            for event in events:
                if isinstance(event, (Warned, Noted)):
                    if event in said:
                        continue
                    said.add(event)
                yield event
                if isinstance(event, SeriesFinished) and event.fused:
                    yield SeriesLayers(series_layers(event.files, choice, job.out), choice, absolute(job.out))
    except Exception as error:
        yield failure_of(error)
