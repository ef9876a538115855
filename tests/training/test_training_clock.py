"""The time that a run has worked, on a clock that the test turns."""

import pytest

from napari_mvfusion.training import clock
from napari_mvfusion.training.clock import Clock


@pytest.fixture
def turn(monkeypatch):
    """Lets so many seconds pass."""
    now = [100.0]
    monkeypatch.setattr(clock.time, "monotonic", lambda: now[0])

    def pass_by(seconds):
        now[0] += seconds

    return pass_by


def test_pauses_cost_no_time(turn):
    worked = Clock(7.0)
    turn(50)
    assert (worked.seconds, worked.runs) == (7, False)
    worked.go_on()
    turn(3)
    assert (worked.seconds, worked.runs) == (10, True)
    worked.pause()
    turn(1000)
    assert (worked.seconds, worked.runs) == (10, False)
    worked.go_on()
    turn(2)
    assert worked.seconds == 12


def test_to_go_on_twice_counts_once(turn):
    worked = Clock()
    worked.go_on()
    turn(3)
    worked.go_on()
    turn(4)
    worked.pause()
    worked.pause()
    assert worked.seconds == 7
