"""Fused volumes against their views: 1 where they explain them, also where views lost light, and more where not."""

import numpy as np
import pytest

from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.errors import InputError
from napari_mvfusion.measures.residuals import reprojection
from napari_mvfusion.simulation import embryo, light_sheet_psf, simulate
from napari_mvfusion.training import chi_square
from napari_mvfusion.training.chi_square import reduced_chi_square

ANGLES = (0, 90, 180, 270)
SIZE = 48
# A part of the specimen, all of it inside.
HOLE = (slice(20, 28), slice(20, 28), slice(20, 28))

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def truth():
    return embryo(SIZE, np.random.default_rng(0)).astype(np.float32)


@pytest.fixture(scope="module")
def views(truth):
    """Views that lost light to absorption on their way."""
    psfs = [light_sheet_psf(angle, axial_fwhm=6, lateral_fwhm=2.5) for angle in ANGLES]
    return simulate(truth, ANGLES, psfs, attenuation=0.003, rng=np.random.default_rng(1)).views


@pytest.fixture(scope="module")
def with_a_hole(truth):
    damaged = truth.copy()
    damaged[HOLE] = 0
    return damaged


def test_attenuation_is_allowed_for(truth, views):
    plain = np.mean([residual.rms for residual in reprojection(truth, views, attenuation=False)])
    (found,) = reduced_chi_square([truth], views)
    assert plain > 2
    assert found.residual == pytest.approx(1, abs=0.15)
    # In empty medium there is less noise than that of a photon.
    assert np.median(found.map[truth > 0.1]) == pytest.approx(1, abs=0.15)


def test_what_is_missing_shows_where_it_is_missing(truth, views, with_a_hole):
    before, after = reduced_chi_square([truth, with_a_hole], views)
    assert after.residual > before.residual + 0.1
    assert after.map[HOLE].mean() > 2 * before.map[HOLE].mean()
    far = np.s_[:, :, :8]
    np.testing.assert_allclose(after.map[far].mean(), before.map[far].mean(), rtol=0.02)


def test_brightness_does_not_count(truth, views, with_a_hole):
    # Powers of two change no digits.
    once, twice = (
        reduced_chi_square([truth, with_a_hole], views),
        reduced_chi_square([8 * truth, with_a_hole / 4], views),
    )
    for one, other in zip(once, twice, strict=True):
        assert one.residual == pytest.approx(other.residual, rel=1e-5)
        np.testing.assert_allclose(one.map, other.map, rtol=1e-3, atol=1e-3)


def test_blocks_do_not_show(truth, views, with_a_hole, monkeypatch):
    whole = reduced_chi_square([truth, with_a_hole], views)
    monkeypatch.setattr(chi_square, "_SIDE", 24)
    for one, other in zip(whole, reduced_chi_square([truth, with_a_hole], views), strict=True):
        assert one.residual == pytest.approx(other.residual, rel=0.03)
        # The lost light is found from another neighbourhood: that changes slowly, and little.
        assert np.abs(one.map - other.map).mean() < 0.05 * one.map.mean()


def test_where_no_view_has_data_there_is_nothing(truth, views):
    mask = np.ones((SIZE,) * 3, np.uint8)
    mask[:, :, 40:] = 0
    masked = RegisteredViews(
        View(np.asarray(view.data), view.name, psf=view.psf, angle=view.angle, mask=mask) for view in views.views
    )
    (found,) = reduced_chi_square([truth], masked)
    assert (found.map[:, :, 40:] == 0).all()
    assert found.residual == pytest.approx(1, abs=0.2)


def test_every_view_is_read_once_for_all_volumes(truth, views, with_a_hole, monkeypatch):
    views.statistics()
    read = []
    pixels = RegisteredViews.read

    def noted(self, box, *others):
        read.append(box)
        return pixels(self, box, *others)

    monkeypatch.setattr(RegisteredViews, "read", noted)
    reduced_chi_square([truth], views)
    once = len(read)
    reduced_chi_square([truth, with_a_hole], views)
    assert len(read) == 2 * once


def test_what_cannot_be_compared_is_refused(truth, views):
    with pytest.raises(InputError, match="do not belong together"):
        reduced_chi_square([truth[1:]], views)
    with pytest.raises(InputError, match="NaN"):
        reduced_chi_square([np.full_like(truth, np.nan)], views)
    seen = []
    reduced_chi_square([truth], views, progress=seen.append)
    assert seen == sorted(seen)
    assert 0 <= seen[0] <= seen[-1] <= 1
