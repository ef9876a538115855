"""Sample data: simulated specimens with views, PSFs and ground truth."""

from __future__ import annotations

from functools import cache

from napari_mvfusion.gui.layers.layer_data import LayerData, truth_layer, view_layers
from napari_mvfusion.gui.widgets.waiting import while_busy
from napari_mvfusion.simulation import Simulation, sample

_CALLED = {"embryo": "an embryo and its views", "nuclei": "nuclei and their views"}


@cache
def _simulated(name: str) -> Simulation:
    """Made once a session: opening a sample again is instant and shows the same specimen."""
    return sample(name)


def sample_layers(name: str) -> list[LayerData]:
    """A specimen as layers: "embryo", recorded from four sides, or "nuclei", from two."""

    def made() -> list[LayerData]:
        found = _simulated(name)
        return [*view_layers(found.views, sample=name), truth_layer(found.truth, found.views.grid, sample=name)]

    return while_busy(f"Simulating {_CALLED[name]}…", made)
