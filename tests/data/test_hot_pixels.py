from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from napari_mvfusion.data.events import Warned
from napari_mvfusion.data.geometry import Box, Grid
from napari_mvfusion.data.hot_pixels import find_hot, noise_level, sharpest_spot
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.methods import Average
from napari_mvfusion.methods.cellwise_filter import updates_for
from napari_mvfusion.methods.filter_input import brightness_scale
from napari_mvfusion.models.universal import UniversalArchitecture
from napari_mvfusion.simulation import embryo, light_sheet_psf, simulate

HOT = np.array([(10, 12, 14), (20, 20, 20), (0, 30, 16), (31, 31, 31), (16, 15, 0)])


def specimen(snr: float = 25) -> RegisteredViews:
    rng = np.random.default_rng(4)
    angles = (0.0, 90.0)
    psfs = [light_sheet_psf(a, axial_fwhm=5, lateral_fwhm=2, shape=(9, 9, 9)) for a in angles]
    return simulate(embryo(32, rng), angles, psfs, rng=rng, snr=snr).views


def with_hot(views: RegisteredViews, value: float = 65535, **changes: object) -> RegisteredViews:
    changed = []
    for view in views.views:
        pixels = np.array(view.data)
        pixels[tuple(HOT.T)] = value
        changed.append(replace(view, data=pixels, **changes))
    return RegisteredViews(changed, views.grid)


@pytest.mark.parametrize("snr", [5, 25, 100])
def test_hot_pixels_are_found_and_nothing_else(snr: float) -> None:
    clean = specimen(snr)
    assert [numbers.hot for numbers in clean.statistics()] == [0, 0]
    assert [numbers.hot for numbers in with_hot(clean).statistics()] == [len(HOT)] * 2


@pytest.mark.parametrize("fwhm", [(1.5, 1.5, 1.5), (4, 2, 2), (2, 4, 2)])
@pytest.mark.parametrize("photons", [100, 1000, 50000])
def test_spots_as_wide_as_a_psf_stay(
    fwhm: tuple[float, float, float], photons: float, rng: np.random.Generator
) -> None:
    points = np.zeros((40, 40, 40))
    points[tuple(rng.integers(0, 40, (60, 3)).T)] = 1
    # Off the middle of voxels too.
    points = ndimage.shift(points, (0.3, 0.5, 0.1), order=1)
    spots = ndimage.gaussian_filter(points, np.array(fwhm) / 2.355)
    view = rng.poisson(5 + photons * spots / spots.max()).astype(np.uint16)
    assert len(find_hot(view.astype(np.float32), noise_level(view))) == 0


def test_a_pixel_of_the_camera_that_is_hot_in_every_plane_is_found(rng: np.random.Generator) -> None:
    view = rng.poisson(100, (12, 30, 30)).astype(np.uint16)
    view[:, 14, 17] = 4000
    found = find_hot(view.astype(np.float32), noise_level(view))
    assert sorted(map(tuple, found.places)) == [(z, 14, 17) for z in range(12)]
    assert np.abs(found.instead - 100).max() < 20


def test_beads_of_a_psf_sharper_than_voxels_are_no_hot_pixels(rng: np.random.Generator) -> None:
    z, y, x = np.mgrid[-5:6, -5:6, -5:6]
    psf = np.exp(-0.5 * ((z / 1.5) ** 2 + (y / 0.6) ** 2 + (x / 0.6) ** 2))
    psf /= psf.sum()
    beads = np.zeros((40, 40, 40))
    beads[tuple(rng.integers(6, 34, (3, 20)))] = 20000 / psf.max()
    data = rng.poisson(ndimage.convolve(beads, psf) + 100).astype(np.uint16)
    assert RegisteredViews([View(data, "unknown")]).statistics()[0].hot
    view = View(data, "sharp", psf=psf.astype(np.float32))
    assert RegisteredViews([view]).statistics()[0].hot == 0
    data[20, 1, 1] = 65535
    assert RegisteredViews([view]).statistics()[0].hot == 1


def test_what_is_left_of_a_background_that_was_cut_off_is_no_hot_pixel(rng: np.random.Generator) -> None:
    bright = ndimage.gaussian_filter(np.where(rng.random((40, 40, 40)) < 0.001, 60000.0, 0), 1.5)
    data = np.maximum(rng.normal(100 + bright, 10) - 125, 0).round().astype(np.uint16)
    assert np.median(data) == 0
    assert len(find_hot(data.astype(np.float32), noise_level(data))) == 0
    data[20, 20, 20] = 65535
    found = find_hot(data.astype(np.float32), noise_level(data))
    assert [tuple(place) for place in found.places] == [(20, 20, 20)]


def test_removal_is_the_same_however_the_volume_is_cut() -> None:
    clean = specimen()
    views = with_hot(clean, remove_hot=True)
    whole = views.read(views.grid.box)
    tiled = np.empty_like(whole)
    for z in (0, 10, 11, 20):
        for x in (0, 11, 14, 21):
            box = Box((z, 0, x), (z + 12, 32, x + 11))
            tiled[(slice(None), *box.slices)] = views.read(box)
    np.testing.assert_array_equal(tiled, whole)
    hot = np.zeros(whole.shape[1:], bool)
    hot[tuple(HOT.T)] = True
    np.testing.assert_array_equal(whole[:, ~hot], clean.read(clean.grid.box)[:, ~hot])
    for place in HOT:
        around = Box(tuple(max(0, p - 1) for p in place), tuple(p + 2 for p in place)).clip(whole.shape[1:])
        others = clean.read(around)[0]
        assert others.min() <= whole[0][tuple(place)] <= others.max()


def test_clean_views_are_the_same_bit_for_bit_with_removal() -> None:
    clean = specimen()
    removed = RegisteredViews([replace(view, remove_hot=True) for view in clean.views], clean.grid)
    assert removed.statistics() == clean.statistics()
    np.testing.assert_array_equal(removed.read(removed.grid.box), clean.read(clean.grid.box))


def test_numbers_of_a_whole_volume_do_not_feel_hot_pixels() -> None:
    clean = specimen()
    hot, removed = with_hot(clean), with_hot(clean, remove_hot=True)
    architecture = UniversalArchitecture(updates=8, by_noise=True)
    scale = brightness_scale(clean.statistics())
    for views in (hot, removed):
        assert brightness_scale(views.statistics()) == pytest.approx(scale, rel=1e-3)
        assert updates_for(views.statistics(), architecture) == pytest.approx(
            updates_for(clean.statistics(), architecture), rel=1e-2
        )
        for found, expected in zip(views.statistics(), clean.statistics(), strict=True):
            assert found.maximum == expected.maximum
            assert found.overview is not None
            assert expected.overview is not None
            np.testing.assert_allclose(found.overview.values, expected.overview.values, atol=0.5 * scale)
    # What identifies the pixels are the pixels.
    assert hot.statistics()[0].sha256 != removed.statistics()[0].sha256


def test_hot_pixels_of_a_view_with_an_affine_are_found_in_its_own_pixels() -> None:
    clean = specimen()
    shift = np.eye(4)
    shift[:3, 3] = 0.5
    views = [replace(view, affine=shift) for view in clean.views]
    clean = RegisteredViews(views, Grid((32, 32, 32)))
    hot, removed = with_hot(clean), with_hot(clean, remove_hot=True)
    assert [numbers.hot for numbers in hot.statistics()] == [len(HOT)] * 2
    assert hot.statistics()[0].maximum == pytest.approx(clean.statistics()[0].maximum)
    assert np.abs(removed.read(removed.grid.box) - clean.read(clean.grid.box)).max() < 150
    assert hot.read(hot.grid.box).max() > 5000


def test_a_view_that_is_nothing_but_one_voxel_has_no_hot_pixel() -> None:
    point = np.zeros((9, 9, 9), np.float32)
    point[4, 4, 4] = 1
    numbers = RegisteredViews([View(point, "point")]).statistics()[0]
    assert (numbers.hot, numbers.maximum) == (0, 1)


def test_offset_and_mask_leave_the_criterion_as_it_is() -> None:
    clean = specimen()
    mask = np.ones((32, 32, 32), bool)
    mask[10] = False
    hot = with_hot(RegisteredViews([replace(view, offset=3.0, mask=mask) for view in clean.views]), remove_hot=True)
    pixels = hot.read(hot.grid.box)
    assert (pixels[:, 10] == 0).all()
    assert pixels.max() <= clean.read(clean.grid.box).max()


@pytest.mark.parametrize(("removed", "words"), [(False, "has 5 hot pixels"), (True, "5 hot pixels of view '0'")])
def test_a_run_says_what_became_of_hot_pixels(removed: bool, words: str) -> None:
    views = with_hot(specimen(), remove_hot=removed)
    said = [event.message for event in fuse_events(views, Average()) if isinstance(event, Warned)]
    assert len(said) == 2
    assert words in said[0]


@pytest.mark.parametrize("psf", [np.zeros((1, 5, 5)), np.full((3, 3, 3), np.nan), np.ones((4, 4)), -np.ones((3, 3, 3))])
def test_a_psf_that_is_none_says_nothing_about_spots(psf):
    assert sharpest_spot(psf) == sharpest_spot(None)


def test_a_point_as_sharp_as_a_voxel_is_no_hot_pixel():
    psf = np.zeros((5, 5, 5))
    psf[2, 2, 2] = 1
    assert sharpest_spot(psf) > sharpest_spot(None)
    psf[0, 0, 0] = 2
    assert sharpest_spot(psf) > sharpest_spot(None), "at the border too"
