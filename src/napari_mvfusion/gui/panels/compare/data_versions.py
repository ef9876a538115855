"""Which data layers have, so that what was found out about them is known for as long as they have the same."""

from __future__ import annotations

from collections.abc import Iterable

from napari.components import ViewerModel
from napari.layers import Image

Versions = tuple[tuple[int, int], ...]


class DataVersions:
    """Counts the changes of each layer's data."""

    def __init__(self) -> None:
        self._versions: dict[Image, int] = {}

    def notice(self, layer: Image) -> None:
        """The data of a layer are others."""
        self._versions[layer] = self._versions.get(layer, 0) + 1

    def follow(self, layers: Iterable[Image]) -> frozenset[tuple[int, int]]:
        """These are the layers now; returns what `of` gives for all of them: what else was known is out of date."""
        self._versions = {layer: self._versions.get(layer, 0) for layer in layers}
        return frozenset(self.of(self._versions))

    def of(self, layers: Iterable[Image]) -> Versions:
        """The data of layers, as a part of a key."""
        return tuple((id(layer), self._versions.get(layer, 0)) for layer in layers)


def shown_step(viewer: ViewerModel, layers: Iterable[Image]) -> tuple[int, ...]:
    """Where the viewer stands along the axes before z, where any of the layers has such; a part of a key."""
    return tuple(viewer.dims.current_step[:-3]) if any(layer.ndim > 3 for layer in layers) else ()
