"""The check of orientation gives no wrong advice: light that fades with depth, symmetric PSFs, PSFs with noise or flaws."""

import numpy as np
import pytest

from napari_mvfusion.psf import check_mirror, measure_psf
from napari_mvfusion.simulation import light_sheet_psf, sample
from orientation_cases import case


def verdicts(simulation, psfs):
    pixels = np.stack([np.asarray(view.data, np.float32) for view in simulation.views.views])
    return [verdict.verdict for verdict in check_mirror(pixels, psfs, simulation.views.names)]


def flip(psf):
    return psf[::-1, ::-1, ::-1]


@pytest.mark.parametrize("attenuation", [0.0, 0.01, 0.02])
@pytest.mark.parametrize("wrong", [(), (0,), (1,), (0, 1)])
def test_fading_light_is_not_taken_for_a_mirrored_psf(attenuation, wrong):
    made = sample("embryo", 64, angles=(0, 90), attenuation=attenuation)
    psfs = [flip(view.psf) if v in wrong else view.psf for v, view in enumerate(made.views.views)]
    truth = ["mirrored" if v in wrong else "right" for v in range(2)]
    for found, true in zip(verdicts(made, psfs), truth, strict=True):
        assert found == true or (attenuation > 0.01 and found == "undecided")


@pytest.mark.long
def test_psfs_measured_from_beads_are_right_too():
    made = sample("embryo", 64, angles=(0, 90), beads=True)
    psfs = [measure_psf(recorded.volume).psf for recorded in made.beads]
    assert verdicts(made, psfs) == ["right", "right"]
    assert verdicts(made, [flip(psfs[0]), psfs[1]]) == ["mirrored", "right"]


def test_noise_in_a_symmetric_psf_decides_nothing(rng):
    angles = (0, 180)
    true = [light_sheet_psf(angle, axial_fwhm=8, lateral_fwhm=2.4, asymmetry=0) for angle in angles]
    made = sample("embryo", 64, angles=angles, attenuation=0.02, psfs=true)
    for noise in (0, 0.005, 0.02):
        given = [np.maximum(psf + rng.normal(0, noise * psf.max(), psf.shape), 0) for psf in true]
        assert verdicts(made, given) == ["undecided", "undecided"]


# The hardest of the first 200: in each the misfits are close, or the views would rather have the wrong orientation.
HARDEST = [6, 13, 22, 35, 53, 106, 146, 153]


@pytest.mark.parametrize("number", HARDEST)
def test_hard_cases_are_right_or_undecided(test_data, number):
    made = case(number, test_data / "psf")
    names = [str(angle) for angle in made.angles]
    for verdict, mirrored in zip(check_mirror(made.views, made.psfs, names), made.mirrored, strict=True):
        assert verdict.verdict in ("undecided", "mirrored" if mirrored else "right"), (made.about, verdict)
