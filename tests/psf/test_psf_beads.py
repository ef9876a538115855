"""PSFs measured from simulated beads, against the measured PSFs that the beads were blurred with."""

import numpy as np
import pytest
from scipy import ndimage

from napari_mvfusion.errors import InputError
from napari_mvfusion.io.psf_files import prepare_psf
from napari_mvfusion.psf import detect_beads, fwhm, measure_psf
from napari_mvfusion.simulation import bead_volume


def fit_into(psf, shape):
    """Cut or pad about the middle."""
    out = np.zeros(shape)
    keep = [min(a, b) // 2 for a, b in zip(psf.shape, shape, strict=True)]
    into = tuple(slice(n // 2 - k, n // 2 + k + 1) for n, k in zip(shape, keep, strict=True))
    out_of = tuple(slice(n // 2 - k, n // 2 + k + 1) for n, k in zip(psf.shape, keep, strict=True))
    out[into] = psf[out_of]
    return out


@pytest.fixture(scope="module")
def recorded(quad_psfs):
    psf = prepare_psf(quad_psfs[0]).psf
    return psf, bead_volume(psf, (160, 160, 160), np.random.default_rng(1), 24, doublets=3, debris=2)


def test_the_measured_psf_is_that_of_the_beads(recorded):
    psf, beads = recorded
    measured = measure_psf(beads.volume)
    assert len(measured.used) >= 5
    assert measured.fwhm == pytest.approx(fwhm(psf), rel=0.05)
    true = fit_into(psf, measured.psf.shape)
    true /= true.sum()
    # The peak of the true PSF may lie anywhere in its middle voxel, so the two may differ by a part of a voxel.
    best = min(
        np.abs(ndimage.shift(measured.psf, shift, order=3) - true).max()
        for shift in np.stack(np.meshgrid(*[np.linspace(-0.5, 0.5, 5)] * 3), axis=-1).reshape(-1, 3)
    )
    assert best < 0.08 * true.max()
    assert np.corrcoef(measured.psf.ravel(), true.ravel())[0, 1] > 0.98
    assert measured.psf.sum() == pytest.approx(1, abs=1e-5)


def test_doublets_and_debris_are_not_among_the_used(recorded):
    _, beads = recorded
    used = measure_psf(beads.volume).used
    for wrong in np.concatenate([beads.doublets.reshape(-1, 3), beads.debris.reshape(-1, 3)]):
        assert np.abs(used - wrong).max(axis=1).min() > 3


def test_used_beads_are_where_the_beads_are(recorded):
    _, beads = recorded
    used = measure_psf(beads.volume).used
    offsets = np.array([beads.positions[np.abs(beads.positions - u).sum(axis=1).argmin()] - u for u in used])
    # All by the same part of a voxel, by which the PSF's peak is off its middle.
    assert np.abs(offsets - np.median(offsets, axis=0)).max() < 0.15


def test_every_bead_is_accounted_for(recorded):
    _, beads = recorded
    measured = measure_psf(beads.volume)
    found = detect_beads(beads.volume)
    assert len(measured.used) + len(measured.rejected) == len(found)
    assert "beads used" in measured.summary
    assert {bead.reason for bead in measured.rejected} <= {
        "too close to the border",
        "too close to another bead",
        "saturated",
        "much brighter or dimmer than the others",
        "of another shape than the others",
    }


def test_points_and_size_can_be_given(recorded):
    _, beads = recorded
    found = measure_psf(beads.volume)
    again = measure_psf(beads.volume, found.used, size=(31, 15, 15))
    assert again.psf.shape == (31, 15, 15)
    assert len(again.used) >= len(found.used) - 1


@pytest.mark.parametrize("size", [(25, 15, 15), (9, 9, 9), (31, 11, 21)])
def test_the_psf_has_the_size_that_was_asked_for(rng, size):
    """Also where the core of the beads lies off their brightest voxel, so that centring makes the PSF wider."""
    z, y, x = np.indices((21, 21, 21)) - 10
    leaning = np.exp(-0.5 * ((y / 1.5) ** 2 + (x / 1.5) ** 2)) * np.where(z < 0, np.exp(z / 4), np.exp(-z / 0.7))
    volume = bead_volume(leaning / leaning.sum(), (110, 90, 90), rng, 12, doublets=0, debris=0).volume
    measured = measure_psf(volume, size=size)
    assert measured.psf.shape == size
    assert measured.psf.sum() == pytest.approx(1, abs=1e-5)


def test_where_no_bead_can_be_used_each_reason_is_counted():
    """Three beads at the border, two beside each other, one that is saturated."""
    grid = np.indices((64, 64, 64))
    volume = np.zeros((64, 64, 64))
    places = [(4, 30, 30), (32, 3, 32), (60, 60, 32), (32, 20, 20), (32, 26, 20), (32, 44, 44)]
    for number, place in enumerate(places):
        offsets = grid - np.reshape(place, (3, 1, 1, 1))
        volume += (4000 if number == 5 else 1000) * np.exp(-0.5 * (offsets**2).sum(axis=0) / 1.5**2)
    counts = r"1 saturated; 2 too close to another bead; 3 too close to the border"
    with pytest.raises(InputError, match=rf"only 0 of 6 beads can be used, and 3 are needed \({counts}; a bead needs"):
        measure_psf(volume, np.array(places), size=(11, 11, 11), saturation=3000)


def test_a_small_volume_leaves_room_for_a_smaller_window():
    grid = np.indices((40, 40, 40))
    volume = np.zeros((40, 40, 40))
    places = np.stack(np.meshgrid(*[[10, 30]] * 3), axis=-1).reshape(-1, 3)
    for place in places:
        volume += 1000 * np.exp(-0.5 * ((grid - place.reshape(3, 1, 1, 1)) ** 2).sum(axis=0) / 1.2**2)
    measured = measure_psf(volume, places)
    assert len(measured.used) == 8
    assert measured.fwhm == pytest.approx((2.355 * 1.2,) * 3, rel=0.1)
    with pytest.raises(InputError, match="all 1 beads lie within 6 voxels of the border"):
        measure_psf(volume[:, :, 7:], np.array([[10, 10, 3]]))


def test_saturated_beads_are_left_out(recorded):
    _, beads = recorded
    limit = np.percentile(beads.volume, 99.99)
    clipped = np.minimum(beads.volume, limit)
    reasons = {bead.reason for bead in measure_psf(clipped, saturation=float(limit)).rejected}
    assert "saturated" in reasons


@pytest.mark.parametrize(
    ("volume", "options", "words"),
    [
        (np.random.default_rng(0).poisson(100, (64, 64, 64)).astype(float), {}, "no beads were found"),
        (np.full((32, 32, 32), np.nan), {}, "finite values"),
        (np.zeros((32, 32)), {}, "three axes"),
    ],
)
def test_what_is_wrong_with_a_bead_volume_is_said(volume, options, words):
    with pytest.raises(InputError, match=words):
        measure_psf(volume, **options)


def test_too_few_beads_and_impossible_sizes_are_said(recorded):
    _, beads = recorded
    with pytest.raises(InputError, match="must be odd"):
        measure_psf(beads.volume, size=(30, 15, 15))
    with pytest.raises(InputError, match="smaller than the PSF"):
        measure_psf(beads.volume, size=(201, 15, 15))
    with pytest.raises(InputError, match=r"only \d of 2 beads can be used"):
        measure_psf(beads.volume, beads.positions[:2], size=(31, 15, 15))


def test_hot_voxels_are_no_beads(rng):
    volume = rng.poisson(100, (64, 64, 64)).astype(np.uint16)
    places = rng.integers(0, 64, (40, 3))
    volume[tuple(places.T)] = 30000
    count = len(np.unique(places, axis=0))
    with pytest.raises(InputError, match=f"no beads were found, only {count} hot voxels"):
        measure_psf(volume)


def test_hot_voxels_among_beads_are_removed_and_counted(recorded, rng):
    _, beads = recorded
    clean = measure_psf(beads.volume)
    volume = beads.volume.copy()
    places = np.unique(rng.integers(0, 160, (80, 3)), axis=0)
    volume[tuple(places.T)] += 20000
    measured = measure_psf(volume)
    assert measured.hot == pytest.approx(len(places), abs=2)
    assert f"{measured.hot} hot voxels removed" in measured.summary
    assert measured.psf.shape == clean.psf.shape
    assert measured.fwhm == pytest.approx(clean.fwhm, rel=0.03)
    assert len(measured.used) >= len(clean.used) - 1
    assert clean.hot == 0


def test_what_is_as_narrow_as_a_voxel_is_refused(rng):
    """Hot pixels that were resampled between two planes are no single voxels, and no beads either."""
    volume = rng.poisson(100, (72, 72, 72)).astype(float)
    for place in np.stack(np.meshgrid(*[[12, 36, 60]] * 3), axis=-1).reshape(-1, 3):
        volume[tuple(place)] += 8000
        volume[place[0] + 1, place[1], place[2]] += 3200
    with pytest.raises(InputError, match="not wider than a voxel"):
        measure_psf(volume, size=(9, 9, 9))


def test_a_measurement_tells_how_far_it_is_and_can_be_ended(recorded):
    _, beads = recorded
    shares = []
    measure_psf(beads.volume, progress=shares.append)
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] <= 1

    def stop(share):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        measure_psf(beads.volume, progress=stop)
