"""Noise that was interpolated, told from noise that was not, and from structure."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_mvfusion.data.noise_density import coarse_noise
from napari_mvfusion.data.views import RegisteredViews, View, drain
from napari_mvfusion.simulation import PHANTOMS, light_sheet_psf, simulate


def interpolated(rng: np.random.Generator, spacing: int, axis: int) -> np.ndarray:
    """White noise of variance 1 on every `spacing`-th plane along an axis, linear in between, on an even ground."""
    noise = np.moveaxis(rng.standard_normal((40, 48, 44)), 0, axis)
    count = (noise.shape[axis] - 1) * spacing + 1
    at = np.arange(count) / spacing
    below = np.minimum(at.astype(int), noise.shape[axis] - 2)
    share = (at - below).reshape([-1 if a == axis else 1 for a in range(3)])
    values = np.take(noise, below, axis) * (1 - share) + np.take(noise, below + 1, axis) * share
    return (100 + np.take(values, np.arange(min(count, 80)), axis)).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("spacing", [1, 2, 3, 4])
def test_the_density_is_that_of_the_samples(spacing: int, axis: int) -> None:
    """A sample spreads over `spacing` voxels, so the density at coarse patterns is `spacing` times its variance.

    The scan looks at some planes only, which may be those of the samples: then it finds up to 1 / 0.69 times as much.
    """
    view = View(interpolated(np.random.default_rng(spacing), spacing, axis), "a")
    views = RegisteredViews([view])
    drain(views.scan())
    density = coarse_noise(views)[0] * views.statistics()[0].noise
    assert 0.8 * spacing < density < 1.55 * spacing


def test_blurred_structure_is_no_noise() -> None:
    rng = np.random.default_rng(0)
    structure = ndimage.gaussian_filter(rng.random((64, 60, 56)), (4, 1.5, 1.5))
    structure = 1000 * (structure - structure.min()) / np.ptp(structure)
    views = RegisteredViews([View(rng.poisson(20 + structure).astype(np.float32), "a")])
    assert coarse_noise(views) == [1.0]


def test_fine_structure_in_the_light_is_no_noise_where_noise_is_white_in_the_dark() -> None:
    rng = np.random.default_rng(4)
    psfs = [light_sheet_psf(angle, axial_fwhm=5, lateral_fwhm=2, shape=(11, 11, 11)) for angle in (0, 90)]
    views = simulate(PHANTOMS["embryo"](32, rng), (0, 90), psfs, rng=rng, snr=30.0, attenuation=0.0).views
    assert coarse_noise(views) == [1.0, 1.0]


@pytest.mark.parametrize("shape", [(1, 40, 40), (40, 1, 4), (7, 7, 7)])
def test_what_is_too_small_to_be_looked_at_counts_as_white(shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(0).poisson(50, shape).astype(np.float32)
    assert coarse_noise(RegisteredViews([View(pixels, "a")])) == [1.0]


def test_masked_pixels_are_not_looked_at() -> None:
    rng = np.random.default_rng(2)
    clean = interpolated(rng, 3, 0)
    mask = np.ones(clean.shape, bool)
    mask[:, :20] = False
    spoilt = np.where(mask, clean, 1e4 * rng.random(clean.shape)).astype(np.float32)
    found = coarse_noise(RegisteredViews([View(spoilt, "a", mask=mask)]))
    expected = coarse_noise(RegisteredViews([View(clean, "a", mask=mask)]))
    assert found == pytest.approx(expected)
    assert found[0] > 3
