"""Measure the PSFs of several views from beads; works in a thread."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_mvfusion.data.geometry import ALL_KNOWN, NOT_KNOWN, FloatTriple
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.formats import open_stored
from napari_mvfusion.psf import measure_psf, resample_psf
from napari_mvfusion.psf.cuts import PSFLook, look_of

_SAME_SIZE = 0.01


@dataclass(frozen=True, eq=False)
class BeadJob:
    """What to measure for one view.

    Attributes
    ----------
    view : what the answer is for, handed back as it is
    source : a TIFF file, or pixels (z, y, x)
    name : of the beads, for messages
    points : (bead, 3) positions in voxels of the beads' volume, or None to find them
    bead_size_um : voxel size of the pixels, or None where it is not known
    grid_size_um : voxel size of the fused volume; PSFs of other voxels are resampled to it. None leaves them as they are
    """

    view: Any
    source: Path | Any
    name: str
    points: np.ndarray | None
    bead_size_um: FloatTriple | None
    grid_size_um: FloatTriple | None


@dataclass(frozen=True, eq=False)
class MeasuredPSF:
    """The PSF of one view, or why there is none.

    Attributes
    ----------
    job : what was to be measured
    psf : ready to use, or None
    look : of the PSF
    text : how many beads were used and why not the others, or what went wrong
    beads : how many were used
    """

    job: BeadJob
    psf: np.ndarray | None
    look: PSFLook | None
    text: str
    beads: int = 0


@dataclass(frozen=True)
class MeasurementProgress:
    """How far a measurement is: the view that is looked at, and the share of all."""

    view: Any
    share: float


def measure_all(
    check: Callable[..., None], jobs: Sequence[BeadJob]
) -> Generator[MeasurementProgress | MeasuredPSF, None, None]:
    """Measure one view after the other; what fails for one does not end the others.

    Yields
    ------
    Progress before each view, and a Measured after it.
    """
    for number, job in enumerate(jobs):
        yield MeasurementProgress(job.view, number / len(jobs))
        try:
            yield _measure(check, job)
        except InputError as error:
            yield MeasuredPSF(job, None, None, str(error))
        check()


def _measure(check: Callable[..., None], job: BeadJob) -> MeasuredPSF:
    pixels: Any = job.source
    size = job.bead_size_um
    if isinstance(job.source, Path):
        stored = open_stored(job.source)
        pixels, size = stored.volume(), stored.size_um
    volume = np.asarray(pixels[:])
    check()
    measured = measure_psf(volume, job.points, progress=check)
    psf, text = measured.psf, measured.summary
    if size is not None and job.grid_size_um is not None:
        ratio = np.divide(size, job.grid_size_um)
        if np.abs(ratio - 1).max() > _SAME_SIZE:
            psf = resample_psf(psf, np.diag(ratio))
            text += f"; resampled from voxels of {_times(size)} µm"
    known = ALL_KNOWN if job.grid_size_um is not None else NOT_KNOWN
    return MeasuredPSF(job, psf, look_of(psf, job.grid_size_um or (1.0, 1.0, 1.0), known), text, len(measured.used))


def _times(values: FloatTriple) -> str:
    return " × ".join(f"{v:g}" for v in values)
