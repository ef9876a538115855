"""What is wrong with a view, in words, and what would mend it; nothing here knows Qt or napari."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import dask.array as da
import numpy as np

from napari_mvfusion.measures.advice import offset_text
from napari_mvfusion.measures.camera_offset import DarkLevel
from napari_mvfusion.measures.pixel_facts import PixelFacts
from napari_mvfusion.psf import MirrorVerdict
from napari_mvfusion.psf.mirror import flipped

Kind = Literal["error", "warning", "note"]


@dataclass(frozen=True, eq=False)
class Mended:
    """What a fix changes.

    Attributes
    ----------
    entries : of the layer's notes
    said : what was done, in words, about the view: "the PSF now has the sum 1"
    data : new pixels of the layer, or None
    """

    entries: dict[str, Any]
    said: str
    data: Any = None


@dataclass(frozen=True, eq=False)
class Fix:
    """A button that mends a problem.

    Attributes
    ----------
    label : on the button
    tip : what it does to the picture
    mend : computes the change; may take a while. None where the panel has to ask or do something: see `request`
    request : what the panel shall do, a word that it knows
    """

    label: str
    tip: str
    mend: Callable[[], Mended] | None = None
    request: str = ""


@dataclass(frozen=True, eq=False)
class Problem:
    """Something to know about a view.

    Attributes
    ----------
    kind : "error" where nothing can be fused like this, "warning" where the picture suffers, "note" where all is well
    text : a sentence
    fixes : what can be done about it
    """

    kind: Kind
    text: str
    fixes: tuple[Fix, ...] = field(default=())


CHOOSE = Fix("Choose…", "Choose another PSF from a TIFF file", request="choose")


def orientation_problem(verdict: MirrorVerdict, psf: np.ndarray) -> Problem:
    """What the views say about the orientation of a PSF."""
    if verdict.verdict == "right":
        return Problem("note", "The PSF has the right orientation: the views say so.")
    if verdict.verdict == "undecided":
        if verdict.symmetric:
            return Problem("note", "The PSF is nearly its own mirror image: its orientation makes no difference.")
        text = "Whether the PSF is mirrored cannot be told: both orientations explain the views about equally well."
        return Problem("note", text)
    tip = "Turn the PSF around on all three axes; a PSF that is upside down makes the fused volume blurred and shifted"
    fix = Fix("Flip", tip, lambda: Mended({"psf": flipped(psf)}, "the PSF is now flipped on all axes"))
    more = verdict.confidence
    worse = f"{more - 1:.0%} more" if more < 2 else f"{more:.1f} times as much"
    return Problem(
        "warning", f"The PSF seems to be mirrored: as it is, it leaves {worse} of the views unexplained.", (fix,)
    )


def gain_problem(found: float, set_to: float) -> Problem | None:
    """What to say about the brightness of a view beside the others, or None.

    Parameters
    ----------
    found : how many times as bright as the others it is everywhere, as it is in its file
    set_to : what its pixels are divided by already
    """
    if set_to != 1:
        fix = Fix("Undo", "Read the pixels as they are", lambda: Mended({"gain": 1.0}, "its brightness is as it was"))
        return Problem("note", f"Its pixels are divided by {set_to:.3g}, to be as bright as the others.", (fix,))
    if found == 1:
        return None
    brighter = f"{found:.3g} times brighter" if found > 1 else f"{1 / found:.3g} times darker"
    tip = (
        f"Divide its pixels by {found:.3g} when they are read, so that this view counts as much as the others. The layer "
        "itself stays as it is"
    )
    gain = float(f"{found:.4g}")
    fix = Fix("Balance", tip, lambda: Mended({"gain": gain}, f"its pixels are divided by {gain:.3g}"))
    return Problem("warning", f"About {brighter} than the others everywhere.", (fix,))


def offset_problem(dark: DarkLevel, set_to: float) -> Problem | None:
    """What to say about the level of a view where no view shows light, or None.

    Parameters
    ----------
    dark : that level
    set_to : the camera offset that is subtracted already
    """
    if not dark.missing and not dark.cut:
        return None
    level = float(offset_text(dark.level))
    tip = f"Subtract {level:g} when the view is read: pixels without light are then 0. The layer itself stays as it is"
    fix = Fix("Set offset", tip, lambda: Mended({"offset": level}, f"the camera offset is now {level:g}"))
    if dark.cut:
        text = (
            f"The camera offset of {set_to:.4g} lies above the level without light, about {level:g}: {dark.cut:.0%} of the "
            "voxels are cut off at 0, faint light among them."
        )
        return Problem("warning", text, (fix,))
    text = f"About {level:g} where no view shows light, as with a camera offset that was not subtracted."
    return Problem("warning", text, (fix,))


def addition_problem(added: float, set_to: float) -> Problem | None:
    """What to say about a view that is higher than the others by the same everywhere, or None.

    Parameters
    ----------
    added : by how much, 0 where it is not
    set_to : the camera offset that is subtracted already
    """
    if not added:
        return None
    level = float(offset_text(set_to + added))
    tip = f"Subtract {level:g} when the view is read, so that it is like the others. The layer itself stays as it is"
    fix = Fix("Set offset", tip, lambda: Mended({"offset": level}, f"the camera offset is now {level:g}"))
    text = (
        f"Higher than the others by about {offset_text(added)} everywhere, as with a camera offset that was subtracted "
        "from the others alone."
    )
    return Problem("warning", text, (fix,))


def pixel_problems(
    facts: PixelFacts, data: Any, *, offset: float, mask: Any, remove_hot: bool = False, nan_is_no_data: bool = False
) -> list[Problem]:
    """What is wrong with the pixels of a view.

    Parameters
    ----------
    facts : of `data`
    data : numpy or dask, (..., z, y, x)
    offset : camera offset that is subtracted already
    mask : of the view, or None
    remove_hot : whether hot pixels are removed already
    nan_is_no_data : whether NaN is left to the other views
    """
    if facts.unreadable:
        return [Problem("error", f"The pixels cannot be read ({facts.unreadable}).")]
    some = "" if facts.whole else " (of the planes that were looked at)"
    found = []
    if facts.bad and not (nan_is_no_data and facts.nan == facts.bad):
        count = "1 voxel is" if facts.bad == 1 else f"{facts.bad} voxels are"
        where = ", ".join(map(str, facts.first_bad or ()))
        axes = ", ".join(("…", "z", "y", "x") if data.ndim > 3 else ("z", "y", "x"))
        tip = "Leave these voxels to the other views: they become 0 and are marked as not measured"
        found.append(
            Problem(
                "error",
                f"{count} NaN or infinite{some}, the first at ({axes}) = ({where}).",
                (Fix("Leave out", tip, lambda: _without_bad(data, mask)),),
            )
        )
    if facts.empty:
        found.append(Problem("warning", f"All voxels are {facts.minimum:g}{some}: this view adds nothing."))
    if facts.hot:
        found.append(_hot_problem(facts.hot, some, removed=remove_hot))
    if facts.minimum < 0 and not offset:
        tip = (
            "Take the darkest value as the level of the camera without light, and subtract it when the view is read. "
            "The layer itself stays as it is"
        )
        said = f"the camera offset is now {facts.minimum:.4g}"
        fix = Fix("Set offset", tip, lambda: Mended({"offset": facts.minimum}, said))
        found.append(
            Problem("warning", f"Values go down to {facts.minimum:.4g}{some}; light cannot be below 0.", (fix,))
        )
    elif offset:
        tip = "Read the pixels as they are"
        fix = Fix("Undo", tip, lambda: Mended({"offset": 0.0}, "no camera offset is subtracted"))
        found.append(Problem("note", f"A camera offset of {offset:.4g} is subtracted.", (fix,)))
    return found


def _hot_problem(count: int, some: str, *, removed: bool) -> Problem:
    """Hot pixels, and the button that removes them or brings them back."""
    several = "1 hot pixel" if count == 1 else f"{count} hot pixels"
    if removed:
        tip = "Read the pixels as they are"
        fix = Fix("Undo", tip, lambda: Mended({"remove_hot": False}, "hot pixels are read as they are"))
        return Problem("note", f"{several}{some} replaced by the median of the neighbours.", (fix,))
    tip = (
        "Read the median of its neighbours in the place of each single voxel that is far above all of them. Spots as wide "
        "as the PSF stay, and so does the layer itself"
    )
    fix = Fix("Remove", tip, lambda: Mended({"remove_hot": True}, f"without {several}"))
    return Problem("warning", f"{several}{some}.", (fix,))


def _without_bad(data: Any, mask: Any) -> Mended:
    """The pixels with 0 for what is no number, and a mask of what is one; lazy where the pixels are."""
    leading = tuple(range(data.ndim - 3))
    if isinstance(data, np.ndarray):
        finite: Any = np.isfinite(data)
        mended: Any = np.where(finite, data, data.dtype.type(0))
        known = finite.all(axis=leading) if leading else finite
        known = known if mask is None else known & (np.asarray(mask) != 0)
    else:
        lazily = data if isinstance(data, da.Array) else da.asarray(data)
        finite = da.isfinite(lazily)
        mended = da.where(finite, lazily, lazily.dtype.type(0))
        known = finite.all(axis=leading) if leading else finite
        known = known if mask is None else known & (da.asarray(mask) != 0)
    return Mended({"mask": known}, "voxels that are no numbers are left to the other views", data=mended)
