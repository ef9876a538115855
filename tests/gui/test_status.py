"""What the panel says about a run."""

import pytest
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QLabel

from napari_mvfusion.data.events import Cancelled, TileStep
from napari_mvfusion.gui.jobs.status import ProgressBar, Status


def test_what_a_tile_is_at_moves_the_bar(qtbot):
    status = Status()
    qtbot.addWidget(status)
    status.begin("", "a run")
    status.follow(TileStep("filter", 0.25), shown=False)
    assert status.findChild(QLabel, "step").text() == "Filter"
    bar = status.findChild(ProgressBar)
    assert bar.value() == pytest.approx(bar.maximum() / 4)


class Paints(QObject):
    """Counts how often a widget is drawn."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def eventFilter(self, watched, event):  # noqa: N802 - the name is Qt's
        self.count += event.type() == QEvent.Type.Paint
        return False


def test_a_progress_bar_is_drawn_with_the_window_and_not_before(qtbot):
    bar, paints = ProgressBar(), Paints()
    qtbot.addWidget(bar)
    bar.installEventFilter(paints)
    bar.show()
    qtbot.waitExposed(bar)
    qtbot.wait(50)
    before = paints.count
    for percent in range(101):
        bar.show_share(percent / 100)
    assert paints.count == before
    assert bar.value() == bar.maximum()
    qtbot.waitUntil(lambda: paints.count > before)


def test_a_result_that_was_deleted_keeps_nothing(qtbot):
    status = Status()
    qtbot.addWidget(status)
    status.follow(Cancelled(1, 2, None), shown=True, deleted=True)
    assert [label.text() for label in status.findChildren(QLabel, "warning")] == [
        "Cancelled, as the layer of its result was deleted."
    ]
