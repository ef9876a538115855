"""Light without support in the Compare panel, in a real window of napari."""

import compare_window
import numpy as np
import pytest
from scipy import ndimage

from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.engine.run_attenuation import attenuation_of_run
from napari_mvfusion.engine.unsupported import find_unsupported
from napari_mvfusion.gui.layers.notes import KEY, annotate
from napari_mvfusion.measures.contrast import contrast_limits
from napari_mvfusion.methods import Average, JointWiener, LearnedFusion
from small_models import FROM_WIENER, save

empty, person = compare_window.empty, compare_window.person

AVERAGE = "nuclei average · light without support"
CBIF = "nuclei cbif · light without support"


@pytest.fixture
def alone(person):
    """A person who compares the average alone, in the tab Difference."""
    person.tick("nuclei cbif")
    person.turn_to("Difference")
    return person


def find(person):
    person.press("find_unsupported")
    person.wait_until_computed()


def test_every_ticked_result_gets_the_light_of_the_core_over_itself(person, small_views):
    person.turn_to("Difference")
    layers = person.viewer.layers
    layers["nuclei cbif"].visible = True
    active = layers.selection.active.name
    find(person)
    assert person.messages("error") == []
    assert layers.selection.active.name == active
    assert "nuclei ground truth · light without support" not in layers
    for name in ("nuclei average", "nuclei cbif"):
        result, added = layers[name], layers[f"{name} · light without support"]
        expected = find_unsupported(result.data, small_views.views)
        np.testing.assert_allclose(added.data, expected.values, atol=1e-3 * float(np.max(result.data)))
        assert layers.index(added) == layers.index(result) + 1
        assert added.visible == result.visible
        assert (added.colormap.name, added.blending) == ("magenta", "additive")
        np.testing.assert_allclose(added.contrast_limits, (0, contrast_limits([result.data])[1]), rtol=1e-5)
        assert f"'{name}': {expected.sentence}" in " ".join(person.messages("warning"))
    assert [name for name, _, _ in person.rows()] == [row.name for row in layers if "support" not in row.name]


def test_a_result_of_much_of_it_is_warned_of_and_one_of_little_is_not(alone, small_views):
    find(alone)
    assert alone.messages("done") == []
    (said,) = alone.messages("warning")
    assert said.endswith("not supported by the views. It may be invented or misplaced: look at its layer.")
    sharp = fuse(small_views.views, JointWiener())
    alone.viewer.layers["nuclei average"].data = np.asarray(sharp.data)
    annotate(alone.viewer.layers["nuclei average"], recipe=sharp.recipe)
    find(alone)
    assert alone.messages("warning") == []
    (said,) = alone.messages("done")
    assert said.startswith("'nuclei average': ")
    assert said.endswith("of the light of the fused volume is not supported by the views.")


def test_pressed_again_the_layer_is_replaced_and_stays_hidden_where_it_was(alone, small_views):
    find(alone)
    layers = alone.viewer.layers
    before, count, once = layers[AVERAGE], len(layers), layers[AVERAGE].data
    before.visible = not before.visible
    seen = before.visible
    points = np.zeros(small_views.truth.shape)
    points[tuple(np.array(points.shape) // 2)] = 1
    spot = ndimage.gaussian_filter(points, 1.5)
    layers["nuclei average"].data = layers["nuclei average"].data + spot / spot.max() * np.max(
        layers["nuclei average"].data
    )
    find(alone)
    assert len(layers) == count
    assert layers[AVERAGE].visible == seen
    assert layers[AVERAGE].data.sum() > once.sum()


def test_it_lies_where_the_result_lies(empty, small_views, fused_nuclei):
    place = {"scale": (2, 0.5, 0.5), "translate": (5, 6, 7), "units": ("um", "um", "um")}
    viewer = empty.viewer
    for view in small_views.views.views:
        notes = {"role": "view", "name": view.name, "psf": view.psf, "sample": "scaled"}
        viewer.add_image(view.data, name=f"scaled view {view.name}", metadata={KEY: notes}, **place)
    result = viewer.add_image(fused_nuclei["average"], name="scaled result", metadata={KEY: {"role": "fused"}}, **place)
    empty.turn_to("Difference")
    find(empty)
    added = viewer.layers["scaled result · light without support"]
    np.testing.assert_allclose(added.extent.world, result.extent.world)
    assert added.units == result.units


def test_of_a_series_it_is_that_of_the_time_point_that_is_shown(empty, small_views, fused_nuclei):
    viewer, once = empty.viewer, fused_nuclei["average"]
    for view in small_views.views.views:
        notes = {"role": "view", "name": view.name, "psf": view.psf, "sample": "series"}
        data = np.stack([view.data, view.data[:, :, ::-1]])
        viewer.add_image(data, name=f"series view {view.name}", metadata={KEY: notes})
    viewer.add_image(np.stack([0 * once, once[:, :, ::-1]]), name="series result", metadata={KEY: {"role": "fused"}})
    viewer.dims.set_current_step(0, 1)
    empty.turn_to("Difference")
    find(empty)
    added = viewer.layers["series result · light without support"]
    assert added.data.shape == once.shape
    flipped = [View(view.data[:, :, ::-1], view.name, psf=view.psf) for view in small_views.views.views]
    views = RegisteredViews(flipped, small_views.views.grid)
    expected = find_unsupported(once[:, :, ::-1], views)
    np.testing.assert_allclose(added.data, expected.values, atol=1e-3 * float(once.max()))


def test_it_takes_the_attenuation_and_the_views_of_the_run(alone, small_views):
    one = small_views.views.select(["0"])
    with pytest.warns(UserWarning, match="there is only view"):
        run = fuse(one, Average())
    annotate(alone.viewer.layers["nuclei average"], recipe=run.recipe)
    alone.viewer.layers["nuclei average"].data = np.asarray(run.data)
    find(alone)
    asked = find_unsupported(run.data, one, attenuation=attenuation_of_run(run.recipe, one))
    np.testing.assert_allclose(alone.viewer.layers[AVERAGE].data, asked.values, atol=1e-3 * float(np.max(run.data)))


def test_a_model_that_says_how_sure_it_is_is_asked_too(alone, small_views, tmp_path, monkeypatch):
    monkeypatch.setenv("MVFUSION_MODELS", str(tmp_path))
    save(tmp_path, "sure", FROM_WIENER.model_copy(update={"uncertainty": True}))
    method = LearnedFusion(model="sure", mirrored=False)
    run = fuse(small_views.views, method)
    annotate(alone.viewer.layers["nuclei average"], recipe=run.recipe)
    alone.viewer.layers["nuclei average"].data = np.asarray(run.data)
    find(alone)
    layers = alone.viewer.layers
    added = layers["nuclei average · may be off by"]
    expected = np.asarray(fuse(small_views.views, method.model_copy(update={"shows": "uncertainty"})).data)
    np.testing.assert_allclose(added.data, expected, atol=1e-3 * float(expected.max()))
    assert (added.colormap.name, added.visible) == ("cyan", False)
    added.visible = True
    find(alone)
    assert layers["nuclei average · may be off by"].visible
    (tmp_path / "sure.safetensors").unlink()
    find(alone)
    assert "how far it may be off is not known" in " ".join(alone.messages("error"))
    assert AVERAGE in layers


def test_what_cannot_be_found_is_said_and_the_others_are_found(person):
    person.turn_to("Difference")
    layers = person.viewer.layers
    person.viewer.add_image(np.ones((8, 8, 8), np.float32), name="small")
    person.tick("small")
    holed = np.array(layers["nuclei average"].data)
    holed[1, 2, 3] = np.nan
    layers["nuclei average"].data = holed
    find(person)
    errors = " ".join(person.messages("error"))
    assert "'small' does not lie on the grid of the open views" in errors
    assert "'nuclei average': the fused volume has a NaN or infinite value at (z, y, x) = (1, 2, 3)" in errors
    assert CBIF in layers
    assert AVERAGE not in layers


def test_a_turned_result_is_said_not_to_belong_to_the_views(alone):
    alone.viewer.layers["nuclei average"].rotate = (0, 0, 30)
    alone.press("find_unsupported")
    assert "does not lie on the grid of the open views" in alone.messages("error")[0]
    assert alone.see("find_unsupported").isEnabled()


def test_where_there_are_no_results_or_no_psfs_the_button_says_so(alone):
    button = alone.see("find_unsupported")
    assert button.isEnabled()
    alone.tick("nuclei average")
    assert not button.isEnabled()
    assert button.toolTip() == "Tick results first"
    alone.tick("nuclei average")
    for view in ("nuclei view 0", "nuclei view 180"):
        annotate(alone.viewer.layers[view], psf=None)
    alone.bot.waitUntil(lambda: not button.isEnabled())
    assert button.toolTip() == "No view with a PSF is open"


def test_it_can_be_cancelled_and_a_result_may_go_meanwhile(person):
    person.turn_to("Difference")
    person.press("find_unsupported")
    del person.viewer.layers["nuclei average"]
    person.wait_until_computed()
    assert AVERAGE not in person.viewer.layers
    assert CBIF in person.viewer.layers
    person.press("find_unsupported")
    if person.see("cancel").isVisible():
        person.press("cancel")
    person.wait_until_computed()
    assert person.see("find_unsupported").isEnabled()
    assert person.messages("error") == []
