"""Series in files: what an earlier run has finished is kept where it is of the same views, and still what was written."""

from dataclasses import replace

import numpy as np
import pytest
import zarr

from napari_mvfusion.data.events import Cancelled, TileDone
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.engine.series import FuseJob, JobDone, PartDone, SeriesPart, fuse_series
from napari_mvfusion.errors import OutputError
from small_methods import Diffuse

SHAPE = (20, 18, 16)
COUNT = 3


def views_of(number):
    rng = np.random.default_rng(number)
    views = [View(rng.random(SHAPE, np.float32) + 1, f"{i}", angle=90.0 * i) for i in range(2)]
    return RegisteredViews(views, Grid(SHAPE))


@pytest.fixture
def series(tmp_path):
    """The views of a series that was fused, and the files of its volumes."""
    views, outs = [views_of(number) for number in range(COUNT)], [tmp_path / f"{n}.zarr" for n in range(COUNT)]
    *_, done = fused(views, outs)
    assert isinstance(done, JobDone)
    return views, outs


def fused(views, outs, cancel=lambda: False, **how):
    parts = tuple(SeriesPart((n,), *pair) for n, pair in enumerate(zip(views, outs, strict=True)))
    return list(fuse_series(FuseJob(parts, (COUNT,), Diffuse(), "cpu", **how), cancel))


def computed(events):
    """How many volumes were computed."""
    return sum(isinstance(event, TileDone) and event.final for event in events)


def test_finished_volumes_are_kept_also_where_others_are_replaced(series):
    views, outs = series
    for how in ({"resume": True}, {"resume": True, "overwrite": True}):
        events = fused(views, outs, **how)
        assert sum(isinstance(event, PartDone) for event in events) == COUNT
        assert computed(events) == 0


def test_a_volume_of_other_views_is_not_taken_for_finished(series):
    views, outs = series
    first, second = views[1].views
    views[1] = RegisteredViews([first, replace(second, weight=3.0)], views[1].grid)
    with pytest.raises(OutputError, match=r"1\.zarr exists already and was made otherwise"):
        fused(views, outs, resume=True)
    events = fused(views, outs, resume=True, overwrite=True)
    assert computed(events) == 1
    expected = fuse(views[1], Diffuse(), device="cpu").data
    assert np.array_equal(zarr.open_array(outs[1] / "0", mode="r")[:], expected)


def test_a_volume_that_was_damaged_is_said_to_be(series):
    views, outs = series
    level = zarr.open_array(outs[2] / "0", mode="r+")
    level[3, 5, 7] = 0
    with pytest.raises(OutputError, match=r"2\.zarr is damaged: its voxels are not those that were written"):
        fused(views, outs, resume=True)


def test_looking_at_what_is_finished_can_be_cancelled(series):
    _, outs = series
    asked = iter([False])
    events = fused([views_of(n) for n in range(COUNT)], outs, lambda: next(asked, True), resume=True)
    assert isinstance(events[-1], Cancelled)
    assert all(zarr.open_array(out / "0", mode="r").shape == SHAPE for out in outs)
