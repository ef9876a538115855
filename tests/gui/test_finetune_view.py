"""What a run shows is drawn seldom, only where it changed, and only while somebody sees it."""

import numpy as np
import pytest
import torch
from qtpy.QtWidgets import QLabel

from napari_mvfusion.gui.finetune.curves import Curves
from napari_mvfusion.gui.finetune.plan import as_sent
from napari_mvfusion.gui.finetune.run_view import RunView
from napari_mvfusion.gui.finetune.threads import beside_a_window
from napari_mvfusion.training.events import Previewed, Started, StepDone, Validated
from napari_mvfusion.training.job import TrainJob
from napari_mvfusion.training.presets import fine_tune_config


@pytest.fixture
def drawn(monkeypatch):
    """How many points of the first loss there were each time that the curves were drawn."""
    found = []
    show = Curves.show_history

    def noted(curves, history):
        found.append(len(history.losses["cycle"].points()[0]) if history.losses else 0)
        show(curves, history)

    monkeypatch.setattr(Curves, "show_history", noted)
    return found


@pytest.fixture
def view(qtbot, drawn):
    view = RunView()
    qtbot.addWidget(view)
    view.show()
    qtbot.waitExposed(view)
    view.begin(fine_tune_config("self", minutes=5, views=()), going_on=False)
    view.follow(Started("CPU, 1 thread", 100, 0, 1000))
    yield view
    view.close_down()


def steps(view, first, last):
    for step in range(first, last + 1):
        view.follow(StepDone(step, 1000, {"cycle": 1 / step}, 1e-4, step / 10))


def said(view):
    return view.findChild(QLabel, "step").text()


def test_words_come_each_second_and_curves_less_often(view, drawn, qtbot):
    assert drawn == [0]
    steps(view, 1, 3)
    qtbot.waitUntil(lambda: said(view).startswith("Step 3"), timeout=5000)
    steps(view, 4, 8)
    qtbot.waitUntil(lambda: said(view).startswith("Step 8"), timeout=5000)
    qtbot.waitUntil(lambda: drawn[-1] == 8, timeout=10_000)
    assert len(drawn) <= 3, "some steps were drawn together"
    count = len(drawn)
    qtbot.wait(2500)
    assert len(drawn) == count, "nothing has changed"


def test_what_is_not_seen_is_drawn_once_it_is(view, drawn, qtbot):
    view.hide()
    steps(view, 1, 5)
    view.follow(Validated(5, {"residual": 1.1}, 1.1, best=True))
    tile = np.random.default_rng(0).random((8, 8, 8), np.float32)
    view.follow(Previewed(5, tile, tile, tile, 1.3, 1.2))
    qtbot.wait(1500)
    assert drawn == [0]
    view.show()
    qtbot.waitUntil(lambda: drawn[-1] == 5, timeout=5000)
    assert view.findChild(QLabel, "words_now").text() == "Now: 1.20"
    assert said(view).startswith("Step 5")


def test_the_end_draws_all_at_once(view, drawn):
    steps(view, 1, 7)
    view.end("")
    assert drawn[-1] == 7
    assert view.findChild(QLabel, "machine").text().startswith("7 steps in")


def test_a_run_leaves_the_window_a_core_unless_the_user_says_how_many(monkeypatch):
    for cores, expected in ((8, 7), (2, 1), (1, 1)):
        monkeypatch.setattr(torch, "get_num_threads", lambda cores=cores: cores)
        assert beside_a_window(0, "cpu") == expected
        assert beside_a_window(5, "cpu") == 5
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    job = TrainJob(fine_tune_config("self", minutes=5, views=()), "mine", device="cpu")
    with pytest.raises(StopIteration) as end:
        next(as_sent(lambda: None, job))
    assert end.value.value.threads == 3
