"""One of several views on the grid of all, as an array: as it is fused, and where it has pixels."""

import numpy as np
import pytest

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.resampled_view import ResampledView
from napari_mvfusion.data.views import RegisteredViews, View

SHAPE = (6, 8, 10)


@pytest.fixture
def views(rng):
    """Two views; the second has half as many planes, twice as thick, an offset, a gain, and begins at the third row."""
    thick = np.diag([2.0, 1, 1, 1])
    thick[:3, 3] = (0.5, 2, 0)
    second = View(rng.random((3, 8, 10), np.float32) + 1, "b", affine=thick, offset=0.5, gain=2.0)
    return RegisteredViews([View(rng.random(SHAPE, np.float32), "a"), second], Grid(SHAPE))


def test_what_is_read_is_what_is_fused_and_what_is_not_there_is_marked(views):
    pixels, mask = ResampledView(views, 1), ResampledView(views, 1, covered=True)
    whole = (slice(None),) * 3
    expected, covered = views.read(views.grid.box)[1], views.coverage(views.grid.box)[1]
    np.testing.assert_array_equal(pixels[whole], expected)
    np.testing.assert_array_equal(mask[whole], covered)
    assert not covered[:, :2].any()
    part = (slice(1, 4), slice(3, 8), slice(0, 5))
    np.testing.assert_array_equal(pixels[part], expected[part])
    np.testing.assert_array_equal(mask[part], covered[part])
    assert (pixels.shape, mask.shape, pixels.dtype) == (SHAPE, SHAPE, np.float32)


def test_a_view_that_covers_all_has_pixels_everywhere(views):
    assert (ResampledView(views, 0, covered=True)[(slice(None),) * 3] == 1).all()


@pytest.mark.parametrize(
    "index",
    [
        (2, slice(None), slice(None)),
        (slice(None), -1, slice(3, 9, 2)),
        (slice(4, None, -1), slice(1, 8, 3), 0),
        (slice(3, 3), slice(None), 2),
        (1, 2, 3),
    ],
    ids=str,
)
def test_numbers_and_steps_pick_what_they_pick_of_an_array(views, index):
    """Dask hands both on to what it reads, as napari does with the plane that it shows."""
    expected = views.read(views.grid.box)[1]
    picked = ResampledView(views, 1)[index]
    np.testing.assert_array_equal(picked, expected[index])
    assert picked.shape == expected[index].shape
