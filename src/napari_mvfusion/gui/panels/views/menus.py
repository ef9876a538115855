"""The menus of a view: what can be done with its PSF, and what can be said about where it has data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from qtpy.QtWidgets import QMenu

from napari_mvfusion.data.geometry import FloatTriple
from napari_mvfusion.gui.layers.conversion import stack_of
from napari_mvfusion.gui.layers.notes import notes
from napari_mvfusion.io.formats import is_volume
from napari_mvfusion.io.psf_files import prepare_psf
from napari_mvfusion.measures.view_problems import Fix, Mended, setting
from napari_mvfusion.psf.frames import turn_psf
from napari_mvfusion.psf.mirror import flipped

_FROM, _TURNED, _MASK = "Take from another view", "Turn from another view", "Mask"
_TO_ANGLE, _OWN = "Turn to this view's angle", "Lies in this view's own frame"


@dataclass(frozen=True, eq=False)
class MenuEntry:
    """An entry of a menu.

    Attributes
    ----------
    fix : what it does; nothing where it cannot be chosen, and its tip says why
    group : name of the submenu that it stands in, or ""
    checked : whether it has a tick, or None where it cannot have one
    """

    fix: Fix
    group: str = ""
    checked: bool | None = None

    @property
    def possible(self) -> bool:
        """Whether it can be chosen."""
        return self.fix.mend is not None or bool(self.fix.request)


def fill_menu(menu: QMenu, entries: Sequence[MenuEntry], chosen: Callable[[Fix], None]) -> None:
    """Put these entries into a menu instead of what it held."""
    menu.clear()
    menus = {"": menu}
    for entry in entries:
        if entry.group not in menus:
            menus[entry.group] = menu.addMenu(entry.group)
        into = menus[entry.group]
        into.setToolTipsVisible(True)
        action = into.addAction(entry.fix.label)
        action.setToolTip(f"<qt>{entry.fix.tip}</qt>")
        action.setEnabled(entry.possible)
        if entry.checked is not None:
            action.setCheckable(True)
            action.setChecked(entry.checked)
        action.triggered.connect(lambda _=False, fix=entry.fix: chosen(fix))


def psf_choices(
    known: Mapping[str, Any],
    others: Sequence[tuple[str, Mapping[str, Any]]],
    voxel_size_um: FloatTriple,
    *,
    own_frame: bool,
    undo: str = "",
) -> list[MenuEntry]:
    """What can be done with a view's PSF.

    Parameters
    ----------
    known : notes of its layer
    others : names and notes of the other views' layers
    voxel_size_um : (z, y, x) of the fused volume
    own_frame : whether the view's own pixels lie otherwise than those of the fused volume
    undo : what was done last, or ""
    """
    choose = Fix("Choose file…", "Take a PSF from a TIFF file, and make it ready to fuse with", request="choose")
    with_psf = [(name, other) for name, other in others if other.get("psf") is not None]
    entries = [MenuEntry(choose)]
    entries += [MenuEntry(_take(name, other), _FROM) for name, other in with_psf]
    entries += _turned(known.get("angle"), with_psf, voxel_size_um)
    if not with_psf:
        entries.append(MenuEntry(Fix(_FROM, "No other view has a PSF")))
    key = "psf" if known.get("psf_own") is None else "psf_own"
    psf, source = known.get(key), known.get("psf_source", "")
    if psf is None:
        return entries

    def changed(label: str, tip: str, said: str, compute: Callable[[], np.ndarray]) -> Fix:
        return Fix(label, tip, lambda: Mended({key: compute(), "psf_source": _and(source, said)}, f"PSF {said}"))

    entries += [MenuEntry(_turn(known, psf, voxel_size_um)), _own(known, psf, possible=own_frame)]
    tip = "Turn the PSF around on all three axes, for one that was saved upside down"
    mirror = changed("Mirror", tip, "mirrored", lambda: flipped(psf))
    tip = "Subtract its background, bring its peak to the middle, crop it to where its light is, and bring its sum to 1"
    clean = changed("Clean", tip, "cleaned", lambda: prepare_psf(np.asarray(psf)).psf)
    save = Fix("Save as TIFF…", "Write the PSF as it is used to a TIFF file", request="save")
    tip = "Forget the PSF; the view can then be averaged, but not deconvolved"
    remove = setting("Remove", tip, "has no PSF now", psf=None, psf_own=None, psf_source="")
    entries += map(MenuEntry, (mirror, clean, save, remove))
    if undo:
        entries.append(MenuEntry(Fix(f"Undo: {undo}", "Bring back what was there before", request="undo")))
    return entries


def _source(name: str, other: Mapping[str, Any]) -> str:
    return other.get("psf_source") or f"PSF of {name}"


def _take(name: str, other: Mapping[str, Any]) -> Fix:
    entries = {"psf": other["psf"], "psf_said": other.get("psf_said"), "psf_own": None}
    tip, said = f"Use the PSF of {name} as it is", f"has the PSF of {name} now"
    return setting(name, tip, said, **entries, psf_source=_source(name, other))


def _turned(
    own: float | None, others: Sequence[tuple[str, Mapping[str, Any]]], voxel_size_um: FloatTriple
) -> list[MenuEntry]:
    """PSFs of views at other angles, turned to this one's."""
    entries = []
    for name, other in others:
        angle = other.get("angle")
        if angle is None or own is None or angle == own:
            continue
        by = (own - angle + 180) % 360 - 180
        tip = f"Turn the PSF of {name} about x by the difference of the angles"
        said = f"has the PSF of {name} now, turned by {by:g}° about x"
        fix = _turning(f"{name}, by {by:+g}°", tip, said, other["psf"], by, voxel_size_um, _source(name, other))
        entries.append(MenuEntry(fix, _TURNED))
    return entries


def _turn(known: Mapping[str, Any], psf: np.ndarray, voxel_size_um: FloatTriple) -> Fix:
    """Turn a PSF that lies in the frame of the view at 0 degrees."""
    angle = known.get("angle")
    if known.get("psf_own") is not None:
        return Fix(_TO_ANGLE, "The PSF is turned already: it lies in this view's own frame")
    if angle is None:
        return Fix(_TO_ANGLE, "Enter the angle of this view first")
    if angle % 360 == 0:
        return Fix(f"{_TO_ANGLE} (0°)", "At 0° there is nothing to turn")
    label, said = f"{_TO_ANGLE} ({angle:g}°)", f"PSF turned by {angle:g}° about x"
    tip = "For a PSF whose long axis lies along z, as it is recorded: turn it about x to where this view looks"
    return _turning(label, tip, said, psf, angle, voxel_size_um, known.get("psf_source", ""))


def _turning(
    label: str, tip: str, said: str, psf: np.ndarray, angle: float, voxel_size_um: FloatTriple, source: str
) -> Fix:
    def mend() -> Mended:
        turned = turn_psf(psf, angle, voxel_size_um)
        return Mended({"psf": turned, "psf_own": None, "psf_source": _and(source, f"turned by {angle:g}°")}, said)

    return Fix(label, tip, mend)


def _own(known: Mapping[str, Any], psf: np.ndarray, *, possible: bool) -> MenuEntry:
    """In which frame the PSF lies."""
    if known.get("psf_own") is not None:
        tip = "The PSF is turned and resampled as the view is. Untick it to use the PSF as it is"
        said = "PSF used as it is, in the frame of the fused volume"
        return MenuEntry(setting(_OWN, tip, said, psf=psf, psf_own=None, psf_matrix=None), checked=True)
    if not possible:
        tip = "The layer lies on the grid of the fused volume, so both frames are the same"
        return MenuEntry(Fix(_OWN, tip), checked=False)
    tip = "The PSF was measured in this view's own pixels: turn and resample it as the layer is"
    said = "PSF turned and resampled as the layer is"
    return MenuEntry(setting(_OWN, tip, said, psf_own=psf, psf_matrix=None), checked=False)


def _and(source: str, more: str) -> str:
    return f"{source}, {more}" if source else more


def file_of(layer: Layer) -> str:
    """The file that a layer shows as it is; labels may have been painted since."""
    if not isinstance(layer, Image) or layer.source.path is None:
        return ""
    path = Path(layer.source.path)
    return str(path.resolve()) if is_volume(path) or path.is_dir() else ""


def field_choices(view: Image, layers: Sequence[Layer]) -> list[MenuEntry]:
    """What can be said about where a view has data.

    Parameters
    ----------
    layers : those that have a voxel for each one of the view can be its mask
    """
    known = notes(view)
    masked = known.get("mask") is not None
    now = "" if masked else known.get("no_data", "auto")
    entries = [
        MenuEntry(automatic("Automatic", known), checked=now == "auto"),
        MenuEntry(zeros_are_data("Zeros are data", known), checked=now == "none"),
        MenuEntry(zeros_are_no_data("Zeros are no data", known), checked=now == "0"),
    ]
    if masked and not known.get("mask_layer"):
        entries.append(MenuEntry(Fix("Its own mask", "The mask that came with the view, or what was left out of it")))
    masks = [layer for layer in layers if layer is not view and is_as_large(layer, view)]
    for mask in masks:
        said = f"has data where '{mask.name}' is not 0"
        tip = f"Use the view where '{mask.name}' is not 0, and leave the rest to the other views"
        shown = {"mask": stack_of(mask), "mask_layer": mask.name, "mask_file": file_of(mask)}
        checked = masked and known.get("mask_layer") == mask.name
        entries.append(MenuEntry(_with_mask(mask.name, tip, said, known, **shown), _MASK, checked=checked))
    if not masks:
        entries.append(MenuEntry(Fix(_MASK, "No other layer has a voxel for each one of this view")))
    return entries


def is_as_large(layer: Layer, view: Image) -> bool:
    """Whether a layer is a volume with a voxel for each one that a view shows."""
    if not isinstance(layer, Image | Labels) or layer.ndim != 3 or getattr(layer, "rgb", False):
        return False
    return tuple(stack_of(layer).shape) == tuple(stack_of(view).shape[-3:])


def automatic(label: str, known: Mapping[str, Any]) -> Fix:
    """Have zeros and NaN outside the field recognised."""
    tip = (
        "Recognise 0 and NaN outside the field of the view, and leave what lies there to the other views. Dark pixels "
        "count as measured"
    )
    said = "0 and NaN outside its field are recognised"
    return _with_mask(label, tip, said, known, mask=None, mask_layer="", mask_file="", no_data="auto")


def zeros_are_no_data(label: str, known: Mapping[str, Any]) -> Fix:
    """A button that takes every 0 of a view as no measurement."""
    tip = "Take every 0 as outside the field of the view, and leave it to the other views"
    said = "every 0 counts as no data"
    return _with_mask(label, tip, said, known, mask=None, mask_layer="", mask_file="", no_data="0")


def zeros_are_data(label: str, known: Mapping[str, Any]) -> Fix:
    """Take every pixel as measured."""
    tip = "Take every pixel as a measurement: zeros make the fused volume darker there"
    said = "every pixel counts as measured"
    return _with_mask(label, tip, said, known, mask=None, mask_layer="", mask_file="", no_data="none")


def _with_mask(label: str, tip: str, said: str, known: Mapping[str, Any], **entries: Any) -> Fix:
    """A mask that came with the view stands in its files: with another one they are opened in another way."""
    own = known.get("mask") is not None and not known.get("mask_layer")
    return setting(label, tip, said, **entries, **({"inputs": None} if own else {}))
