"""Panels in a real window: tabs of one dock, at home in a small window, and asked for before they close."""

import pytest
from qtpy.QtCore import Qt, QThreadPool
from qtpy.QtWidgets import QApplication, QDockWidget, QLabel, QMessageBox, QPushButton, QTabBar

from napari_mvfusion.gui.entrances import views
from napari_mvfusion.gui.jobs.status import Status
from napari_mvfusion.gui.layers.notes import annotate
from napari_mvfusion.gui.layers.view_list import ViewList
from napari_mvfusion.gui.panels.compare.panel import ComparePanel
from napari_mvfusion.gui.panels.fuse.panel import FusePanel
from napari_mvfusion.gui.panels.views.beads_form import BeadsForm
from napari_mvfusion.gui.panels.views.panel import ViewsPanel

TITLES = ["Views & PSFs", "Fuse", "Compare", "Fine-tune"]
LEFT = Qt.MouseButton.LeftButton
# The first thing to press in each panel, which must never be scrolled or pushed away.
BUTTONS = {"Views & PSFs": "add_files", "Fuse": "fuse", "Compare": "curtain", "Fine-tune": "start_training"}


@pytest.fixture
def viewer(make_napari_viewer_proxy, plugin):
    return make_napari_viewer_proxy(show=True)


def open_panel(viewer, title, qtbot):
    dock, panel = viewer.window.add_plugin_dock_widget("napari-mvfusion", title)
    qtbot.wait(50)
    return dock, panel


def tabs_beside(dock):
    """What the tabs say that the dock is one of; nothing where it has no company."""
    window = dock.parentWidget()
    bars = [bar for bar in window.findChildren(QTabBar) if bar.parentWidget() is window and bar.isVisible()]
    return [bar.tabText(i) for bar in bars for i in range(bar.count())]


def in_sight(widget):
    """Whether all of a widget can be seen and clicked."""
    window = widget.window()
    corners = (widget.rect().topLeft(), widget.rect().center(), widget.rect().bottomRight())
    return widget.isVisible() and all(
        window.rect().contains(widget.mapTo(window, corner)) and window.childAt(widget.mapTo(window, corner)) is widget
        for corner in corners
    )


@pytest.mark.parametrize("height", [720, 800])
def test_panels_are_tabs_of_one_dock_and_work_in_a_small_window(viewer, qtbot, small_views, show_views, height):
    show_views(viewer, small_views)
    docks = {}
    for title in TITLES:
        docks[title], panel = open_panel(viewer, title, qtbot)
        window = panel.window()
        window.resize(1280, height)
        qtbot.wait(50)
        assert (window.width(), window.height()) == (1280, height)
        assert in_sight(panel.findChild(QPushButton, BUTTONS[title])), "a panel that is opened is seen"
    assert tabs_beside(docks["Fuse"]) == ["Views && PSFs", "Fuse", "Compare", "Fine-tune"]
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=60_000)
    places = {title: docks["Fuse"].parentWidget().tabifiedDockWidgets(dock) for title, dock in docks.items()}
    assert all(len(others) == 3 for others in places.values())


def test_messages_never_push_the_buttons_out_of_sight(viewer, qtbot, small_views, show_views):
    show_views(viewer, small_views)
    _, panel = open_panel(viewer, "Fuse", qtbot)
    panel.window().resize(1280, 720)
    for _ in range(30):
        panel.findChild(Status).say("error", "long " * 60)
    newest = panel.findChildren(QLabel, "error")[-1]
    qtbot.waitUntil(lambda: in_sight(newest), timeout=20_000)
    assert panel.window().height() == 720
    assert in_sight(panel.findChild(QPushButton, "fuse"))
    labels = panel.findChildren(QLabel, "error")
    assert all(label.height() >= label.heightForWidth(label.width()) for label in labels), "no line is cut"


def test_a_panel_that_is_opened_by_a_script_and_by_the_menu_is_one(viewer, qtbot, small_views, show_views):
    show_views(viewer, small_views)
    for title in ("Fuse", "Compare"):
        open_panel(viewer, title, qtbot)
    _, panel = open_panel(viewer, "Views & PSFs", qtbot)
    panel.unfold_beads()
    # What the menu does: it knows only what was opened under the title of the plugin.
    again = views()
    dock = viewer.window.add_dock_widget(again, name="Views & PSFs (Multi-view fusion)")
    qtbot.wait(50)
    assert again is panel
    assert panel.findChild(BeadsForm).isVisibleTo(panel), "it is as it was"
    assert in_sight(panel.findChild(QPushButton, "add_files"))
    assert sorted(tabs_beside(dock)) == ["Compare", "Fuse", "Views && PSFs"]
    assert len(panel.window().findChildren(ViewsPanel)) == 1
    dock.destroyOnClose()
    qtbot.wait(50)
    assert "Views & PSFs (Multi-view fusion)" not in viewer.window.dock_widgets


def test_a_panel_that_a_script_puts_into_a_dock_joins_the_others(viewer, qtbot):
    first, _ = open_panel(viewer, "Compare", qtbot)
    panel = FusePanel(viewer)
    viewer.window.add_dock_widget(panel, name="mine")
    qtbot.wait(50)
    dock = panel.parentWidget()
    assert dock.parentWidget().tabifiedDockWidgets(dock) == [first.findChild(ComparePanel).parentWidget()]


@pytest.mark.parametrize("opened", [False, True])
def test_where_psfs_are_missing_fuse_leads_to_the_beads_form(
    viewer, qtbot, small_views, show_views, make_person, opened
):
    for layer in show_views(viewer, small_views):
        annotate(layer, psf=None)
    if opened:
        open_panel(viewer, "Views & PSFs", qtbot)
    _, panel = open_panel(viewer, "Fuse", qtbot)
    panel.window().resize(1280, 720)
    person = make_person(panel)
    person.use("Multi-view")
    ways = [panel.findChild(QPushButton, name) for name in ("use average", "choose psf", "measure from beads")]
    assert all(map(in_sight, ways))
    assert all(button.width() >= button.sizeHint().width() for button in ways), "no label is cut"
    person.press("measure from beads")
    qtbot.waitUntil(lambda: any(form.isVisible() for form in panel.window().findChildren(BeadsForm)), timeout=20_000)
    (form,) = panel.window().findChildren(BeadsForm)
    qtbot.waitUntil(lambda: in_sight(form.findChild(QPushButton, "measure")), timeout=20_000)
    assert len(panel.window().findChildren(ViewsPanel)) == 1


def test_a_menu_entry_brings_a_panel_behind_another_to_the_front(viewer, qtbot):
    dock, panel = open_panel(viewer, "Fuse", qtbot)
    open_panel(viewer, "Compare", qtbot)
    assert not in_sight(panel.findChild(QPushButton, "fuse"))
    # What napari does when the entry of a panel that is open is chosen.
    dock.setVisible(not dock.isVisible())
    qtbot.wait(50)
    assert in_sight(panel.findChild(QPushButton, "copy"))
    dock.setVisible(not dock.isVisible())
    qtbot.wait(50)
    assert dock.isHidden(), "one that is seen is hidden"


@pytest.fixture
def running(viewer, qtbot, small_views, show_views, make_person):
    """A long run in the Fuse panel."""
    show_views(viewer, small_views)
    dock, panel = open_panel(viewer, "Fuse", qtbot)
    person = make_person(panel)
    person.use("Multi-view")
    person.enter("iterations", "1000")
    person.press("fuse")
    qtbot.waitUntil(lambda: viewer.layers[-1].name == "nuclei ebmd", timeout=20_000)
    return dock, panel


def press_cross(dock, qtbot):
    qtbot.mouseClick(dock.findChild(QPushButton, "QTitleBarCloseButton"), LEFT)
    qtbot.wait(50)
    return dock.window().findChild(QMessageBox, "close_question")


def answer(question, text, qtbot):
    (button,) = (button for button in question.buttons() if button.text().replace("&", "").startswith(text))
    qtbot.mouseClick(button, LEFT)
    qtbot.wait(50)


def test_closing_a_panel_with_a_run_asks_and_can_leave_it_running(viewer, running, qtbot):
    dock, panel = running
    question = press_cross(dock, qtbot)
    assert question.text() == "The fusion by Multi-view deconvolution (EBMD) is going on."
    answer(question, "Do not close", qtbot)
    assert dock.isVisible()
    answer(press_cross(dock, qtbot), "Keep it running", qtbot)
    assert dock.isHidden()
    assert not panel.findChild(ViewList).isEnabled(), "it is still running"
    dock.show()
    qtbot.wait(50)
    assert panel.findChild(QPushButton, "cancel").isEnabled()
    answer(press_cross(dock, qtbot), "Stop and keep", qtbot)
    qtbot.waitUntil(lambda: "(cancelled)" in viewer.layers[-1].name or len(viewer.layers) == 2, timeout=10_000)
    assert not [widget for widget in QApplication.allWidgets() if isinstance(widget, FusePanel)]


def test_closing_a_panel_without_a_run_asks_nothing(viewer, qtbot):
    dock, _ = open_panel(viewer, "Fuse", qtbot)
    window = dock.window()
    qtbot.mouseClick(dock.findChild(QPushButton, "QTitleBarCloseButton"), LEFT)
    qtbot.wait(100)
    assert not window.findChildren(QMessageBox)
    assert not [one for one in window.findChildren(QDockWidget) if one.windowTitle() == "Fuse"]


def test_the_cross_asks_also_when_the_panel_floats(viewer, running, qtbot):
    dock, _ = running
    dock.setFloating(True)
    qtbot.wait(100)
    question = press_cross(dock, qtbot)
    assert question is not None
    answer(question, "Stop and keep", qtbot)
    qtbot.waitUntil(lambda: "(cancelled)" in viewer.layers[-1].name or len(viewer.layers) == 2, timeout=10_000)
