"""What can be done with the PSF of a view: the entries of its menu, without the menu."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from napari_mvfusion.data.geometry import FloatTriple
from napari_mvfusion.gui.panels.views.problems import Fix, Mended
from napari_mvfusion.io.psf_files import prepare_psf
from napari_mvfusion.psf.frames import turn_psf
from napari_mvfusion.psf.mirror import flipped

CHOOSE, SAVE, UNDO = "choose", "save", "undo"
_FROM, _TURNED = "Take from another view", "Turn from another view"


@dataclass(frozen=True, eq=False)
class MenuEntry:
    """An entry of the menu.

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
    choices = [
        MenuEntry(Fix("Choose file…", "Take a PSF from a TIFF file, and make it ready to fuse with", request=CHOOSE))
    ]
    choices += _from_others(known, others, voxel_size_um) or [MenuEntry(Fix(_FROM, "No other view has a PSF"))]
    psf = known.get("psf") if known.get("psf_own") is None else known["psf_own"]
    if psf is None:
        return choices
    choices += [_turn(known, psf, voxel_size_um), _own(known, psf, possible=own_frame)]
    source = known.get("psf_source", "")

    def changed(label: str, tip: str, said: str, compute: Callable[[], np.ndarray]) -> MenuEntry:
        key = "psf" if known.get("psf_own") is None else "psf_own"
        return MenuEntry(
            Fix(label, tip, lambda: Mended({key: compute(), "psf_source": _and(source, said)}, f"PSF {said}"))
        )

    choices += [
        changed(
            "Mirror",
            "Turn the PSF around on all three axes, for one that was saved upside down",
            "mirrored",
            lambda: flipped(psf),
        ),
        changed(
            "Clean",
            "Subtract its background, bring its peak to the middle, crop it to where its light is, and bring its sum to 1",
            "cleaned",
            lambda: prepare_psf(np.asarray(psf)).psf,
        ),
        MenuEntry(Fix("Save as TIFF…", "Write the PSF as it is used to a TIFF file", request=SAVE)),
        MenuEntry(
            Fix(
                "Remove",
                "Forget the PSF; the view can then be averaged, but not deconvolved",
                lambda: Mended({"psf": None, "psf_own": None, "psf_source": ""}, "has no PSF now"),
            )
        ),
    ]
    if undo:
        choices.append(MenuEntry(Fix(f"Undo: {undo}", "Bring back what was there before", request=UNDO)))
    return choices


def _from_others(
    known: Mapping[str, Any], others: Sequence[tuple[str, Mapping[str, Any]]], voxel_size_um: FloatTriple
) -> list[MenuEntry]:
    choices = []
    for name, notes in others:
        psf = notes.get("psf")
        if psf is None:
            continue
        source = notes.get("psf_source") or f"PSF of {name}"
        entries = {"psf": psf, "psf_said": notes.get("psf_said"), "psf_own": None, "psf_source": source}
        mended = Mended(entries, f"has the PSF of {name} now")
        fix = Fix(name, f"Use the PSF of {name} as it is", partial(_given, mended))
        choices.append(MenuEntry(fix, _FROM))
    for name, notes in others:
        psf, angle, own = notes.get("psf"), notes.get("angle"), known.get("angle")
        if psf is None or angle is None or own is None or angle == own:
            continue
        turn = (own - angle + 180) % 360 - 180
        source = _and(notes.get("psf_source") or f"PSF of {name}", f"turned by {turn:g}°")

        def mend(psf: np.ndarray = psf, turn: float = turn, source: str = source, name: str = name) -> Mended:
            turned = turn_psf(psf, turn, voxel_size_um)
            said = f"has the PSF of {name} now, turned by {turn:g}° about x"
            return Mended({"psf": turned, "psf_own": None, "psf_source": source}, said)

        tip = f"Turn the PSF of {name} about x by the difference of the angles"
        choices.append(MenuEntry(Fix(f"{name}, by {turn:+g}°", tip, mend), _TURNED))
    return choices


def _given(mended: Mended) -> Mended:
    return mended


def _turn(known: Mapping[str, Any], psf: np.ndarray, voxel_size_um: FloatTriple) -> MenuEntry:
    """Turn a PSF that lies in the frame of the view at 0 degrees."""
    angle = known.get("angle")
    if known.get("psf_own") is not None:
        return MenuEntry(
            Fix("Turn to this view's angle", "The PSF is turned already: it lies in this view's own frame")
        )
    if angle is None:
        return MenuEntry(Fix("Turn to this view's angle", "Enter the angle of this view first"))
    if angle % 360 == 0:
        return MenuEntry(Fix("Turn to this view's angle (0°)", "At 0° there is nothing to turn"))
    source = _and(known.get("psf_source", ""), f"turned by {angle:g}°")

    def mend() -> Mended:
        return Mended(
            {"psf": turn_psf(psf, angle, voxel_size_um), "psf_source": source}, f"PSF turned by {angle:g}° about x"
        )

    tip = "For a PSF whose long axis lies along z, as it is recorded: turn it about x to where this view looks"
    return MenuEntry(Fix(f"Turn to this view's angle ({angle:g}°)", tip, mend))


def _own(known: Mapping[str, Any], psf: np.ndarray, *, possible: bool) -> MenuEntry:
    """In which frame the PSF lies."""
    label = "Lies in this view's own frame"
    if known.get("psf_own") is not None:
        entries = {"psf": psf, "psf_own": None, "psf_matrix": None}
        tip = "The PSF is turned and resampled as the view is. Untick it to use the PSF as it is"
        fix = Fix(label, tip, lambda: Mended(entries, "PSF used as it is, in the frame of the fused volume"))
        return MenuEntry(fix, checked=True)
    if not possible:
        tip = "The layer lies on the grid of the fused volume, so both frames are the same"
        return MenuEntry(Fix(label, tip), checked=False)
    tip = "The PSF was measured in this view's own pixels: turn and resample it as the layer is"
    said = "PSF turned and resampled as the layer is"
    return MenuEntry(Fix(label, tip, lambda: Mended({"psf_own": psf, "psf_matrix": None}, said)), checked=False)


def _and(source: str, more: str) -> str:
    return f"{source}, {more}" if source else more
