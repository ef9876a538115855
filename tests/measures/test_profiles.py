"""Profiles along a line, against scipy on the whole volume and against functions that are known, and their brightness."""

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator

from napari_mvfusion.errors import InputError
from napari_mvfusion.measures.brightness import fit_brightness
from napari_mvfusion.measures.profiles import line_profile

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
