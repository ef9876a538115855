"""The microscope: every step of the image formation against its formula, frame by frame."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from scipy import ndimage, signal

from napari_mvfusion.errors import InputError
from napari_mvfusion.simulation import embryo, light_sheet_psf, sample, simulate
from napari_mvfusion.simulation.microscope import Simulation, attenuate

QUARTERS = (0.0, 90.0, 180.0, 270.0)
POINT = np.ones((1, 1, 1))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def blobs() -> np.ndarray:
    """A smooth specimen with room around it, not a cube, so that axes cannot be mixed up."""
    truth = np.zeros((40, 48, 36))
    for centre in rng(5).uniform(0.35, 0.65, (12, 3)):
        truth[tuple((centre * truth.shape).astype(int))] = 1
    return ndimage.gaussian_filter(truth, 1.5).astype(np.float32)


def pixels(simulation: Simulation) -> np.ndarray:
    return simulation.views.read(simulation.views.grid.box)


def perfect(truth: np.ndarray, angles: Any = QUARTERS, psfs: Any = None, **settings: Any) -> Simulation:
    """No absorption and no noise, unless asked for."""
    return simulate(truth, angles, psfs, **{"attenuation": 0, "poisson": False, **settings}, rng=rng())


def small_psfs(angles: Any = QUARTERS) -> list[np.ndarray]:
    return [light_sheet_psf(a, axial_fwhm=6, lateral_fwhm=2, asymmetry=0.4) for a in angles]


def test_a_view_is_the_truth_blurred_by_its_psf_in_the_frame_of_the_truth(blobs: np.ndarray) -> None:
    psfs = small_psfs()
    for view, psf in zip(pixels(perfect(blobs, psfs=psfs)), psfs, strict=True):
        blurred = signal.fftconvolve(blobs.astype(np.float64), psf, mode="same")
        expected = 125 * (blurred * (1 - 1e-4) / blurred.mean() + 1e-4)
        np.testing.assert_allclose(view, expected, atol=1e-4 * expected.max())


def test_with_measured_psfs_too(quad_psfs: dict[int, np.ndarray]) -> None:
    truth = embryo(56, rng())
    psfs = [quad_psfs[int(angle)] for angle in QUARTERS]
    for view, psf in zip(pixels(perfect(truth, psfs=psfs)), psfs, strict=True):
        blurred = signal.fftconvolve(truth.astype(np.float64), psf, mode="same")
        expected = 125 * (blurred * (1 - 1e-4) / blurred.mean() + 1e-4)
        np.testing.assert_allclose(view, expected, atol=1e-4 * expected.max())


def test_an_oblique_view_is_the_same_up_to_interpolation(blobs: np.ndarray) -> None:
    cube = np.pad(blobs, ((4, 4), (0, 0), (6, 6)))
    psf = light_sheet_psf(30, axial_fwhm=8, lateral_fwhm=3)
    simulation = perfect(cube, [30], [psf])
    blurred = signal.fftconvolve(cube.astype(np.float64), psf, mode="same")
    view = pixels(simulation)[0]
    scale = (view * blurred).sum() / (blurred**2).sum()
    assert np.abs(view - scale * blurred).max() < 0.06 * view.max()
    covered = simulation.views.coverage(simulation.views.grid.box)
    assert covered is not None
    assert 0.8 < covered.mean() < 1
    assert covered[0, 24, 24].all()
    assert not covered[0, 0, 0].any()


def test_absorption_follows_the_published_recurrence() -> None:
    specimen = rng().random((3, 50, 4)).astype(np.float32)
    expected = np.zeros(specimen.shape)
    for z in range(3):
        for x in range(4):
            light = 1.0
            for y in reversed(range(50)):
                light = max(light - 0.3 * float(specimen[z, y, x]) * light, 0)
                expected[z, y, x] = specimen[z, y, x] * light
    np.testing.assert_allclose(attenuate(specimen, 0.3), expected, rtol=1e-4, atol=1e-7)
    assert attenuate(2 * specimen, 1.0).min() == 0


@pytest.mark.parametrize(
    ("angle", "axis", "enters_at_the_end"), [(0, 1, True), (90, 0, False), (180, 1, False), (270, 0, True)]
)
def test_each_view_is_lit_from_its_own_side(angle: int, axis: int, enters_at_the_end: bool) -> None:
    truth = np.zeros((32, 32, 8), np.float32)
    truth[8:24, 8:24] = 1
    view = pixels(perfect(truth, [angle], [POINT], attenuation=0.01))[0]
    profile = view.mean(axis=tuple(a for a in range(3) if a != axis))[8:24]
    light = np.cumprod(np.full(16, 1 - 0.01 * 289 / 32))
    expected = light[::-1] if enters_at_the_end else light
    np.testing.assert_allclose(profile / profile.max(), expected / expected.max(), rtol=1e-3)


def test_absorption_is_the_same_picture_at_every_size_and_in_any_units() -> None:
    small = np.zeros((32, 32, 8), np.float32)
    small[8:24, 8:24] = 1
    large = 500 * small.repeat(2, axis=0).repeat(2, axis=1)
    one, two = (
        pixels(perfect(truth, [0], [POINT], attenuation=0.01))[0, :: len(truth) // 32, :: len(truth) // 32]
        for truth in (small, large)
    )
    np.testing.assert_allclose(one, two, rtol=0.05, atol=1)


def test_photons_have_the_mean_and_variance_that_the_snr_asks_for(blobs: np.ndarray) -> None:
    settings: dict[str, Any] = {"snr": 10, "offset": 100, "read_noise": 3}
    simulation = simulate(blobs, [0], small_psfs([0]), attenuation=0, rng=rng(), **settings)
    expected = pixels(perfect(blobs, [0], small_psfs([0]), snr=10))[0]
    raw = np.asarray(simulation.views.views[0].data)
    assert expected.mean() == pytest.approx(10**2 / 5, rel=1e-4)
    assert raw.mean() == pytest.approx(100 + 10**2 / 5, rel=0.01)
    bright = expected > 50
    assert (raw - 100 - expected)[bright].var() == pytest.approx(expected[bright].mean() + 9, rel=0.1)
    assert (raw - 100)[expected < 0.1].std() == pytest.approx(3, rel=0.05)
    # The view declares its offset, so it is read without it.
    assert simulation.views.views[0].offset == 100
    assert pixels(simulation)[0].mean() < 30


@pytest.mark.parametrize("spacing", [2, 3, 50])
def test_planes_are_taken_along_the_detection_axis(blobs: np.ndarray, spacing: int) -> None:
    full = pixels(perfect(blobs, psfs=small_psfs()))
    thinned = pixels(perfect(blobs, psfs=small_psfs(), spacing=spacing))
    # The first plane of the own frames of 0, 90, 180 and 270 degrees, and the axis that the planes follow.
    for view, expected, axis, backwards in zip(thinned, full, (0, 1, 0, 1), (0, 0, 1, 1), strict=True):
        view, expected = (np.moveaxis(v, axis, 0)[:: -1 if backwards else 1] for v in (view, expected))
        np.testing.assert_allclose(view[::spacing], expected[::spacing], rtol=1e-4, atol=1e-3)
        last = (len(view) - 1) // spacing * spacing
        between = ndimage.map_coordinates(
            expected[::spacing].astype(np.float64),
            np.stack(np.broadcast_arrays(*np.ogrid[: last + 1, : view.shape[1], : view.shape[2]]))
            / np.array([spacing, 1, 1])[:, None, None, None],
            order=1,
            mode="nearest",
        )
        np.testing.assert_allclose(view[: last + 1], between, rtol=1e-4, atol=1e-3)
        assert (view[last + 1 :] == view[last]).all()


def test_recorded_views_know_where_they_lie(blobs: np.ndarray) -> None:
    angles = (0, 90, 180, 270, 25)
    settings: dict[str, Any] = {"psfs": small_psfs(angles), "voxel_size_um": 0.5, "spacing": 2}
    registered = perfect(blobs, angles, **settings)
    recorded = perfect(blobs, angles, **settings, registered=False)
    assert [view.shape for view in recorded.views.views] == [
        (20, 48, 36),
        (24, 40, 36),
        (20, 48, 36),
        (24, 40, 36),
        (24, 48, 36),
    ]
    assert recorded.views.grid.voxel_size_um == (0.5, 0.5, 0.5)
    box = recorded.views.grid.box
    covered = recorded.views.coverage(box)
    assert covered is not None
    # A registered view repeats its last plane where the recorded one has none.
    assert covered.mean() > 0.9
    np.testing.assert_allclose(recorded.views.read(box), registered.views.read(box) * covered, rtol=1e-3, atol=1e-2)


def test_noise_depends_on_the_seed_alone_and_not_on_other_views(blobs: np.ndarray) -> None:
    def noisy(angles: Any, seed: int) -> np.ndarray:
        return pixels(simulate(blobs, angles, small_psfs(angles), rng=rng(seed)))

    four = noisy(QUARTERS, 1)
    assert np.array_equal(four, noisy(QUARTERS, 1))
    assert np.array_equal(four[:2], noisy(QUARTERS[:2], 1))
    assert not np.array_equal(four, noisy(QUARTERS, 2))
    clean = pixels(simulate(blobs, QUARTERS, small_psfs(), poisson=False, rng=rng()))
    noise = (four - clean)[:, clean.min(axis=0) > 5]
    correlation = np.corrcoef(noise)
    assert np.abs(correlation - np.eye(4)).max() < 0.05


def test_the_truth_and_settings_come_back(blobs: np.ndarray) -> None:
    simulation = simulate(blobs, [0, 45], snr=20, rng=rng())
    assert simulation.truth is blobs or np.array_equal(simulation.truth, blobs)
    assert simulation.views.names == ("0", "45")
    assert [view.angle for view in simulation.views.views] == [0, 45]
    assert json.loads(json.dumps(asdict(simulation.settings)))["snr"] == 20
    for view in simulation.views.views:
        assert view.psf is not None
        assert view.psf.dtype == np.float32
        assert view.psf.sum() == pytest.approx(1, abs=1e-5)


def test_views_can_be_integers(blobs: np.ndarray) -> None:
    whole = perfect(blobs, psfs=small_psfs(), offset=100, dtype="uint16", spacing=2)
    exact = perfect(blobs, psfs=small_psfs(), offset=100, spacing=2)
    for view, reference in zip(whole.views.views, exact.views.views, strict=True):
        assert view.data.dtype == np.uint16
        assert np.abs(np.asarray(view.data) - np.asarray(reference.data)).max() <= 0.5
    with pytest.raises(InputError, match=r"view '0' reaches .* more than uint16 holds"):
        perfect(blobs, psfs=small_psfs(), snr=1000, dtype="uint16")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attenuation": -0.1}, "attenuation must be 0 or more, not -0.1"),
        ({"spacing": 0}, "spacing must be a whole number"),
        ({"spacing": 1.5}, "spacing must be a whole number"),
        ({"snr": 0}, "snr must be above 0"),
        ({"snr": float("nan")}, "snr must be above 0"),
        ({"read_noise": -1}, "read_noise must be 0 or more"),
        ({"offset": float("inf")}, "offset must be a number"),
        ({"voxel_size_um": 0}, "voxel sizes must be positive"),
        ({"dtype": "int8"}, "float32 or uint16"),
        ({"angles": []}, "no angles"),
        ({"angles": [float("nan")]}, "angles must be finite"),
        ({"angles": [0, 0.0]}, "two views are called '0'"),
        ({"psfs": [POINT] * 3}, "3 PSFs were given for 2 angles"),
        ({"psfs": [POINT, np.ones((4, 5, 5))]}, r"PSF of view '90' has shape \(4, 5, 5\): three odd sizes"),
        ({"psfs": [POINT, np.ones((51, 5, 5))]}, "PSF of view '90' .* is larger than the volume .* crop the PSF"),
        ({"psfs": [np.full((3, 3, 3), np.nan), POINT]}, "PSF of view '0' must be finite"),
        ({"psfs": [np.zeros((3, 3, 3)), POINT]}, "positive sum"),
        ({"truth": np.zeros((40, 40, 40))}, "specimen is 0 everywhere"),
        ({"truth": np.ones((40, 40))}, "three axes"),
        ({"truth": -np.eye(40)[None].repeat(40, 0)}, "specimen is negative"),
        ({"truth": np.full((40, 40, 40), np.nan)}, "not finite"),
    ],
)
def test_what_cannot_be_simulated_is_refused(blobs: np.ndarray, settings: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"truth": blobs, "angles": [0, 90], **settings}
    with pytest.raises(InputError, match=message):
        simulate(**arguments, rng=rng())


@pytest.mark.parametrize(("name", "views"), [("embryo", ["0", "90", "180", "270"]), ("nuclei", ["0", "180"])])
@pytest.mark.long
def test_samples_come_with_views_psfs_and_beads(name: str, views: list[str]) -> None:
    made = sample(name, size=32, beads=True)
    assert list(made.views.names) == views
    assert len(made.beads) == len(views)
    again = sample(name, size=32, snr=5)
    assert np.array_equal(again.truth, made.truth)
    assert np.array_equal(pixels(sample(name, size=32)), pixels(made))
    assert not np.array_equal(sample(name, size=32, seed=1).truth, made.truth)


def test_a_sample_takes_angles_psfs_and_settings() -> None:
    made = sample("embryo", 32, angles=[10, 50, 170], psfs=small_psfs((10, 50, 170)), spacing=3)
    assert made.views.names == ("10", "50", "170")
    assert made.settings.spacing == 3
    with pytest.raises(InputError, match="no phantom 'embyro': choose embryo or nuclei"):
        sample("embyro")
