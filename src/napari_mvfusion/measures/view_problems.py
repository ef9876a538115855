"""What is wrong with one view, in words, and what would mend it by the press of a button; PSFs have a file of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import dask.array as da
import numpy as np

from napari_mvfusion.data.geometry import FloatTriple, StatedSize
from napari_mvfusion.measures.advice import offset_text
from napari_mvfusion.measures.camera_offset import DarkLevel
from napari_mvfusion.measures.gains import BesideOthers
from napari_mvfusion.measures.pixel_facts import PixelFacts
from napari_mvfusion.system.words import times

Kind = Literal["error", "warning", "note"]
Request = Literal["", "choose", "save", "undo", "stretch", "same", "size", "copy", "box", "fade", "light"]


@dataclass(frozen=True, eq=False)
class Mended:
    """What a fix changes.

    Attributes
    ----------
    entries : what changes about the view, by the names of `View`; "psf_said" is the PSF and what was done to it
    said : what was done, in words, about the view: "the PSF now has the sum 1"
    data : new pixels, or None
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
    mend : computes the change; may take a while. None where somebody has to be asked, or more is to be done: see `request`
    request : what that is
    """

    label: str
    tip: str
    mend: Callable[[], Mended] | None = None
    request: Request = ""


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
    fixes: tuple[Fix, ...] = ()


def setting(label: str, tip: str, said: str, **entries: Any) -> Fix:
    """A fix that only sets something; see `Fix` and `Mended`."""
    return Fix(label, tip, lambda: Mended(entries, said))


_AS_THEY_ARE = "Read the pixels as they are"


def size_problem(
    stated: StatedSize, taken_um: FloatTriple, *, others_known: bool = False, named: bool = True
) -> Problem | None:
    """What to say about a view whose voxel size is not known along every axis, or in which unit, or None.

    Parameters
    ----------
    stated : (z, y, x) um, None along axes where it is not known
    taken_um : what is gone on with, (z, y, x)
    others_known : whether views that it is fused with have a size that is known
    named : whether the unit of the size is
    """
    lacking = [axis for axis, size in zip("zyx", stated, strict=True) if size is None]
    fix = Fix("Set size…", "Enter how far apart the voxels are, in µm", request="size")
    if not lacking and named:
        return None
    if not lacking:
        return Problem("note", f"Its scale names no unit: {times(taken_um, '.4g')} µm is taken.", (fix,))
    if len(lacking) == len(stated) and not others_known:
        text = "Its voxel size is not known: it is fused in voxels, as if these were cubes."
        return Problem("note", text, (fix,))
    along = "" if len(lacking) == len(stated) else f" along {' and '.join(lacking)}"
    taken = [size for size, known in zip(taken_um, stated, strict=True) if known is None]
    words = f"{taken[0]:.4g}" if max(taken) == min(taken) else times(taken, ".4g")
    return Problem("warning", f"Its voxel size{along} is not known: {words} µm is taken.", (fix,))


def gain_problem(beside: BesideOthers, set_to: float) -> Problem | None:
    """What to say about the brightness of a view beside the others, or None.

    Parameters
    ----------
    beside : how bright it is beside the others, as it is in its file
    set_to : what its pixels are divided by already
    """
    if set_to != 1:
        fix = setting("Undo", _AS_THEY_ARE, "its brightness is as it was", gain=1.0)
        return Problem("note", f"Its pixels are divided by {set_to:.3g}, to be as bright as the others.", (fix,))
    found = beside.gain * beside.mostly
    if found == 1:
        return None
    brighter = f"{found:.3g} times brighter" if found > 1 else f"{1 / found:.3g} times darker"
    tip = (
        f"Divide its pixels by {found:.3g} when they are read, so that this view counts as much as the others. The layer "
        "itself stays as it is"
    )
    gain = float(f"{found:.4g}")
    fix = setting("Balance", tip, f"its pixels are divided by {gain:.3g}", gain=gain)
    if beside.gain != 1:
        return Problem("warning", f"About {brighter} than the others everywhere.", (fix,))
    text = (
        f"About {brighter} than the others at most places. Lost light, where it is estimated and found, allows for it."
    )
    return Problem("warning", text, (fix,))


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
    fix = setting("Set offset", tip, f"the camera offset is now {level:g}", offset=level)
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
    fix = setting("Set offset", tip, f"the camera offset is now {level:g}", offset=level)
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
        fix = Fix("Leave out", tip, lambda: _without_bad(data, mask))
        found.append(Problem("error", f"{count} NaN or infinite{some}, the first at ({axes}) = ({where}).", (fix,)))
    if facts.empty:
        found.append(Problem("warning", f"All voxels are {facts.minimum:g}{some}: this view adds nothing."))
    if facts.hot:
        found.append(_hot_problem(facts.hot, some, removed=remove_hot))
    if facts.minimum < 0 and not offset:
        tip = (
            "Take the darkest value as the level of the camera without light, and subtract it when the view is read. "
            "The layer itself stays as it is"
        )
        fix = setting("Set offset", tip, f"the camera offset is now {facts.minimum:.4g}", offset=facts.minimum)
        text = f"Values go down to {facts.minimum:.4g}{some}; light cannot be below 0."
        found.append(Problem("warning", text, (fix,)))
    elif offset:
        fix = setting("Undo", _AS_THEY_ARE, "no camera offset is subtracted", offset=0.0)
        found.append(Problem("note", f"A camera offset of {offset:.4g} is subtracted.", (fix,)))
    return found


def _hot_problem(count: int, some: str, *, removed: bool) -> Problem:
    """Hot pixels, and the button that removes them or brings them back."""
    several = "1 hot pixel" if count == 1 else f"{count} hot pixels"
    if removed:
        fix = setting("Undo", _AS_THEY_ARE, "hot pixels are read as they are", remove_hot=False)
        return Problem("note", f"{several}{some} replaced by the median of the neighbours.", (fix,))
    tip = (
        "Read the median of its neighbours in the place of each single voxel that is far above all of them. Spots as wide "
        "as the PSF stay, and so does the layer itself"
    )
    return Problem("warning", f"{several}{some}.", (setting("Remove", tip, f"without {several}", remove_hot=True),))


def _without_bad(data: Any, mask: Any) -> Mended:
    """The pixels with 0 for what is no number, and a mask of what is one; lazy where the pixels are."""
    leading = tuple(range(data.ndim - 3))
    if not isinstance(data, np.ndarray | da.Array):
        data = da.asarray(data)
    as_array = np.asarray if isinstance(data, np.ndarray) else da.asarray
    # numpy hands dask on to dask, which stays lazy.
    finite: Any = np.isfinite(data)
    mended: Any = np.where(finite, data, data.dtype.type(0))
    known = finite.all(axis=leading) if leading else finite
    if mask is not None:
        known = known & (as_array(mask) != 0)
    return Mended({"mask": known}, "voxels that are no numbers are left to the other views", data=mended)
