"""What a job of the Fuse panel leaves when it ends early, told by its events and its array."""

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_mvfusion.data.events import Cancelled, IterationDone
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.engine.series import Allocated, FuseJob, PartBegun, PartDone, SeriesPart
from napari_mvfusion.errors import OutputError
from napari_mvfusion.gui.jobs.result import ResultLayer
from napari_mvfusion.gui.jobs.tasks import Checkpoint, Failed
from napari_mvfusion.gui.jobs.worker import _steps
from napari_mvfusion.gui.writer import refuse_shown
from small_methods import Diffuse

SHAPE = (20, 18, 16)


def volume(seed):
    rng = np.random.default_rng(seed)
    return RegisteredViews(
        [View(rng.random(SHAPE, np.float32) + 1, f"{i}", angle=90.0 * i) for i in range(2)], Grid(SHAPE)
    )


def ended(parts, cancel_in):
    """The array, events, and volumes of a job that is cancelled after an iteration of a part."""
    job = FuseJob(tuple(SeriesPart((i,), views) for i, views in enumerate(parts)), (len(parts),), Diffuse(), "cpu")
    check = Checkpoint()
    seen = []
    values = now = None
    for event in _steps(check, job):
        seen.append(event)
        if isinstance(event, Allocated):
            values = event.values
        if isinstance(event, PartBegun):
            now = event.part.index[0]
        if isinstance(event, IterationDone) and now == cancel_in:
            check.stop()
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
    assert isinstance(seen[-1], Failed)
    assert (values[0] == fuse(parts[0], Diffuse(), device="cpu").data).all()
    assert (values[1:] == 0).all()


def test_a_single_volume_keeps_what_there_is():
    """The name of its layer says that it was cancelled."""
    job = FuseJob((SeriesPart((), volume(0)),), (), Diffuse(), "cpu")
    check = Checkpoint()
    for event in _steps(check, job):
        if isinstance(event, Allocated):
            values = event.values
        if isinstance(event, IterationDone):
            check.stop()
    assert isinstance(event, Cancelled)
    assert np.isfinite(values).all()
    assert values.any()


@pytest.mark.parametrize(("cancel_in", "names"), [(0, []), (1, ["fused (cancelled, 1 of 3 volumes)"])])
def test_the_layer_of_a_cancelled_series_says_how_many_volumes_it_keeps(qapp, cancel_in, names):
    parts = [volume(seed) for seed in range(3)]
    job = FuseJob(tuple(SeriesPart((i,), views) for i, views in enumerate(parts)), (len(parts),), Diffuse(), "cpu")
    viewer = ViewerModel()
    result = ResultLayer(viewer, job, "fused", {}, (0.0, 2.0))
    _, seen = ended(parts, cancel_in)
    for event in seen:
        result.follow(event)
    assert [layer.name for layer in viewer.layers] == names
    assert result.filled == bool(names)


def test_a_file_that_a_layer_shows_is_not_saved_over(tmp_path):
    file = tmp_path / "view.tif"
    file.write_text("raw")
    viewer = ViewerModel()
    viewer.add_image(np.zeros((3, 4, 5)), metadata={"mvfusion": {"source": str(file)}})
    with pytest.raises(OutputError, match="never replaced"):
        refuse_shown(str(file), viewer.layers)
    refuse_shown(str(tmp_path / "other.tif"), viewer.layers)
