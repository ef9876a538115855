"""The views that belong to a volume: open, with PSFs, and on its grid."""

from __future__ import annotations

from collections.abc import Sequence

from napari.layers import Image

from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.layers.conversion import notes, open_layers
from napari_mvfusion.gui.panels.compare.volumes import Volume, leading_index

_NONE = "no views with PSFs are open: the residual compares a volume, blurred with a view's PSF, with that view"


def view_layers_with_psfs(listed: Sequence[Image]) -> list[Image]:
    """The layers that are views and have a PSF, except those that the user left out."""
    return [
        layer
        for layer in listed
        if notes(layer).get("role") == "view"
        and notes(layer).get("psf") is not None
        and notes(layer).get("included", True)
    ]


def views_of(volume: Volume, listed: Sequence[Image], point: Sequence[float]) -> RegisteredViews:
    """The open views that a volume can have been fused from, at the time point that is shown.

    Views are grouped by the sample they show. The groups whose grid is that of the volume come into question; among
    several, the one whose sample begins the volume's name is taken.

    Raises
    ------
    InputError
        If there are none.
    """
    groups: dict[str, list[Image]] = {}
    for layer in view_layers_with_psfs(listed):
        groups.setdefault(str(notes(layer).get("sample", "")), []).append(layer)
    if not groups:
        raise InputError(_NONE)
    by_name = sorted(groups, key=lambda sample: not (sample and volume.name.startswith(sample)))
    for sample in by_name:
        first = groups[sample][0]
        opened = open_layers(groups[sample])
        views = opened.at(leading_index(first, point))
        found = Volume(sample, views.views[0].data, views.grid.affine)
        if views.grid.shape == volume.shape and volume.on_grid_of(found):
            return views
    raise InputError(f"'{volume.name}' does not lie on the grid of the open views: they do not belong together")
