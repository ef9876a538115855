"""Which grid the fused volume gets, where views have places of their own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_mvfusion.data.fused_grid import Placed, WorldBox, choose_grid
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.errors import InputError


def _placed(shape, size, origin=(0, 0, 0), name="a view"):
    return Placed(shape, Grid(shape, size, origin).affine, name)


def _turned(shape, size, degrees, origin=(0, 0, 0)):
    """A view that is turned about x."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    affine = np.eye(4)
    affine[:3, :3] = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ np.diag(size)
    affine[:3, 3] = origin
    return Placed(shape, affine, "the turned view")


def test_views_on_one_grid_keep_it():
    shape, size, origin = (10, 20, 30), (2.0, 0.5, 0.5), (3.0, -4.0, 5.0)
    chosen = choose_grid([_placed(shape, size, origin)] * 2)
    assert chosen.grid == Grid(shape, size, origin)
    assert chosen.on_grid == (True, True)
    assert chosen.remark == ""


def test_sizes_that_differ_by_rounding_are_one_grid():
    chosen = choose_grid([_placed((10, 20, 30), (2, 0.4, 0.4)), _placed((10, 20, 30), (2, 0.40001, 0.40001))])
    assert chosen.grid == Grid((10, 20, 30), (2, 0.4, 0.4))


def test_half_a_voxel_apart_is_another_place():
    chosen = choose_grid([_placed((10, 20, 30), (1, 1, 1)), _placed((10, 20, 30), (1, 1, 1), (0, 0, 0.5))])
    assert chosen.on_grid == (True, False) or chosen.grid.shape == (10, 20, 31)


def test_views_elsewhere_are_covered_by_cubes_of_the_finest_size():
    chosen = choose_grid([_placed((5, 9, 9), (2, 0.5, 0.5)), _placed((4, 8, 8), (1, 1, 1), (-3, 2, 1), "view b")])
    assert chosen.grid == Grid((23, 19, 17), (0.5, 0.5, 0.5), (-3, 0, 0))
    assert chosen.on_grid == (False, False)
    assert "23 x 19 x 17 voxels of 0.5 x 0.5 x 0.5 um (29.7 kB" in chosen.remark
    assert "view b" in chosen.remark


def test_the_grid_lies_on_the_voxels_of_the_first_view():
    chosen = choose_grid([_placed((5, 5, 5), (1, 1, 1), (0.3, 0, 0)), _placed((5, 5, 5), (1, 1, 1), (-2.2, 0, 0))])
    assert chosen.grid.origin_um[0] == pytest.approx(-2.7)
    assert chosen.grid.shape[0] == 8


def test_the_grid_of_the_first_view_can_be_asked_for():
    chosen = choose_grid([_placed((5, 6, 7), (2, 1, 1)), _turned((9, 9, 9), (1, 1, 1), 30)], voxels="first")
    assert chosen.grid == Grid((5, 6, 7), (2, 1, 1))
    assert chosen.on_grid == (True, False)


def test_a_turned_first_view_has_no_grid_to_keep():
    views = [_turned((9, 9, 9), (2, 1, 1), 30)] * 2
    with pytest.raises(InputError, match="the turned view is turned"):
        choose_grid(views, voxels="first")
    chosen = choose_grid(views)
    assert chosen.grid.voxel_size_um == (1, 1, 1)
    assert chosen.on_grid == (False, False)


def test_a_named_size_is_taken_as_it_is():
    assert choose_grid([_placed((4, 4, 4), (1, 1, 1))] * 2, voxels=(2, 1, 0.5)).grid.shape == (3, 4, 7)


def test_a_box_holds_its_first_and_its_last_place():
    chosen = choose_grid(
        [_placed((16, 24, 32), (2, 0.5, 0.5)), _turned((16, 24, 32), (2, 0.5, 0.5), 90)],
        box=WorldBox((0.25, 0, 1), (5.25, 4, 3)),
    )
    assert chosen.grid == Grid((11, 9, 5), (0.5, 0.5, 0.5), (0.25, 0, 1))
    assert "over the box" in chosen.remark


def test_a_box_beside_all_views_is_refused():
    with pytest.raises(InputError, match="holds no part of a view: they lie between"):
        choose_grid([_placed((4, 4, 4), (1, 1, 1))], box=WorldBox((10, 0, 0), (12, 3, 3)))


def test_a_box_on_views_of_one_lattice_keeps_their_pixels():
    views = [_placed((8, 8, 8), (1, 1, 1)), _placed((8, 8, 8), (1, 1, 1), (2, 0, 0))]
    assert choose_grid(views, box=WorldBox((2.2, 0, 0), (5.2, 3, 3))).grid == Grid((4, 4, 4), (1, 1, 1), (2, 0, 0))


@pytest.mark.parametrize(
    ("origin", "size"), [((1e7, 0, 0), (1, 1, 1)), ((0, 0, 0), (1000, 1000, 1000)), ((0, 1e5, 1e5), (1e-2, 1, 1))]
)
def test_a_grid_that_is_too_large_is_refused_before_it_is_made(origin, size):
    views = [_placed((64, 64, 64), (1, 1, 1)), _placed((640, 64, 64), size, origin, "view far")]
    with pytest.raises(InputError, match=r"would have .* voxels .* check where the views lie, view far most of all"):
        choose_grid(views, voxels=(0.1, 0.1, 0.1))


@pytest.mark.parametrize("linear", [np.zeros((3, 3)), np.ones((3, 3)), np.diag([1, 1, 1e-9]), np.diag([1, np.nan, 1])])
def test_affines_that_are_no_place_are_refused(linear):
    affine = np.eye(4)
    affine[:3, :3] = linear
    with pytest.raises(InputError):
        Placed((4, 4, 4), affine, "view 3")


numbers = st.floats(-50, 50)


@given(
    origins=st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=3),
    degrees=st.floats(0, 360),
    shape=st.tuples(*[st.integers(1, 9)] * 3),
)
@settings(deadline=None)
def test_all_voxels_of_all_views_are_covered(origins, degrees, shape):
    views = [_turned(shape, (2, 1, 1), degrees, origin) for origin in origins]
    grid = choose_grid(views).grid
    far = np.add(grid.origin_um, np.multiply(np.subtract(grid.shape, 1), grid.voxel_size_um))
    for view in views:
        low, high = view.bounds_um
        assert (low >= np.subtract(grid.origin_um, 0.02)).all()
        assert (high <= far + 0.02).all()
