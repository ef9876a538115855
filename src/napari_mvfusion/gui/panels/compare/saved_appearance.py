"""How layers looked before they were compared, so that they can look like that again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from napari.layers import Image, Layer

# The range goes before the limits, which it bounds.
_OF_IMAGES = ("colormap", "blending", "contrast_limits_range", "contrast_limits")


class SavedAppearance:
    """Remembers layers as they are first seen, and brings them back."""

    def __init__(self) -> None:
        self._kept: dict[Layer, dict[str, Any]] = {}

    def keep(self, layers: Iterable[Layer]) -> None:
        """Remember layers that are not remembered yet."""
        for layer in layers:
            if layer not in self._kept:
                self._kept[layer] = _look(layer)

    def forget(self, layer: Layer) -> None:
        """A layer is gone."""
        self._kept.pop(layer, None)

    def restore(self) -> None:
        """Let all layers look as they did, and forget them."""
        kept, self._kept = self._kept, {}
        for layer, look in kept.items():
            planes = look.pop("planes", None)
            layer.name_overlay.visible = look.pop("named")
            for name, value in look.items():
                setattr(layer, name, value)
            if planes is not None:
                layer.experimental_clipping_planes = planes


def _look(layer: Layer) -> dict[str, Any]:
    look = {"visible": layer.visible, "named": layer.name_overlay.visible}
    if isinstance(layer, Image):
        for name in _OF_IMAGES:
            if not (layer.rgb and name.startswith("co")):
                value = getattr(layer, name)
                look[name] = tuple(value) if isinstance(value, list) else value
        look["planes"] = [plane.model_dump() for plane in layer.experimental_clipping_planes]
    return look
