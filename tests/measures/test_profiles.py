"""Profiles along a line, against scipy on the whole volume and against functions that are known, and their brightness."""

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator

from napari_mvfusion.errors import InputError
from napari_mvfusion.measures.brightness import fit_brightness, fit_each
from napari_mvfusion.measures.placed_volume import PlacedVolume
from napari_mvfusion.measures.profiles import ProfileCurve, line_profile, read_profiles

SHAPE = (9, 14, 21)
VOLUME = np.random.default_rng(3).normal(size=SHAPE).astype(np.float32)
ends = st.tuples(*(st.floats(0, n - 1) for n in SHAPE))


@settings(max_examples=50, deadline=None)
@given(start=ends, stop=ends, samples=st.integers(2, 200))
def test_it_is_scipys_linear_interpolation(start, stop, samples):
    oracle = RegularGridInterpolator([np.arange(n) for n in SHAPE], VOLUME.astype(np.float64), method="linear")
    expected = oracle(np.linspace(start, stop, samples))
    found = line_profile(VOLUME, start, stop, samples)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_linear_function_is_found_exactly_and_outside_there_is_nothing():
    z, y, x = np.indices((20, 30, 40), dtype=np.float32)
    found = line_profile(2 * z - y + 3 * x, (2, 3, -4.1), (2, 3, 43.9), 97)
    positions = np.linspace(-4.1, 43.9, 97)
    expected = np.where((positions < -0.5) | (positions > 39.5), np.nan, 1 + 3 * np.clip(positions, 0, 39))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_there_are_about_two_samples_a_voxel():
    assert line_profile(VOLUME, (0, 0, 0), (0, 0, 20)).size == 41
    assert line_profile(VOLUME, (4, 4, 4), (4, 4, 4)).size == 2


class Watched:
    """A volume that counts what is read of it."""

    def __init__(self, shape):
        self.shape = shape
        self.dtype = np.dtype(np.uint16)
        self.read = 0
        self.largest = 0

    def __getitem__(self, index):
        part = np.ones([s.stop - s.start for s in index], np.uint16)
        self.read += part.size
        self.largest = max(self.largest, part.size)
        return part


def test_a_diagonal_of_a_large_volume_is_read_in_small_boxes():
    volume = Watched((2000, 2000, 2000))
    found = line_profile(volume, (0, 0, 0), (1999, 1999, 1999), 5000)
    np.testing.assert_array_equal(found, 1)
    assert volume.largest < 64**3
    assert volume.read < 4e6, "the bounding box has 8e9 voxels"


@pytest.mark.parametrize("kind", ["dask", "zarr", "uint8"])
def test_lazy_volumes_and_integers_give_the_same(kind):
    whole = np.random.default_rng(0).integers(0, 255, SHAPE).astype(np.uint8)
    volume = {"dask": lambda: da.from_array(whole, chunks=5), "zarr": lambda: zarr.array(whole), "uint8": lambda: whole}
    found = line_profile(volume[kind](), (0, 1, 2), (8, 12, 19), 50)
    np.testing.assert_allclose(found, line_profile(whole.astype(np.float32), (0, 1, 2), (8, 12, 19), 50))


def test_what_cannot_be_a_profile_is_refused_in_words():
    with pytest.raises(InputError, match="three axes"):
        line_profile(VOLUME[0], (0, 0, 0), (1, 1, 1))
    with pytest.raises(InputError, match="finite"):
        line_profile(VOLUME, (0, 0, np.nan), (1, 1, 1))
    with pytest.raises(InputError, match="two samples"):
        line_profile(VOLUME, (0, 0, 0), (1, 1, 1), 1)


def test_one_line_is_read_through_volumes_of_other_voxels():
    """The same ramp along x, 2 a micrometre, sampled coarsely and, from 5 um on, finely."""
    coarse = np.broadcast_to(2 * np.arange(21.0), SHAPE)
    fine = np.broadcast_to(2 * (5 + 0.25 * np.arange(84)), (9, 14, 84))
    matrix = np.diag([1, 1, 0.25, 1])
    matrix[2, 3] = 5
    reported = []
    volumes = [PlacedVolume("coarse", coarse, np.eye(4)), PlacedVolume("fine", fine, matrix)]
    ends = np.array([[4.0, 6, 1], [4, 6, 19]])
    (curves,) = read_profiles(volumes, ends, lambda words, share: reported.append(share))
    assert [curve.name for curve in curves] == ["coarse", "fine"]
    for curve in curves:
        assert (curve.distance[0], curve.distance[-1]) == (0, 18)
        known = np.isfinite(curve.values)
        np.testing.assert_allclose(curve.values[known], 2 * (1 + curve.distance[known]), atol=0.3)
    assert curves[1].distance.size > 3 * curves[0].distance.size, "about two samples a voxel"
    assert np.isnan(curves[1].values[0])
    assert reported == [0, 0.5]


def test_curves_of_other_gain_are_brought_to_the_first():
    x = np.linspace(0, 10, 40)
    first = ProfileCurve("first", x, np.where(x > 8, np.nan, 5 + np.sin(x)))
    finer = np.linspace(0, 10, 400)
    weak = ProfileCurve("weak", finer, np.where(finer < 1, np.nan, 0.1 * np.sin(finer) - 3))
    both = (finer >= 1) & (finer <= 7.7)
    np.testing.assert_allclose(weak.fitted_to(first)[both], 5 + np.sin(finer[both]), atol=0.02)
    assert np.isnan(weak.fitted_to(first)[finer < 1]).all()
    opposite = ProfileCurve("opposite", x, -np.sin(x))
    np.testing.assert_array_equal(opposite.fitted_to(first), opposite.values)
    nothing = ProfileCurve("nothing", x, np.full(40, np.nan))
    np.testing.assert_array_equal(nothing.fitted_to(first), nothing.values)
    np.testing.assert_array_equal(weak.fitted_to(nothing), weak.values)


def test_a_curve_over_its_range_goes_from_0_to_1():
    x = np.arange(4.0)
    shares = ProfileCurve("any", x, np.array([2, np.nan, 6, 3])).over_its_range()
    np.testing.assert_array_equal(shares, [0, np.nan, 1, 0.25])
    np.testing.assert_array_equal(ProfileCurve("flat", x, np.full(4, 7.0)).over_its_range(), 0)
    assert np.isnan(ProfileCurve("nothing", x, np.full(4, np.nan)).over_its_range()).all()


def test_brightness_is_that_of_polyfit():
    reference = 3 * VOLUME + 7 + np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    scale, offset = fit_brightness(VOLUME, reference)
    expected = np.polyfit(VOLUME.ravel().astype(float), reference.ravel().astype(float), 1)
    np.testing.assert_allclose((scale, offset), expected, rtol=1e-5)


def test_brightness_of_a_large_volume_comes_from_some_planes():
    seen = []
    scale, offset = fit_brightness(VOLUME, 2 * VOLUME - 1, most_voxels=3 * 14 * 21, progress=seen.append)
    np.testing.assert_allclose((scale, offset), (2, -1), atol=1e-5)
    assert len(seen) == 3
    assert seen[-1] == 1


def test_brightness_leaves_out_what_is_not_there_yet():
    partly = VOLUME.copy()
    partly[4:] = np.nan
    np.testing.assert_allclose(fit_brightness(partly, 5 * VOLUME), (5, 0), atol=1e-5)
    with pytest.raises(InputError, match="has the fusion finished"):
        fit_brightness(np.full(SHAPE, np.nan), VOLUME)
    with pytest.raises(InputError, match="one grid"):
        fit_brightness(VOLUME[1:], VOLUME)


def test_each_volume_is_fitted_or_left_as_it_is_for_a_reason():
    shifted = np.eye(4)
    shifted[0, 3] = 1
    volumes = {
        "weak": (VOLUME / 4 - 2, np.eye(4)),
        "elsewhere": (VOLUME, shifted),
        "unfinished": (np.full(SHAPE, np.nan), np.eye(4)),
        "opposite": (-VOLUME, np.eye(4)),
    }
    placed = [PlacedVolume(name, data, matrix) for name, (data, matrix) in volumes.items()]
    found = list(fit_each(placed, PlacedVolume("first", VOLUME, np.eye(4)), lambda words, share: None))
    fits, problems = zip(*found, strict=True)
    np.testing.assert_allclose(fits, [(4, 8), (1, 0), (1, 0), (1, 0)], atol=1e-4)
    assert problems[0] == problems[3] == ""
    assert problems[1] == "'elsewhere' lies on another grid than 'first': its brightness is left as it is"
    assert "The brightness of 'unfinished' is left as it is: there is no voxel" in problems[2]
