"""Two volumes as one, against numpy's concatenate."""

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_mvfusion.data.joined_volume import JoinedVolume

SHAPE = (5, 7, 9)
FIRST, SECOND = np.random.default_rng(0).random((2, *SHAPE)).astype(np.float32)
indices = st.tuples(
    *(st.one_of(st.integers(-n, n - 1), st.slices(n).filter(lambda s: s.step is None or s.step > 0)) for n in SHAPE)
)


def joined(axis, at, second=SECOND):
    return np.concatenate([np.split(FIRST, [at], axis)[0], np.split(second, [at], axis)[1]], axis)


@settings(max_examples=200, deadline=None)
@given(index=indices, axis=st.integers(0, 2), data=st.data())
def test_any_box_is_that_of_the_joined_volume(index, axis, data):
    at = data.draw(st.integers(0, SHAPE[axis]))
    np.testing.assert_array_equal(JoinedVolume(FIRST, SECOND, axis, at)[index], joined(axis, at)[index])


@pytest.mark.parametrize("make", [da.from_array, zarr.array], ids=["dask", "zarr"])
def test_lazy_volumes_are_read_where_they_are_looked_at(make):
    split = JoinedVolume(make(FIRST), make(SECOND), 2, 4, scale=2.0, offset=-1.0)
    np.testing.assert_allclose(split[1], joined(2, 4, 2 * SECOND - 1)[1], rtol=1e-6)
    np.testing.assert_allclose(np.asarray(split), joined(2, 4, 2 * SECOND - 1), rtol=1e-6)
    split.at = 9
    np.testing.assert_array_equal(split[..., 3], FIRST[..., 3])


def test_it_has_a_type_that_holds_both():
    assert JoinedVolume(FIRST.astype(np.uint8), SECOND.astype(np.int16), 0, 2).dtype == np.int16
    assert JoinedVolume(FIRST.astype(np.uint8), SECOND.astype(np.uint8), 0, 2, scale=1.5).dtype == np.float32
    with pytest.raises(IndexError, match="positive step"):
        JoinedVolume(FIRST, SECOND, 0, 2)[::-1]
