"""What can be said about where a view has data: the entries of its menu, without the menu."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from napari.layers import Image, Labels, Layer

from napari_mvfusion.gui.layers.conversion import stack_of
from napari_mvfusion.gui.panels.views.problems import Fix, Mended
from napari_mvfusion.gui.panels.views.psf_entries import MenuEntry
from napari_mvfusion.io.formats import is_volume

MASK = "Mask"


@dataclass(frozen=True, eq=False)
class MaskLayer:
    """A layer that can be a mask.

    Attributes
    ----------
    name : of the layer
    data : (z, y, x), nonzero where there is data
    file : that it shows, or ""
    """

    name: str
    data: Any
    file: str


def mask_layers(layers: Sequence[Layer], view: Image) -> list[MaskLayer]:
    """The layers that have a voxel for each one of a view."""
    shape = tuple(stack_of(view).shape[-3:])
    found = []
    for layer in layers:
        if layer is view or not isinstance(layer, Image | Labels) or layer.ndim != 3 or getattr(layer, "rgb", False):
            continue
        data = stack_of(layer)
        if tuple(data.shape) == shape:
            found.append(MaskLayer(layer.name, data, _file_of(layer)))
    return found


def field_choices(known: Mapping[str, Any], masks: Sequence[MaskLayer]) -> list[MenuEntry]:
    """What can be said about where a view has data.

    Parameters
    ----------
    known : notes of its layer
    masks : layers that can be its mask
    """
    masked = known.get("mask") is not None
    now = "" if masked else known.get("no_data", "auto")
    choices = [
        MenuEntry(automatic("Automatic", known), checked=now == "auto"),
        MenuEntry(zeros_are_data("Zeros are data", known), checked=now == "none"),
    ]
    if masked and not known.get("mask_layer"):
        choices.append(MenuEntry(Fix("Its own mask", "The mask that came with the view, or what was left out of it")))
    for mask in masks:
        entries = {"mask": mask.data, "mask_layer": mask.name, "mask_file": mask.file} | _forgetting(known)
        said = f"has data where '{mask.name}' is not 0"
        tip = f"Use the view where '{mask.name}' is not 0, and leave the rest to the other views"
        fix = Fix(mask.name, tip, partial(Mended, entries, said))
        choices.append(MenuEntry(fix, MASK, checked=masked and known.get("mask_layer") == mask.name))
    if not masks:
        choices.append(MenuEntry(Fix(MASK, "No other layer has a voxel for each one of this view")))
    return choices


def automatic(label: str, known: Mapping[str, Any]) -> Fix:
    """Have zeros and NaN outside the field recognised."""
    tip = (
        "Recognise 0 and NaN outside the field of the view, and leave what lies there to the other views. Dark pixels "
        "count as measured"
    )
    return Fix(label, tip, partial(Mended, _without_mask(known, "auto"), "0 and NaN outside its field are recognised"))


def zeros_are_data(label: str, known: Mapping[str, Any]) -> Fix:
    """Take every pixel as measured."""
    tip = "Take every pixel as a measurement: zeros make the fused volume darker there"
    return Fix(label, tip, partial(Mended, _without_mask(known, "none"), "every pixel counts as measured"))


def _without_mask(known: Mapping[str, Any], no_data: str) -> dict[str, Any]:
    return {"mask": None, "mask_layer": "", "mask_file": "", "no_data": no_data} | _forgetting(known)


def _forgetting(known: Mapping[str, Any]) -> dict[str, Any]:
    """A mask that came with the view stands in its files: without it they are opened in another way."""
    own = known.get("mask") is not None and not known.get("mask_layer")
    return {"inputs": None} if own else {}


def _file_of(layer: Layer) -> str:
    """The file that a layer shows as it is; labels may have been painted since."""
    if not isinstance(layer, Image) or layer.source.path is None:
        return ""
    path = Path(layer.source.path)
    return str(path.resolve()) if is_volume(path) or path.is_dir() else ""
