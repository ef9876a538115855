"""One contrast for several layers, whatever the gain of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari.layers import Image
from qtpy.QtCore import QObject, Signal

Fit = tuple[float, float]
_AS_IT_IS: Fit = (1.0, 0.0)


class SharedContrast(QObject):
    """Links the contrast limits of layers: changing those of one, here or in napari, changes all.

    Limits are in units of the first layer. A layer with a fit `(scale, offset)`, which brings its values to those of
    the first, gets limits that look the same on it. `changed` tells that the limits are others.
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._layers: list[Image] = []
        self._fits: dict[Image, Fit] = {}
        self._busy = False
        self.limits = (0.0, 1.0)
        self._usual = self.limits

    @property
    def layers(self) -> list[Image]:
        """The layers that are linked."""
        return list(self._layers)

    def link(self, layers: Sequence[Image], fits: dict[Image, Fit]) -> None:
        """Link these layers, and no others; they take the limits of the first, or keep the common ones.

        Parameters
        ----------
        layers : the first one sets the units
        fits : how layers are brought to the first; the others are as they are
        """
        new_reference = not layers or not self._layers or layers[0] is not self._layers[0]
        self.unlink()
        self._layers = list(layers)
        self._fits = {layer: fit for layer, fit in fits.items() if fit[0] > 0}
        for layer in layers:
            layer.events.contrast_limits.connect(self._notice)
        if layers and new_reference:
            self.limits = self._usual = tuple(layers[0].contrast_limits)
        self._apply()

    def unlink(self) -> None:
        """Let go of all layers."""
        for layer in self._layers:
            layer.events.contrast_limits.disconnect(self._notice)
        self._layers = []

    def set(self, low: float, high: float) -> None:
        """Set the limits of all layers, in units of the first."""
        if high > low:
            self.limits = (low, high)
            self._apply()

    def take_from(self, layer: Image) -> None:
        """Give all layers the limits that one of them has."""
        self.set(*self._to_common(layer, tuple(layer.contrast_limits)))

    def range(self) -> tuple[float, float]:
        """The least and greatest limits that are usual, in units of the first layer."""
        low, high = self._usual
        return min(self.limits[0], low - (high - low) / 4), max(self.limits[1], 2 * high - low)

    def _notice(self, event: Any) -> None:
        if not self._busy:
            self.take_from(event.source)

    def _apply(self) -> None:
        self._busy = True
        try:
            for layer in self._layers:
                scale, offset = self._fits.get(layer, _AS_IT_IS)
                low, high = ((value - offset) / scale for value in self.limits)
                if tuple(layer.contrast_limits) != (low, high):
                    least, most = layer.contrast_limits_range
                    layer.contrast_limits_range = (min(least, low), max(most, high))
                    layer.contrast_limits = (low, high)
        finally:
            self._busy = False
        self.changed.emit()

    def _to_common(self, layer: Image, limits: tuple[float, ...]) -> tuple[float, float]:
        scale, offset = self._fits.get(layer, _AS_IT_IS)
        return scale * limits[0] + offset, scale * limits[1] + offset
