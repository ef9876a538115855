"""Tasks that take turns, and what is said where memory runs out."""

import threading

import pytest

from napari_mvfusion.gui.jobs.tasks import Latest
from patience import PATIENCE_SECONDS


class Work:
    """Steps that note when they begin and end, and go on until they are let go or stopped."""

    def __init__(self):
        self.happened = []
        self.let_go = threading.Event()

    def __call__(self, check, name):
        self.happened.append(f"{name} begins")
        yield
        assert self.let_go.wait(PATIENCE_SECONDS)
        self.happened.append(f"{name} ends")
        check()
        return name


@pytest.fixture
def told(qapp):
    """A task in turn, and what it tells."""
    task, found = Latest(in_turn=True, when_memory_ran_out="draw a smaller box"), []
    task.succeeded.connect(found.append)
    task.failed.connect(lambda failed: found.append(failed.message))
    task.ended.connect(lambda: found.append("ended"))
    return task, found


def test_a_task_begins_when_the_thread_before_it_has_ended_and_the_latest_counts(told, qtbot):
    task, found = told
    work = Work()
    for name in ("first", "second", "third"):
        task.start(work, name)
        qtbot.waitUntil(lambda: work.happened[:1] == ["first begins"])
    assert task.running
    qtbot.wait(50)
    assert work.happened == ["first begins"], "the others wait"
    work.let_go.set()
    qtbot.waitUntil(lambda: not task.running)
    assert work.happened == ["first begins", "first ends", "third begins", "third ends"]
    assert found == ["ended", "third"]


def test_what_waits_is_cancelled_too(told, qtbot):
    task, found = told
    work = Work()
    task.start(work, "first")
    qtbot.waitUntil(lambda: bool(work.happened))
    task.start(work, "second")
    task.cancel()
    assert not task.running
    assert found == ["ended"]
    work.let_go.set()
    qtbot.waitUntil(lambda: work.happened == ["first begins", "first ends"])
    qtbot.wait(50)
    assert len(work.happened) == 2


def test_a_shortage_of_memory_says_what_helps_here(told, qtbot):
    task, found = told

    def steps(check):
        yield
        raise MemoryError

    task.start(steps)
    qtbot.waitUntil(lambda: len(found) == 2)
    assert found == ["ended", "memory ran out: close other programs, or draw a smaller box"]
