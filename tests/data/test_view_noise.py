"""The light of views as two halves: photons that are dealt out, and noise that is independent."""

import numpy as np
import pytest

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.view_noise import HalfOfLight, Noise, halves_of_light
from napari_mvfusion.data.views import RegisteredViews, View

SHAPE = (6, 150, 140)


def both(data, noise, offset=0.0, seed=(3,)):
    return [HalfOfLight(data, noise, offset, half, seed) for half in (0, 1)]


def test_photons_that_are_counted_go_to_one_half_or_the_other():
    counts = np.random.default_rng(1).poisson(7, SHAPE)
    first, second = (half[:, :, :] / 2 for half in both(counts.astype(np.uint16), Noise(1.0, 0.0)))
    np.testing.assert_array_equal(first + second, counts)
    np.testing.assert_array_equal(first, np.rint(first))
    # Each half of Poisson light of 7 is Poisson light of 3.5.
    assert first.mean() == pytest.approx(3.5, rel=0.02)
    assert first.var() == pytest.approx(3.5, rel=0.03)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 4 / counts.size**0.5


def test_many_photons_are_dealt_out_alike():
    rng = np.random.default_rng(2)
    pixels = 0.7 * rng.poisson(2000, SHAPE)
    first, second = (half[:, :, :] for half in both(pixels, Noise(0.7, 0.0)))
    np.testing.assert_allclose((first + second) / 2, pixels, rtol=1e-5)
    (variance, covariance), _ = np.cov(first.ravel(), second.ravel())
    assert variance == pytest.approx(2 * pixels.var(), rel=0.03)
    assert abs(covariance) < 4 * variance / pixels.size**0.5


def test_read_noise_is_split_too():
    rng = np.random.default_rng(4)
    pixels = 100 + 2.0 * rng.poisson(30, SHAPE) + rng.normal(0, 5, SHAPE)
    first, second = (half[:, :, :] for half in both(pixels, Noise(2.0, 25.0), 100.0))
    correlation = np.corrcoef(first.ravel(), second.ravel())[0, 1]
    assert abs(correlation) < 4 / pixels.size**0.5
    without = [half[:, :, :].ravel() for half in both(pixels, Noise(2.0, 0.0), 100.0)]
    assert np.corrcoef(*without)[0, 1] > 10 / pixels.size**0.5, "dealing out photons alone leaves it in both"


def test_any_part_reads_the_same_and_nothing_falls_below_the_offset():
    pixels = np.random.default_rng(5).poisson(3, SHAPE) + 10.0
    pixels[2, 140, 3] = np.nan
    half = HalfOfLight(pixels, Noise(1.0, 4.0), 10.0, 1, (7,))
    whole = half[:, :, :]
    assert whole.dtype == half.dtype == np.float32
    np.testing.assert_array_equal(half[1:5, 100:149, 17:139], whole[1:5, 100:149, 17:139])
    np.testing.assert_array_equal(half[3, ::7, 130:], whole[3, ::7, 130:])
    assert np.isnan(whole[2, 140, 3])
    assert np.isnan(whole).sum() == 1
    assert np.nanmin(whole) == 10


def test_halves_of_views_are_views_on_the_same_grid():
    rng = np.random.default_rng(6)
    mask = np.ones(SHAPE, bool)
    mask[:, :20] = False
    affine = np.eye(4)
    affine[0, 3] = 1.0
    views = RegisteredViews(
        [View(rng.poisson(50, SHAPE), "a", mask=mask, weight=2.0), View(rng.poisson(50, SHAPE), "b", affine=affine)],
        Grid(SHAPE),
    )
    first, second = halves_of_light(views, [Noise(1.0, 0.0)] * 2)
    assert first.grid == views.grid
    assert first.names == views.names
    assert first.views[0].weight == 2
    pixels, halves = views.read(views.grid.box), [half.read(half.grid.box) for half in (first, second)]
    np.testing.assert_allclose((halves[0] + halves[1]) / 2, pixels, rtol=1e-5)
    np.testing.assert_array_equal(first.coverage(first.grid.box), views.coverage(views.grid.box))
    assert not (halves[0][0] - pixels[0] == halves[0][1] - pixels[1]).all(), "every view has coins of its own"
