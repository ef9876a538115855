"""What a run shows is drawn seldom, only where it changed, and only while somebody sees it."""

import numpy as np
import pytest
import torch
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QLabel

from napari_mvfusion.gui.panels.finetune.curves import Curves, Plot, _Legend
from napari_mvfusion.gui.panels.finetune.run_view import RunView
from napari_mvfusion.system.devices import beside_a_window
from napari_mvfusion.training.job import TrainJob
from napari_mvfusion.training.plan import as_sent
from napari_mvfusion.training.presets import fine_tune_config
from napari_mvfusion.training.training_events import Previewed, Started, StepDone, Validated


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
    for part in (view._due, view._curves):
        part.close_down()


class Compositions(QObject):
    """Counts how often a window is put together after each turn, beginning with the first."""

    def __init__(self, window):
        super().__init__(window)
        self.after_turns = []
        window.installEventFilter(self)

    def turn(self):
        self.after_turns.append(0)

    def eventFilter(self, watched, event):  # noqa: N802 - the name is Qt's
        if event.type() == QEvent.Type.UpdateRequest and self.after_turns:
            self.after_turns[-1] += 1
        return False


def steps(view, first, last):
    for step in range(first, last + 1):
        view.follow(StepDone(step, 1000, {"cycle": 1 / step}, 1e-4, step / 10))


def said(view):
    return view.findChild(QLabel, "step").text()


def test_words_come_each_second_and_curves_less_often(view, drawn, qtbot):
    assert drawn == [0]
    steps(view, 1, 3)
    qtbot.waitUntil(lambda: said(view).startswith("Step 3"))
    steps(view, 4, 8)
    qtbot.waitUntil(lambda: said(view).startswith("Step 8"))
    qtbot.waitUntil(lambda: drawn[-1] == 8)
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
    qtbot.waitUntil(lambda: drawn[-1] == 5)
    qtbot.waitUntil(lambda: view.findChild(QLabel, "words_now").text() == "Now: 1.20")
    assert said(view).startswith("Step 5")


def test_whatever_changes_the_window_is_put_together_once(view, drawn, qtbot):
    """A turn draws words and pictures, or a part of the curves; how many there are is a matter of the machine."""
    tile = np.random.default_rng(0).random((8, 8, 8), np.float32)
    curves = view.findChild(Plot, "loss_plot").parentWidget()
    compositions = Compositions(view)
    for turn in (view._due.triggered, curves._next.timeout):
        turn.connect(compositions.turn)
    for last in (3, 6):
        view.follow(Validated(last - 1, {"residual": 1.1, "structure_residual": 0.2}, 1.1, best=True))
        view.follow(Previewed(last - 1, tile, tile, tile, 1.3, 1.2))
        steps(view, last - 2, last)
        qtbot.waitUntil(lambda last=last: drawn[-1] == last and not curves._turns)
    qtbot.waitUntil(lambda: not view._due.due)
    assert "fit" in view.findChild(QLabel, "loss_legend").text()
    assert set(compositions.after_turns) == {0, 1}


def test_a_legend_is_as_high_as_its_words(qtbot):
    legend = _Legend("legend")
    qtbot.addWidget(legend)
    legend.setStyleSheet("padding: 3px;")
    for words in ("<b>fit</b>", "<b>fit</b>&nbsp;to the views, and what else there is to say of them"):
        legend.setText(words)
        for width in (60, 100, 1000):
            assert legend.heightForWidth(width) == QLabel.heightForWidth(legend, width)


def test_a_plot_is_painted_anew_with_its_size_and_theme(view, qtbot):
    plot = view.findChild(Plot, "loss_plot")

    def picture():
        return plot.grab().toImage()

    def reaches_the_right():
        image = picture()
        return len({image.pixel(image.width() - 20, y) for y in range(image.height())}) > 1

    steps(view, 1, 50)
    view.end()
    qtbot.waitUntil(reaches_the_right)
    small = picture()
    view.set_theme("light")
    qtbot.waitUntil(lambda: picture() != small)
    view.resize(view.width() + 100, view.height())
    qtbot.waitUntil(lambda: picture().width() > small.width() and reaches_the_right())
    # Stretched until it is made anew, so that it has to be as wide as the plot by itself.
    qtbot.waitUntil(lambda: plot._picture.width() == plot.width() * plot.devicePixelRatio())


def test_between_the_parts_of_the_curves_the_window_answers(view, drawn, qtbot):
    """A timer that is due at once comes to its turn between any two of them."""
    curves = view.findChild(Plot, "loss_plot").parentWidget()
    seen, ticker = [], QTimer()
    ticker.timeout.connect(lambda: seen.append(len(curves._turns)))
    steps(view, 1, 3)
    view.follow(Validated(3, {"residual": 1.1}, 1.1, best=True))
    ticker.start()
    view.end()
    parts = len(curves._turns)
    qtbot.waitUntil(lambda: not curves._turns)
    ticker.stop()
    assert parts > 4
    assert set(range(1, parts)) <= set(seen)


def test_the_end_draws_all_at_once(view, drawn):
    steps(view, 1, 7)
    view.end()
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
