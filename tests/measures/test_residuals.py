"""The reprojection residual is 1 where the fused volume explains the views, and more where it does not."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage, signal

from napari_mvfusion.data.geometry import Box
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.errors import InputError
from napari_mvfusion.measures.quality import Noise, estimate_noise, reprojection, residual_map
from napari_mvfusion.simulation import Simulation, embryo, light_sheet_psf, simulate

ANGLES = (0, 90, 180, 270)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return embryo(64, np.random.default_rng(0))


def record(truth: np.ndarray, psfs: Any, angles: Any = ANGLES, **settings: Any) -> Simulation:
    """Views without absorption, so that truth and PSF explain them up to their noise."""
    return simulate(truth, angles, psfs, **{"attenuation": 0, **settings}, rng=np.random.default_rng(1))


def psfs(angles: Any = ANGLES) -> list[np.ndarray]:
    return [light_sheet_psf(angle, axial_fwhm=8, lateral_fwhm=2.5) for angle in angles]


def rms(fused: np.ndarray, views: RegisteredViews, **options: Any) -> list[float]:
    return [residual.rms for residual in reprojection(fused, views, **options)]


def average(views: RegisteredViews) -> np.ndarray:
    return np.asarray(views.read(views.grid.box).mean(axis=0))


def test_with_measured_psfs_the_truth_is_at_the_noise_and_the_average_is_not(
    truth: np.ndarray, quad_psfs: dict[int, np.ndarray]
) -> None:
    views = record(truth, [quad_psfs[angle] for angle in ANGLES]).views
    # The specimen is small against its blur, and its views were made in empty medium.
    assert rms(truth, views, border="zero") == pytest.approx([1] * 4, abs=0.03)
    assert min(rms(average(views), views, border="zero")) > 1.5


@pytest.mark.parametrize(
    "settings", [{"snr": 5}, {"read_noise": 4, "offset": 50}, {"spacing": 2}, {"spacing": 3, "snr": 10}]
)
def test_the_truth_is_at_the_noise_of_other_cameras(truth: np.ndarray, settings: dict[str, Any]) -> None:
    assert rms(truth, record(truth, psfs(), **settings).views) == pytest.approx([1] * 4, abs=0.15)


def test_a_psf_upside_down_explains_the_view_worse(truth: np.ndarray, quad_psfs: dict[int, np.ndarray]) -> None:
    views = record(truth, [quad_psfs[0]], [0]).views
    turned = views.with_psfs([quad_psfs[0][::-1, ::-1, ::-1]])
    assert rms(truth, turned)[0] > 1.2 * rms(truth, views)[0]


def test_the_number_is_that_of_the_formula(truth: np.ndarray) -> None:
    truth, psf = truth[16:52, 10:40, 20:44], psfs([0])[0]
    views = record(truth, [psf], [0]).views
    fused = ndimage.gaussian_filter(truth, 1)
    (residual,) = reprojection(fused, views, noise=(Noise(2.0, 30.0),), attenuation=False)
    observed = views.read(views.grid.box)[0].astype(np.float64)
    mirrored = np.pad(fused.astype(np.float64), [(n // 2, n // 2) for n in psf.shape], mode="reflect")
    blurred = signal.fftconvolve(mirrored, psf.astype(np.float64), mode="valid")
    scale, offset = np.polynomial.Polynomial.fit(blurred.ravel(), observed.ravel(), 1).convert().coef[::-1]
    fit = scale * blurred + offset
    assert (residual.scale, residual.offset) == pytest.approx((scale, offset), rel=1e-4, abs=1e-3)
    expected = np.sqrt(((observed - fit) ** 2).sum() / (2 * fit + 30).sum())
    assert residual.rms == pytest.approx(expected, rel=1e-4)
    found = residual_map(fused, views, residual)
    np.testing.assert_allclose(found, (observed - fit) / np.sqrt(np.maximum(2 * fit, 4) + 30), atol=2e-3)
    assert reprojection(fused, views, with_offset=False)[0].offset == 0


def test_tiles_do_not_show(truth: np.ndarray) -> None:
    views = record(truth[:, :, :45], psfs((0, 90)), (0, 90)).views
    fused = average(views)
    whole, tiled = (reprojection(fused, views, tile=tile) for tile in (224, 34))
    for one, other in zip(whole, tiled, strict=True):
        assert other.rms == pytest.approx(one.rms, rel=1e-4)
        assert asdict(other.noise) == pytest.approx(asdict(one.noise), rel=1e-3, abs=1e-6)
    maps = [residual_map(fused, views, whole[1], tile=tile) for tile in (224, 34)]
    np.testing.assert_allclose(*maps, atol=1e-3)
    box = Box((10, 20, 5), (30, 33, 40))
    np.testing.assert_allclose(residual_map(fused, views, whole[1], box=box), maps[0][box.slices], atol=1e-3)


@pytest.mark.parametrize(("gain", "read_noise"), [(0.5, 3.0), (3.0, 0.0), (20.0, 100.0)])
def test_gain_and_read_noise_are_found_in_the_view(truth: np.ndarray, gain: float, read_noise: float) -> None:
    view = record(truth, psfs([90]), [90]).views.views[0]
    noise = np.random.default_rng(2).normal(0, 1, view.shape) * read_noise
    scaled = RegisteredViews([replace(view, data=gain * np.asarray(view.data) + noise)])
    found = estimate_noise(scaled, 0)
    assert found.gain == pytest.approx(gain, rel=0.06)
    assert found.read_variance == pytest.approx(read_noise**2, rel=0.1, abs=0.01 * gain**2)


def test_the_noise_of_a_view_that_is_equally_bright_everywhere_is_found() -> None:
    pixels = 3.0 * np.random.default_rng(4).poisson(100, (24, 48, 48))
    found = estimate_noise(RegisteredViews([View(pixels, "a")]), 0, across=(1, 2))
    assert found.gain * 300 + found.read_variance == pytest.approx(900, rel=0.1)


def test_a_view_without_noise_is_judged_by_a_thousandth_of_its_mean(truth: np.ndarray) -> None:
    views = record(truth, psfs([0]), [0], poisson=False).views
    found = estimate_noise(views, 0)
    mean = views.statistics()[0].mean
    assert found.gain * mean + found.read_variance >= 1e-6 * mean**2
    assert np.isfinite(rms(truth, views)).all()


def test_only_voxels_with_data_count(truth: np.ndarray) -> None:
    view = record(truth, psfs([0]), [0]).views.views[0]
    broken = np.asarray(view.data).copy()
    broken[:, :20] = 5000
    mask = np.ones(view.shape, bool)
    mask[:, :20] = False
    masked = RegisteredViews([replace(view, data=broken, mask=mask)])
    (residual,) = reprojection(truth, masked)
    assert residual.rms == pytest.approx(1, abs=0.05)
    assert not residual_map(truth, masked, residual)[:, :20].any()
    with pytest.raises(InputError, match="no data inside"):
        reprojection(truth, RegisteredViews([replace(view, mask=np.zeros(view.shape, bool))]))


def test_views_placed_by_their_affine_are_compared_on_the_grid(truth: np.ndarray) -> None:
    views = record(truth, psfs(), registered=False).views
    assert all(view.affine is not None for view in views.views)
    assert rms(truth, views) == pytest.approx([1] * 4, abs=0.05)


def test_thin_volumes_work(truth: np.ndarray) -> None:
    view = record(truth, psfs([90]), [90]).views.views[0]
    assert view.psf is not None
    thin = RegisteredViews([replace(view, data=np.asarray(view.data)[:, :, 30:33])])
    assert np.isfinite(rms(truth[:, :, 30:33], thin)).all()


def test_what_cannot_be_compared_is_refused(truth: np.ndarray) -> None:
    views = record(truth, psfs()).views
    with pytest.raises(InputError, match="do not belong together"):
        reprojection(truth[1:], views)
    with pytest.raises(InputError, match="view '90' has no PSF"):
        reprojection(truth, views.with_psfs([None if name == "90" else psfs([0])[0] for name in views.names]))
    with pytest.raises(InputError, match="1 noise models were given for 4 views"):
        reprojection(truth, views, noise=(Noise(1, 0),))
    with pytest.raises(InputError, match="no variance"):
        reprojection(truth, views, noise=(Noise(0, 0),) * 4)
    broken = truth.copy()
    broken[7, 8, 9] = np.inf
    with pytest.raises(InputError, match=r"NaN or infinite value at \(z, y, x\) = \(7, 8, 9\)"):
        reprojection(broken, views)
    residual = reprojection(truth, views)[0]
    with pytest.raises(InputError, match="there is no view '1'"):
        residual_map(truth, views, replace(residual, view="1"))


def test_a_constant_volume_explains_nothing(truth: np.ndarray) -> None:
    views = record(truth, psfs([0]), [0]).views
    (residual,) = reprojection(np.full(truth.shape, 7.0), views, attenuation=False)
    assert residual.scale == 0
    assert residual.rms > 5


@pytest.mark.long
def test_attenuation_is_allowed_for_and_blur_is_not(truth: np.ndarray) -> None:
    dimmed = record(truth, psfs(), attenuation=0.01).views
    plain, found = rms(truth, dimmed, attenuation=False), reprojection(truth, dimmed)
    assert min(plain) > 3
    assert max(residual.rms for residual in found) < 1.6
    assert min(rms(average(dimmed), dimmed)) > 1.5 * max(residual.rms for residual in found)
    assert all(residual.transmission is not None and residual.transmission.depth > 0.3 for residual in found)
    # Where none was lost, none is found.
    clear = reprojection(truth, record(truth, psfs()).views)
    assert all(residual.transmission is not None and residual.transmission.depth < 0.05 for residual in clear)


def test_hot_pixels_are_no_residual(truth: np.ndarray) -> None:
    clean = record(truth, psfs((0, 90)), (0, 90)).views
    hot = np.random.default_rng(3).integers(2, 62, (12, 3))
    views = []
    for view in clean.views:
        pixels = np.array(view.data)
        pixels[tuple(hot.T)] = 65535
        views.append(replace(view, data=pixels))
    with_hot = RegisteredViews(views, clean.grid)
    expected, found = reprojection(truth, clean), reprojection(truth, with_hot)
    for one, other in zip(found, expected, strict=True):
        assert one.rms == pytest.approx(other.rms, rel=0.01)
        assert (one.noise.gain, one.scale) == pytest.approx((other.noise.gain, other.scale), rel=0.01)
    assert estimate_noise(with_hot, 0).gain == pytest.approx(estimate_noise(clean, 0).gain, rel=0.01)
    maps = [residual_map(truth, each, expected[0]) for each in (with_hot, clean)]
    assert np.abs(maps[0]).max() == pytest.approx(np.abs(maps[1]).max(), rel=0.5)


@pytest.mark.cuda
def test_cuda_gives_the_same(truth: np.ndarray) -> None:
    views = record(truth, psfs()).views
    assert rms(truth, views, device="cuda") == pytest.approx(rms(truth, views), rel=1e-4)


def test_a_view_can_come_from_anywhere(truth: np.ndarray) -> None:
    psf = psfs([0])[0]
    data = record(truth, [psf], [0], offset=100, dtype="uint16").views.views[0].data
    views = RegisteredViews([View(data, "camera", psf=(7 * psf), offset=100)])
    assert rms(truth.astype(np.float64) * 1e-6, views) == pytest.approx([1], abs=0.05)
