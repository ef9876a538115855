"""Modelled PSFs have the widths and the direction asked for; beads are that PSF, where it is said they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_mvfusion.errors import InputError
from napari_mvfusion.psf import fwhm, measure_psf, rotate_psf
from napari_mvfusion.simulation import bead_volume, light_sheet_psf, light_sheet_psfs, sample
from napari_mvfusion.simulation.rotation import turn


def width_at_half(line: np.ndarray) -> float:
    """Full width at half maximum with linear interpolation between voxels."""
    half = line.max() / 2
    peak = int(line.argmax())
    right = peak + int(np.argmax(line[peak:] < half))
    left = peak - int(np.argmax(line[peak::-1] < half))
    rising = left + (half - line[left]) / (line[left + 1] - line[left])
    falling = right - (half - line[right]) / (line[right - 1] - line[right])
    return float(falling - rising)


def centre_of_mass(psf: np.ndarray) -> np.ndarray:
    grid = np.indices(psf.shape).reshape(3, -1)
    return np.average(grid, axis=1, weights=psf.ravel()) - (np.array(psf.shape) - 1) / 2


@pytest.mark.parametrize(("axial", "lateral"), [(13.0, 3.5), (6.5, 3.0), (20.0, 6.0)])
def test_widths_are_those_asked_for(axial: float, lateral: float) -> None:
    psf = light_sheet_psf(axial_fwhm=axial, lateral_fwhm=lateral)
    z, y, x = (n // 2 for n in psf.shape)
    assert width_at_half(psf[:, y, x]) == pytest.approx(axial, rel=0.03)
    assert width_at_half(psf[z, :, x]) == pytest.approx(lateral, rel=0.05)
    assert width_at_half(psf[z, y, :]) == pytest.approx(lateral, rel=0.05)


@pytest.mark.parametrize("angle", [0, 30, 90, 135, 180, 270])
def test_psfs_are_odd_normalised_and_centred(angle: float) -> None:
    psf = light_sheet_psf(angle)
    assert all(n % 2 == 1 for n in psf.shape)
    assert psf.dtype == np.float32
    assert psf.sum() == pytest.approx(1, abs=1e-5)
    assert np.unravel_index(int(psf.argmax()), psf.shape) == tuple(n // 2 for n in psf.shape)
    # Little is cut off: the middle of a much larger PSF holds nearly all of its light.
    wide = light_sheet_psf(angle, shape=(121, 121, 61))
    middle = wide[
        tuple(slice(n // 2 - k // 2, n // 2 + k // 2 + 1) for n, k in zip(wide.shape, psf.shape, strict=True))
    ]
    assert middle.sum() > 0.99


def test_a_quarter_turn_of_the_view_turns_the_psf() -> None:
    for angle in (90, 180, 270):
        np.testing.assert_allclose(light_sheet_psf(angle), turn(light_sheet_psf(0), -angle), atol=1e-9)
    by_spline = rotate_psf(light_sheet_psf(0, lateral_fwhm=5, shape=(61, 21, 21)), 25)
    modelled = light_sheet_psf(25, lateral_fwhm=5, shape=by_spline.shape)
    np.testing.assert_allclose(modelled, by_spline, atol=0.01 * by_spline.max())


def test_the_tail_points_to_one_side_as_in_measured_psfs(quad_psfs: dict[int, np.ndarray]) -> None:
    for angle, measured in quad_psfs.items():
        ours, theirs = centre_of_mass(light_sheet_psf(angle)), centre_of_mass(measured)
        axis = int(np.abs(ours).argmax())
        assert axis == int(np.abs(theirs).argmax())
        assert np.sign(ours[axis]) == np.sign(theirs[axis])
    symmetric = light_sheet_psf(30, asymmetry=0)
    np.testing.assert_allclose(symmetric, symmetric[::-1, ::-1, ::-1], atol=1e-9)


def test_widths_follow_the_size_of_the_specimen_but_stay_sampled() -> None:
    shapes = [light_sheet_psfs([0], size)[0].shape[0] for size in (64, 128, 289, 578)]
    assert shapes[0] == shapes[1] < shapes[2] < shapes[3]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lateral_fwhm": 1}, "cannot be sampled"),
        ({"axial_fwhm": float("nan")}, "cannot be sampled"),
        ({"asymmetry": 1}, "asymmetry"),
        ({"shape": (4, 5, 5)}, "odd"),
    ],
)
def test_psfs_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        light_sheet_psf(**settings)


def test_beads_lie_where_they_are_said_to_and_hold_the_light_of_the_psf() -> None:
    psf = light_sheet_psf(axial_fwhm=6, lateral_fwhm=3, asymmetry=0)
    beads = bead_volume(
        psf, (160, 90, 90), np.random.default_rng(0), 20, doublets=0, debris=0, photons=1e5, background=0, offset=0
    )
    half = np.array(psf.shape) // 2
    total = 1e5 / psf.max()
    checked = 0
    for position in beads.positions:
        near = np.rint(position).astype(int)
        if (near < half + 1).any() or (near + half + 2 > beads.volume.shape).any():
            continue
        box = tuple(slice(n - h - 1, n + h + 2) for n, h in zip(near, half, strict=True))
        light = beads.volume[box]
        np.testing.assert_allclose(centre_of_mass(light) + near, position, atol=0.03)
        assert 0.35 * total < light.sum() < 1.8 * total
        checked += 1
    assert checked >= 5
    # Sub-voxel: positions are not on the voxels.
    assert np.abs(beads.positions - np.rint(beads.positions)).mean() > 0.15


def test_bead_volumes_hold_doublets_debris_offset_and_noise() -> None:
    psf = light_sheet_psf(90, axial_fwhm=6, lateral_fwhm=2)
    make = [bead_volume(psf, (60, 120, 60), np.random.default_rng(s), 12, doublets=3, debris=2) for s in (0, 0, 1)]
    one = make[0]
    assert (one.positions.shape, one.doublets.shape, one.debris.shape) == ((12, 3), (3, 2, 3), (2, 3))
    gap = np.linalg.norm(one.doublets[:, 0] - one.doublets[:, 1], axis=1)
    assert (gap < 12).all()
    dark = one.volume[one.volume <= np.percentile(one.volume, 80)]
    assert np.median(dark) == pytest.approx(105, abs=1)
    assert np.array_equal(one.volume, make[1].volume)
    assert not np.array_equal(one.volume, make[2].volume)


def test_a_small_volume_holds_as_many_beads_as_find_room(quad_psfs: dict[int, np.ndarray]) -> None:
    beads = bead_volume(quad_psfs[0], (100, 100, 100), np.random.default_rng(0))
    assert 1 <= len(beads.positions) < 40
    places = np.concatenate([beads.positions, beads.doublets.mean(axis=1), beads.debris])
    apart = np.abs(places[:, None] - places).max(axis=2) + 1000 * np.eye(len(places))
    assert apart.min() >= 51


def test_the_psf_can_be_measured_from_the_beads_of_a_sample() -> None:
    made = sample("nuclei", 32, angles=[90], beads=True)
    measured = measure_psf(made.beads[0].volume)
    (view,) = made.views.views
    assert view.psf is not None
    assert measured.fwhm == pytest.approx(fwhm(view.psf), rel=0.1)
    side = tuple(min(a, b) // 2 for a, b in zip(measured.psf.shape, view.psf.shape, strict=True))
    one, other = (
        psf[tuple(slice(n // 2 - h, n // 2 + h + 1) for n, h in zip(psf.shape, side, strict=True))]
        for psf in (measured.psf, view.psf)
    )
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.99


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"psf": np.ones((4, 5, 5))}, "three odd sizes"),
        ({"psf": np.zeros((5, 5, 5))}, "positive peak"),
        ({"psf": np.full((5, 5, 5), np.nan)}, "finite"),
        ({"shape": (3, 60, 60)}, "make the volume larger"),
        ({"count": 0}, "at least one bead"),
        ({"debris": -1}, "at least one bead"),
        ({"count": 5000}, "find room"),
        ({"shape": (7, 7, 7)}, "find room"),
        ({"photons": 0}, "photons must be above 0"),
    ],
)
def test_bead_volumes_of_no_use_are_refused(arguments: dict[str, Any], message: str) -> None:
    values = {"psf": np.ones((5, 5, 5)), "shape": (30, 30, 30), "rng": np.random.default_rng(0), **arguments}
    with pytest.raises(InputError, match=message):
        bead_volume(**values)
