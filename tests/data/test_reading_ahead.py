"""Thin slices of a chunked volume, one after the other, unpack each chunk once, and are what the volume holds."""

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.reading_ahead import read_ahead
from napari_mvfusion.data.views import RegisteredViews, View

SHAPE = (19, 22, 25)
CHUNKS = (8, 7, 9)


class Counted:
    """A volume that counts how often each of its voxels is read."""

    chunks = CHUNKS

    def __init__(self, values):
        self.values, self.shape, self.dtype = values, values.shape, values.dtype
        self.times = np.zeros(values.shape, int)

    def __getitem__(self, index):
        self.times[index] += 1
        return self.values[index]


@pytest.fixture
def volume(rng):
    return Counted(rng.integers(0, 1000, SHAPE).astype(np.uint16))


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_that_overlap_read_each_voxel_once(volume, axis, backwards):
    ahead = read_ahead(volume)
    starts = range(0, SHAPE[axis], 2)
    for start in reversed(starts) if backwards else starts:
        index = tuple(slice(max(0, start - 1), start + 3) if i == axis else slice(0, n) for i, n in enumerate(SHAPE))
        assert np.array_equal(ahead[index], volume.values[index])
    assert (volume.times == 1).all()


def test_slices_in_any_order_are_what_the_volume_holds(volume, rng):
    ahead = read_ahead(volume)
    for _ in range(200):
        sides = [np.sort(rng.choice(n + 1, 2, replace=False)) for n in SHAPE]
        index = tuple(slice(int(a), int(b)) for a, b in sides)
        found = ahead[index]
        assert np.array_equal(found, volume.values[index])
        found[:] = 0
    assert ahead[3, 4, 5] == volume.values[3, 4, 5]
    assert np.array_equal(ahead[::2, 1:9, -3:], volume.values[::2, 1:9, -3:])


def test_no_more_is_kept_than_may_be(volume):
    ahead = read_ahead(volume, 3 * SHAPE[1] * SHAPE[2] * 2)
    for z in range(SHAPE[0]):
        assert np.array_equal(ahead[z : z + 1, : SHAPE[1], : SHAPE[2]], volume.values[z : z + 1])
    assert (volume.times == 1).all()


def test_a_volume_without_chunks_or_with_those_of_dask_is_read_as_it_is(rng):
    values = rng.random(SHAPE)
    assert read_ahead(values) is values
    lazy = da.from_array(values, CHUNKS)
    assert read_ahead(lazy) is lazy


def test_numbers_of_a_view_are_those_of_its_pixels_in_memory(tmp_path, rng):
    pixels = rng.integers(0, 1000, (24, 2200, 2100)).astype(np.uint16)[:, ::4, ::4].copy()
    stored = zarr.create_array(tmp_path / "v.zarr", shape=pixels.shape, chunks=(16, 128, 128), dtype="u2")
    stored[:] = pixels
    grid = Grid(pixels.shape)
    assert (
        RegisteredViews([View(stored, "v")], grid).statistics()
        == RegisteredViews([View(pixels, "v")], grid).statistics()
    )
