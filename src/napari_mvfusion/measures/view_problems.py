"""What is wrong with the pixels or the PSF of one view, in words, and what would mend it by the press of a button."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import dask.array as da
import numpy as np

from napari_mvfusion.data.geometry import StatedSize, Triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.psf_files import ViewPSF
from napari_mvfusion.measures.advice import offset_text
from napari_mvfusion.measures.camera_offset import DarkLevel
from napari_mvfusion.measures.pixel_facts import PixelFacts
from napari_mvfusion.psf import MirrorVerdict, PreparedPSF, check_psf, describe_psf, prepare_values
from napari_mvfusion.psf.frames import fit_into
from napari_mvfusion.psf.kernel import check_light
from napari_mvfusion.psf.mirror import flipped
from napari_mvfusion.psf.usable import check_usable
from napari_mvfusion.system.words import sentence

Kind = Literal["error", "warning", "note"]
Request = Literal["", "choose", "save", "undo", "stretch", "same", "size", "copy"]


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

CHOOSE = Fix("Choose…", "Choose another PSF from a TIFF file", request="choose")


def size_problem(stated: StatedSize) -> Problem | None:
    """What to say about a view whose voxel size is not known along every axis, or None.

    Parameters
    ----------
    stated : (z, y, x) um, None along axes where it is not known
    """
    lacking = [axis for axis, size in zip("zyx", stated, strict=True) if size is None]
    if not lacking:
        return None
    tip = "Enter how far apart the voxels are, in µm"
    fix = Fix("Set size…", tip, request="size")
    if len(lacking) == len(stated):
        text = "Its voxel size is not known: it is fused in voxels, as if these were cubes."
        return Problem("note", text, (fix,))
    text = f"Its voxel size along {' and '.join(lacking)} is not known, and taken as the finest of the others."
    return Problem("warning", text, (fix,))


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
    text = f"The PSF seems to be mirrored: as it is, it leaves {worse} of the views unexplained."
    return Problem("warning", text, (fix,))


def sum_up_orientation(verdicts: Sequence[MirrorVerdict]) -> tuple[Literal["warning", "done"], str]:
    """What the views say about the orientations of their PSFs: whether something is wrong, and a sentence."""
    mirrored = sum(verdict.verdict == "mirrored" for verdict in verdicts)
    unknown = sum(verdict.verdict == "undecided" for verdict in verdicts)
    if mirrored:
        return "warning", f"{mirrored} of {len(verdicts)} PSFs seem to be mirrored."
    if unknown == len(verdicts):
        return "done", "The views do not tell whether PSFs are mirrored."
    if unknown:
        return "done", f"No PSF seems to be mirrored; for {unknown} of {len(verdicts)} it cannot be told."
    return "done", "All PSFs have the right orientation."


def gain_problem(found: float, set_to: float) -> Problem | None:
    """What to say about the brightness of a view beside the others, or None.

    Parameters
    ----------
    found : how many times as bright as the others it is everywhere, as it is in its file
    set_to : what its pixels are divided by already
    """
    if set_to != 1:
        fix = setting("Undo", _AS_THEY_ARE, "its brightness is as it was", gain=1.0)
        return Problem("note", f"Its pixels are divided by {set_to:.3g}, to be as bright as the others.", (fix,))
    if found == 1:
        return None
    brighter = f"{found:.3g} times brighter" if found > 1 else f"{1 / found:.3g} times darker"
    tip = (
        f"Divide its pixels by {found:.3g} when they are read, so that this view counts as much as the others. The layer "
        "itself stays as it is"
    )
    gain = float(f"{found:.4g}")
    fix = setting("Balance", tip, f"its pixels are divided by {gain:.3g}", gain=gain)
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


@dataclass(frozen=True, eq=False)
class Judged:
    """A PSF as it is to be used.

    Attributes
    ----------
    psf : ready to fuse with, or as it was given where that cannot be
    notes : what was done to it, in words
    problems : what keeps it from being used, in the words of the command line, and what else to know
    """

    psf: np.ndarray
    notes: tuple[str, ...]
    problems: tuple[Problem, ...]


def judge_psf(
    psf: np.ndarray, label: str, volume_shape: Triple | None = None, *, said: ViewPSF | None = None, ready: bool = False
) -> Judged:
    """Make a PSF ready to fuse with where it needs that, and say what cannot be mended without asking.

    Parameters
    ----------
    psf : as it was given, of any shape
    label : of its view, for messages
    volume_shape : (z, y, x) of the fused volume, where that is known
    said : what was said of it before; a PSF to which something was done is ready
    ready : it is only looked at

    Returns
    -------
    The fixes return a `Mended` with the entries "psf" and "psf_said".
    """
    said = said or ViewPSF(psf)
    used, notes = psf, said.notes
    try:
        if said.flaw:
            raise InputError(said.flaw)
        if not (ready or notes) and (prepared := _prepared(psf, label)) is not None:
            used, notes = prepared.psf, prepared.notes
        if volume_shape is None:
            check_psf(used, label)
        else:
            check_usable(used, label, volume_shape)
    except InputError as error:
        fix = _remedy(used, notes, label, volume_shape)
        return Judged(used, notes, (Problem("error", sentence(f"{error}."), (fix,)),))
    flat = [note for topic, note in _described(used) if topic == "flat"]
    return Judged(used, notes, tuple(Problem("note", f"The PSF {note}.", (CHOOSE,)) for note in flat))


def _prepared(psf: np.ndarray, label: str) -> PreparedPSF | None:
    """The PSF ready to fuse with, or None where it is so as it is."""
    check_light(psf, label)
    if all(n % 2 for n in psf.shape) and not {topic for topic, _ in _described(psf)} - {"flat"}:
        return None
    return prepare_values(psf, name=label)


def _described(psf: np.ndarray) -> list[tuple[str, str]]:
    info = describe_psf(psf)
    return list(zip(info.topics, info.notes, strict=True))


def _remedy(psf: np.ndarray, notes: tuple[str, ...], label: str, volume_shape: Triple | None) -> Fix:
    """What mends a PSF that cannot be used; where nothing does, another one is to be chosen."""
    if psf.ndim != 3 or 0 in psf.shape:
        return CHOOSE
    bad = not np.isfinite(psf).all()
    finite = np.nan_to_num(psf, nan=0.0, posinf=0.0, neginf=0.0) if bad else psf
    try:
        prepared = PreparedPSF(finite, notes) if notes else (_prepared(finite, label) or PreparedPSF(finite, ()))
        check_psf(prepared.psf, label)
    except InputError:
        return CHOOSE
    done = (*(["voxels that are no numbers set to 0"] if bad else []), *prepared.notes)
    ready = np.asarray(prepared.psf, np.float32)
    if volume_shape is not None and any(k > n for k, n in zip(ready.shape, volume_shape, strict=True)):
        ready = fit_into(ready, volume_shape)
        done = (*done, f"cropped to {' x '.join(map(str, ready.shape))} to fit into the volume")
    if not done:
        return CHOOSE
    said = "PSF: " + "; ".join(done)
    mended = Mended({"psf": ready, "psf_said": ViewPSF(ready, done)}, said)
    if bad:
        tip = "Give the voxels that are no numbers no light. Where there are many of them, measure the PSF again"
        return Fix("Set to 0", tip, lambda: mended)
    tip = "Keep the middle of the PSF, as large as the volume is, and bring its sum to 1"
    return Fix("Crop", tip, lambda: mended)
