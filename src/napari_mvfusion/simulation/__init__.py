"""Simulated data with a known truth: specimens, the microscope that records them, bead volumes, and random scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from napari_mvfusion.errors import InputError
from napari_mvfusion.simulation.bead_volumes import BeadVolume, bead_volume
from napari_mvfusion.simulation.light_sheet_psfs import light_sheet_psf, light_sheet_psfs
from napari_mvfusion.simulation.microscope import Settings, Simulation, simulate
from napari_mvfusion.simulation.phantoms import PHANTOMS, embryo, nuclei
from napari_mvfusion.simulation.random_psfs import random_psfs
from napari_mvfusion.simulation.scenes import random_scene

__all__ = [
    "PHANTOMS",
    "SAMPLES",
    "BeadVolume",
    "Settings",
    "Simulation",
    "bead_volume",
    "embryo",
    "light_sheet_psf",
    "light_sheet_psfs",
    "nuclei",
    "random_psfs",
    "random_scene",
    "sample",
    "simulate",
]

SAMPLES: dict[str, tuple[int, tuple[float, ...]]] = {
    "embryo": (128, (0.0, 90.0, 180.0, 270.0)),
    "nuclei": (64, (0.0, 180.0)),
}
"""Size and angles that `sample` takes when none are given, by the name of the phantom."""

# Room for beads that stand alone, away from the border, also for large PSFs.
_BEAD_VOLUME = 128
_BEAD_VOLUME_IN_PSFS = 4.5
_BEAD_SEPARATION = 0.75


def sample(
    name: str,
    size: int | None = None,
    seed: int = 0,
    *,
    angles: Sequence[float] | None = None,
    psfs: Sequence[np.ndarray] | None = None,
    beads: bool = False,
    **microscope: Any,
) -> Simulation:
    """Make a specimen and record it, with everything that was not asked for chosen sensibly.

    Parameters
    ----------
    name : "embryo" (four views at 0, 90, 180 and 270 degrees) or "nuclei" (two, at 0 and 180 degrees)
    size : of the phantom, see `PHANTOMS`; when None, 128 for the embryo and 64 for the nuclei
    seed : one seed gives one result, bit for bit on one machine. The specimen depends on seed and size only.
    angles : of the views, degrees about x
    psfs : one a view, in the frame of the fused volume; modelled ones when None
    beads : also record beads with the PSF of each view, in the frame of the fused volume
    microscope : other parameters of `simulate`, by name

    Returns
    -------
    Simulation

    Raises
    ------
    InputError
        If the name is unknown or a parameter cannot be used.
    """
    if name not in PHANTOMS:
        raise InputError(f"there is no phantom '{name}': choose {' or '.join(PHANTOMS)}")
    default_size, default_angles = SAMPLES[name]
    for_phantom, for_microscope, for_beads = np.random.default_rng(seed).spawn(3)
    simulation = simulate(
        PHANTOMS[name](default_size if size is None else size, for_phantom),
        default_angles if angles is None else angles,
        psfs,
        rng=for_microscope,
        **microscope,
    )
    if not beads:
        return simulation
    volumes = []
    for view, rng in zip(simulation.views.views, for_beads.spawn(len(simulation.views)), strict=True):
        assert view.psf is not None
        shape = [max(_BEAD_VOLUME, round(_BEAD_VOLUME_IN_PSFS * n)) for n in view.psf.shape]
        volumes.append(bead_volume(view.psf, shape, rng, separation=_BEAD_SEPARATION))
    return replace(simulation, beads=tuple(volumes))
