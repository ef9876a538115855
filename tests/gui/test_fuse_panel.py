"""The Fuse panel, used as a person uses it, without a window of napari."""

import numpy as np
import pytest
import tifffile
import zarr
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QDialogButtonBox, QLabel, QLineEdit, QPlainTextEdit, QProgressBar

from napari_mvfusion.fusion import fuse
from napari_mvfusion.gui.layers import KEY
from napari_mvfusion.methods import CBIF, EBMD
from napari_mvfusion.recipe import load_recipe, recipe_path


def choose_file(path):
    """Type a name into the file dialog once it is open, and press its button."""

    def answer():
        dialog = QApplication.activeModalWidget()
        if dialog is None or not dialog.isVisible():
            QTimer.singleShot(100, answer)
            return
        dialog.findChild(QLineEdit, "fileNameEdit").setText(str(path))
        dialog.findChild(QDialogButtonBox).button(QDialogButtonBox.StandardButton.Open).click()

    QTimer.singleShot(100, answer)


def test_without_views_it_says_what_to_do_first(person):
    assert not person.can_press("fuse")
    assert person.see("volume", QLabel).text().startswith("No views yet. Drop their folder")
    assert person.see("fuse").toolTip().startswith("No views yet.")


def test_the_result_is_the_volume_of_the_engine_where_the_views_lie(model, person, small_views, show_views):
    for layer in show_views(model, small_views):
        layer.scale, layer.translate = (0.5, 0.25, 0.25), (10, 20, 30)
    person.bot.wait(120)
    assert (
        person.see("volume", QLabel).text()
        == "2 views, 32 × 32 × 128 voxels\nvoxel size 0.5 × 0.25 × 0.25 µm (z, y, x)"
    )
    person.press("fuse")
    person.wait_until_done()
    result = model.layers[-1]
    expected = np.mean([view.data for view in small_views.views.views], axis=0)
    np.testing.assert_allclose(result.data, expected, rtol=1e-5)
    np.testing.assert_allclose(result.scale, (0.5, 0.25, 0.25))
    np.testing.assert_allclose(result.translate, (10, 20, 30))
    assert [str(unit) for unit in result.units] == ["micrometer"] * 3
    assert result.axis_labels == ("z", "y", "x")
    assert result.metadata[KEY]["recipe"]["grid"]["origin_um"] == [10, 20, 30]
    assert person.messages("done")[0].startswith("Done in")
    assert result.contrast_limits[1] == pytest.approx(np.percentile(expected, 99.9), rel=0.2)
    assert [name for name, _, _ in person.rows()] == ["nuclei view 0", "nuclei view 180"]


def test_parameters_that_are_entered_reach_the_method(model, person, small_views, show_views):
    show_views(model, small_views)
    person.choose("method", "Content")
    person.enter("sigma1", "6.5")
    person.enter("sigma2", "9")
    person.press("fuse")
    person.wait_until_done()
    assert model.layers[-1].metadata[KEY]["recipe"]["method"]["parameters"]["sigma1"] == 6.5
    np.testing.assert_array_equal(model.layers[-1].data, fuse(small_views.views, CBIF(sigma1=6.5, sigma2=9)).data)


def test_only_ticked_views_are_fused(model, person, small_views, show_views):
    show_views(model, small_views)
    person.tick(1)
    assert person.hint().startswith("There is only view '0'")
    person.press("fuse")
    person.wait_until_done()
    np.testing.assert_allclose(model.layers[-1].data, small_views.views.views[0].data, rtol=1e-6)
    person.tick(0)
    assert not person.can_press("fuse")
    assert person.hint() == "No view is ticked: tick the views to fuse"


def test_the_list_follows_the_layers(model, person, small_views, show_views, rng):
    first, second = show_views(model, small_views)
    model.add_image(rng.random((8, 8, 8)), name="something else")
    model.add_image(rng.random((8, 8)), name="flat")
    model.add_points(np.zeros((1, 3)))
    assert [row[:2] for row in person.rows()] == [
        ("nuclei view 0", True),
        ("nuclei view 180", True),
        ("something else", False),
    ]
    second.name = "from below"
    person.tick(0)
    assert [row[:2] for row in person.rows()][:2] == [("nuclei view 0", False), ("from below", True)]
    model.layers.remove(first)
    assert [row[:2] for row in person.rows()] == [("from below", True), ("something else", False)]
    show_views(model, small_views, "another sample")
    assert [ticked for _, ticked, _ in person.rows()] == [True, False, False, False]


def test_a_psf_is_loaded_from_a_file_for_one_view(model, person, small_views, show_views, test_data):
    first, second = show_views(model, small_views)
    first.metadata = {KEY: {**first.metadata[KEY], "psf": None}}
    person.choose("method", "Multi-view")
    assert "'0'" in person.hint()
    assert "PSF" in person.hint()
    assert not person.can_press("fuse")
    assert [psf for _, _, psf in person.rows()] == ["PSF…", "PSF 27 × 9 × 9"]
    choose_file(test_data / "psf" / "two_view" / "psf_0.tif")
    person.bot.mouseClick(person.psf_button(0), Qt.MouseButton.LeftButton)
    person.bot.wait(120)
    psf = first.metadata[KEY]["psf"]
    assert psf.sum() == pytest.approx(1, abs=1e-5)
    assert person.rows()[0][2] == "PSF " + " × ".join(str(n) for n in psf.shape)
    assert person.messages("done")[0].startswith("psf_0.tif is now the PSF of nuclei view 0")
    assert second.metadata[KEY]["psf"].shape == (27, 9, 9)


def test_a_psf_that_is_none_is_refused_in_words(model, person, small_views, show_views, tmp_path):
    show_views(model, small_views)
    tifffile.imwrite(tmp_path / "flat.tif", np.zeros((5, 5), np.uint8))
    choose_file(tmp_path / "flat.tif")
    person.bot.mouseClick(person.psf_button(0), Qt.MouseButton.LeftButton)
    assert "flat.tif" in person.messages("error")[0]
    assert person.rows()[0][2] == "PSF 27 × 9 × 9"


def test_cancel_keeps_what_is_done_within_a_second_and_marks_the_layer(model, person, small_views, show_views):
    show_views(model, small_views)
    person.choose("method", "Multi-view")
    person.enter("iterations", "1000")
    person.press("fuse")
    result = model.layers[-1]
    assert np.isnan(result.data).all()
    assert not person.can_press("fuse")
    assert not person.views.isEnabled()
    person.bot.waitUntil(lambda: np.isfinite(result.data).all(), timeout=20_000)
    person.bot.waitUntil(lambda: "left" in person.see("step", QLabel).text(), timeout=20_000)
    assert person.see("step", QLabel).text().startswith("Iteration ")
    person.press("cancel")
    assert person.see("step", QLabel).text() == "Stopping after this step…"
    person.bot.waitUntil(lambda: person.can_press("fuse"), timeout=1000)
    assert model.layers[-1].name == "nuclei ebmd (cancelled)"
    assert model.layers[-1].data.max() > 0
    assert "recipe" not in model.layers[-1].metadata[KEY]
    assert person.messages("warning") == ["Cancelled. The layer keeps what is finished."]
    log = person.see("log", QPlainTextEdit)
    assert not log.isVisible()
    person.press("details")
    assert log.isVisible()
    assert "changed by" in log.toPlainText()


def test_removing_the_result_ends_the_run(model, person, small_views, show_views):
    show_views(model, small_views)
    person.choose("method", "Multi-view")
    person.enter("iterations", "1000")
    person.press("fuse")
    person.bot.waitUntil(lambda: person.see("progress", QProgressBar).value() > 0, timeout=20_000)
    del model.layers[-1]
    person.wait_until_done()
    assert [layer.name for layer in model.layers] == ["nuclei view 0", "nuclei view 180"]


def test_removing_a_view_while_it_is_fused_does_no_harm(model, person, small_views, show_views):
    show_views(model, small_views)
    person.choose("method", "Multi-view")
    person.enter("iterations", "3")
    person.press("fuse")
    del model.layers[0]
    person.wait_until_done()
    np.testing.assert_array_equal(model.layers[-1].data, fuse(small_views.views, EBMD(iterations=3)).data)


def test_an_error_of_the_run_is_told_in_words_and_leaves_no_empty_layer(model, person, small_views, show_views):
    layers = show_views(model, small_views)
    layers[0].data = np.where(np.arange(128) == 5, np.nan, layers[0].data)
    person.bot.wait(120)
    person.press("fuse")
    person.wait_until_done()
    (message,) = person.messages("error")
    assert message.startswith("View '0'")
    assert "(0, 0, 5)" in message
    assert len(model.layers) == 2


def test_views_of_different_size_are_fused_on_the_grid_of_the_first(model, person, rng):
    low = rng.random((10, 12, 14)).astype(np.float32)
    for name, data, size in (("a", np.repeat(low, 2, axis=0), 1.0), ("b", low, 2.0)):
        model.add_image(data, name=name, scale=(size, 1, 1), units="um")
    for row in range(2):
        person.tick(row)
    person.press("fuse")
    person.wait_until_done()
    assert model.layers[-1].data.shape == (20, 12, 14)
    np.testing.assert_allclose(model.layers[-1].data[4], low[2], rtol=1e-5)


def test_a_zarr_is_written_shown_and_its_recipe_lies_beside_it(model, person, small_views, show_views, tmp_path):
    show_views(model, small_views)
    out = tmp_path / "fused.zarr"
    person.choose("place", "OME-Zarr")
    assert not person.can_press("fuse")
    assert person.hint().startswith("The result has no file yet")
    person.enter("path", str(tmp_path / "fused"))
    person.press("fuse")
    person.wait_until_done()
    expected = np.mean([view.data for view in small_views.views.views], axis=0)
    np.testing.assert_allclose(zarr.open_array(out / "0", mode="r")[:], expected, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(model.layers[-1].data), expected, rtol=1e-5)
    assert load_recipe(recipe_path(out)).method.name == "average"
    assert str(out) in person.messages("done")[0]


def test_a_file_that_is_there_is_replaced_only_when_that_is_chosen(model, person, small_views, show_views, tmp_path):
    show_views(model, small_views)
    out = tmp_path / "precious.zarr"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    person.choose("place", "OME-Zarr")
    person.enter("path", str(out))
    assert not person.can_press("fuse")
    assert person.hint() == "precious.zarr is there already: choose another name, or choose to replace it"
    person.choose("existing", "Replace")
    person.press("fuse")
    person.wait_until_done()
    assert not (out / "thesis.txt").exists()
    assert (out / "zarr.json").exists()


def test_a_cancelled_replacement_leaves_the_old_file_and_goes_on(model, person, small_views, show_views, tmp_path):
    show_views(model, small_views)
    out = tmp_path / "old.zarr"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    person.choose("place", "OME-Zarr")
    person.enter("path", str(out))
    person.choose("existing", "Replace")
    person.choose("method", "Multi-view")
    person.enter("iterations", "500")
    person.press("fuse")
    person.bot.waitUntil(lambda: person.see("progress", QProgressBar).value() > 0, timeout=20_000)
    person.press("cancel")
    person.wait_until_done()
    assert (out / "thesis.txt").exists()
    assert not person.can_press("fuse")
    person.enter("iterations", "5")
    person.choose("existing", "Go on")
    person.press("fuse")
    person.wait_until_done()
    assert (out / "zarr.json").exists()
    assert not (out / "thesis.txt").exists()


def test_a_cancelled_zarr_goes_on_where_it_stopped(model, person, small_views, show_views, tmp_path):
    show_views(model, small_views)
    out = tmp_path / "fused.zarr"
    person.choose("place", "OME-Zarr")
    person.enter("path", str(out))
    person.choose("method", "Multi-view")
    person.enter("iterations", "25")
    person.press("fuse")
    person.bot.waitUntil(lambda: person.see("progress", QProgressBar).value() > 50, timeout=20_000)
    person.press("cancel")
    person.wait_until_done()
    assert not out.exists()
    assert "fuse to the same file again" in person.messages("warning")[0]
    person.choose("existing", "Go on")
    person.press("fuse")
    person.wait_until_done()
    expected = fuse(small_views.views, EBMD(iterations=25)).data
    np.testing.assert_array_equal(zarr.open_array(out / "0", mode="r")[:], expected)


def test_defaults_come_back(model, person, small_views, show_views):
    show_views(model, small_views)
    person.choose("method", "Multi-view")
    person.enter("iterations", "7")
    person.choose("method", "Average")
    person.choose("method", "Multi-view")
    assert person.see("iterations").value() == 7
    person.press("defaults")
    assert person.see("iterations").value() == EBMD().iterations
