"""What the layer of a run says of a run that ended early, and which files are never saved over."""

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_mvfusion.data.events import IterationDone
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.series import Allocated, FuseJob, PartBegun, SeriesPart
from napari_mvfusion.errors import OutputError
from napari_mvfusion.gui.jobs.fusions import run_steps
from napari_mvfusion.gui.jobs.result import ResultLayer
from napari_mvfusion.gui.jobs.tasks import Checkpoint
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
    for event in run_steps(check, job):
        seen.append(event)
        if isinstance(event, Allocated):
            values = event.values
        if isinstance(event, PartBegun):
            now = event.part.index[0]
        if isinstance(event, IterationDone) and now == cancel_in:
            check.stop()
    return values, seen


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
