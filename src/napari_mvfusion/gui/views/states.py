"""What the row of a layer shows, gathered from its notes and from what is known about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from napari.layers import Image

from napari_mvfusion.geometry import Grid
from napari_mvfusion.gui.layers import notes, said_of_psf, stack_of
from napari_mvfusion.gui.views.grids import grid_problems
from napari_mvfusion.gui.views.knowledge import PSFKnowledge, psfs_of
from napari_mvfusion.gui.views.pixel_knowledge import PixelKnowledge
from napari_mvfusion.gui.views.problems import CHOOSE, Problem, orientation_problem, pixel_problems
from napari_mvfusion.gui.views.row import RowState
from napari_mvfusion.psf import MirrorVerdict

_NO_PSF = Problem("warning", "No PSF is known for this view: it can be averaged, but not deconvolved.", (CHOOSE,))


def row_state(
    layer: Image,
    included: list[Image],
    grid: Grid | None,
    psfs: PSFKnowledge,
    pixels: PixelKnowledge,
    verdict: tuple[np.ndarray, MirrorVerdict] | None,
) -> RowState:
    """What the row of a layer shows.

    Parameters
    ----------
    included : the layers that are fused
    grid : of the fused volume
    psfs, pixels : what is known of them
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
        facts = pixels.about(layer)
        if facts is not None:
            offset = float(known.get("offset") or 0.0)
            problems += pixel_problems(
                facts,
                stack_of(layer),
                offset=offset,
                mask=known.get("mask"),
                remove_hot=bool(known.get("remove_hot")),
            )
        if own is None and used is None:
            flaw = said_of_psf(layer).flaw
            problems.append(Problem("warning", f"{flaw[:1].upper()}{flaw[1:]}.", (CHOOSE,)) if flaw else _NO_PSF)
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
    return f"PSF: {'; '.join(part for part in (said, *said_of_psf(layer).notes) if part)}" if said else ""
