"""The Fuse panel, used as a person uses it, without a window of napari."""

import shutil
import threading
from typing import ClassVar

import dask.array as da
import h5py
import numpy as np
import pytest
import tifffile
import torch
import zarr
from copied_run import fused_elsewhere
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QDialogButtonBox, QLabel, QLineEdit, QPlainTextEdit, QProgressBar, QPushButton

from napari_mvfusion.data.events import TileDone
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine import series
from napari_mvfusion.engine.finishing import partial_folder
from napari_mvfusion.engine.fusion import fuse, fuse_events
from napari_mvfusion.engine.recipe import load_recipe, recipe_path
from napari_mvfusion.gui.layers.notes import KEY, annotate
from napari_mvfusion.gui.panels.fuse.method_form import MethodForm
from napari_mvfusion.gui.panels.fuse.panel import FusePanel
from napari_mvfusion.gui.reader import get_reader
from napari_mvfusion.io.opening import open_volume
from napari_mvfusion.io.psf_files import open_psf
from napari_mvfusion.methods import CBIF, EBMD, METHODS, Average
from napari_mvfusion.system.words import sentence
from patience import PATIENCE_SECONDS
from small_methods import Diffuse


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


def test_without_psfs_it_names_the_ways_out_and_average_is_a_button(model, person, small_views, show_views):
    layers = show_views(model, small_views)
    for layer in layers:
        layer.metadata = {KEY: {**layer.metadata[KEY], "psf": None}}
    form = person.panel.findChild(MethodForm)
    form.tick_only("ebmd")
    person.bot.waitUntil(lambda: not person.can_press("fuse"))
    person.bot.waitUntil(lambda: "measure PSFs from beads" in person.see("hint", QLabel).text())
    hint = person.see("hint", QLabel).text()
    assert hint.startswith("2 of 2 views have no PSF")
    assert "Average" in hint
    person.press("use average")
    person.bot.waitUntil(lambda: person.can_press("fuse"))
    assert [type(method) for method in form.methods()] == [Average]
    assert not person.panel.findChild(QPushButton, "use average").isVisible()


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
    person.use("Content")
    person.enter("sigma1", "6.5")
    person.enter("sigma2", "9")
    person.press("fuse")
    person.wait_until_done()
    assert model.layers[-1].metadata[KEY]["recipe"]["method"]["parameters"]["sigma1"] == 6.5
    np.testing.assert_array_equal(model.layers[-1].data, fuse(small_views.views, CBIF(sigma1=6.5, sigma2=9)).data)


def test_only_ticked_views_are_fused(model, person, small_views, show_views):
    show_views(model, small_views)
    person.tick(1)
    # The PSFs are looked at first, which takes a while on a busy machine.
    person.bot.waitUntil(lambda: person.hint().startswith("There is only view '0'"))
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
    person.use("Multi-view")
    assert person.hint().startswith("'nuclei view 0' has no PSF")
    assert not person.can_press("fuse")
    assert [psf for _, _, psf in person.rows()] == ["PSF…", "PSF 27 × 9 × 9"]
    choose_file(test_data / "psf" / "two_view" / "psf_0.tif")
    person.bot.mouseClick(person.psf_button(0), Qt.MouseButton.LeftButton)
    person.bot.waitUntil(lambda: first.metadata[KEY]["psf"] is not None)
    psf = first.metadata[KEY]["psf"]
    expected = open_psf(test_data / "psf" / "two_view" / "psf_0.tif", None, clean=True)
    np.testing.assert_array_equal(psf, expected.psf)
    assert person.rows()[0][2] == "PSF " + " × ".join(str(n) for n in psf.shape)
    assert person.messages("done") == [f"'nuclei view 0': psf_0.tif is the PSF now ({'; '.join(expected.notes)})."]
    assert second.metadata[KEY]["psf"].shape == (27, 9, 9)


def test_psfs_that_the_command_line_mends_do_not_stop_fuse_and_a_quiet_line_says_what_was_done(
    model, person, small_views, show_views, tmp_path
):
    layers = show_views(model, small_views)
    person.use("Multi-view")
    person.enter("iterations", "1")
    even = np.pad(3 * np.asarray(layers[0].metadata[KEY]["psf"]), ((1, 0), (0, 1), (3, 0))).astype(np.float32)
    tifffile.imwrite(tmp_path / "even.tif", even)
    quiet = person.see("psf_notes", QLabel)
    assert not quiet.isVisible()
    choose_file(tmp_path / "even.tif")
    person.bot.mouseClick(person.psf_button(0), Qt.MouseButton.LeftButton)
    expected = open_psf(tmp_path / "even.tif", None, clean=True)
    person.bot.waitUntil(lambda: quiet.isVisible() and person.can_press("fuse"))
    np.testing.assert_array_equal(layers[0].metadata[KEY]["psf"], expected.psf)
    assert person.messages("problem") == []
    assert person.hint() == ""
    assert quiet.text() == f"PSF made ready: nuclei view 0: {'; '.join(expected.notes)}"
    # A script gives the other view one that is as odd: it is made ready without a question too.
    annotate(layers[1], psf=even)
    person.bot.waitUntil(lambda: quiet.text().startswith("2 PSFs made ready") and person.can_press("fuse"))
    np.testing.assert_array_equal(layers[1].metadata[KEY]["psf"], expected.psf)
    person.press("fuse")
    person.wait_until_done()
    recipe = model.layers[-1].metadata[KEY]["recipe"]
    assert [view["psf_notes"] for view in recipe["views"]] == [list(expected.notes)] * 2
    with_files = small_views.views.with_psfs([expected.psf] * 2)
    np.testing.assert_array_equal(model.layers[-1].data, fuse(with_files, EBMD(iterations=1)).data)


def test_what_the_command_line_refuses_is_a_red_box_and_all_are_mended_at_once(model, person, small_views, show_views):
    layers = show_views(model, small_views)
    person.use("Multi-view")
    for layer in layers:
        psf = layer.metadata[KEY]["psf"].copy()
        psf[0, 0, 0] = np.nan
        annotate(layer, psf=psf)
    person.bot.waitUntil(lambda: len(person.messages("problem")) == 2)
    said = "values that are NaN or infinite: measure or export it again."
    assert all(text.endswith(said) for text in person.messages("problem"))
    person.bot.waitUntil(lambda: person.hint() == "The PSF in the red box has to be mended first")
    assert not person.can_press("fuse")
    person.press("fix_all")
    person.bot.waitUntil(lambda: person.can_press("fuse"))
    assert person.messages("problem") == []
    assert not person.see("fix_all").isVisible()
    assert all(np.isfinite(layer.metadata[KEY]["psf"]).all() for layer in layers)


def test_a_psf_that_is_none_is_refused_in_words(model, person, small_views, show_views, tmp_path):
    show_views(model, small_views)
    tifffile.imwrite(tmp_path / "series.tif", np.ones((3, 2, 5, 5), np.uint8), metadata={"axes": "TZYX"})
    choose_file(tmp_path / "series.tif")
    person.bot.mouseClick(person.psf_button(0), Qt.MouseButton.LeftButton)
    person.bot.waitUntil(lambda: bool(person.messages("error")))
    assert "series.tif" in person.messages("error")[0]
    assert person.rows()[0][2] == "PSF 27 × 9 × 9"


def test_a_psf_without_light_is_shown_as_a_flaw(model, person, small_views, show_views, tmp_path):
    show_views(model, small_views)
    tifffile.imwrite(tmp_path / "dark.tif", np.zeros((5, 5), np.uint8))
    choose_file(tmp_path / "dark.tif")
    person.bot.mouseClick(person.psf_button(0), Qt.MouseButton.LeftButton)
    person.bot.waitUntil(lambda: bool(person.messages("problem")))
    (words,) = person.messages("problem")
    refused = open_psf(tmp_path / "dark.tif", None, clean=True).flaw
    assert words == f"nuclei view 0: {sentence(refused)}."


def test_cancel_keeps_what_is_done_within_a_second_and_marks_the_layer(model, person, small_views, show_views):
    show_views(model, small_views)
    person.use("Multi-view")
    person.enter("iterations", "1000")
    begun = []
    model.layers.events.inserted.connect(lambda event: begun.append(bool(np.isnan(event.value.data).all())))
    person.press("fuse")
    result = model.layers[-1]
    assert begun == [True]
    assert not person.can_press("fuse")
    assert not person.views.isEnabled()
    person.bot.waitUntil(lambda: np.isfinite(result.data).all())
    person.bot.waitUntil(lambda: "left" in person.see("step", QLabel).text())
    assert person.see("step", QLabel).text().startswith("Iteration ")
    person.press("cancel")
    assert person.see("step", QLabel).text() == "Stopping after this step…"
    person.bot.waitUntil(lambda: person.can_press("fuse"))
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
    person.use("Multi-view")
    person.enter("iterations", "10000")
    person.press("fuse")
    person.bot.waitUntil(lambda: person.see("progress", QProgressBar).value() > 0)
    del model.layers[-1]
    person.wait_until_done()
    assert [layer.name for layer in model.layers] == ["nuclei view 0", "nuclei view 180"]
    assert person.messages("warning") == ["Cancelled, as the layer of its result was deleted."]


def test_removing_a_view_while_it_is_fused_does_no_harm(model, person, small_views, show_views):
    show_views(model, small_views)
    person.use("Multi-view")
    person.enter("iterations", "3")
    person.press("fuse")
    del model.layers[0]
    person.wait_until_done()
    np.testing.assert_array_equal(model.layers[-1].data, fuse(small_views.views, EBMD(iterations=3)).data)


def test_an_error_of_the_run_is_told_in_words_and_leaves_no_empty_layer(model, person, small_views, show_views):
    layers = show_views(model, small_views)
    # At the border it would be taken for what the view did not record.
    layers[0].data = layers[0].data.copy()
    layers[0].data[9, 8, 5] = np.nan
    person.bot.wait(120)
    person.press("fuse")
    person.wait_until_done()
    (message,) = person.messages("error")
    assert message.startswith("View '0'")
    assert "(9, 8, 5)" in message
    assert len(model.layers) == 2


class LosesTheDevice(Diffuse):
    """Does what a GPU does that falls off the bus after the first iteration."""

    name: ClassVar[str] = "lost"
    title: ClassVar[str] = "Loses the device"
    largest_tile_voxels: int = 1_000_000

    def prepare(self, views, device):
        bound = yield from super().prepare(views, device)
        run = bound.run

        def until_it_is_lost(stage, tile):
            if stage.label.startswith("iteration 2"):
                raise torch.AcceleratorError("CUDA error: unspecified launch failure\nCUDA kernel errors might be ...")
            return run(stage, tile)

        bound.run = until_it_is_lost
        return bound


def test_a_lost_gpu_ends_the_run_in_words_and_what_is_done_stays(
    model, qtbot, make_person, small_views, show_views, monkeypatch
):
    monkeypatch.setitem(METHODS, "lost", LosesTheDevice)
    panel = FusePanel(model)
    qtbot.addWidget(panel)
    panel.show()
    person = make_person(panel)
    show_views(model, small_views)
    person.use("Loses")
    person.press("fuse")
    person.wait_until_done()
    assert person.messages("error") == [
        "The device failed (CUDA error: unspecified launch failure): run again on it, or with device cpu; a run into a "
        "file goes on where it stopped"
    ]
    assert model.layers[-1].name == "nuclei lost (failed)"
    assert model.layers[-1].data.max() > 0
    person.use("Average")
    person.press("fuse")
    person.wait_until_done()
    assert model.layers[-1].name == "nuclei average"
    assert not person.messages("error")


class NeedsTooMuch(Diffuse):
    """Asks for more memory than there is, however small the tile."""

    name: ClassVar[str] = "huge"
    title: ClassVar[str] = "Needs too much"
    largest_tile_voxels: int = 1


def test_a_run_without_memory_ends_in_words_and_leaves_no_empty_layer(
    model, qtbot, make_person, small_views, show_views, monkeypatch
):
    monkeypatch.setitem(METHODS, "huge", NeedsTooMuch)
    panel = FusePanel(model)
    qtbot.addWidget(panel)
    panel.show()
    person = make_person(panel)
    show_views(model, small_views)
    person.use("Needs")
    person.press("fuse")
    person.wait_until_done()
    (message,) = person.messages("error")
    assert message.startswith("Memory ran out even for a tile of")
    assert any("going on with smaller tiles" in warning for warning in person.messages("warning"))
    assert [layer.name for layer in model.layers] == ["nuclei view 0", "nuclei view 180"]
    assert person.can_press("fuse")


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
    person.see("path").clear()
    person.bot.waitUntil(lambda: not person.can_press("fuse"))
    assert person.hint().startswith("The result has no file yet")
    person.enter("path", str(tmp_path / "fused"))
    person.press("fuse")
    person.wait_until_done()
    expected = np.mean([view.data for view in small_views.views.views], axis=0)
    np.testing.assert_allclose(zarr.open_array(out / "0", mode="r")[:], expected, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(model.layers[-1].data), expected, rtol=1e-5)
    assert load_recipe(recipe_path(out)).method.name == "average"
    assert str(out) in person.messages("done")[0]


@pytest.mark.parametrize(("kind", "ending"), [("HDF5", ".h5"), ("OME-TIFF", ".ome.tif")])
def test_a_result_goes_to_the_format_that_is_chosen_or_typed(
    model, person, small_views, show_views, tmp_path, kind, ending
):
    show_views(model, small_views)
    person.choose("place", "OME-Zarr")
    person.enter("path", str(tmp_path / "mine.zarr"))
    person.choose("place", kind)
    assert person.see("path").text() == str(tmp_path / f"mine{ending}")
    person.enter("path", str(tmp_path / "other.zarr"))
    assert person.see("place").currentText() == "OME-Zarr on disk"
    person.enter("path", str(tmp_path / f"mine{ending}"))
    assert person.see("place").currentText() == f"{kind} on disk"
    person.press("fuse")
    person.wait_until_done()
    expected = np.mean([view.data for view in small_views.views.views], axis=0)
    np.testing.assert_allclose(np.asarray(open_volume(tmp_path / f"mine{ending}")[0][:]), expected, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(model.layers[-1].data), expected, rtol=1e-5)
    assert load_recipe(recipe_path(tmp_path / f"mine{ending}")).method.name == "average"


def test_a_session_that_ended_on_disk_begins_with_a_new_name_beside_the_last_one(
    model, person, small_views, show_views, tmp_path, qtbot, make_person
):
    show_views(model, small_views)
    person.choose("place", "OME-Zarr")
    person.enter("path", str(tmp_path / "nuclei-fused"))
    person.press("fuse")
    person.wait_until_done()
    # What an unfinished run or a deleted volume left is no new name either.
    partial_folder(tmp_path / "nuclei-fused-2.zarr").mkdir()
    (tmp_path / "nuclei-fused-3.zarr.recipe.json").write_text("{}")
    panel = FusePanel(model)
    qtbot.addWidget(panel)
    panel.show()
    qtbot.waitExposed(panel)
    newcomer = make_person(panel)
    qtbot.waitUntil(lambda: newcomer.see("path").text() == str(tmp_path / "nuclei-fused-4.zarr"))
    assert newcomer.see("place").currentText() == "OME-Zarr on disk"
    newcomer.press("fuse")
    newcomer.wait_until_done()
    assert (tmp_path / "nuclei-fused-4.zarr" / "zarr.json").exists()
    # And so on, as long as nobody names a file.
    qtbot.waitUntil(lambda: newcomer.see("path").text() == str(tmp_path / "nuclei-fused-5.zarr"))
    assert newcomer.can_press("fuse")


def test_views_with_files_propose_a_name_beside_them_for_every_method(model, person, views_folder):
    (views_folder / "a-fused-cbif.zarr").mkdir()
    for data, look, _ in get_reader(str(views_folder))(str(views_folder))[:2]:
        model.add_image(data, **look)
    person.choose("place", "OME-Zarr")
    person.bot.waitUntil(lambda: person.see("path").text() == str(views_folder / "a-fused.zarr"))
    person.use("Average", "Content")
    person.bot.waitUntil(lambda: person.see("path").text() == str(views_folder / "a-fused-2.zarr"))
    assert person.can_press("fuse")


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
    person.use("Multi-view")
    person.enter("iterations", "100000")
    person.press("fuse")
    person.bot.waitUntil(lambda: "iteration" in person.see("step", QLabel).text().lower())
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


def test_a_cancelled_zarr_goes_on_where_it_stopped(model, person, small_views, show_views, tmp_path, monkeypatch):
    pressed = threading.Event()

    def held(*arguments, **options):
        """The engine, which waits in the midst of its work until somebody has pressed Cancel."""
        for event in fuse_events(*arguments, **options):
            yield event
            if isinstance(event, TileDone) and event.fraction > 0.3:
                assert pressed.wait(PATIENCE_SECONDS)

    monkeypatch.setattr(series, "fuse_events", held)
    show_views(model, small_views)
    out = tmp_path / "fused.zarr"
    person.choose("place", "OME-Zarr")
    person.enter("path", str(out))
    person.use("Multi-view")
    person.enter("iterations", "25")
    person.press("fuse")
    # The bar shows how far preparing is before.
    person.bot.waitUntil(lambda: "iteration" in person.see("step", QLabel).text().lower())
    person.press("cancel")
    pressed.set()
    person.wait_until_done()
    assert not out.exists()
    assert "fuse to the same file again" in person.messages("warning")[0]
    person.choose("existing", "Go on")
    person.press("fuse")
    person.wait_until_done()
    expected = fuse(small_views.views, EBMD(iterations=25)).data
    np.testing.assert_array_equal(zarr.open_array(out / "0", mode="r")[:], expected)


def test_presets_set_the_parameters_and_name_what_is_entered(model, person, small_views, show_views):
    show_views(model, small_views)
    person.use("Multi-view")
    presets = person.see("presets")
    assert presets.currentText() == "Best"
    person.enter("iterations", "7")
    assert presets.currentText() == "Own values"
    person.look_at("Average")
    person.look_at("Multi-view")
    assert person.see("iterations").value() == 7
    person.pick("presets", "Fast")
    assert person.see("iterations").value() == 10
    assert person.see("kernel").value() == "optimisation_1"
    person.pick("presets", "Paper")
    paper = EBMD(iterations=48, lambda_=0.004, accelerated=False, attenuation="none")
    assert person.panel.findChild(MethodForm).current() == paper
    assert presets.currentText() == "Paper"
    person.pick("presets", "Best")
    assert person.see("iterations").value() == EBMD().iterations
    assert person.see("kernel").value() == EBMD().kernel


def test_several_methods_give_a_layer_each(model, person, small_views, show_views):
    show_views(model, small_views)
    person.use("Average", "Content", "Multi-view")
    person.enter("iterations", "3")
    person.press("fuse")
    person.wait_until_done()
    assert [layer.name for layer in model.layers[2:]] == ["nuclei average", "nuclei cbif", "nuclei ebmd"]
    for layer, method in zip(model.layers[2:], (Average(), CBIF(), EBMD(iterations=3)), strict=True):
        np.testing.assert_array_equal(layer.data, fuse(small_views.views, method).data)
        assert layer.metadata[KEY]["recipe"]["method"]["name"] == method.name
    done = person.messages("done")
    assert [message.split(":")[0] for message in done] == [Average.title, CBIF.title, EBMD.title]


def test_cancel_ends_all_methods(model, person, small_views, show_views):
    show_views(model, small_views)
    person.use("Multi-view", "Average")
    person.look_at("Multi-view")
    person.enter("iterations", "10000")
    person.press("fuse")
    person.bot.waitUntil(lambda: person.see("progress", QProgressBar).value() > 0)
    person.bot.waitUntil(lambda: "iteration 2" in person.see("step", QLabel).text())
    assert "CPU" in person.see("machine", QLabel).text()
    assert "megavoxels/s" in person.see("machine", QLabel).text()
    assert "GiB in use" in person.see("machine", QLabel).text()
    person.press("cancel")
    person.wait_until_done()
    assert [layer.name for layer in model.layers[2:]] == ["nuclei average", "nuclei ebmd (cancelled)"]
    assert np.isfinite(model.layers[-1].data).all()


def test_without_a_method_it_says_so(model, person, small_views, show_views):
    show_views(model, small_views)
    person.use()
    assert person.hint() == "No method is ticked: tick one or more"
    assert not person.can_press("fuse")


def test_several_methods_on_disk_get_a_file_each(model, person, small_views, show_views, tmp_path):
    show_views(model, small_views)
    person.use("Average", "Content")
    person.choose("place", "OME-Zarr")
    person.enter("path", str(tmp_path / "fly"))
    person.press("fuse")
    person.wait_until_done()
    assert sorted(path.name for path in tmp_path.glob("fly*")) == [
        "fly-average.zarr",
        "fly-average.zarr.recipe.json",
        "fly-cbif.zarr",
        "fly-cbif.zarr.recipe.json",
    ]
    # What may be replaced is not what the next run takes by itself.
    assert person.see("path").text() == str(tmp_path / "fly-2.zarr")
    assert person.can_press("fuse")
    person.enter("path", str(tmp_path / "fly"))
    assert not person.can_press("fuse")
    assert person.hint().startswith("fly-average.zarr is there already")


def test_fuse_can_be_pressed_again_beside_done_and_writes_to_a_fresh_name(
    model, person, small_views, show_views, tmp_path
):
    show_views(model, small_views)
    person.choose("place", "OME-Zarr")
    person.enter("path", str(tmp_path / "left-01.zarr"))
    for out in ("left-01.zarr", "left-01-2.zarr", "left-01-3.zarr"):
        person.press("fuse")
        person.wait_until_done()
        assert person.messages("done")[0].endswith(f"Saved as {tmp_path / out}.")
        assert person.can_press("fuse")
    assert len(list(tmp_path.glob("left-01*.zarr"))) == 3
    person.choose("place", "HDF5")
    assert person.see("path").text() == str(tmp_path / "nuclei-fused.h5")


def test_a_result_gets_a_name_inside_an_hdf5_file(model, person, small_views, show_views, tmp_path):
    show_views(model, small_views)
    person.choose("place", "HDF5")
    person.enter("path", f"{tmp_path / 'mine.h5'}:/left/fused")
    assert person.see("place").currentText() == "HDF5 on disk"
    person.press("fuse")
    person.wait_until_done()
    expected = np.mean([view.data for view in small_views.views.views], axis=0)
    with h5py.File(tmp_path / "mine.h5") as file:
        np.testing.assert_allclose(file["left/fused"][:], expected, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(model.layers[-1].data), expected, rtol=1e-5)
    assert load_recipe(recipe_path(tmp_path / "mine.h5")).method.name == "average"
    # The next one is the same dataset of another file.
    assert person.see("path").text() == f"{tmp_path / 'mine-2.h5'}:/left/fused"
    person.enter("path", f"{tmp_path / 'mine.h5'}:/right")
    assert person.hint().startswith("mine.h5 is there already")
    person.choose("place", "OME-Zarr")
    assert person.see("path").text() == str(tmp_path / "mine.zarr")


def test_a_series_of_datasets_gets_a_file_each(model, person, small_views, tmp_path):
    for layer in movie(small_views, False):
        model.add_layer(layer)
    person.bot.wait(120)
    person.choose("place", "HDF5")
    for again in (False, True):
        if again:
            (tmp_path / "movie-001.h5").unlink()
        person.enter("path", f"{tmp_path / 'movie.h5'}:/left")
        if again:
            person.choose("existing", "Go on")
        person.press("fuse")
        person.wait_until_done()
        assert person.messages("error") == []
        with h5py.File(tmp_path / "movie-001.h5") as file:
            np.testing.assert_allclose(np.asarray(model.layers[-1].data)[1], file["left"][:], rtol=1e-6)


def movie(simulation, lazily):
    """Two time points of each view, as layers with a time axis in seconds."""
    for view in simulation.views.views:
        data = np.stack([np.asarray(view.data), 2 * np.asarray(view.data)])
        notes = {"role": "view", "name": view.name, "angle": view.angle, "psf": view.psf, "sample": "movie"}
        yield Image(
            da.from_array(data, chunks=(1, 16, 16, 16)) if lazily else data,
            name=f"movie {view.name}",
            scale=(30, 0.5, 0.25, 0.25),
            units=("s", "um", "um", "um"),
            axis_labels=("t", "z", "y", "x"),
            metadata={KEY: notes},
        )


@pytest.mark.parametrize("lazily", [False, True])
def test_each_time_point_is_fused(model, person, small_views, lazily):
    for layer in movie(small_views, lazily):
        model.add_layer(layer)
    person.bot.wait(120)
    assert "2 volumes, fused one after the other" in person.see("volume", QLabel).text()
    person.use("Multi-view")
    person.enter("iterations", "2")
    person.press("fuse")
    person.wait_until_done()
    result = model.layers[-1]
    grid = Grid(small_views.views.grid.shape, (0.5, 0.25, 0.25))
    first = fuse(RegisteredViews(small_views.views.views, grid), EBMD(iterations=2)).data
    np.testing.assert_allclose(result.data[0], first, rtol=1e-5)
    np.testing.assert_allclose(result.data[1], 2 * first, rtol=1e-3)
    np.testing.assert_allclose(result.scale, (30, 0.5, 0.25, 0.25))
    assert result.axis_labels == ("t", "z", "y", "x")
    assert [str(unit) for unit in result.units] == ["second", *["micrometer"] * 3]
    assert len(result.metadata[KEY]["recipe"]["series"]) == 2


def test_a_series_on_disk_goes_on_with_what_is_missing(model, person, small_views, tmp_path):
    for layer in movie(small_views, False):
        model.add_layer(layer)
    person.bot.wait(120)
    person.choose("place", "OME-Zarr")
    person.enter("path", str(tmp_path / "movie"))
    person.press("fuse")
    person.wait_until_done()
    assert (tmp_path / "movie-000.zarr" / "zarr.json").exists()
    whole = np.asarray(model.layers[-1].data)
    kept = (tmp_path / "movie-000.zarr" / "zarr.json").stat().st_mtime_ns
    shutil.rmtree(tmp_path / "movie-001.zarr")
    person.enter("path", str(tmp_path / "movie"))
    person.choose("existing", "Go on")
    person.press("fuse")
    person.wait_until_done()
    np.testing.assert_array_equal(np.asarray(model.layers[-1].data), whole)
    assert (tmp_path / "movie-000.zarr" / "zarr.json").stat().st_mtime_ns == kept


def test_other_time_points_are_refused_in_words(model, person, small_views):
    first, second = movie(small_views, False)
    second.data = second.data[:1]
    for layer in (first, second):
        model.add_layer(layer)
    person.bot.wait(120)
    assert person.hint().startswith("Layer 'movie 180' has leading axes of (1,), but 'movie 0' leading axes of (2,)")


def test_a_turned_view_gives_a_turned_result(model, person, small_views, show_views):
    for layer in show_views(model, small_views):
        # In the plane that is shown: napari cannot slice other turned volumes.
        layer.rotate = 30
        layer.shear = (0, 0, 0.2)
        layer.translate = (3, 2, 1)
    person.bot.wait(120)
    person.press("fuse")
    person.wait_until_done()
    result, first = model.layers[-1], model.layers[0]
    np.testing.assert_allclose(result.data, fuse(small_views.views, Average()).data, rtol=1e-5)
    for point in ((0, 0, 0), (5, 6, 7)):
        np.testing.assert_allclose(result.data_to_world(point), first.data_to_world(point))


def test_a_multiscale_view_is_fused_at_full_resolution(model, person, small_views, show_views):
    for view in small_views.views.views:
        data = np.asarray(view.data)
        notes = {"role": "view", "name": view.name, "psf": view.psf, "sample": "fine"}
        model.add_image([data, data[::2, ::2, ::2]], multiscale=True, name=view.name, metadata={KEY: notes})
    person.bot.wait(120)
    person.press("fuse")
    person.wait_until_done()
    np.testing.assert_allclose(model.layers[-1].data, fuse(small_views.views, Average()).data, rtol=1e-5)


def test_a_run_is_copied_as_a_command_and_as_python(model, person, views_folder, tmp_path, monkeypatch):
    for data, look, _ in get_reader(str(views_folder))(str(views_folder)):
        model.add_image(data, **look)
    person.bot.wait(120)
    person.use("Multi-view")
    person.enter("iterations", "2")
    model.layers["a view 180"].metadata = {
        KEY: {**model.layers["a view 180"].metadata[KEY], "weight": 0.5},
    }
    person.press("fuse")
    person.wait_until_done()
    expected = np.asarray(model.layers[-1].data)
    for kind in ("Command", "Python"):
        again = fused_elsewhere(person, kind, tmp_path / kind, monkeypatch)
        np.testing.assert_array_equal(again, expected)
    assert person.messages("done")[-1] == "Copied as Python."


def test_views_that_are_in_no_file_cannot_be_copied(model, person, small_views, show_views):
    show_views(model, small_views)
    person.see("copy").menu().actions()[0].trigger()
    assert "cannot be opened from files elsewhere" in person.messages("error")[0]


def test_what_was_used_last_comes_back(model, person, small_views, show_views, qtbot, make_person):
    show_views(model, small_views)
    person.use("Content", "Multi-view")
    person.look_at("Content")
    person.enter("sigma1", "7")
    person.look_at("Multi-view")
    person.enter("iterations", "3")
    person.press("fuse")
    person.wait_until_done()
    later = FusePanel(ViewerModel())
    qtbot.addWidget(later)
    assert [method.name for method in later.findChild(MethodForm).methods()] == ["cbif", "ebmd"]
    assert later.findChild(MethodForm).methods()[0].sigma1 == 7
    assert later.findChild(MethodForm).current().iterations == 3


def test_memory_and_time_stand_beside_fuse_before_the_start(model, person, small_views, show_views, qtbot, make_person):
    def told(someone):
        return someone.see("forecast", QLabel).text()

    assert not person.see("forecast").isVisible()
    show_views(model, small_views)
    qtbot.waitUntil(lambda: told(person) == "Time not known yet, at most 0.1 GiB of memory")
    person.use("Average", "Multi-view")
    person.enter("iterations", "2")
    qtbot.waitUntil(lambda: told(person).startswith("Time not known yet, at most"))
    person.press("fuse")
    person.wait_until_done()
    qtbot.waitUntil(lambda: told(person).startswith("About ") and "at most" in told(person))
    # Another session on this computer knows it too.
    panel = FusePanel(model)
    qtbot.addWidget(panel)
    panel.show()
    newcomer = make_person(panel)
    qtbot.waitUntil(lambda: told(newcomer).startswith("About "))
    person.use()
    qtbot.waitUntil(lambda: not person.see("forecast").isVisible())


def test_a_forecast_that_does_not_fit_says_what_helps(model, person, small_views, show_views, qtbot, monkeypatch):
    monkeypatch.setattr("napari_mvfusion.engine.forecast.free_bytes", lambda device: 2**24)
    show_views(model, small_views)
    qtbot.waitUntil(lambda: "does not fit into 0.01 GiB of memory" in person.see("forecast", QLabel).text())
