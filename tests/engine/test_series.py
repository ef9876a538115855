"""What a series of volumes leaves when it ends early, told by its events and its array."""

import threading

import numpy as np
import pytest

from napari_mvfusion.data.events import Cancelled, IterationDone
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.engine.series import Allocated, FuseJob, PartBegun, PartDone, SeriesPart, fuse_series
from napari_mvfusion.errors import MVFusionError
from small_methods import Diffuse

SHAPE = (20, 18, 16)


def volume(seed):
    rng = np.random.default_rng(seed)
    return RegisteredViews(
        [View(rng.random(SHAPE, np.float32) + 1, f"{i}", angle=90.0 * i) for i in range(2)], Grid(SHAPE)
    )


def ended(parts, cancel_in):
    """The array and events of a job that is cancelled after an iteration of a part; an error is the last of them."""
    job = FuseJob(tuple(SeriesPart((i,), views) for i, views in enumerate(parts)), (len(parts),), Diffuse(), "cpu")
    cancel = threading.Event()
    seen = []
    values = now = None
    try:
        for event in fuse_series(job, cancel.is_set):
            seen.append(event)
            if isinstance(event, Allocated):
                values = event.values
            if isinstance(event, PartBegun):
                now = event.part.index[0]
            if isinstance(event, IterationDone) and now == cancel_in:
                cancel.set()
    except MVFusionError as error:
        seen.append(error)
    return values, seen


@pytest.mark.parametrize("cancel_in", [0, 1])
def test_a_cancelled_series_in_memory_keeps_finished_volumes_alone(cancel_in):
    parts = [volume(seed) for seed in range(3)]
    values, seen = ended(parts, cancel_in)
    assert isinstance(seen[-1], Cancelled)
    assert sum(isinstance(event, PartDone) for event in seen) == cancel_in
    for index in range(3):
        expected = fuse(parts[index], Diffuse(), device="cpu").data if index < cancel_in else np.zeros(SHAPE)
        assert (values[index] == expected).all()


def test_a_series_that_fails_keeps_finished_volumes_alone():
    parts = [volume(0), RegisteredViews([View(np.ones(SHAPE, np.float32), "flat")], Grid(SHAPE)), volume(2)]
    values, seen = ended(parts, None)
    assert isinstance(seen[-1], MVFusionError)
    assert (values[0] == fuse(parts[0], Diffuse(), device="cpu").data).all()
    assert (values[1:] == 0).all()


def test_a_single_volume_keeps_what_there_is():
    """The name of its layer says that it was cancelled."""
    job = FuseJob((SeriesPart((), volume(0)),), (), Diffuse(), "cpu")
    cancel = threading.Event()
    for event in fuse_series(job, cancel.is_set):
        if isinstance(event, Allocated):
            values = event.values
        if isinstance(event, IterationDone):
            cancel.set()
    assert isinstance(event, Cancelled)
    assert np.isfinite(values).all()
    assert values.any()
