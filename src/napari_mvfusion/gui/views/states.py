"""What the row of a layer shows, gathered from its notes and from what is known about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from napari.layers import Image

from napari_mvfusion.geometry import Grid
from napari_mvfusion.gui.layers import annotate, notes, stack_of
from napari_mvfusion.gui.views.grids import grid_problems
from napari_mvfusion.gui.views.knowledge import Knowledge, psfs_of
from napari_mvfusion.gui.views.problems import CHOOSE, Problem, orientation_problem, pixel_problems
from napari_mvfusion.gui.views.row import RowState
from napari_mvfusion.psf import MirrorVerdict

_NO_PSF = Problem("warning", "No PSF is known for this view: it can be averaged, but not deconvolved.", (CHOOSE,))


def decide(layers: Sequence[Image]) -> list[Image]:
    """The layers that are fused. Where that is not decided yet, views of the sample that was opened first are, once each."""
    ticked = [layer for layer in layers if notes(layer).get("included") is True]
    for layer in layers:
        if notes(layer).get("included") is None:
            known = notes(layer)
            samples = [notes(other)["sample"] for other in ticked or layers if "sample" in notes(other)]
            named = {(notes(other).get("sample"), notes(other).get("name")) for other in ticked}
            first = "sample" in known and known["sample"] == samples[0]
            included = first and (known["sample"], known.get("name")) not in named
            if included:
                ticked.append(layer)
            annotate(layer, included=included)
    return [layer for layer in layers if layer in ticked]


def row_state(
    layer: Image,
    included: list[Image],
    grid: Grid | None,
    knowledge: Knowledge,
    verdict: tuple[np.ndarray, MirrorVerdict] | None,
) -> RowState:
    """What the row of a layer shows.

    Parameters
    ----------
    included : the layers that are fused
    grid : of the fused volume
    verdict : a PSF and what the views say about its orientation; it counts only for that PSF
    """
    known = notes(layer)
    own, used = psfs_of(layer)
    about = knowledge.psf(layer, grid)
    look = None if about is None else about.look
    look_text = "no PSF"
    if own is not None or used is not None:
        look_text = "looking at the PSF…" if about is None else "nothing to show"
    problems: list[Problem] = []
    if layer in included:
        problems += grid_problems(layer, included)
        pixels = knowledge.pixels(layer)
        if pixels is not None:
            offset = float(known.get("offset") or 0.0)
            problems += pixel_problems(pixels, stack_of(layer), offset=offset, mask=known.get("mask"))
        if own is None and used is None:
            problems.append(_NO_PSF)
        elif about is not None:
            problems += about.problems
        if verdict is not None and verdict[0] is used:
            problems.append(orientation_problem(verdict[1], verdict[0]))
    return RowState(
        name=layer.name,
        tip=str(known.get("source") or layer.name),
        included=layer in included,
        angle=known.get("angle"),
        weight=float(known.get("weight", 1.0)),
        look=look,
        look_text=look_text,
        source=_source(layer),
        problems=tuple(sorted(problems, key=lambda problem: problem.kind == "note")),
    )


def _source(layer: Image) -> str:
    """Where the PSF came from."""
    known = notes(layer)
    if known.get("psf") is None and known.get("psf_own") is None:
        return ""
    said = str(known.get("psf_source") or "")
    if not said and known.get("source"):
        said = f"found beside {Path(str(known['source'])).name}"
    return f"PSF: {said}" if said else ""
