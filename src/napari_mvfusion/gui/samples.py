"""The sample data of the manifest: simulated specimens with views, PSFs and ground truth."""

from __future__ import annotations

from functools import cache

from napari_mvfusion.gui.layers.layer_data import LayerData, truth_layer, view_layers
from napari_mvfusion.gui.widgets.waiting import while_busy
from napari_mvfusion.simulation import Simulation, sample

_CALLED = {"embryo": "an embryo and its views", "nuclei": "nuclei and their views"}


def embryo() -> list[LayerData]:
    """An embryo, recorded from four sides."""
    return _layers("embryo")


def nuclei() -> list[LayerData]:
    """Nuclei, recorded from two sides."""
    return _layers("nuclei")


@cache
def _simulated(name: str) -> Simulation:
    """Made once a session: opening a sample again is instant and shows the same specimen."""
    return sample(name)


def _layers(name: str) -> list[LayerData]:
    made = while_busy(f"Simulating {_CALLED[name]}…", lambda: _simulated(name))
    return [*view_layers(made.views, sample=name), truth_layer(made.truth, made.views.grid, sample=name)]
