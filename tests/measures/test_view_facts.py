"""What views are like beside each other: the facts of a whole, made of parts that have tests of their own."""

from dataclasses import replace

import numpy as np
import pytest

from napari_mvfusion.data.views import drain
from napari_mvfusion.measures.gains import BesideOthers, find_gains
from napari_mvfusion.measures.view_facts import ViewFacts, compare_views
from napari_mvfusion.simulation import sample


@pytest.fixture(scope="module")
def views():
    return sample("nuclei", 32).views


def test_a_view_that_is_brighter_everywhere_is_found_also_when_its_gain_is_set(views):
    first, second = views.views
    bright = replace(second, data=np.asarray(second.data, np.float32) * 4)
    found = drain(compare_views([first, bright], views.grid))
    assert (found[0].beside, found[0].left_out) == (BesideOthers(), "")
    assert found[1].beside.gain == pytest.approx(4, rel=0.2)
    assert drain(compare_views([first, replace(bright, gain=4.0)], views.grid)) == found
    assert find_gains(views) == (1, 1)


def test_what_is_left_out_is_said_of_its_view(views):
    first, second = views.views
    data = np.asarray(second.data, np.float32).copy()
    data[:8] = np.nan
    found = drain(
        compare_views([replace(first, no_data="auto"), replace(second, data=data, no_data="nan")], views.grid)
    )
    assert found[0].left_out == ""
    assert "every nan is taken as no data" in found[1].left_out


def test_of_pixels_that_cannot_be_read_nothing_is_said(views):
    class Broken:
        shape, dtype, ndim = views.grid.shape, np.dtype(np.uint16), 3

        def __getitem__(self, index):
            raise OSError("the disk is gone")

    first, second = views.views
    found = drain(
        compare_views([replace(first, no_data="auto"), replace(second, data=Broken(), no_data="auto")], views.grid)
    )
    assert found == [ViewFacts(), ViewFacts()]
