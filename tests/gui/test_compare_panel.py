"""The Compare panel in a real window of napari, opened by its menu, clicked and typed at as a person does."""

import gc
import time

import compare_window
import numpy as np
import pytest
from compare_window import Comparer, halves, looks
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication, QCheckBox, QDoubleSpinBox, QPushButton, QSlider

from napari_mvfusion.gui.layers.notes import KEY
from napari_mvfusion.gui.panels.compare.panel import ComparePanel
from napari_mvfusion.measures.brightness import fit_brightness

BOTH = ("nuclei average", "nuclei cbif")

empty, person = compare_window.empty, compare_window.person


@pytest.fixture
def two(empty, qtbot):
    """Two flat volumes with voxels of half a micrometre, dark and bright, that differ in gain and offset only a bit."""
    dark = np.full((20, 24, 40), 0.3, np.float32)
    bright = np.full((20, 24, 40), 0.8, np.float32)
    for name, data in (("dark", dark), ("bright", bright)):
        empty.viewer.add_image(
            data,
            name=name,
            contrast_limits=(0, 1),
            scale=(0.5, 0.5, 0.5),
            translate=(3, 4, 5),
            units=("um",) * 3,
            metadata={KEY: {"role": "fused"}},
        )
    qtbot.wait(100)
    return empty


def test_it_is_in_the_menu_of_layers(empty):
    found = [action.text() for menu in empty.viewer.window.layers_menu.actions() for action in _under(menu)]
    assert any(text.startswith("Compare") for text in found)


def _under(action):
    if action.menu() is None:
        return [action]
    action.menu().aboutToShow.emit()
    return [action, *(deeper for one in action.menu().actions() for deeper in _under(one))]


def test_empty_it_says_what_to_do_first(empty):
    assert empty.words("nothing").startswith("Nothing to compare yet. Open views")
    assert not empty.see("grid").isVisible()


def test_the_list_knows_roles_and_follows_the_layers(person):
    assert person.rows() == [
        ("nuclei view 0", "view", True),
        ("nuclei view 180", "view", True),
        ("nuclei average", "result", True),
        ("nuclei cbif", "result", True),
        ("nuclei ground truth", "ground truth", True),
    ]
    assert person.choices("truth")[0] == "none"
    assert person.see("grid", QPushButton).isEnabled()
    person.viewer.layers["nuclei cbif"].name = "mine"
    del person.viewer.layers["nuclei view 180"]
    person.viewer.add_points(np.zeros((1, 3)))
    person.viewer.add_image(np.zeros((4, 4)), name="flat")
    person.viewer.add_image(np.zeros((4, 4, 4)), name="other")
    assert [(name, ticked) for name, _, ticked in person.rows()][1:] == [
        ("nuclei average", True),
        ("mine", True),
        ("nuclei ground truth", True),
        ("other", False),
    ]


def test_side_by_side_shows_the_ticked_layers_and_brings_everything_back(person):
    viewer = person.viewer
    before, zoom = looks(viewer), viewer.scene.camera.zoom
    person.tick("nuclei view 180")
    person.press("grid")
    person.bot.wait(500)
    assert viewer.canvas.grid.enabled
    assert [layer.name for layer in viewer.layers if layer.visible] == [
        "nuclei view 0",
        "nuclei average",
        "nuclei cbif",
        "nuclei ground truth",
    ]
    for layer in viewer.layers:
        assert layer.name_overlay.visible == layer.visible
        assert not layer.visible or layer.colormap.name == "gray"
    picture = person.picture().max(axis=-1)
    rows, columns = viewer.canvas.grid.actual_shape(viewer.layers)
    assert rows * columns >= 4
    assert (rows, columns) != (1, 4), "long pictures are stacked"
    for row in np.array_split(picture, rows):
        assert (row > 60).mean() > 0.02, "there is something in each row"
    person.tick("nuclei view 180")
    assert viewer.layers["nuclei view 180"].visible
    person.tick("nuclei view 0")
    assert not viewer.layers["nuclei view 0"].visible
    person.press("grid")
    assert looks(viewer) == before
    assert not viewer.canvas.grid.enabled
    assert viewer.scene.camera.zoom == pytest.approx(zoom)


def test_the_contrast_is_shared_and_fitted_to_the_gain_of_each(person, small_views):
    viewer = person.viewer
    person.press("grid")
    first, truth = viewer.layers["nuclei view 0"], viewer.layers["nuclei ground truth"]
    scale, offset = fit_brightness(small_views.truth, np.asarray(first.data))
    person.bot.waitUntil(lambda: truth.contrast_limits[1] < 0.9 * first.contrast_limits[1] / scale + 1)
    person.bot.wait(300)
    np.testing.assert_allclose(np.array(truth.contrast_limits) * scale + offset, first.contrast_limits, rtol=1e-4)
    truth.contrast_limits = (0.1, 0.6)
    common = np.array([0.1, 0.6]) * scale + offset
    np.testing.assert_allclose(first.contrast_limits, common, rtol=1e-4)
    high = person.see("high", QDoubleSpinBox)
    assert high.value() == pytest.approx(common[1], rel=0.01)
    high.setFocus()
    high.selectAll()
    person.bot.keyClicks(high, "500")
    person.bot.keyClick(high, Qt.Key.Key_Return)
    assert first.contrast_limits[1] == 500
    assert truth.contrast_limits[1] == pytest.approx((500 - offset) / scale, rel=1e-4)
    person.bot.mouseClick(person.see("fit", QCheckBox), Qt.MouseButton.LeftButton)


def test_layers_that_come_join_the_grid_and_those_that_go_leave_it(person):
    viewer = person.viewer
    person.press("grid")
    viewer.add_image(np.random.default_rng(0).random((32, 32, 128)), name="new", metadata={KEY: {"role": "fused"}})
    person.bot.wait(300)
    assert viewer.layers["new"].colormap.name == "gray"
    assert viewer.layers["new"].name_overlay.visible
    del viewer.layers["nuclei average"]
    person.bot.wait(300)
    for name in [row[0] for row in person.rows()]:
        del viewer.layers[name]
    person.bot.wait(100)
    assert not viewer.canvas.grid.enabled
    assert person.words("nothing")


def test_the_curtain_shows_one_on_each_side_and_follows_slider_and_mouse(two):
    viewer = two.viewer
    before = looks(viewer)
    two.bot.mouseClick(two.see("fit", QCheckBox), Qt.MouseButton.LeftButton)
    two.press("curtain")
    curtain = viewer.layers["Curtain dark | bright"]
    left, right = halves(two.picture())
    assert left == pytest.approx(0.3 * 255, abs=3)
    assert right == pytest.approx(0.8 * 255, abs=3)
    np.testing.assert_array_equal(np.asarray(curtain.data[:, :, 19:21])[0, 0], np.float32([0.3, 0.8]))
    np.testing.assert_allclose(curtain.scale, 0.5)
    picture = two.picture()
    yellow = (picture[..., 0] > 150) & (picture[..., 2] < 80)
    column = round(np.flatnonzero(yellow.any(axis=0)).mean())
    row = picture.shape[0] // 2
    canvas = two.canvas()
    assert yellow[:, column].sum() > 100
    two.bot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=QPoint(column, row))
    for step in range(1, 11):
        two.bot.mouseMove(canvas, QPoint(column + 10 * step, row))
        two.bot.wait(20)
    two.bot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=QPoint(column + 100, row))
    moved = 100 / viewer.scene.camera.zoom / 0.5
    assert curtain.data.at == pytest.approx(20 + moved, abs=1.1)
    assert two.see("split", QSlider).value() == pytest.approx(500 + 1000 * moved / 40, abs=5)
    assert viewer.scene.camera.mouse_pan
    two.bot.keyClick(two.see("split", QSlider), Qt.Key.Key_Home)
    assert curtain.data.at == 0
    two.bot.keyClick(two.see("split", QSlider), Qt.Key.Key_End)
    assert np.asarray(curtain.data[:]).max() == np.float32(0.3)
    two.press("curtain")
    assert looks(viewer) == before


def test_the_curtain_follows_the_axes_and_works_in_3d(two):
    viewer = two.viewer
    two.bot.mouseClick(two.see("fit", QCheckBox), Qt.MouseButton.LeftButton)
    two.press("curtain")
    curtain = viewer.layers["Curtain dark | bright"]
    viewer.dims.order = (2, 1, 0)
    viewer.reset_view()
    assert curtain.data.axis == 0
    left, right = halves(two.picture())
    assert (left, right) == (pytest.approx(0.3 * 255, abs=3), pytest.approx(0.8 * 255, abs=3))
    viewer.dims.order = (0, 1, 2)
    viewer.dims.ndisplay = 3
    viewer.reset_view()
    two.bot.wait(500)
    assert not curtain.visible
    left, right = halves(two.picture())
    assert (left, right) == (pytest.approx(0.3 * 255, abs=4), pytest.approx(0.8 * 255, abs=4))
    two.see("split", QSlider).setValue(250)
    plane = viewer.layers["dark"].experimental_clipping_planes[0]
    assert plane.position[2] == pytest.approx(5 + 0.5 * 9.5)
    viewer.dims.ndisplay = 2
    assert curtain.visible
    assert len(viewer.layers["dark"].experimental_clipping_planes) == 0


def test_the_curtain_needs_one_grid_and_says_so(two):
    two.viewer.layers["bright"].scale = (1, 1, 1)
    before = looks(two.viewer)
    two.press("curtain")
    assert "different grids" in two.messages("error")[0]
    assert not two.see("curtain").isChecked()
    assert looks(two.viewer) == before
    assert [layer.name for layer in two.viewer.layers] == ["dark", "bright"]


@pytest.mark.parametrize("name", ["dark", "Curtain dark | bright", "Curtain edge"])
def test_removing_what_the_curtain_needs_takes_it_away(two, name):
    two.press("curtain")
    del two.viewer.layers[name]
    two.bot.wait(100)
    left = {"dark", "bright"} - {name}
    assert {layer.name for layer in two.viewer.layers} == left
    assert not two.see("curtain").isChecked()
    assert all(layer.visible for layer in two.viewer.layers)


def test_flicker_changes_over_by_key_and_by_button(two):
    viewer = two.viewer
    dark, bright = viewer.layers["dark"], viewer.layers["bright"]
    canvas = two.canvas()
    two.bot.keyClick(canvas, Qt.Key.Key_K)
    assert two.see("flicker").isChecked()
    assert (dark.visible, bright.visible) == (True, False)
    two.bot.keyClick(canvas, Qt.Key.Key_K)
    assert (dark.visible, bright.visible) == (False, True)
    assert two.words("now").startswith("Shown: bright")
    two.bot.keyPress(canvas, Qt.Key.Key_K)
    assert dark.visible
    two.bot.wait(500)
    two.bot.keyRelease(canvas, Qt.Key.Key_K)
    assert bright.visible, "held, it is only a glimpse"
    two.press("change_over")
    assert dark.visible
    two.press("flicker")
    assert dark.visible
    assert bright.visible


def test_the_caption_of_flicker_is_on_the_pair_alone(two):
    viewer = two.viewer
    two.press("flicker")
    assert [layer.name for layer in viewer.layers if layer.name_overlay.visible] == ["dark", "bright"]
    later = viewer.add_image(np.ones((4, 4)), name="later")
    assert not two.see("flicker").isChecked(), "a picture that is opened is seen, and not under another's name"
    assert later.visible
    assert not any(layer.name_overlay.visible for layer in viewer.layers)


def test_a_tap_is_no_hold_where_layers_appear_slowly(two):
    dark, bright = two.viewer.layers["dark"], two.viewer.layers["bright"]
    two.bot.keyClick(two.canvas(), Qt.Key.Key_K)
    bright.events.visible.connect(lambda event: time.sleep(0.5))
    two.bot.keyClick(two.canvas(), Qt.Key.Key_K)
    assert (dark.visible, bright.visible) == (False, True)


def test_a_key_that_somebody_else_uses_is_left_to_them(make_napari_viewer_proxy, plugin, qtbot):
    viewer = make_napari_viewer_proxy(show=True)
    pressed = []
    viewer.bind_key("K", lambda viewer: pressed.append(1))
    _, panel = viewer.window.add_plugin_dock_widget("napari-mvfusion", "Compare")
    person = Comparer(viewer, panel, qtbot)
    qtbot.keyClick(person.canvas(), Qt.Key.Key_K)
    assert pressed == [1]
    person.close()
    qtbot.keyClick(person.canvas(), Qt.Key.Key_K)
    assert pressed == [1, 1]


@pytest.mark.parametrize("mode", ["grid", "curtain", "flicker"])
def test_closing_the_panel_leaves_nothing_behind(person, mode):
    viewer = person.viewer
    before, names = looks(viewer), [layer.name for layer in viewer.layers]
    person.press(mode)
    person.turn_to("Profile")
    person.press("draw")
    person.close()
    person.bot.wait(200)
    assert [layer.name for layer in viewer.layers] == names
    assert looks(viewer) == before
    assert not viewer.canvas.grid.enabled
    assert "K" not in {str(key) for key in viewer.keymap}
    assert [callback.__name__ for callback in viewer.mouse_drag_callbacks] == ["drag_to_zoom"]
    person.panel = None
    gc.collect()
    assert not [widget for widget in QApplication.allWidgets() if isinstance(widget, ComparePanel)]
    viewer.layers["nuclei cbif"].data = viewer.layers["nuclei cbif"].data * 2
    viewer.dims.set_current_step(0, 3)


def test_closing_the_window_in_the_middle_of_it_does_no_harm(person):
    person.press("curtain")
    person.turn_to("Metrics")
    person.press("compute")
    person.viewer.close()
