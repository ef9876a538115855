"""Maps of how far a result can be trusted, from the Fuse panel."""

import numpy as np
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QCheckBox

from napari_mvfusion.engine.fusion import fuse, fuse_events
from napari_mvfusion.gui.layers.notes import notes
from napari_mvfusion.methods import EBMD, LearnedFusion


def tick_maps(person):
    box = person.see("maps", QCheckBox)
    assert box.isVisibleTo(person.panel)
    person.bot.mouseClick(box, Qt.MouseButton.LeftButton, pos=QPoint(8, box.height() // 2))
    assert box.isChecked()


def test_they_come_as_layers_over_the_result_and_much_light_without_support_is_warned_of(
    model, person, small_views, show_views
):
    show_views(model, small_views)
    person.use("Multi-view")
    person.enter("iterations", "2")
    tick_maps(person)
    person.press("fuse")
    person.wait_until_done()
    result = next(layer for layer in model.layers if notes(layer).get("role") == "fused")
    *_, end = fuse_events(small_views.views, EBMD(iterations=2), maps=True)
    expected = end.fused
    np.testing.assert_allclose(result.data, expected.data, rtol=1e-5, atol=1e-6)
    added = model.layers[f"{result.name} · light without support"]
    assert model.layers.index(added) == model.layers.index(result) + 1
    np.testing.assert_allclose(added.data, expected.maps.unsupported, atol=1e-3 * float(np.max(expected.data)))
    assert added.visible
    assert any("not supported by the views" in text for text in person.messages("warning"))
    assert person.messages("error") == []


def test_a_model_that_says_how_sure_it_is_has_a_layer_of_that_too(model, person, small_views, show_views):
    show_views(model, small_views)
    person.use("Generator")
    tick_maps(person)
    person.press("fuse")
    person.wait_until_done()
    assert person.messages("error") == []
    (added,) = [layer for layer in model.layers if layer.name.endswith("· may be off by")]
    assert not added.visible
    expected = fuse(small_views.views, LearnedFusion(shows="uncertainty"))
    np.testing.assert_allclose(added.data, expected.data, atol=1e-3 * float(np.max(expected.data)))


def test_files_lie_beside_the_result(model, person, small_views, show_views, tmp_path):
    show_views(model, small_views)
    person.use("Multi-view")
    person.enter("iterations", "2")
    tick_maps(person)
    person.choose("place", "OME-TIFF")
    person.enter("path", str(tmp_path / "fused.tif"))
    person.press("fuse")
    person.wait_until_done()
    assert (tmp_path / "fused-unsupported.tif").exists()
    assert any("light without support" in layer.name for layer in model.layers)
