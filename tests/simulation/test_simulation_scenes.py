"""Random scenes are pure, what their views show is the truth through their PSFs, and specimens and PSFs are as promised."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, signal

from napari_mvfusion.errors import InputError
from napari_mvfusion.psf import fwhm
from napari_mvfusion.simulation import embryo, light_sheet_psf, random_psfs, random_scene, simulate
from napari_mvfusion.simulation.painting import Body, paint_balls, paint_packed_balls, smooth_field, thin
from napari_mvfusion.simulation.random_psfs import LARGEST, scaled_psf
from napari_mvfusion.simulation.recording import Camera, attenuate_at, blur_inside, margin_for, record
from napari_mvfusion.simulation.scenes import KINDS
from napari_mvfusion.simulation.specimens import SPECIMENS, _walls

ANGLES = st.one_of(st.sampled_from([0.0, 90.0, 180.0, 270.0]), st.floats(-360, 720, width=32))
QUIET = Camera(poisson=False)


def interior(volume: np.ndarray, halves: list[int]) -> np.ndarray:
    return volume[tuple(slice(h, n - h) for h, n in zip(halves, volume.shape, strict=True))]


def pixels_of(scene, index: int) -> np.ndarray:
    return np.asarray(scene.views.views[index].data)


def smooth_ball(size: int) -> np.ndarray:
    grid = np.indices((size,) * 3) - (size - 1) / 2
    return np.clip(1 - np.linalg.norm(grid, axis=0) / (size / 3), 0, 1).astype(np.float32)


# Scenes


def test_a_scene_depends_on_its_arguments_only():
    first, again, other = (random_scene(3, i, size=32, views=(2, 3)) for i in (5, 5, 6))
    assert np.array_equal(first.truth, again.truth)
    assert first.settings == again.settings
    for a, b in zip(first.views.views, again.views.views, strict=True):
        assert np.array_equal(np.asarray(a.data), np.asarray(b.data))
        assert np.array_equal(a.psf, b.psf)
    assert not np.array_equal(first.truth, other.truth)
    assert not np.array_equal(first.truth, random_scene(4, 5, size=32, views=(2, 3)).truth)


@pytest.mark.parametrize("kind", KINDS)
def test_scenes_of_every_kind_are_whole_and_lit(kind):
    lit = 0
    for index in range(2):
        scene = random_scene(1, index, size=33, views=(2, 4), kinds={kind: 1})
        assert 2 <= len(scene.views) <= 4
        assert scene.truth.shape == (33, 33, 33)
        assert scene.truth.dtype == np.float32
        assert np.isfinite(scene.truth).all()
        assert scene.truth.min() >= 0
        lit += scene.truth.max() > 0
        for view in scene.views.views:
            pixels = np.asarray(view.data)
            assert pixels.dtype == np.float32
            assert np.isfinite(pixels).all()
            assert pixels.min() >= 0
            assert view.mask is None
            assert view.offset == 0
            assert view.psf is not None
            assert view.psf.sum() == pytest.approx(1, abs=1e-4)
        assert scene.views.names == tuple(f"{a:g}" for a in scene.settings.angles)
    assert lit >= 1


# Scenes of nuclei with two views without absorption, every plane taken, and small PSFs; found by trying.
UNDIMMED = [(7, 0), (7, 3), (2, 0), (2, 3), (10, 2), (10, 4)]


@pytest.mark.long
def test_undimmed_views_are_the_truth_blurred_by_their_psfs_in_one_unit():
    slopes = []
    for seed, index in UNDIMMED:
        scene = random_scene(seed, index, size=60, angles=(0, 90), kinds={"nuclei_cluster": 1})
        assert scene.settings.attenuation == 0, "scenes are drawn differently now: find others"
        for i, view in enumerate(scene.views.views):
            halves = [n // 2 for n in view.psf.shape]
            blurred = interior(signal.fftconvolve(scene.truth.astype(float), view.psf, mode="same"), halves)
            if blurred.std() > 0.1 * blurred.mean():
                slope, _ = np.polyfit(blurred.ravel(), interior(pixels_of(scene, i), halves).ravel(), 1)
                slopes.append(slope)
    # In a fifth of the scenes the PSFs that the views carry are wrong on purpose.
    assert len(slopes) >= 6
    assert np.median(slopes) == pytest.approx(1, abs=0.03)
    assert min(slopes) > 0.7
    assert max(slopes) < 1.4


def test_background_is_even_and_never_more_than_it_is():
    scene = random_scene(2, 0, size=32, angles=(0, 30), kinds={"background": 1})
    assert np.ptp(scene.truth) == 0
    for i in range(2):
        assert pixels_of(scene, i).mean() == pytest.approx(scene.truth.mean(), rel=0.1)


@pytest.mark.long
def test_angles_and_view_counts_are_as_asked():
    scene = random_scene(0, 0, size=24, angles=(10.0, 100.0, 190.0))
    assert scene.settings.angles == (10.0, 100.0, 190.0)
    assert [view.angle for view in scene.views.views] == [10.0, 100.0, 190.0]
    assert {len(random_scene(0, i, size=16, views=(3, 4)).views) for i in range(8)} == {3, 4}
    assert len(random_scene(0, 0, size=16, views=(1, 1)).views) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kinds": {"cells": 1}}, "no scene of kind 'cells': choose from blobs, nuclei_cluster"),
        ({"kinds": {"blobs": -1}}, "frequency -1"),
        ({"kinds": {}}, "at least one"),
        ({"kinds": {"blobs": 0}}, "at least one"),
        ({"size": 8}, "at least 16"),
        ({"views": (4, 2)}, "4 to 2 views"),
        ({"angles": ()}, "at least one"),
        ({"angles": (np.nan,)}, "finite"),
        ({"seed": -1}, "0 or more"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        random_scene(**{"seed": 0, "index": 0} | arguments)


# PSFs


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.lists(ANGLES, min_size=1, max_size=3))
def test_random_psfs_are_centred_normalised_and_of_the_right_size(seed, angles):
    psfs = random_psfs(angles, np.random.default_rng(seed))
    assert len(psfs) == len(angles)
    for psf in psfs:
        assert psf.dtype == np.float32
        assert psf.min() >= 0
        assert psf.sum(dtype=float) == pytest.approx(1, abs=1e-5)
        assert all(n % 2 == 1 and n <= LARGEST for n in psf.shape)
        assert np.unravel_index(psf.argmax(), psf.shape) == tuple(n // 2 for n in psf.shape)


def test_random_psfs_keep_to_other_widths():
    widths = [fwhm(random_psfs((0,), np.random.default_rng(seed), (10, 14))[0])[0] for seed in range(20)]
    assert 8.5 < min(widths) < max(widths) < 15.5


def test_random_psfs_have_the_widths_promised_along_the_direction_promised():
    axial, lateral = [], []
    for seed in range(30):
        psf, turned = random_psfs((0, 90), np.random.default_rng(seed))
        for (z, y, x), swap in ((fwhm(psf), False), (fwhm(turned), True)):
            axial.append(y if swap else z)
            lateral += [z if swap else y, x]
    # The flaws change the widths a little.
    assert 3.4 < min(axial) < 6
    assert 15 < max(axial) < 19.5
    assert 1.6 < min(lateral) < 2.5
    assert 4.5 < max(lateral) < 6
    assert (np.array(axial)[:, None] / np.reshape(lateral, (-1, 2))).min() > 0.95


def test_views_mostly_share_one_psf_up_to_ten_percent():
    ratios = []
    for seed in range(30):
        a, b = random_psfs((0, 0), np.random.default_rng(seed))
        ratios.append(abs(np.log(fwhm(a)[0] / fwhm(b)[0])))
    alike = sum(r < 0.25 for r in ratios)
    assert 18 <= alike < 30


def test_a_psf_is_made_wrong_about_its_centre():
    psf = light_sheet_psf(0, axial_fwhm=10, lateral_fwhm=4)
    wide = scaled_psf(psf, 1.1)
    assert np.array(fwhm(wide)) == pytest.approx(1.1 * np.array(fwhm(psf)), rel=0.03)
    assert wide.sum() == pytest.approx(1, abs=1e-5)
    assert np.unravel_index(wide.argmax(), wide.shape) == tuple(n // 2 for n in wide.shape)


# Recording


def test_blur_is_a_convolution_away_from_the_border():
    rng = np.random.default_rng(0)
    volume = rng.random((30, 32, 36), np.float32)
    (psf,) = random_psfs((35.0,), rng)
    psf = interior(psf, [max(n - 15, 0) // 2 for n in psf.shape])
    halves = [n // 2 for n in psf.shape]
    expected = signal.fftconvolve(volume.astype(float), psf.astype(float), mode="same")
    np.testing.assert_allclose(interior(blur_inside(volume, psf), halves), interior(expected, halves), rtol=1e-4)


@pytest.mark.parametrize("angle", [0.0, 90.0, 180.0, 270.0])
def test_an_isolated_specimen_is_recorded_as_by_the_microscope(angle):
    size = 40
    truth = embryo(size, np.random.default_rng(0))
    psf = light_sheet_psf(angle, axial_fwhm=7, lateral_fwhm=3)
    whole = simulate(truth, (angle,), (psf,), attenuation=0.01, poisson=False, rng=np.random.default_rng(0))
    drawn = np.pad(truth, margin_for([psf], 1))
    per_voxel = 0.01 * 289 / size / float(truth.max())
    image = blur_inside(attenuate_at(drawn, angle, per_voxel), psf)
    part = record(image, angle, truth.shape, QUIET, np.random.default_rng(0))
    reference = pixels_of(whole, 0)
    np.testing.assert_allclose(part / part.mean(), reference / reference.mean(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("angle", [25.0, 140.0, 301.5])
def test_light_is_absorbed_along_the_oblique_path(angle):
    specimen = smooth_ball(48)
    dimmed = attenuate_at(specimen, angle, 0.05)
    # Light comes from the far end of the view's own y: follow it backwards from a few voxels.
    towards = np.array([-np.sin(np.radians(angle)), np.cos(np.radians(angle)), 0])
    for voxel in ((24, 24, 24), (20, 28, 22), (28, 18, 26)):
        path = np.array(voxel)[:, None] + towards[:, None] * np.arange(0, 60, 0.5)
        met = ndimage.map_coordinates(specimen, path, order=1).sum() * 0.5
        assert dimmed[voxel] == pytest.approx(specimen[voxel] * np.exp(-0.05 * met), rel=0.06)
    assert (dimmed <= specimen * (1 + 1e-5)).all()


@settings(max_examples=30, deadline=None)
@given(ANGLES, st.integers(1, 3), st.integers(0, 100), st.sampled_from([(16, 16, 16), (15, 15, 15), (12, 18, 14)]))
def test_interpolated_planes_keep_linear_fields_everywhere(angle, spacing, seed, size):
    margin = margin_for([np.ones((3, 3, 3))], spacing)
    slopes = np.random.default_rng(seed).uniform(-1, 1, 3)
    grid = np.indices([n + 2 * margin for n in size])
    field = (100 + np.tensordot(slopes, grid, 1)).astype(np.float32)
    recorded = record(field, angle, size, Camera(spacing, poisson=False), np.random.default_rng(seed))
    np.testing.assert_allclose(recorded, interior(field, [margin] * 3), rtol=1e-4)


def test_the_camera_counts_photons():
    photons = np.full((40, 40, 40), 9.0, np.float32)
    counted = Camera().expose(photons, np.random.default_rng(0))
    assert counted.mean() == pytest.approx(9, rel=0.01)
    assert counted.var() == pytest.approx(9, rel=0.03)
    noisy = Camera(read_noise=2).expose(photons + 50, np.random.default_rng(0))
    assert noisy.var() == pytest.approx(59 + 4, rel=0.03)
    assert Camera(read_noise=2).expose(0 * photons, np.random.default_rng(0)).min() == 0


def test_a_psf_larger_than_the_volume_is_refused():
    with pytest.raises(InputError, match="larger than the volume"):
        blur_inside(np.ones((8, 8, 8), np.float32), np.ones((9, 3, 3), np.float32))


# Specimens


@pytest.mark.parametrize("kind", SPECIMENS)
def test_specimens_are_bright_within_bounds_and_isolated_ones_end_inside(kind):
    shape = (44, 48, 52)
    for seed in range(4):
        isolated = SPECIMENS[kind](shape, np.random.default_rng(seed), isolated=True)
        part = SPECIMENS[kind](shape, np.random.default_rng(seed))
        for volume in (isolated, part):
            assert volume.shape == shape
            assert volume.dtype == np.float32
            assert volume.min() >= 0
            assert volume.max() <= 1
        assert isolated.max() > 0.05
        faces = [np.take(isolated, side, axis) for axis in range(3) for side in (0, -1)]
        assert max(face.max() for face in faces) == 0
        again = SPECIMENS[kind](shape, np.random.default_rng(seed), isolated=True)
        assert np.array_equal(isolated, again)


def test_balls_hold_their_volume_and_the_brightest_wins():
    centres = np.array([[12.0, 12.5, 12.0], [30.0, 30.0, 30.5], [32.0, 30.0, 30.0]])
    painted = paint_balls((40, 40, 40), centres, np.array([5.0, 4.0, 4.0]), np.array([1.0, 0.3, 0.8]))
    assert painted[:20].sum() == pytest.approx(4 / 3 * np.pi * 125, rel=0.03)
    assert painted[32, 30, 30] == pytest.approx(0.8)
    assert painted[31, 30, 30] == pytest.approx(0.8)
    small = paint_balls((9, 9, 9), np.array([[4.25, 4.5, 4.0]]), np.array([0.5]), np.array([1.0]), steps=4)
    assert small.sum() == pytest.approx(4 / 3 * np.pi * 0.125, rel=0.05)
    weights = small / small.sum()
    assert ndimage.center_of_mass(weights) == pytest.approx((4.25, 4.5, 4.0), abs=0.15)
    assert not paint_balls((9, 9, 9), np.array([[-20.0, 4, 4]]), np.array([2.0]), np.array([1.0])).any()


@pytest.mark.long
def test_packed_balls_are_what_a_finer_canvas_shows_on_average():
    rng = np.random.default_rng(0)
    centres = np.floor(rng.uniform(0, 24, (60, 3)) * 2) / 2 + 0.25
    radii, brightness = rng.uniform(0.3, 6, 60), rng.random(60)
    painted = paint_packed_balls((24, 24, 24), centres, radii, brightness)
    # Voxel centres are whole numbers, so the points of a canvas twice as fine lie a quarter off.
    points = np.indices((48, 48, 48)).reshape(3, -1).T / 2 - 0.25
    inside = np.linalg.norm(points[:, None] - centres, axis=2) <= radii
    canvas = np.where(inside, brightness, 0).max(axis=1).reshape(24, 2, 24, 2, 24, 2)
    reference = canvas.mean(axis=(1, 3, 5))
    assert painted.mean() == pytest.approx(reference.mean(), rel=0.005)
    assert np.abs(painted - reference).mean() < 0.02
    even = np.ptp(canvas, axis=(1, 3, 5)) == 0
    np.testing.assert_allclose(painted[even], reference[even], atol=1e-6)


def test_a_ball_that_is_partly_outside_is_cut():
    centre, radius = np.array([[0.0, 10, 10]]), np.array([4.0])
    cut = paint_balls((20, 20, 20), centre, radius, np.ones(1))
    whole = paint_balls((20, 20, 20), centre + np.array([10.0, 0, 0]), radius, np.ones(1))
    assert np.array_equal(cut[:10], whole[10:])


def test_a_body_holds_the_points_that_its_mask_shows():
    turned, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    body = Body(np.array([14.0, 16, 18]), np.array([5.0, 8, 11]), turned)
    mask = body.mask((30, 32, 34))
    points = np.indices(mask.shape).reshape(3, -1).T
    assert np.array_equal(body.contains(points), (mask >= 0.5).ravel())
    assert mask.sum() == pytest.approx(4 / 3 * np.pi * 5 * 8 * 11, rel=0.03)
    assert Body(np.zeros(3), np.full(3, 1e4), np.eye(3)).mask((3, 4, 5)).min() == 1


@given(st.integers(0, 1000), st.floats(0.5, 4))
@settings(max_examples=20, deadline=None)
def test_thinned_points_keep_their_distance(seed, distance):
    points = np.random.default_rng(seed).uniform(0, 10, (60, 3))
    kept = thin(points, distance)
    gaps = np.linalg.norm(kept[:, None] - kept, axis=2) + 100 * np.eye(len(kept))
    assert len(kept) >= 1
    assert gaps.min() > distance


def test_smooth_fields_are_standardised_and_smooth():
    field = smooth_field((32, 30, 28), np.random.default_rng(0), scale=2)
    assert field.std() == pytest.approx(1, abs=1e-3)
    steps = np.diff(field, axis=0)
    # A Gaussian-filtered field with sigma s has the autocorrelation exp(-d^2 / (4 s^2)).
    assert steps.var() == pytest.approx(2 * (1 - np.exp(-1 / 16)), rel=0.25)
    rough = smooth_field((32, 30, 28), np.random.default_rng(0), scale=0.1, power=1.5)
    assert 0.05 < np.diff(rough, axis=0).var() < 2


def test_walls_lie_halfway_between_seeds_and_are_as_thick_as_asked():
    seeds = np.array([[10.0, 10, 10], [10, 10, 22], [10, 22, 10]])
    walls = _walls((21, 33, 33), seeds, reach=14, thickness=2)
    assert walls[10, 10, 16] == 1
    assert walls[10, 10, 10:23].sum() == pytest.approx(2, abs=0.1)
    points = np.indices(walls.shape).reshape(3, -1).T
    distances = np.sort(np.linalg.norm(points[:, None] - seeds, axis=2), axis=1)
    closest = distances[walls.ravel() > 0]
    assert (closest[:, 1] - closest[:, 0]).max() < 4
