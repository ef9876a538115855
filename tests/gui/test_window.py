"""First contact in a real window of napari: menus, the way from a sample to a fused volume, and closing things."""

import numpy as np
import pytest
from qtpy.QtCore import Qt, QThreadPool
from qtpy.QtWidgets import QApplication
from views_person import choose_in_dialog

from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.engine.series import Allocated, FuseJob, SeriesPart
from napari_mvfusion.gui.jobs.result import ResultLayer
from napari_mvfusion.gui.layers.layer_data import placement
from napari_mvfusion.gui.panels.fuse.panel import FusePanel
from napari_mvfusion.io.opening import open_volume, read_recipe
from napari_mvfusion.methods import Average


@pytest.fixture
def viewer(make_napari_viewer_proxy, plugin):
    return make_napari_viewer_proxy(show=True)


def actions(menu):
    """Texts and actions of a menu and its submenus."""
    found = {}
    for action in menu.actions():
        if action.menu():
            menu_of = action.menu()
            menu_of.aboutToShow.emit()
            found |= actions(menu_of)
        found[action.text()] = action
    return found


@pytest.fixture
def panel(viewer, qtbot):
    """The panel, opened by the menu as a person does."""
    actions(viewer.window.plugins_menu)["Fuse (Multi-view fusion)"].trigger()
    qtbot.wait(50)
    (panel,) = (widget for widget in QApplication.allWidgets() if isinstance(widget, FusePanel))
    return panel


@pytest.fixture
def running(viewer, panel, small_views, show_views, make_person):
    """A long run that has already filled its layer."""
    show_views(viewer, small_views)
    person = make_person(panel)
    person.use("Multi-view")
    person.enter("iterations", "1000")
    person.press("fuse")
    person.bot.waitUntil(lambda: np.isfinite(viewer.layers[-1].data).all())
    return person


def test_the_menus_offer_samples_and_the_panel(viewer):
    samples = actions(viewer.window.file_menu)
    assert {"Embryo, four views", "Nuclei, two views"} <= samples.keys()
    assert "Fuse (Multi-view fusion)" in actions(viewer.window.layers_menu)


def test_from_the_menu_to_a_fused_volume_on_the_screen(viewer, panel, make_person, qtbot):
    person = make_person(panel)
    actions(viewer.window.file_menu)["Nuclei, two views"].trigger()
    qtbot.wait(200)
    assert [row[:2] for row in person.rows()] == [("nuclei view 0", True), ("nuclei view 180", True)]
    before = viewer.screenshot(flash=False)
    person.use("Content")
    person.press("fuse")
    person.wait_until_done()
    qtbot.wait(300)
    after = viewer.screenshot(flash=False)
    colours = np.ptp(before[..., :3].astype(int), axis=-1).max()
    assert colours > 50, "the views are seen in colours"
    assert np.ptp(after[..., :3].astype(int), axis=-1).max() < colours / 2, "the gray result covers them"
    assert after.max() > 200


def test_the_file_menu_saves_a_result_with_its_recipe(
    viewer, panel, small_views, show_views, make_person, tmp_path, qtbot
):
    show_views(viewer, small_views)
    person = make_person(panel)
    person.use("Average")
    person.press("fuse")
    person.wait_until_done()
    save = next(
        action for text, action in actions(viewer.window.file_menu).items() if text.startswith("Save fused result")
    )
    choose_in_dialog(tmp_path / "mine.ome.tif")
    save.trigger()
    qtbot.waitUntil(lambda: (tmp_path / "mine.ome.tif").exists())
    data, _ = open_volume(tmp_path / "mine.ome.tif")
    np.testing.assert_array_equal(np.asarray(data[:]), np.asarray(viewer.layers[-1].data))
    assert read_recipe(tmp_path / "mine.ome.tif")["method"]["name"] == "average"


def test_tiles_appear_one_after_the_other_over_the_views(viewer, small_views, qtbot):
    viewer.add_image(np.ones(small_views.views.grid.shape), colormap="green", contrast_limits=(0, 1))
    job = FuseJob((SeriesPart((), small_views.views),), (), Average(), "cpu")
    result = ResultLayer(viewer, job, "result", placement(small_views.views.grid), (0.0, 1.0))
    values = np.full(small_views.views.grid.shape, np.nan, np.float32)
    result.follow(Allocated(values))
    viewer.dims.set_current_step(0, 3)
    seen = []
    for event in fuse_events(job.views, job.method, into=values, tile=(32, 32, 32)):
        result.follow(event)
        qtbot.wait(250)
        picture = viewer.screenshot(flash=False)[..., :3].astype(int)
        seen.append(int((picture[..., 1] - picture[..., 0] > 100).sum()))
    assert seen[-1] == 0
    assert len({count for count in seen if count > 0}) >= 4, "less of the green views is seen after each tile"
    assert sorted(seen, reverse=True) == seen


def test_closing_the_panel_ends_the_run_and_marks_the_layer(viewer, running, qtbot):
    (dock,) = viewer.window.dock_widgets.values()
    viewer.window.remove_dock_widget(dock)
    qtbot.waitUntil(lambda: viewer.layers[-1].name == "nuclei ebmd (cancelled)")
    assert not [widget for widget in QApplication.allWidgets() if isinstance(widget, FusePanel)]
    del viewer.layers[0]


def test_closing_the_viewer_ends_the_run(viewer, running, qtbot):
    viewer.close()
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0)


def test_closing_the_window_ends_the_run(running, qtbot):
    window = running.panel.window()
    # The fixture of napari closes its viewer again.
    window.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
    window.close()
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0)
    qtbot.wait(100)
