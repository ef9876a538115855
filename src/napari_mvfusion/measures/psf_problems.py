"""What is wrong with the PSF of a view, in words, and what would mend it by the press of a button."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np

from napari_mvfusion.data.geometry import FloatTriple, Triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.psf_files import ViewPSF
from napari_mvfusion.measures.view_problems import Fix, Mended, Problem
from napari_mvfusion.psf import MirrorVerdict, PreparedPSF, check_psf, describe_psf, prepare_values, resample_psf
from napari_mvfusion.psf.directions import across_in_words
from napari_mvfusion.psf.frames import fit_into
from napari_mvfusion.psf.kernel import check_light
from napari_mvfusion.psf.mirror import flipped
from napari_mvfusion.psf.usable import check_usable
from napari_mvfusion.system.words import sentence

CHOOSE = Fix("Choose…", "Choose another PSF from a TIFF file", request="choose")


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
        beyond: list[str] = []
        if volume_shape is None:
            check_psf(used, label)
        else:
            beyond = check_usable(used, label, volume_shape)
    except InputError as error:
        fix = _remedy(used, notes, label, volume_shape)
        return Judged(used, notes, (Problem("error", sentence(f"{error}."), (fix,)),))
    flat = [note for topic, note in _described(used) if topic == "flat"]
    found = [Problem("note", sentence(f"{note}."), (CHOOSE,)) for note in beyond]
    return Judged(used, notes, (*found, *(Problem("note", f"The PSF {note}.", (CHOOSE,)) for note in flat)))


def judge_own(psf: np.ndarray, label: str) -> tuple[Problem, ...]:
    """What keeps a PSF in the frame of its view from being used; the fixes mend that one.

    Parameters
    ----------
    psf, label : as for `judge_psf`

    Returns
    -------
    The fixes return a `Mended` with the entries "psf_own", and "psf_matrix", which says that it is to be placed anew.
    """

    def own(mend: Callable[[], Mended]) -> Mended:
        mended = mend()
        return replace(mended, entries={"psf_own": mended.entries["psf"], "psf_matrix": None})

    def of_own(fix: Fix) -> Fix:
        return fix if fix.mend is None else replace(fix, mend=partial(own, fix.mend))

    problems = judge_psf(psf, label).problems
    return tuple(replace(problem, fixes=tuple(map(of_own, problem.fixes))) for problem in problems)


def bring_to_frame(psf: np.ndarray, label: str, matrix: np.ndarray, said: ViewPSF) -> ViewPSF:
    """A PSF in the frame of its view as it is in that of the fused volume, made ready before; none where it cannot be used.

    Parameters
    ----------
    psf, label : as for `judge_psf`
    matrix : 3 x 3, from offsets in the view's pixels to those in voxels of the fused volume
    said : what was said of it before
    """
    judged = judge_psf(psf, label, said=said if said.psf is psf else None)
    try:
        placed = resample_psf(judged.psf, matrix)
    except InputError:
        # What is wrong with it is a problem of its view.
        return ViewPSF()
    return ViewPSF(placed, tuple(dict.fromkeys((*said.notes, *judged.notes))))


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


def direction_problem(long: FloatTriple | None, angle: float | None) -> Problem | None:
    """What to say of a PSF that lies across the angle of its view, or None.

    Parameters
    ----------
    long : in which direction it is long, see `long_axis`
    angle : of the view, degrees, None where it is not known
    """
    said = "" if angle is None else across_in_words(long, angle)
    if not said:
        return None
    text = f"It {said}: check its angle, by which lost light is looked for, and whether the PSF is its own."
    return Problem("warning", text, (CHOOSE,))


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
