"""Layers of how much of the specimen each view saw, as it is found from the views, in a thread."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QObject

from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.errors import MVFusionError
from napari_mvfusion.gui.jobs.status import Say
from napari_mvfusion.gui.jobs.tasks import Checkpoint, Tasks
from napari_mvfusion.gui.layers.conversion import place_of_volume
from napari_mvfusion.gui.layers.layer_data import lazy
from napari_mvfusion.gui.layers.notes import KEY, notes
from napari_mvfusion.gui.layers.opened import open_layers
from napari_mvfusion.measures.attenuation import Transmission, find_transmission, why_no_transmission
from napari_mvfusion.measures.transmission_volume import TransmissionVolume

_TASK = "transmission"


class LightLayers(QObject):
    """Finds the transmission of views and shows it, a layer for each.

    Parameters
    ----------
    viewer : gets the layers
    tasks : of the panel
    say : is told what was found, or why nothing was, as `Status.say`
    parent : the panel
    """

    def __init__(self, viewer: ViewerModel, tasks: Tasks, say: Say, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer, self._tasks, self._say = viewer, tasks, say

    def show_for(self, view: Image, included: Sequence[Image]) -> None:
        """Find it for the layers that are fused, and show that of one of them at once; of a series at its first volume."""
        layers = list(included)
        try:
            opened = open_layers(layers)
            views = opened.at(opened.indices[0])
        except MVFusionError as error:
            self._say("error", str(error))
            return
        self._say("working", "Finding how much light the views lost…")
        place = place_of_volume(opened.frame.layer)
        self._tasks.start(_TASK, transmission_steps, views, done=partial(self._add, view, layers, views, place))

    def _add(
        self,
        view: Image,
        layers: Sequence[Image],
        views: RegisteredViews,
        place: dict[str, Any],
        found: Transmission | str,
    ) -> None:
        if isinstance(found, str):
            self._say("warning", f"There is no transmission to show: {found}.")
            return
        active, added = self._viewer.layers.selection.active, []
        limits = (0.0, float(found.values.max()))
        for number, layer in enumerate(layers):
            name = f"transmission {layer.name}"
            for old in [each for each in self._viewer.layers if each.name == name and _is_ours(each)]:
                self._viewer.layers.remove(old)
            shown = Image(
                lazy(TransmissionVolume(found, number, views.grid.shape)),
                name=name,
                contrast_limits=limits,
                colormap="viridis",
                visible=layer is view,
                metadata={KEY: {"role": "transmission"}},
                **place,
            )
            added.append(self._viewer.add_layer(shown))
        if active in self._viewer.layers:
            self._viewer.layers.selection.active = active
        self._say(
            "done",
            f"Added how much of the specimen each view saw, relative to their mean: where they differ most, one got "
            f"{found.least_share:.0%} of what another got.",
            added,
        )


def transmission_steps(check: Checkpoint, views: RegisteredViews) -> Generator[None, None, Transmission | str]:
    """Find the transmission of views; or why there is none, in words."""
    for _ in views.scan():
        check()
        yield
    return find_transmission(views) or why_no_transmission(views)


def _is_ours(layer: Any) -> bool:
    return notes(layer).get("role") == "transmission"
