"""One of several views on the grid of all, as an array: as it is fused, and where it has pixels."""

import numpy as np
import pytest

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.resampled_view import ResampledStack, ResampledView
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


def turned(shape=(70, 90, 10)):
    """A grid of several tiles, and a view on it that is turned about x."""
    cos, sin = np.cos(0.5), np.sin(0.5)
    affine = np.eye(4)
    affine[:3, :3] = [[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]
    affine[:3, 3] = (20.0, -5.0, 0.5)
    return Grid(shape), affine


def test_large_boxes_are_put_together_of_tiles(rng):
    grid, affine = turned()
    views = RegisteredViews([View(rng.random((60, 70, 11), np.float32), "a", affine=affine)], grid)
    view = ResampledView(views, 0)
    expected = views.read(grid.box)[0]
    np.testing.assert_allclose(view[(slice(None),) * 3], expected, atol=1e-6)
    np.testing.assert_allclose(view[slice(None), 70, slice(2, 9)], expected[:, 70, 2:9], atol=1e-6)


def test_a_plane_reads_no_more_of_a_view_than_its_tiles_need(rng):
    """The box round a whole turned plane is nearly all of the view."""
    grid, affine = turned((200, 200, 10))
    pixels, read = rng.random((160, 160, 10), np.float32), []

    class Counted:
        shape, dtype, ndim = pixels.shape, pixels.dtype, 3

        def __getitem__(self, index):
            read.append(pixels[index].size)
            return pixels[index]

    ResampledView(RegisteredViews([View(Counted(), "a", affine=affine)], grid), 0)[100, slice(None), slice(None)]
    assert 0 < max(read) < pixels.size / 4


@pytest.mark.parametrize(
    "index",
    [
        1,
        (-1, 2, 2, slice(1, 3)),
        (slice(None), slice(None), 2),
        (0, ..., 2),
        (slice(1, None, -1), np.int64(1), slice(3, 9, 2)),
        (1, slice(3, 4), slice(2, 3), slice(0, 2), slice(1, 4)),
        (slice(2, 2), 0, 2),
        ...,
    ],
    ids=str,
)
def test_volumes_before_z_are_picked_as_of_an_array(rng, index):
    each = [RegisteredViews([View(rng.random((3, 4, 5), np.float32), "a")]) for _ in range(6)]
    stack = ResampledStack([ResampledView(views, 0) for views in each], (2, 3))
    expected = np.stack([views.views[0].data for views in each]).reshape(2, 3, 3, 4, 5)
    assert (stack.shape, stack.ndim, stack.dtype) == (expected.shape, 5, expected.dtype)
    picked = stack[index]
    assert picked.shape == expected[index].shape
    np.testing.assert_array_equal(picked, expected[index])
    np.testing.assert_array_equal(np.asarray(stack), expected)
