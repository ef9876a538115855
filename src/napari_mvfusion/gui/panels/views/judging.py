"""PSFs of layers, made ready to fuse with as the command line does it; and what keeps one from being used."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_mvfusion.data.geometry import Triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.panels.views.problems import CHOOSE, Fix, Mended, Problem
from napari_mvfusion.io.psf_files import ViewPSF
from napari_mvfusion.psf import PreparedPSF, check_psf, describe_psf, prepare_values
from napari_mvfusion.psf.frames import fit_into
from napari_mvfusion.psf.kernel import check_light
from napari_mvfusion.psf.usable import check_usable
from napari_mvfusion.system.words import sentence


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
