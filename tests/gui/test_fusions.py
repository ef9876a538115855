"""Fusions one after the other: what is finished stays, what follows is started or said; and the layers of their results."""

from typing import ClassVar

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtWidgets import QLabel, QWidget

from napari_mvfusion.data.events import IterationDone
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.series import Allocated, FuseJob, PartBegun, SeriesPart
from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.gui.jobs.fusions import Fusions, Target, run_steps
from napari_mvfusion.gui.jobs.result import ResultLayer
from napari_mvfusion.gui.jobs.status import Status
from napari_mvfusion.gui.jobs.tasks import Checkpoint
from napari_mvfusion.gui.layers.opened import open_layers
from napari_mvfusion.gui.writer import refuse_shown
from napari_mvfusion.methods import CBIF, Average
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


class Refuses(Diffuse):
    """Finds only when it has begun that it cannot go on."""

    name: ClassVar[str] = "refuses"

    def prepare(self, views, device):
        yield from super().prepare(views, device)
        raise InputError("this cannot be fused: choose another method")


class Queue:
    """What a panel has of it: the fusions of two views, what is said, and which layers are told to be complete."""

    def __init__(self, model, layers, qtbot):
        self.status, panel = Status(), QWidget()
        for widget in (self.status, panel):
            qtbot.addWidget(widget)
        self.model, self.layers, self.qtbot = model, layers, qtbot
        self.fusions = Fusions(model, self.status, panel)
        self.complete = []
        self.fusions.finished.connect(lambda layers: self.complete.append([layer.name for layer in layers]))

    def fuse(self, *methods):
        opened = open_layers(self.layers)
        self.fusions.start(self.layers, opened, methods, Target("cpu", 0, 0.5), [method.name for method in methods])

    def wait(self):
        self.qtbot.waitUntil(lambda: not self.fusions.running)

    def results(self):
        return [layer.name for layer in self.model.layers[2:]]

    def said(self, kind):
        return [label.text() for label in self.status.findChildren(QLabel, kind)]


@pytest.fixture
def queue(model, qtbot, small_views, show_views):
    return Queue(model, show_views(model, small_views), qtbot)


def test_what_is_asked_for_is_fused_in_its_order_and_told_once_all_is_complete(queue, fused_nuclei):
    queue.fuse(Average(), CBIF())
    assert queue.fusions.running
    queue.wait()
    assert queue.results() == ["nuclei average", "nuclei cbif"]
    assert queue.complete == [queue.results()]
    for layer, name in zip(queue.model.layers[2:], ("average", "cbif"), strict=True):
        np.testing.assert_array_equal(layer.data, fused_nuclei[name])
    assert [text.split(":")[0] for text in queue.said("done")] == ["average", "cbif"]
    assert queue.fusions.going_on == ""


def test_all_results_lie_where_the_first_view_was_when_they_were_asked_for(queue):
    for layer in queue.layers:
        layer.translate = (1, 2, 3)
    queue.fusions.reported.connect(lambda job, event: setattr(queue.layers[0], "translate", (50, 50, 50)))
    queue.fuse(Average(), CBIF())
    queue.wait()
    for result in queue.model.layers[2:]:
        np.testing.assert_array_equal(result.translate, (1, 2, 3))


def test_after_an_error_nothing_else_is_started_and_what_is_finished_stays(queue):
    queue.fuse(Average(), Refuses(), CBIF())
    queue.wait()
    assert queue.results() == ["nuclei average"]
    assert queue.complete == []
    assert queue.said("error") == ["refuses: this cannot be fused: choose another method"]
    assert queue.said("warning") == ["What was to be fused after it was not started."]


def test_cancel_ends_the_run_and_starts_no_other(queue):
    queue.fuse(Average(), Diffuse(iterations=10_000), CBIF())
    queue.qtbot.waitUntil(lambda: len(queue.results()) == 2)
    queue.fusions.cancel()
    queue.wait()
    assert queue.results()[0] == "nuclei average"
    assert not any("cbif" in name for name in queue.results())
    assert queue.complete == []


def test_deleting_a_result_ends_its_run_alone(queue):
    queue.fuse(Diffuse(iterations=10_000), Average())
    queue.qtbot.waitUntil(lambda: len(queue.results()) == 1)
    del queue.model.layers[-1]
    queue.wait()
    assert queue.results() == ["nuclei average"]
    assert queue.complete == []
    assert queue.said("warning") == ["diffuse: cancelled, as the layer of its result was deleted."]


def test_a_run_that_its_panel_leaves_stops_and_marks_its_layer_by_itself(queue):
    queue.fuse(Diffuse(iterations=10_000), Average())
    queue.qtbot.waitUntil(lambda: len(queue.results()) == 1 and queue.model.layers[-1].data.max() > 0)
    queue.fusions.close_down()
    queue.qtbot.waitUntil(lambda: queue.results() == ["nuclei diffuse (cancelled)"])
    assert queue.said("done") == queue.said("warning") == []
