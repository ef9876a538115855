"""The live preview in a real window: what is in sight, or a box, fused again while sliders move."""

import numpy as np
import pytest
from qtpy.QtCore import QThreadPool
from qtpy.QtWidgets import QApplication, QCheckBox, QLabel

from napari_mvfusion.data.geometry import Box
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.gui.layers.notes import KEY
from napari_mvfusion.gui.panels.fuse.panel import FusePanel
from napari_mvfusion.gui.panels.regions import region_in_sight
from napari_mvfusion.methods import EBMD, Average, LearnedFusion
from patience import PATIENCE


@pytest.fixture
def viewer(make_napari_viewer_proxy, plugin):
    return make_napari_viewer_proxy(show=True)


@pytest.fixture
def at_work(viewer, qtbot, show_views, small_views, make_person):
    """A person in front of the panel with two views open, EBMD ticked with few iterations."""
    show_views(viewer, small_views)
    _, panel = viewer.window.add_plugin_dock_widget("napari-mvfusion", "Fuse")
    viewer.window.resize(1500, 900)
    qtbot.wait(100)
    viewer.fit_to_view()
    person = make_person(panel)
    person.use("Multi-view")
    person.enter("iterations", "4")
    return person


def switch(person):
    person.see("live", QCheckBox).click()


def words(person):
    return person.see("preview", QLabel).text()


def wait_for_picture(person):
    """Until the full picture of the last change is there: nothing is due, and nothing is being computed."""
    live = person.panel._live

    def settled():
        going_on = person.panel._due.due or live._due.due or live._task.running
        return not going_on and words(person).endswith("\N{NO-BREAK SPACE}s")

    person.bot.waitUntil(settled)


def preview_of(viewer):
    (layer,) = (layer for layer in viewer.layers if layer.metadata.get(KEY, {}).get("role") == "preview")
    return layer


def whole_at(layer, volume):
    """The part of a fused volume that a preview layer covers."""
    start = np.rint(layer.affine.translate).astype(int)
    return volume[tuple(slice(a, a + n) for a, n in zip(start, layer.data.shape, strict=True))]


def test_what_is_in_sight_is_fused_as_the_run_will(viewer, at_work, small_views):
    switch(at_work)
    wait_for_picture(at_work)
    layer = preview_of(viewer)
    expected = whole_at(layer, fuse(small_views.views, EBMD(iterations=4)).data)
    assert layer.data.shape == (32, 32, 128)
    assert np.abs(layer.data - expected).max() < 0.01 * expected.max()
    assert words(at_work).startswith("32 × 32 × 128 voxels · Multi-view deconvolution")


def test_the_generator_is_shown_as_the_run_will_after_a_quick_picture(viewer, at_work, small_views):
    at_work.look_at("Generator")
    said = []
    at_work.panel._live._task.reported.connect(lambda: said.append(words(at_work)))
    switch(at_work)
    wait_for_picture(at_work)
    assert said[-2:] == ["32 × 32 × 128 voxels · Generator (learned) · Wiener filter", words(at_work)]
    layer = preview_of(viewer)
    expected = whole_at(layer, fuse(small_views.views, LearnedFusion()).data)
    # Attenuation is found on a sample of the planes.
    assert np.abs(layer.data - expected).max() < 0.02 * expected.max()


def test_it_follows_parameters_methods_and_the_camera(viewer, at_work, small_views):
    switch(at_work)
    wait_for_picture(at_work)
    first = preview_of(viewer).data.copy()
    at_work.enter("iterations", "9")
    wait_for_picture(at_work)
    assert not np.array_equal(preview_of(viewer).data, first)
    at_work.look_at("Average")
    wait_for_picture(at_work)
    np.testing.assert_allclose(preview_of(viewer).data, fuse(small_views.views, Average()).data, rtol=1e-5)
    viewer.scene.camera.zoom = 40
    viewer.scene.camera.center = (0, 16, 100)
    wait_for_picture(at_work)
    layer = preview_of(viewer)
    assert layer.data.shape[1] < 32 or layer.data.shape[2] < 64
    np.testing.assert_allclose(layer.data, whole_at(layer, fuse(small_views.views, Average()).data), rtol=1e-5)
    start = layer.affine.translate
    assert abs(start[2] + layer.data.shape[2] / 2 - 100) <= 1


def test_a_box_is_drawn_and_followed(viewer, at_work, small_views):
    at_work.pick("region", "a box I draw")
    switch(at_work)
    at_work.bot.waitUntil(lambda: words(at_work) == "Draw a rectangle over the region to fuse.")
    box = viewer.layers["Preview box"]
    box.add_rectangles(np.array([[15, 4, 30], [15, 4, 60], [15, 20, 60], [15, 20, 30]]))
    wait_for_picture(at_work)
    layer = preview_of(viewer)
    assert layer.data.shape == (32, 16, 30)
    np.testing.assert_array_equal(layer.affine.translate, (0, 4, 30))
    switch(at_work)
    at_work.bot.wait(100)
    assert not layer.visible
    assert not box.visible
    switch(at_work)
    wait_for_picture(at_work)
    assert preview_of(viewer) == layer
    assert layer.visible
    assert box.visible
    assert layer.data.shape == (32, 16, 30)


def test_it_is_hidden_when_turned_off_and_shown_again_with_a_new_picture(viewer, at_work, small_views):
    switch(at_work)
    wait_for_picture(at_work)
    layer = preview_of(viewer)
    switch(at_work)
    assert not layer.visible
    at_work.look_at("Average")
    at_work.bot.wait(200)
    assert not layer.visible
    switch(at_work)
    wait_for_picture(at_work)
    assert preview_of(viewer) == layer
    assert layer.visible
    np.testing.assert_allclose(layer.data, fuse(small_views.views, Average()).data, rtol=1e-5)
    layer.visible = False
    at_work.look_at("Multi-view")
    wait_for_picture(at_work)
    assert not layer.visible, "the person has hidden it"


def test_the_hidden_layer_may_be_deleted(viewer, at_work):
    switch(at_work)
    wait_for_picture(at_work)
    switch(at_work)
    viewer.layers.remove(preview_of(viewer))
    switch(at_work)
    wait_for_picture(at_work)
    assert preview_of(viewer).visible


def test_a_layer_with_other_axes_takes_its_place(viewer, at_work):
    switch(at_work)
    wait_for_picture(at_work)
    for layer in list(viewer.layers)[:2]:
        layer.units = ("um", "um", "um")
    wait_for_picture(at_work)
    assert [str(unit) for unit in preview_of(viewer).units] == ["micrometer"] * 3


def test_old_previews_are_dropped_while_a_slider_moves(viewer, at_work, monkeypatch):
    switch(at_work)
    wait_for_picture(at_work)
    task = at_work.panel._live._task
    begun, start = [], task.start

    def noted(steps, previewer, method, box):
        begun.append(method.iterations)
        start(steps, previewer, method, box)

    monkeypatch.setattr(task, "start", noted)
    shown = []
    task.reported.connect(lambda: shown.append(begun[-1]))
    at_work.enter("iterations", "1000")
    at_work.bot.waitUntil(lambda: begun[-1:] == [1000] and task.running)
    for number in range(2, 8):
        at_work.see("iterations").setValue(number)
        at_work.bot.wait(70)
    wait_for_picture(at_work)
    assert shown[-1] == 7, "the last one is shown"
    assert not task.running


def test_taking_the_layer_away_turns_it_off(viewer, at_work):
    switch(at_work)
    wait_for_picture(at_work)
    viewer.layers.remove(preview_of(viewer))
    at_work.bot.waitUntil(lambda: not at_work.see("live", QCheckBox).isChecked())
    assert len(viewer.layers) == 2
    assert QThreadPool.globalInstance().waitForDone(PATIENCE)


def test_problems_are_told_in_words_and_go_away(viewer, at_work):
    view = viewer.layers["nuclei view 0"]
    known = view.metadata[KEY]
    view.metadata = {KEY: {**known, "psf": None}}
    switch(at_work)
    at_work.bot.waitUntil(lambda: "has no PSF" in words(at_work))
    view.metadata = {KEY: known}
    wait_for_picture(at_work)
    assert preview_of(viewer).data.max() > 0


def test_a_run_goes_first_and_the_preview_stays(viewer, at_work):
    switch(at_work)
    wait_for_picture(at_work)
    at_work.press("fuse")
    at_work.wait_until_done()
    assert viewer.layers[-1].name == "nuclei ebmd"
    wait_for_picture(at_work)
    assert preview_of(viewer) in viewer.layers


def test_closing_the_panel_takes_the_preview_away(viewer, at_work, qtbot):
    at_work.enter("iterations", "1000")
    switch(at_work)
    qtbot.wait(400)
    (dock,) = viewer.window.dock_widgets.values()
    viewer.window.remove_dock_widget(dock)
    qtbot.wait(100)
    assert [layer.name for layer in viewer.layers] == ["nuclei view 0", "nuclei view 180"]
    assert QThreadPool.globalInstance().waitForDone(PATIENCE)
    assert not [widget for widget in QApplication.allWidgets() if isinstance(widget, FusePanel)]


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1)])
def test_the_region_is_about_the_slice_whichever_way_it_is_cut(model, order):
    layer = model.add_image(np.zeros((100, 200, 300), np.float32), scale=(2, 1, 1), translate=(10, 20, 30))
    model.dims.order = order
    model.dims.set_point(order[0], layer.data_to_world((50, 60, 70))[order[0]])
    model.canvas.size = (400, 400)
    model.scene.camera.zoom = 4
    world = layer.data_to_world((50, 60, 70))
    model.scene.camera.center = (0, world[order[1]], world[order[2]])
    box = region_in_sight(model, layer, (100, 200, 300))
    depth = order[0]
    assert box.shape[depth] == 32
    assert box.start[depth] + 16 == (50, 60, 70)[depth]
    # 100 world units are in sight: 50 planes of 2, or 100 of 1.
    for axis in order[1:]:
        assert box.shape[axis] == (50 if axis == 0 else 100)
        assert abs(box.start[axis] + box.shape[axis] / 2 - (50, 60, 70)[axis]) <= 1


def test_far_from_the_volume_the_region_stays_inside(model):
    layer = model.add_image(np.zeros((20, 40, 40), np.float32))
    model.scene.camera.center = (0, 500, -500)
    box = region_in_sight(model, layer, (20, 40, 40))
    assert box == box.clip((20, 40, 40))
    assert box.size > 0
    model.dims.ndisplay = 3
    assert region_in_sight(model, layer, (20, 40, 40)) == Box((0, 0, 0), (20, 40, 40))


def test_each_time_point_has_its_own_preview(viewer, qtbot, make_person, small_views):
    for view in small_views.views.views:
        data = np.stack([np.asarray(view.data), 3 * np.asarray(view.data)])
        notes = {"role": "view", "name": view.name, "psf": view.psf, "sample": "movie", "included": True}
        viewer.add_image(data, name=view.name, metadata={KEY: notes})
    _, panel = viewer.window.add_plugin_dock_widget("napari-mvfusion", "Fuse")
    viewer.window.resize(1500, 900)
    qtbot.wait(100)
    viewer.fit_to_view()
    person = make_person(panel)
    person.use("Average")
    viewer.dims.set_current_step(0, 1)
    switch(person)
    wait_for_picture(person)
    layer = preview_of(viewer)
    assert layer.data.shape == (1, 32, 32, 128)
    np.testing.assert_allclose(layer.data[0], 3 * fuse(small_views.views, Average()).data, rtol=1e-5)
    assert layer.affine.translate[0] == 1
