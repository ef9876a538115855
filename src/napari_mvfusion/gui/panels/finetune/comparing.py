"""Two fused volumes side by side with one contrast, and below them the chi-square of each, place by place."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_mvfusion.gui.jobs.status import Status, TaskBar
from napari_mvfusion.gui.jobs.tasks import Checkpoint, Latest
from napari_mvfusion.gui.layers.conversion import place_of_volume, stack_of
from napari_mvfusion.gui.layers.notes import KEY
from napari_mvfusion.gui.layers.opened import Opened
from napari_mvfusion.gui.panels.compare.arrangements import SavedAppearance, SideBySide
from napari_mvfusion.system.devices import pick_device
from napari_mvfusion.training.chi_square import ChiSquare, reduced_chi_square

_COLORMAP = "inferno"
# What noise alone leaves is 1: it stays dark, and anything above is seen.
_LEAST_LIMIT = 2.0
_SHOWN_PERCENT = 99.5
_WORDS = "Measuring the residuals"


class Comparing(QObject):
    """Shows two layers in the grid, and adds the residual of each as a layer once it is computed.

    `changed` tells that the grid goes on or off.

    Parameters
    ----------
    viewer : whose canvas is divided
    messages : say what was found

    Attributes
    ----------
    bar : shows how far the residuals are, with a button to cancel
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel, messages: Status, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer, self._messages = viewer, messages
        self._side = SideBySide(viewer)
        self._appearance = SavedAppearance()
        self._task = Latest(self)
        self.bar = TaskBar(self._task)
        self._task.succeeded.connect(self._show_residuals)
        self._task.failed.connect(messages.fail)
        self._shown: list[Image] = []
        self._measured: list[Image] = []
        viewer.layers.events.removed.connect(self._notice_removal)

    @property
    def on(self) -> bool:
        """Whether the grid is on."""
        return bool(self._shown)

    def start(self, layers: Sequence[Image], model: str, opened: Opened) -> None:
        """Show layers side by side, and compute where each explains the views; of a series that of the first volume.

        Parameters
        ----------
        layers : the views fused with the start, and with the model; its contrast is that of both
        model : its name
        opened : the views
        """
        self._appearance.keep(self._viewer.layers)
        before, after = layers
        low, high = after.contrast_limits
        least, most = before.contrast_limits_range
        before.contrast_limits_range = (min(low, least), max(high, most))
        before.contrast_limits = (low, high)
        self._side.start(layers)
        self._shown, self._measured = list(layers), list(layers)
        self._names = ("residual, start", f"residual, {model}")
        self.changed.emit()
        self.bar.begin(_WORDS)
        first = (0,) * len(opened.leading)
        volumes = [stack_of(layer)[first] if first else stack_of(layer) for layer in layers]

        def explain(check: Checkpoint) -> Generator[None, None, list[ChiSquare]]:
            yield
            report = partial(check.report, _WORDS)
            return list(reduced_chi_square(volumes, opened.views, pick_device("auto"), progress=report))

        self._task.start(explain)

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
        before, after = found
        self._messages.say(
            "done",
            f"Over the whole volume the residual is {before.residual:.2f} with the start and {after.residual:.2f} with "
            "the new model. 1 is the noise alone; the attenuation of the views is allowed for. The residual layers show "
            "where it is.",
        )

    def _notice_removal(self, event: Any) -> None:
        self._appearance.forget(event.value)
        if event.value in self._shown:
            self.stop()
        if event.value in self._measured:
            self._task.cancel()
