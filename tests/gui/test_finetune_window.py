"""The Fine-tune panel in a real window of napari: from the menu, and what closing things does to a run."""

import psutil
import pytest
from finetune_person import FineTunePerson
from qtpy.QtWidgets import QApplication

from napari_mvfusion.gui.layers.layer_data import view_layers
from napari_mvfusion.gui.panels.finetune.panel import FineTunePanel
from napari_mvfusion.models import list_models
from napari_mvfusion.training.runs import unfinished_runs
from small_models import SMALL, save
from small_training import own_views

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def viewer(make_napari_viewer_proxy, plugin):
    return make_napari_viewer_proxy(show=True)


def menu_action(menu, text):
    """The action of this text in a menu or its submenus."""
    for action in menu.actions():
        if action.menu():
            action.menu().aboutToShow.emit()
            found = menu_action(action.menu(), text)
            if found is not None:
                return found
        elif action.text() == text:
            return action
    return None


def test_closing_the_window_during_a_run_leaves_no_process_and_keeps_what_was_learned(
    viewer, models, qtbot, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    save(models, "small", SMALL)
    menu_action(viewer.window.plugins_menu, "Fine-tune (Multi-view fusion)").trigger()
    qtbot.wait(50)
    (panel,) = (widget for widget in QApplication.allWidgets() if isinstance(widget, FineTunePanel))
    person = FineTunePerson(panel, qtbot)
    person.choose("start", "small")
    views, _ = own_views()
    for data, look, _ in view_layers(views, sample="fish"):
        viewer.add_image(data, **look)
    person.wait_for_plan()
    person.leave()
    person.start()
    person.wait_for_step(5)
    (child,) = (p for p in psutil.Process().children() if "napari_mvfusion" in " ".join(p.cmdline()))
    viewer.close()
    qtbot.waitUntil(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    assert unfinished_runs() or "fish-small" in [entry.name for entry in list_models()]
