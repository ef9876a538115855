"""What the panel says about a run."""

from weakref import ref

import pytest
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QLabel, QWidget

from napari_mvfusion.data.events import Cancelled, TileStep
from napari_mvfusion.errors import DiskFullError
from napari_mvfusion.gui.jobs.status import ProgressBar, Status
from napari_mvfusion.gui.panels.finetune.panel import FineTunePanel
from napari_mvfusion.gui.widgets.layout import Roll, column


def test_what_a_tile_is_at_moves_the_bar(qtbot):
    status = Status()
    qtbot.addWidget(status)
    status.begin("", "a run")
    status.follow(TileStep("filter", 0.25), shown=False)
    assert status.findChild(QLabel, "step").text() == "Filter"
    bar = status.findChild(ProgressBar)
    assert bar.value() == pytest.approx(bar.maximum() / 4)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (str(DiskFullError("f.zarr", "go on with --resume: tiles are kept")), "then choose “{}”: tiles are kept"),
        ("use another device, then run again with --resume", "then choose “{}”"),
        (
            "go on with it (--resume), or discard it (--overwrite)",
            "it (“{}”), or discard it (“Discard the unfinished run”)",
        ),
        ("f, or discard it (--overwrite without --resume)", "or discard it (“Discard the unfinished run”)"),
    ],
)
def test_options_of_the_command_line_are_called_as_they_are_in_the_window(qtbot, model, said, shown):
    status = Status()
    qtbot.addWidget(status)
    status.say("error", said)
    finetune = FineTunePanel(model)
    qtbot.addWidget(finetune)
    finetune.say("error", said)
    words = {status: "Go on with the unfinished run", finetune: "Continue"}
    for widget, go_on in words.items():
        (text,) = [label.text() for label in widget.findChildren(QLabel, "error")]
        assert text.endswith(shown.format(go_on))
        assert "--" not in text


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


class Named:
    """Stands for a layer, which is only told apart."""


def said(status, *kinds):
    return [
        label.text() for kind in kinds or ("error", "warning", "done") for label in status.findChildren(QLabel, kind)
    ]


def test_a_message_goes_with_the_last_of_the_layers_that_it_speaks_of(qtbot):
    status, first, second = Status(), Named(), Named()
    qtbot.addWidget(status)
    status.say("done", "of both", [first, second])
    status.say("done", "of the first", [first])
    status.say("done", "of none")
    status.forget_layer(first)
    assert said(status) == ["Of both", "Of none"]
    status.forget_layer(second)
    assert said(status) == ["Of none"]


def test_messages_hold_no_layer(qtbot):
    status, layer = Status(), Named()
    qtbot.addWidget(status)
    status.say("done", "it is there", [layer])
    gone = ref(layer)
    del layer
    assert gone() is None
    assert said(status) == ["It is there"]


def test_what_is_said_again_is_said_once_and_last(qtbot):
    status = Status()
    qtbot.addWidget(status)
    for text in ("this", "that", "this"):
        status.say("warning", text)
    assert said(status) == ["That", "This"]


@pytest.mark.parametrize("lines", [2, 40])
def test_the_newest_message_is_seen_from_its_first_line_and_older_ones_are_reached(qtbot, lines):
    status, panel = Status(), QWidget()
    qtbot.addWidget(panel)
    column(panel, None, status)
    panel.resize(380, 500)
    panel.show()
    for number in range(8):
        status.say("warning", f"older {number}")
    status.say("error", "\n".join(["first"] + ["more"] * (lines - 1)))
    roll = status.findChild(Roll)
    newest = status.findChild(QLabel, "error")
    qtbot.wait(100)
    assert newest.visibleRegion().boundingRect().top() == 0
    assert newest.height() > lines * newest.fontMetrics().height()
    assert roll.height() <= 140
    roll.verticalScrollBar().setValue(0)
    oldest = status.findChildren(QLabel, "warning")[0]
    assert oldest.visibleRegion().boundingRect().height() == oldest.height()
