"""What the menu of a view offers about how much it counts from place to place, and what is said of what was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import dask.array as da
from napari.layers import Image, Layer

from napari_mvfusion.data.fused_grid import Placed
from napari_mvfusion.data.geometry import FloatTriple, is_aligned
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.layers.conversion import pixels_to_world_um, stack_of
from napari_mvfusion.gui.layers.fused_frame import places_of
from napari_mvfusion.gui.layers.layer_data import lazy
from napari_mvfusion.gui.layers.notes import ChosenTrust, notes
from napari_mvfusion.gui.layers.opened import kept_view
from napari_mvfusion.gui.layers.trusted_views import in_words
from napari_mvfusion.gui.panels.views.menus import MenuEntry, file_of, is_as_large
from napari_mvfusion.measures.view_problems import Fix, Mended, Problem, setting

_COUNTS = "Counts"
_NO_ANGLE = "Enter the angle of this view first: depth is counted along its detection axis"


def trust_choices(view: Image, layers: Sequence[Layer]) -> list[MenuEntry]:
    """What can be said about how much a view counts from place to place.

    Parameters
    ----------
    layers : those with a voxel for each one of the view that are no views themselves can be its weights
    """
    chosen = notes(view).get("trust") or ChosenTrust()
    entries = [MenuEntry(_everywhere(), _COUNTS, checked=notes(view).get("trust") is None)]
    weights = [layer for layer in layers if layer is not view and _can_weigh(layer, view)]
    for layer in weights:
        ticked = chosen.weights is not None and chosen.weights_layer == layer.name
        entries.append(MenuEntry(_as_layer_says(layer, chosen), _COUNTS, checked=ticked))
    if not weights:
        tip = "No other layer that is no view has a voxel for each one of this view: it would hold numbers from 0 to 1"
        entries.append(MenuEntry(Fix("As a layer says", tip), _COUNTS))
    tip = "Let the view count within a box alone, drawn in a Shapes layer or typed"
    box = Fix("In a box…", tip, request="box")
    entries.append(MenuEntry(box, _COUNTS, checked=chosen.box_um is not None))
    tip = "Let the view count to some depth along its detection axis, and less and less beyond"
    fade = Fix("Fading with depth…", tip if _has_axis(view) else _NO_ANGLE, request="fade" if _has_axis(view) else "")
    entries.append(MenuEntry(fade, _COUNTS, checked=chosen.fade is not None))
    return entries


def trust_problems(view: Image) -> list[Problem]:
    """What is said of how much a view counts from place to place; nothing where that is the same everywhere."""
    chosen = notes(view).get("trust")
    if chosen is None:
        return []
    text = f"It {in_words(chosen)}."
    if chosen.fade is not None and not _has_axis(view):
        text += " Depth is counted along its detection axis, and its angle is not known: enter it."
    elif chosen.box_um is not None and not _meets(view, chosen.box_um):
        text += " It lies outside of that box."
    else:
        return [Problem("note", text, (_everywhere(),))]
    return [Problem("error", text, (_everywhere(),))]


def chosen_or_none(chosen: ChosenTrust) -> ChosenTrust | None:
    """What is noted of a choice, None where it says nothing."""
    return None if chosen.weights is None and chosen.box_um is None and chosen.fade is None else chosen


def _everywhere() -> Fix:
    tip = "Let the view count alike at every place, as its weight says"
    return setting("Everywhere", tip, "counts alike everywhere", trust=None)


def _has_axis(view: Image) -> bool:
    """Whether the detection axis of a view is known: by its angle, or as its own z where it is turned."""
    if notes(view).get("angle") is not None:
        return True
    kept = kept_view(view)
    try:
        own = pixels_to_world_um(view) if kept is None or kept.view.affine is None else kept.view.affine
    except InputError:
        # Its units are no lengths, which is said as a problem of its grid.
        return False
    return not is_aligned(own)


def _meets(view: Image, box_um: tuple[FloatTriple, FloatTriple]) -> bool:
    """Whether voxels of a view lie in a box of the world."""
    kept = kept_view(view)
    try:
        own = None if kept is None or kept.view.affine is None else Placed(kept.view.shape, kept.view.affine)
        low, high = (own or places_of(view)[0]).bounds_um
    except InputError:
        # Its units are no lengths, which is said as a problem of its grid.
        return True
    return bool((low <= box_um[1]).all() and (high >= box_um[0]).all())


def _can_weigh(layer: Layer, view: Image) -> bool:
    known = notes(layer)
    return is_as_large(layer, view) and known.get("role") in ("trust", None) and known.get("included") is not True


def _as_layer_says(layer: Layer, chosen: ChosenTrust) -> Fix:
    label = f"As '{layer.name}' says"
    if chosen.weights is not None and chosen.weights_layer == layer.name:
        rest = chosen_or_none(replace(chosen, weights=None, weights_layer="", weights_file=""))
        said = f"counts no more as '{layer.name}' says"
        return setting(label, f"Untick it to let '{layer.name}' say nothing", said, trust=rest)
    name, stack, file = layer.name, stack_of(layer), file_of(layer)

    def mend() -> Mended:
        _check_weights(stack, name)
        named = replace(chosen, weights=stack, on_shown=True, weights_layer=name, weights_file=file)
        return Mended({"trust": named}, in_words(named))

    return Fix(label, f"Multiply how much the view counts with '{name}', whose values lie from 0 to 1", mend)


def _check_weights(stack: Any, name: str) -> None:
    """Refuse a layer whose values say how much nothing counts; reads all of it.

    Raises
    ------
    InputError
        If values lie beyond 0 to 1 or are no numbers, or all are 0.
    """
    values = lazy(stack) if not hasattr(stack, "min") else stack
    low, high = map(float, da.compute(values.min(), values.max()))
    if not (low >= 0 and high <= 1):
        mend = ": divide them by the largest" if low >= 0 and high > 1 else ""
        raise InputError(
            f"'{name}' has values from {low:g} to {high:g}, and how much a view counts lies from 0 to 1{mend}"
        )
    if high == 0:
        raise InputError(f"'{name}' is 0 everywhere, so that the view would count nowhere: untick the view instead")
