"""Two fused volumes side by side with one contrast, and below them the chi-square of each, place by place."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.gui.jobs.status import TaskBar
from napari_mvfusion.gui.jobs.tasks import Latest
from napari_mvfusion.gui.layers.conversion import open_layers, place_of_volume, stack_of
from napari_mvfusion.gui.layers.notes import KEY
from napari_mvfusion.gui.panels.compare.arrangements import SavedAppearance, SideBySide
from napari_mvfusion.measures.placed_volume import Report
from napari_mvfusion.system.devices import pick_device
from napari_mvfusion.training.chi_square import ChiSquare, reduced_chi_square

_COLORMAP = "inferno"
# What noise alone leaves is 1: it stays dark, and anything above is seen.
_LEAST_LIMIT = 2.0
_SHOWN_PERCENT = 99.5
_WORDS = "Measuring the residuals"


class Comparing(QObject):
    """Shows two layers in the grid, and adds the residual of each as a layer once it is computed.

    Signals: `measured` (two residuals), `failed` (an error), `changed` when the grid goes on or off.

    Parameters
    ----------
    viewer : whose canvas is divided

    Attributes
    ----------
    bar : shows how far the residuals are, with a button to cancel
    """

    measured = Signal(object)
    failed = Signal(object)
    changed = Signal()

    def __init__(self, viewer: ViewerModel, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._side = SideBySide(viewer)
        self._appearance = SavedAppearance()
        self._task = Latest(self)
        self.bar = TaskBar(self._task)
        self._task.reported.connect(self._show_residuals)
        self._task.failed.connect(self.failed)
        self._shown: list[Image] = []
        self._measured: list[Image] = []
        self._names: list[str] = []
        viewer.layers.events.removed.connect(self._notice_removal)

    @property
    def on(self) -> bool:
        """Whether the grid is on."""
        return bool(self._shown)

    def show_layers(self, layers: list[Image]) -> None:
        """Show these layers side by side, with the contrast of the last."""
        self._appearance.keep(self._viewer.layers)
        low, high = layers[-1].contrast_limits
        for layer in layers[:-1]:
            layer.contrast_limits_range = (
                min(low, layer.contrast_limits_range[0]),
                max(high, layer.contrast_limits_range[1]),
            )
            layer.contrast_limits = (low, high)
        self._side.start(layers)
        self._shown = list(layers)
        self.changed.emit()

    def measure(self, layers: list[Image], names: list[str], views: list[Image]) -> None:
        """Compute in a thread where each layer explains the views; of a series that of the first volume.

        Parameters
        ----------
        layers : fused volumes, the start first
        names : of the residuals of these
        views : layers that were fused
        """
        opened = open_layers(views)
        volumes = [
            stack_of(layer)[(0,) * len(opened.leading)] if opened.leading else stack_of(layer) for layer in layers
        ]
        self._measured, self._names = list(layers), list(names)
        self.bar.begin(_WORDS)
        self._task.start(lambda check: _explained(volumes, opened.views, check.report))

    def stop(self) -> None:
        """One picture again; what is being measured is still added as layers, which are hidden then."""
        if not self._shown:
            return
        self._shown = []
        self._side.stop()
        self._appearance.restore()
        self.changed.emit()

    def cancel(self) -> None:
        """Measure no more."""
        self._task.cancel()

    def close_down(self) -> None:
        """The panel is closed."""
        self._viewer.layers.events.removed.disconnect(self._notice_removal)
        self.stop()

    def _show_residuals(self, found: Sequence[ChiSquare]) -> None:
        """Add the maps as layers with one contrast, in a row of the grid of their own."""
        known = np.concatenate([each.map[each.map > 0] for each in found])
        limit = float(max(_LEAST_LIMIT, np.percentile(known, _SHOWN_PERCENT))) if known.size else _LEAST_LIMIT
        residuals = []
        for layer, name, each in zip(self._measured, self._names, found, strict=True):
            residual = self._viewer.add_image(
                each.map,
                name=name,
                colormap=_COLORMAP,
                contrast_limits=(0.0, limit),
                blending="translucent",
                visible=False,
                metadata={KEY: {"role": "residual"}},
                **place_of_volume(layer),
            )
            residual.contrast_limits_range = (0.0, 3 * limit)
            residuals.append(residual)
        if self._shown:
            self._appearance.keep(residuals)
            self._shown += residuals
            self._side.start(self._shown)
            for residual in residuals:
                residual.colormap = _COLORMAP
        self.measured.emit([each.residual for each in found])

    def _notice_removal(self, event: Any) -> None:
        self._appearance.forget(event.value)
        if event.value in self._shown:
            self.stop()
        if event.value in self._measured:
            self._task.cancel()


def _explained(volumes: list[Any], views: RegisteredViews, report: Report) -> Generator[list[ChiSquare], None, None]:
    yield reduced_chi_square(volumes, views, pick_device("auto"), progress=partial(report, _WORDS))
