"""Two fused volumes side by side with one contrast, and how much of the views each leaves unexplained."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from statistics import fmean
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_mvfusion.devices import pick_device
from napari_mvfusion.gui.compare.looks import Looks
from napari_mvfusion.gui.compare.side_by_side import SideBySide
from napari_mvfusion.gui.layers import open_layers, stack_of
from napari_mvfusion.gui.tasks import Checkpoint, Tasks
from napari_mvfusion.residuals import reprojection
from napari_mvfusion.views import RegisteredViews


class Comparing(QObject):
    """Shows two layers in the grid and measures them.

    Signals: `measured` (two residuals), `failed` (an error), `changed` when the grid goes on or off.

    Parameters
    ----------
    viewer : whose canvas is divided
    """

    measured = Signal(object)
    progressed = Signal(str, float)
    failed = Signal(object)
    changed = Signal()

    def __init__(self, viewer: ViewerModel, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._side = SideBySide(viewer)
        self._looks = Looks()
        self._tasks = Tasks(self)
        self._tasks.failed.connect(self.failed)
        self._shown: list[Image] = []
        viewer.layers.events.removed.connect(self._notice_removal)

    @property
    def on(self) -> bool:
        """Whether the grid is on."""
        return bool(self._shown)

    def show_layers(self, layers: list[Image]) -> None:
        """Show these layers side by side, with the contrast of the last."""
        self._looks.keep(self._viewer.layers)
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

    def measure(self, layers: list[Image], views: list[Image]) -> None:
        """Compute the residual of each layer in a thread; of a series that of the first volume."""
        opened = open_layers(views)
        volumes = [
            stack_of(layer)[(0,) * len(opened.leading)] if opened.leading else stack_of(layer) for layer in layers
        ]
        task = self._tasks.start("measure", _residuals, volumes, opened.views, done=self.measured.emit)
        task.progressed.connect(self.progressed)

    def stop(self) -> None:
        """One picture again."""
        if not self._shown:
            return
        self._shown = []
        self._side.stop()
        self._looks.restore()
        self.changed.emit()

    def close_down(self) -> None:
        """The panel is closed."""
        self._tasks.stop_all()
        self._viewer.layers.events.removed.disconnect(self._notice_removal)
        self.stop()

    def _notice_removal(self, event: Any) -> None:
        self._looks.forget(event.value)
        if event.value in self._shown:
            self.stop()


def _residuals(check: Checkpoint, volumes: list[Any], views: RegisteredViews) -> Generator[None, None, list[float]]:
    """Mean residual over the views of each volume; 1 is the noise floor."""
    found = []
    for number, volume in enumerate(volumes):

        def progress(share: float, number: int = number) -> None:
            check.report("measuring both", (number + share) / len(volumes))

        residuals = reprojection(volume, views, pick_device("auto"), progress=partial(progress))
        found.append(fmean(residual.rms for residual in residuals))
        yield
    return found
