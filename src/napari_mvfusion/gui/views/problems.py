"""What is wrong with a view or its PSF, in words, and what would mend it; nothing here knows Qt or napari."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import dask.array as da
import numpy as np

from napari_mvfusion.data.geometry import Triple
from napari_mvfusion.gui.views.kernels import fit_into
from napari_mvfusion.gui.views.pixels import PixelFacts
from napari_mvfusion.io.psfs import prepare_psf
from napari_mvfusion.psf import MirrorVerdict, clean_psf, describe_psf, make_odd, remove_hot_of_psf
from napari_mvfusion.psf.kernel import Topic
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


def psf_problems(psf: np.ndarray, volume_shape: Triple | None = None) -> list[Problem]:
    """Look for what makes a PSF useless or harmful. Where there are several, the first offers to mend all of them.

    Parameters
    ----------
    psf : as it was given, of any shape
    volume_shape : (z, y, x) of the fused volume, where that is known

    Returns
    -------
    The fixes return a `Mended` with the entry "psf".
    """
    if psf.ndim != 3 or 0 in psf.shape:
        return [Problem("error", f"The PSF has the shape {psf.shape}; a volume (z, y, x) is needed.", (CHOOSE,))]
    found: list[Problem] = []
    bad = int((~np.isfinite(psf)).sum())
    values = np.nan_to_num(psf, nan=0.0, posinf=0.0, neginf=0.0) if bad else psf
    if bad:
        count = "1 voxel that is" if bad == 1 else f"{bad} voxels that are"
        fix = Fix("Set to 0", "Give these voxels no light. Where there are many of them, measure the PSF again")
        found.append(_one("error", f"The PSF has {count} no finite number.", fix, lambda: values, "has no NaN"))
    if values.sum(dtype=np.float64) <= 0:
        return [*found, Problem("error", "The PSF holds no light: its sum is not above 0.", (CHOOSE,))]
    if any(n % 2 == 0 for n in psf.shape):
        fix = Fix("Crop", "Bring the centre of the PSF into a middle voxel, so that the picture is not shifted")
        text = f"The PSF has even sides ({_sides(psf.shape)}), so it has no middle: it would shift the picture."
        found.append(_one("error", text, fix, lambda: clean_psf(values, background=False, energy=1.0), "has odd sides"))
    if volume_shape is not None and any(k > n for k, n in zip(psf.shape, volume_shape, strict=True)):
        fix = Fix("Crop", "Keep the middle of the PSF, as large as the volume is, and bring its sum to 1")
        text = f"The PSF ({_sides(psf.shape)}) is larger than the volume ({_sides(volume_shape)})."
        found.append(_one("error", text, fix, lambda: fit_into(values, volume_shape), "fits into the volume"))
    found += _flaws(values)
    if len(found) > 1:
        every = Fix("Fix all", "Mend everything that is said here about the PSF, and crop it to where its light is")
        every = _mending(every, lambda: _all(values, volume_shape))
        found[0] = Problem(found[0].kind, found[0].text, (*found[0].fixes, every))
    return found


def _flaws(values: np.ndarray) -> list[Problem]:
    """What a PSF that could be used has that spoils the picture."""
    texts: dict[Topic, tuple[Kind, Fix, Callable[[], np.ndarray] | None, str]] = {
        "hot": (
            "warning",
            Fix("Remove", "Give hot voxels, which come from the camera, what their neighbours make likely"),
            lambda: remove_hot_of_psf(values).values,
            "has no hot voxels",
        ),
        "peaks": ("error", CHOOSE, None, ""),
        "flat": ("warning", CHOOSE, None, ""),
        "centre": (
            "warning",
            Fix("Centre", "Move the centre of its core to the middle, so that the picture is not shifted"),
            lambda: clean_psf(values, background=False, energy=1.0),
            "has its centre in the middle",
        ),
        # Fusion divides by the sum anyway.
        "sum": (
            "note",
            Fix("Normalise", "Divide by the sum now. Fusion does so in any case"),
            lambda: values / values.sum(dtype=np.float64),
            "has the sum 1",
        ),
        "negative": (
            "warning",
            Fix("Set to 0", "A PSF tells where light goes, which cannot be less than none"),
            lambda: np.maximum(values, 0),
            "has no negative values",
        ),
        "background": (
            "warning",
            Fix("Subtract", "Subtract the level at the border; a background there makes the fused volume hazy"),
            lambda: clean_psf(make_odd(values), centre=False, energy=1.0),
            "has no background",
        ),
        "noise": (
            "warning",
            Fix(
                "Cut",
                "Keep what stands out of the noise and hangs together with the core; noise makes the picture hazy",
            ),
            lambda: clean_psf(make_odd(values), centre=False, energy=1.0),
            "has no noise",
        ),
    }
    info = describe_psf(values)
    found = []
    for topic, note in zip(info.topics, info.notes, strict=True):
        kind, fix, compute, said = texts[topic]
        text = f"The PSF {note}."
        found.append(Problem(kind, text, (fix,)) if compute is None else _one(kind, text, fix, compute, said))
    return found


def _one(kind: Kind, text: str, fix: Fix, compute: Callable[[], np.ndarray], said: str) -> Problem:
    return Problem(kind, text, (_mending(fix, lambda: (compute(), f"the PSF now {said}")),))


def _mending(fix: Fix, compute: Callable[[], tuple[np.ndarray, str]]) -> Fix:
    def mend() -> Mended:
        psf, said = compute()
        return Mended({"psf": np.ascontiguousarray(psf, np.float32)}, said)

    return Fix(fix.label, fix.tip, mend)


def _all(values: np.ndarray, volume_shape: Triple | None) -> tuple[np.ndarray, str]:
    prepared = prepare_psf(np.asarray(values))
    psf, notes = prepared.psf, list(prepared.notes)
    if volume_shape is not None and any(k > n for k, n in zip(psf.shape, volume_shape, strict=True)):
        psf = fit_into(psf, volume_shape)
        notes.append(f"cropped to {_sides(psf.shape)} to fit into the volume")
    return psf, "PSF: " + "; ".join(notes)


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


def _sides(shape: tuple[int, ...]) -> str:
    return " × ".join(str(n) for n in shape)
