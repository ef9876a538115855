"""What somebody waits for: the window answers, and it says what it is."""

import subprocess
import sys
import threading

import pytest
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QProgressDialog

from napari_mvfusion.gui.widgets.waiting import while_busy


def signs():
    return [w for w in QApplication.topLevelWidgets() if isinstance(w, QProgressDialog) and w.isVisible()]


def test_the_window_answers_and_says_what_it_waits_for(qtbot):
    turns, seen, go_on = [], [], threading.Event()
    ticker = QTimer()

    def tick():
        turns.append(threading.current_thread())
        if signs():
            seen.extend(sign.labelText() for sign in signs())
            go_on.set()

    ticker.timeout.connect(tick)
    ticker.start(10)
    result = while_busy("Loading…", lambda: (go_on.wait(), threading.current_thread()))
    ticker.stop()
    assert result[0]
    assert result[1] is not threading.current_thread()
    assert set(turns) == {threading.current_thread()}
    assert set(seen) == {"Loading…"}
    assert not signs()


def test_what_goes_wrong_is_raised_where_it_was_waited_for(qtbot):
    with pytest.raises(ZeroDivisionError):
        while_busy("Dividing…", lambda: 1 // 0)
    assert not signs()


def test_elsewhere_it_is_done_at_once(qtbot):
    found = []
    thread = threading.Thread(
        target=lambda: found.append(while_busy("Loading…", threading.current_thread)), name="another"
    )
    thread.start()
    thread.join()
    assert [each.name for each in found] == ["another"]


def test_the_entrances_load_nothing_heavy():
    code = "import sys, napari_mvfusion.gui.entrances; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "napari_mvfusion.gui.entrances" in run.stdout.split()
    assert not {"torch", "matplotlib", "pyqtgraph"} & set(run.stdout.split())
