"""Layers that say how far a result can be trusted, over the result."""

from __future__ import annotations

from napari.components import ViewerModel
from napari.layers import Image

from napari_mvfusion.data.field_of_view import VolumeLike
from napari_mvfusion.gui.layers.conversion import place_of_volume
from napari_mvfusion.gui.layers.notes import KEY, notes

WITHOUT_SUPPORT, UNCERTAINTY = "light without support", "may be off by"

_COLOURS = {WITHOUT_SUPPORT: "magenta", UNCERTAINTY: "cyan"}
_RANGE = 3


def add_map(
    viewer: ViewerModel, result: Image, what: str, values: VolumeLike, *, bright: float, visible: bool
) -> Image:
    """Add a layer right over its result, or replace the one that is there.

    Parameters
    ----------
    viewer : gets the layer
    result : whose map it is
    what : `WITHOUT_SUPPORT` or `UNCERTAINTY`
    values : float32 (z, y, x), on the voxels of the result and in its units
    bright : value that is bright in the result, as it is in its map: on a contrast of its own, faint speckle would look
        like structure
    visible : whether it is seen; where one is replaced, it is if that was
    """
    name, active = f"{result.name} · {what}", viewer.layers.selection.active
    before = [each for each in viewer.layers if each.name == name and notes(each).get("role") == "unsupported"]
    visible = before[0].visible if before else visible
    for old in before:
        viewer.layers.remove(old)
    added = Image(
        values,
        name=name,
        colormap=_COLOURS[what],
        blending="additive",
        contrast_limits=(0.0, bright),
        visible=visible,
        metadata={KEY: {"role": "unsupported"}},
        **place_of_volume(result),
    )
    added.contrast_limits_range = (0.0, _RANGE * bright)
    viewer.layers.insert(viewer.layers.index(result) + 1, added)
    if active in viewer.layers:
        viewer.layers.selection.active = active
    return added
