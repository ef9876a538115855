"""What the menu of a view offers about the light that it lost in the specimen, and what is said of what was given."""

from __future__ import annotations

from collections.abc import Sequence

from napari.layers import Image, Labels, Layer

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.layers.conversion import stack_of
from napari_mvfusion.gui.layers.notes import notes
from napari_mvfusion.gui.layers.opened import transmission_on
from napari_mvfusion.gui.panels.views.menus import MenuEntry, file_of
from napari_mvfusion.measures.given_transmission import check_transmission
from napari_mvfusion.measures.view_problems import Fix, Mended, Problem, setting

_LOST = "Lost light"


def light_choices(view: Image, layers: Sequence[Layer], grid: Grid | None) -> list[MenuEntry]:
    """What can be said about the light that a view lost.

    Parameters
    ----------
    layers : those with the voxels of the fused volume that are no views can be its transmission
    grid : of the fused volume
    """
    known = notes(view)
    given = known.get("transmission")
    entries = [MenuEntry(_found(), _LOST, checked=given is None)]
    if given is not None and not known.get("transmission_layer"):
        came = Fix("As the transmission says that came with it", "It was given when the view was opened")
        entries.append(MenuEntry(came, _LOST, checked=True))
    offered = [layer for layer in layers if layer is not view and _can_transmit(layer, grid)]
    for layer in offered:
        ticked = given is not None and known.get("transmission_layer") == layer.name
        entries.append(MenuEntry(_as_layer_says(layer), _LOST, checked=ticked))
    if not offered:
        tip = "No other layer that is no view has the voxels of the fused volume: it would hold the share of the light"
        entries.append(MenuEntry(Fix("As a layer says", tip), _LOST))
    tip = "Find how much of the specimen each ticked view saw, as methods do, and add a layer for each"
    entries.append(MenuEntry(Fix("Show as layers", tip, request="light"), _LOST))
    return entries


def light_problems(view: Image, grid: Grid | None) -> list[Problem]:
    """What is said of a transmission that was given for a view; nothing where none was."""
    known = notes(view)
    if known.get("transmission") is None:
        return []
    name = known.get("transmission_layer")
    says = f"'{name}' says" if name else "The transmission that came with it says"
    if grid is not None and transmission_on(view, grid) is None:
        text = f"{says} how much light it lost on other voxels than those of the fused volume, and is not used."
        return [Problem("warning", text, (_found(),))]
    text = f"{says} how much of the specimen it saw: methods take it where Lost light is given."
    return [Problem("note", text, (_found(),))]


def _found() -> Fix:
    tip = "Give no transmission: methods whose Lost light is estimated find it by comparing the views"
    said = "lost light is found from the views, where a method estimates it"
    none = {"transmission": None, "transmission_layer": "", "transmission_file": ""}
    return setting("Found from the views", tip, said, **none)


def _can_transmit(layer: Layer, grid: Grid | None) -> bool:
    if not isinstance(layer, Image | Labels) or layer.ndim != 3 or getattr(layer, "rgb", False):
        return False
    known = notes(layer)
    fits = grid is not None and tuple(stack_of(layer).shape) == grid.shape
    return fits and known.get("role") in ("transmission", None) and known.get("included") is not True


def _as_layer_says(layer: Layer) -> Fix:
    name, stack, file = layer.name, stack_of(layer), file_of(layer)

    def mend() -> Mended:
        try:
            check_transmission(stack)
        except InputError as error:
            raise InputError(f"'{name}' is no transmission, as it {error}") from error
        entries = {"transmission": stack, "transmission_layer": name, "transmission_file": file}
        return Mended(entries, f"saw of the specimen what '{name}' says; choose Lost light: given in Fuse to use it")

    tip = f"Take '{name}' for the share of the light that reached this view, for methods whose Lost light is given"
    return Fix(f"As '{name}' says", tip, mend)
