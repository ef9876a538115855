"""Boxes, grids and tile plans: pure coordinates."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_mvfusion.data.geometry import Box, Grid
from napari_mvfusion.data.tiles import TilePlan, align, largest_tile, pieces
from napari_mvfusion.errors import InputError, MemoryShortage

sizes = st.tuples(*[st.integers(1, 40)] * 3)


@given(shape=st.tuples(*[st.integers(1, 20)] * 3), tile=sizes)
@settings(deadline=None)
def test_the_tiles_of_a_plan_cover_every_voxel_once(shape, tile):
    counts = np.zeros(shape, int)
    for box in TilePlan(shape, tile).boxes:
        counts[box.slices] += 1
    assert (counts == 1).all()


@given(shape=sizes, chunk=st.tuples(*[st.integers(1, 16)] * 3), limit=st.integers(1, 64000))
def test_the_largest_tile_fits_and_no_chunk_belongs_to_two_tiles(shape, chunk, limit):
    def fits(tile):
        return np.prod(tile) <= max(limit, np.prod(chunk))

    tile = largest_tile(shape, chunk, fits)
    assert fits(tile)
    for side, size, step in zip(tile, shape, chunk, strict=True):
        assert side == size or side % step == 0


def test_a_volume_that_fits_is_one_tile():
    assert largest_tile((100, 50, 30), (16, 16, 16), lambda tile: True) == (100, 50, 30)


def test_memory_that_does_not_even_hold_a_chunk_is_an_error_that_says_what_helps():
    with pytest.raises(MemoryShortage, match="smaller PSFs"):
        largest_tile((100, 50, 30), (16, 16, 16), lambda tile: False)


def test_aligned_tiles_are_whole_chunks_within_the_volume():
    assert align((10, 70, 500), (100, 100, 100), (64, 64, 64)) == (64, 100, 100)


@given(shape=st.tuples(*[st.integers(1, 12)] * 3), limit=st.tuples(*[st.integers(1, 8)] * 3))
@settings(deadline=None)
def test_pieces_cover_the_box_once_and_respect_the_limit(shape, limit):
    box = Box((3, 2, 1), tuple(a + n for a, n in zip((3, 2, 1), shape, strict=True)))
    counts = np.zeros(shape, int)
    for piece in pieces(box, limit):
        assert all(n <= most for n, most in zip(piece.shape, limit, strict=True))
        counts[piece.inside(box).slices] += 1
    assert (counts == 1).all()


def test_a_box_grows_is_clipped_and_seen_from_another_box():
    box = Box((4, 0, 8), (8, 4, 12))
    grown = box.grow((2, 2, 2))
    assert (grown.start, grown.stop) == ((2, -2, 6), (10, 6, 14))
    clipped = grown.clip((9, 9, 9))
    assert (clipped.start, clipped.stop) == ((2, 0, 6), (9, 6, 9))
    volume = np.arange(1000).reshape(10, 10, 10)
    assert (volume[clipped.slices][Box((4, 0, 7), (8, 4, 9)).inside(clipped).slices] == volume[4:8, :4, 7:9]).all()


def test_boxes_that_do_not_meet_the_volume_become_empty():
    for corner in itertools.product((-9, 20), repeat=3):
        assert Box(corner, tuple(c + 4 for c in corner)).clip((10, 10, 10)).size == 0


def test_the_affine_of_a_grid_maps_voxels_to_micrometres():
    grid = Grid((4, 5, 6), (2.0, 0.5, 0.25), (10.0, 20.0, 30.0))
    assert np.allclose(grid.affine @ [1, 2, 4, 1], [12, 21, 31, 1])
    assert grid.anisotropy == (8.0, 2.0, 1.0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (((0, 4, 4),), "three positive sizes"),
        (((4, 4, 4), (1.0, 0.0, 1.0)), "voxel sizes must be positive"),
        (((4, 4, 4), (1.0, 1e-300, 1.0)), "check the unit"),
        (((4, 4, 4), (1.0, 1.0, 1.0), (np.nan, 0.0, 0.0)), "origin of a grid must be finite"),
    ],
)
def test_impossible_grids_are_refused_in_words(arguments, words):
    with pytest.raises(InputError, match=words):
        Grid(*arguments)
