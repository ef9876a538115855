"""What the row of a layer shows, gathered from its notes and from what is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image

from napari_mvfusion.data.geometry import Grid, float_triple, is_aligned
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.layers.conversion import (
    NO_UNITS,
    is_sized,
    own_to_world_um,
    pixels_of,
    stated_size,
    to_world_um,
)
from napari_mvfusion.gui.layers.notes import notes, said_of_psf, why_unticked
from napari_mvfusion.gui.panels.views.caches import CachedPSF, PixelCache, PSFCache, ViewCache, psfs_of
from napari_mvfusion.gui.panels.views.grids import grid_problems
from napari_mvfusion.gui.panels.views.light_menu import light_problems
from napari_mvfusion.gui.panels.views.menus import automatic, zeros_are_data, zeros_are_no_data
from napari_mvfusion.gui.panels.views.row import RowState
from napari_mvfusion.gui.panels.views.trust_menu import trust_problems
from napari_mvfusion.io.placing import direction_of
from napari_mvfusion.measures.psf_problems import CHOOSE, direction_problem, orientation_problem
from napari_mvfusion.measures.view_facts import ViewFacts
from napari_mvfusion.measures.view_problems import (
    Problem,
    addition_problem,
    gain_problem,
    offset_problem,
    pixel_problems,
    size_problem,
)
from napari_mvfusion.psf import MirrorVerdict
from napari_mvfusion.system.words import sentence

# Degrees.
_NEAR_X = 10.0
_NO_PSF = Problem("warning", "No PSF is known for this view: it can be averaged, but not deconvolved.", (CHOOSE,))


def row_state(
    layer: Image,
    included: list[Image],
    grid: Grid | None,
    psfs: PSFCache,
    pixels: PixelCache,
    views: ViewCache,
    verdict: tuple[np.ndarray, MirrorVerdict] | None,
) -> RowState:
    """What the row of a layer shows.

    Parameters
    ----------
    included : the layers that are fused
    grid : of the fused volume
    psfs, pixels, views : what is known of them
    verdict : a PSF and what the views say about its orientation; it counts only for that PSF
    """
    known = notes(layer)
    own, used = psfs_of(layer)
    about = psfs.about(layer, grid)
    look = None if about is None else about.look
    look_text = ""
    if own is not None or used is not None:
        look_text = "looking at the PSF…" if about is None else "nothing to show"
    problems: list[Problem] = []
    if layer in included:
        problems += grid_problems(layer, included)
        problems += _size_problems(layer, included)
        facts, compared = pixels.about(layer), views.about(layer, included)
        if facts is not None:
            offset = float(known.get("offset") or 0.0)
            problems += pixel_problems(
                facts,
                pixels_of(layer),
                offset=offset,
                mask=known.get("mask"),
                remove_hot=bool(known.get("remove_hot")),
                nan_is_no_data=_leaves_out_nan(known, compared),
            )
        problems += _compared_problems(known, compared)
        problems += [*trust_problems(layer), *light_problems(layer, grid)]
        if absent := known.get("absent"):
            problems.append(Problem("note", sentence(f"{absent}.")))
        if own is None and used is None:
            flaw = said_of_psf(layer).flaw
            problems.append(Problem("error", sentence(f"{flaw}."), (CHOOSE,)) if flaw else _NO_PSF)
        elif about is not None:
            problems += about.problems
            problems += _direction_problems(layer, about)
        if verdict is not None and verdict[0] is used:
            problems.append(orientation_problem(verdict[1], verdict[0]))
    elif why := why_unticked(layer):
        problems.append(Problem("note", why))
    return RowState(
        name=layer.name,
        tip=str(known.get("source") or layer.name),
        included=layer in included,
        angle=known.get("angle"),
        direction="" if known.get("angle") is not None else _direction(layer),
        weight=float(known.get("weight", 1.0)),
        look=look,
        look_text=look_text,
        source=_source(layer),
        problems=tuple(sorted(problems, key=lambda problem: problem.kind == "note")),
    )


def _direction(layer: Image) -> str:
    """Where a view looks that no angle about x describes; "" where one would."""
    kept = notes(layer).get("kept")
    try:
        affine = own_to_world_um(layer) if kept is None or kept.view.affine is None else kept.view.affine
    except InputError:
        # Its units are no lengths, which is said as a problem of its grid.
        return ""
    if direction_of(affine) is not None:
        return ""
    share = abs(affine[2, 0]) / np.linalg.norm(affine[:3, 0])
    return "along x" if share > np.cos(np.deg2rad(_NEAR_X)) else "oblique"


def _direction_problems(layer: Image, about: CachedPSF) -> list[Problem]:
    """What the PSF of a layer says about its angle; one that is turned says itself how it was recorded."""
    if any(problem.kind == "error" for problem in about.problems):
        return []
    try:
        turned = not is_aligned(own_to_world_um(layer))
    except InputError:
        # Its units are no lengths, which is said as a problem of its grid.
        return []
    found = None if turned else direction_problem(about.long, notes(layer).get("angle"))
    return [] if found is None else [found]


def _size_problems(layer: Image, included: list[Image]) -> list[Problem]:
    try:
        taken = float_triple(np.linalg.norm(to_world_um(layer)[:3, :3], axis=0))
        found = size_problem(
            stated_size(layer),
            taken,
            others_known=any(is_sized(other) for other in included if other is not layer),
            named=any(str(unit) not in NO_UNITS for unit in layer.units[-3:]),
        )
    except InputError:
        # Its units are no lengths, which is said as a problem of its grid.
        return []
    return [] if found is None else [found]


def _leaves_out_nan(known: Mapping[str, Any], compared: ViewFacts | None) -> bool:
    """Whether NaN in the view is no data; as long as that is being found out nothing is said about it."""
    recognised = known.get("mask") is None and known.get("no_data", "auto") == "auto"
    return recognised and (compared is None or "NaN" in compared.left_out)


def _compared_problems(known: Mapping[str, Any], compared: ViewFacts | None) -> list[Problem]:
    """What a comparison of the views says about one of them, and what was chosen because of it."""
    found = []
    if known.get("mask_layer"):
        text = f"It has data where '{known['mask_layer']}' is not 0; the rest is left to the other views."
        found.append(Problem("note", text, (automatic("Undo", known),)))
    elif known.get("mask") is None and known.get("no_data", "auto") == "none":
        found.append(Problem("note", "Every pixel counts as measured, zeros too.", (automatic("Undo", known),)))
    elif compared is not None and compared.left_out:
        text = sentence(f"{compared.left_out}.")
        found.append(Problem("note", text, (zeros_are_data("Zeros are data", known),)))
    if compared is not None and compared.doubt and known.get("mask") is None:
        text = sentence(f"{compared.doubt}.")
        found.append(Problem("warning", text, (zeros_are_no_data("Zeros are no data", known),)))
    facts = compared or ViewFacts()
    offset = float(known.get("offset") or 0.0)
    said = (
        None if facts.dark is None else offset_problem(facts.dark, offset),
        addition_problem(facts.beside.added, offset),
        gain_problem(facts.beside, float(known.get("gain") or 1.0)),
    )
    return [*found, *filter(None, said)]


def _source(layer: Image) -> str:
    """Where the PSF came from, and what was done to it."""
    known = notes(layer)
    if known.get("psf") is None and known.get("psf_own") is None:
        return ""
    said = str(known.get("psf_source") or "")
    if not said and known.get("source"):
        said = f"found beside {Path(str(known['source'])).name}"
    parts = [part for part in (said, *said_of_psf(layer).notes) if part]
    return f"PSF: {'; '.join(parts)}" if parts else ""
