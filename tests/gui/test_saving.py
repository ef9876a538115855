"""Save views and Save result, used as a person uses them."""

import numpy as np
import pytest
import zarr
from copied_run import fused_elsewhere
from qtpy.QtWidgets import QLabel, QPushButton
from views_person import choose_in_dialog, in_front_of_the_views

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.trust import Fade
from napari_mvfusion.data.views import drain
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.engine.recipe import load_recipe, save_recipe
from napari_mvfusion.engine.savable_views import kinds
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.jobs.saving import views_steps
from napari_mvfusion.gui.jobs.tasks import Checkpoint
from napari_mvfusion.gui.layers.notes import ChosenTrust, annotate, notes
from napari_mvfusion.gui.panels.compare.panel import ComparePanel
from napari_mvfusion.imaging.threads import Interrupted
from napari_mvfusion.io.ome_zarr.writer import write_zarr
from napari_mvfusion.io.opening import open_views, open_volume, read_recipe
from napari_mvfusion.io.streaming import LeadingAxis
from napari_mvfusion.io.tiff.writer import write_tiff
from napari_mvfusion.io.watched import Watched
from napari_mvfusion.methods import Average


@pytest.fixture
def views_person(model, qtbot, plugin):
    return in_front_of_the_views(model, qtbot)


@pytest.fixture
def two(model, views_person, small_views, show_views):
    layers = show_views(model, small_views)
    views_person.settle()
    return layers


def save_as(person, kind, path):
    """Choose the kind in the menu of the button, type a name, and wait until it is written."""
    menu = person.see("save_views", QPushButton).menu()
    choose_in_dialog(path)
    next(action for action in menu.actions() if kind in action.text()).trigger()
    person.settle()


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.name)
@pytest.mark.parametrize("copied", ["Command", "Python"])
def test_saved_views_are_the_same_and_a_run_on_their_layers_can_be_copied(
    model, person, views_person, two, small_views, tmp_path, monkeypatch, kind, copied
):
    annotate(two[0], weight=2.0)
    save_as(views_person, kind.name, tmp_path / "mine")
    place = tmp_path / f"mine{kind.ending}"
    assert views_person.messages("error") == []
    assert str(place) in views_person.messages("done")[0]
    again = open_views(place)
    for view, old in zip(again.views, small_views.views.views, strict=True):
        np.testing.assert_array_equal(np.asarray(view.data[:]), old.data)
        np.testing.assert_allclose(view.psf.sum(), old.psf.sum(), rtol=1e-4)
        assert view.angle == old.angle
    if not kind.in_folder:
        assert [view.weight for view in again.views] == [2.0, 1.0]
        for view, old in zip(again.views, small_views.views.views, strict=True):
            np.testing.assert_allclose(view.psf, old.psf, rtol=1e-6)
    assert all(notes(layer)["source"].startswith(str(place)) for layer in two)
    person.press("fuse")
    person.wait_until_done()
    fused = np.asarray(model.layers[-1].data)
    np.testing.assert_array_equal(fused_elsewhere(person, copied, tmp_path / "elsewhere", monkeypatch), fused)


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.name)
def test_how_much_views_count_stays_with_layers_that_are_saved(
    model, person, views_person, two, tmp_path, monkeypatch, kind
):
    for layer in two:
        layer.scale, layer.translate = (1, 0.5, 0.5), (5, 6, 7)
    annotate(two[0], trust=ChosenTrust(box_um=((5.0, 6.0, 7.0), (30.0, 15.0, 20.0)), fade=Fade(4, 12)))
    annotate(two[1], trust=ChosenTrust(fade=Fade(10, 3)))
    save_as(views_person, kind.name, tmp_path / "mine")
    assert "How much views count from place to place is not in the files" in views_person.messages("done")[0]
    assert all(view.trust is None for view in open_views(tmp_path / f"mine{kind.ending}").views)
    person.press("fuse")
    person.wait_until_done()
    fused = np.asarray(model.layers[-1].data)
    np.testing.assert_array_equal(fused_elsewhere(person, "Command", tmp_path / "elsewhere", monkeypatch), fused)


def test_a_run_with_weights_is_copied_once_they_are_in_a_file(
    model, person, views_person, two, tmp_path, monkeypatch, rng
):
    save_as(views_person, "OME-Zarr…", tmp_path / "mine")
    annotate(two[0], trust=ChosenTrust(fade=Fade(4, 12)))
    weights = rng.random(two[0].data.shape, np.float32)
    model.add_image(weights, name="w", metadata={"mvfusion": {"role": "trust"}})
    views_person.settle()
    row = views_person.rows()[0]
    row.choose("Counts > As 'w' says", row.row.field_menu)
    views_person.settle()
    person.bot.waitUntil(lambda: any("Its recipe cannot repeat this: how much" in each for each in shown(person)))
    next(action for action in person.see("copy").menu().actions() if action.text() == "Command").trigger()
    assert "is in no file with the voxels of the view: save that layer" in person.messages("error")[0]
    model.layers["w"].save(str(tmp_path / "w.zarr"), plugin="napari-mvfusion")
    model.layers.remove("w")
    (opened,) = model.open(str(tmp_path / "w.zarr"), plugin="napari-mvfusion")
    annotate(opened, included=False)
    views_person.settle()
    row = views_person.rows()[0]
    row.choose(f"Counts > As '{opened.name}' says", row.row.field_menu)
    views_person.settle()
    assert notes(two[0])["trust"].fade == Fade(4, 12), "both hold at once"
    person.press("fuse")
    person.wait_until_done()
    assert not any("cannot repeat" in each for each in shown(person))
    fused = np.asarray(model.layers[-1].data)
    np.testing.assert_array_equal(fused_elsewhere(person, "Command", tmp_path / "elsewhere", monkeypatch), fused)


def shown(person):
    """All that the panel says."""
    return [label.text() for label in person.panel.findChildren(QLabel) if label.isVisibleTo(person.panel)]


def test_saving_ends_where_it_is_stopped_and_leaves_nothing(small_views, tmp_path):
    check = Checkpoint()
    shares = []
    check.emit = lambda progress: (shares.append(progress.share), check.stop())
    with pytest.raises(Interrupted):
        drain(views_steps(check, tmp_path / "mine", small_views.views, kinds()[-1], "a"))
    assert 0 < shares[0] < 1
    assert not [path for path in tmp_path.glob("*mine*") if not path.name.endswith(".lock")]


@pytest.mark.parametrize("name", ["result", "result.ome.tif", "result.zarr", "result.h5"])
def test_a_result_is_saved_with_place_and_recipe(model, person, small_views, show_views, tmp_path, name):
    for layer in show_views(model, small_views):
        layer.scale, layer.translate = (2, 0.5, 0.5), (1, 2, 3)
    assert not person.can_press("save_result")
    person.press("fuse")
    person.wait_until_done()
    choose_in_dialog(tmp_path / name)
    person.press("save_result")
    saver = person.panel._save.saver
    person.bot.waitUntil(lambda: not saver.running)
    path = tmp_path / ("result.ome.tif" if name == "result" else name)
    person.bot.waitUntil(lambda: any(str(path) in text for text in person.messages("done")))
    data, grid = open_volume(path)
    np.testing.assert_array_equal(np.asarray(data[:]), np.asarray(model.layers[-1].data))
    assert (grid.voxel_size_um, grid.origin_um) == ((2, 0.5, 0.5), (1, 2, 3))
    assert read_recipe(path)["method"]["name"] == "average"


def save_result_as(person, path, kind):
    """Choose the kind of file in the dialog, type a name, and wait until it is said what became of it."""
    choose_in_dialog(path, kind=kind)
    person.press("save_result")
    saver = person.panel._save.saver
    person.bot.waitUntil(lambda: not saver.running and any(person.messages(kind) for kind in ("done", "error")))


def test_a_result_becomes_an_image_of_a_container(model, person, small_views, show_views, tmp_path):
    container = tmp_path / "fish.ome.zarr"
    zarr.create_group(container, zarr_format=3)
    write_zarr(container / "raw", np.ones((4, 5, 6), np.uint16), Grid((4, 5, 6)))
    before = {file: file.read_bytes() for file in (container / "raw").rglob("*") if file.is_file()}
    show_views(model, small_views)
    person.press("fuse")
    person.wait_until_done()
    save_result_as(person, container / "by average", "Image in an OME-Zarr")
    assert person.messages("error") == []
    data, _ = open_volume(container / "by average")
    np.testing.assert_array_equal(np.asarray(data[:]), np.asarray(model.layers[-1].data))
    assert read_recipe(container / "by average")["method"]["name"] == "average"
    assert {file: file.read_bytes() for file in (container / "raw").rglob("*") if file.is_file()} == before
    save_result_as(person, container / "mine.ome.tif", "Image in an OME-Zarr")
    assert open_volume(container / "mine")[1] == open_volume(container / "by average")[1]
    save_result_as(person, tmp_path / "elsewhere", "Image in an OME-Zarr")
    (message,) = person.messages("error")
    assert f"{tmp_path} is no OME-Zarr that holds images" in message
    save_result_as(person, container / "raw" / "inner", "Image in an OME-Zarr")
    assert "is an image, in which no image has a name of its own" in person.messages("error")[0]
    assert not (container / "raw" / "inner").exists()


def test_a_result_becomes_a_scene_with_its_views(model, person, views_person, two, small_views, tmp_path):
    person.press("fuse")
    person.wait_until_done()
    save_result_as(person, tmp_path / "early.zarr", "OME-Zarr scene")
    assert "does not say where its views lie: save them by Save views…" in person.messages("error")[0]
    save_as(views_person, kinds()[0].name, tmp_path / "mine")
    person.press("fuse")
    person.wait_until_done()
    model.layers.selection.active = result = model.layers[-1]
    save_result_as(person, tmp_path / "all", "OME-Zarr scene")
    assert person.messages("error") == []
    scene = tmp_path / f"all{kinds()[0].ending}"
    assert str(scene) in person.messages("done")[0]
    again = open_views(scene)
    for view, old in zip(again.views, small_views.views.views, strict=True):
        np.testing.assert_array_equal(np.asarray(view.data[:]), old.data)
        np.testing.assert_allclose(view.psf, old.psf, rtol=1e-6)
    data, grid = open_volume(scene / "fused")
    np.testing.assert_array_equal(np.asarray(data[:]), np.asarray(result.data))
    assert grid == small_views.views.grid
    assert "is a fused volume, and left out" in again.remarks[0]
    np.testing.assert_array_equal(drain(fuse_events(again, Average())).data, np.asarray(result.data))
    assert "place to place" not in person.messages("done")[0]
    annotate(two[0], trust=ChosenTrust(fade=Fade(4, 12)))
    person.press("fuse")
    person.wait_until_done()
    model.layers.selection.active = model.layers[-1]
    save_result_as(person, tmp_path / "trusting", "OME-Zarr scene")
    assert person.messages("error") == []
    assert "How much views count from place to place is not in the scene" in person.messages("done")[0]
    assert all(view.trust is None for view in open_views(tmp_path / f"trusting{kinds()[0].ending}").views)


def test_a_result_can_be_saved_when_it_is_no_longer_computed(model, person, small_views, show_views):
    show_views(model, small_views)
    person.use("Multi-view")
    person.enter("iterations", "1000")
    person.press("fuse")
    person.bot.waitUntil(lambda: len(model.layers) == 3)
    model.layers.selection.active = model.layers[-1]
    person.bot.waitUntil(lambda: "iteration 2" in person.see("step", QLabel).text().lower())
    assert not person.can_press("save_result")
    person.press("cancel")
    person.wait_until_done()
    model.layers.selection.active = model.layers[-1]
    assert "(cancelled)" in model.layers[-1].name
    assert person.can_press("save_result")
    assert model.layers[-1].name in person.see("save_result").toolTip()


def test_compare_saves_a_result_as_fuse_does(model, person, small_views, show_views, qtbot, make_person, tmp_path):
    show_views(model, small_views)
    panel = ComparePanel(model)
    qtbot.addWidget(panel, before_close_func=lambda widget: widget.setParent(None))
    panel.show()
    compare = make_person(panel)
    assert not compare.can_press("save_result")
    person.press("fuse")
    person.wait_until_done()
    qtbot.waitUntil(lambda: compare.can_press("save_result"))
    choose_in_dialog(tmp_path / "result.ome.tif")
    compare.press("save_result")
    qtbot.waitUntil(lambda: any("result.ome.tif" in text for text in compare.messages("done")))
    np.testing.assert_array_equal(np.asarray(open_volume(tmp_path / "result.ome.tif")[0][:]), model.layers[-1].data)
    assert read_recipe(tmp_path / "result.ome.tif")["method"]["name"] == "average"


def test_a_volume_is_watched_without_being_changed(rng):
    volume, seen = rng.random((4, 5, 6)), []
    watched = Watched(volume, seen.append)
    np.testing.assert_array_equal(watched[1:3], volume[1:3])
    assert (watched.shape, watched.dtype, watched.chunks, seen) == (volume.shape, volume.dtype, None, [60])


def test_a_recipe_says_which_psf_was_changed_by_hand_and_repeats_once_views_are_saved(
    model, person, views_person, two, tmp_path
):
    save_as(views_person, kinds()[0].name, tmp_path / "mine")
    assert not person.see("hint", QLabel).isVisible()
    row = views_person.rows()[1]
    row.choose("Mirror")
    views_person.settle()
    name = two[1].name
    person.bot.waitUntil(lambda: person.see("hint", QLabel).isVisible())
    hint = person.see("hint", QLabel).text()
    assert f"no file says what was done to the PSF of '{name}' (PSF mirrored)" in hint
    assert "Save views…" in hint
    person.press("fuse")
    person.wait_until_done()
    recipe = tmp_path / "a.recipe.json"
    save_recipe(notes(model.layers[-1])["recipe"], recipe)
    before = set(tmp_path.iterdir())
    with pytest.raises(InputError, match=r"what was done to the PSF of view '180' \(PSF mirrored\) in napari"):
        drain(load_recipe(recipe).repeat(tmp_path / "again.zarr"))
    assert set(tmp_path.iterdir()) == before
    save_as(views_person, kinds()[0].name, tmp_path / "changed")
    person.bot.waitUntil(lambda: not person.see("hint", QLabel).isVisible())
    person.press("fuse")
    person.wait_until_done()
    save_recipe(notes(model.layers[-1])["recipe"], recipe)
    again = drain(load_recipe(recipe).repeat(tmp_path / "again.zarr"))
    np.testing.assert_array_equal(np.asarray(again.data[:]), np.asarray(model.layers[-1].data))


@pytest.mark.parametrize("kind", [kind for kind in kinds() if not kind.in_folder], ids=lambda kind: kind.name)
def test_what_is_no_data_is_kept_in_files(model, person, views_person, two, tmp_path, kind):
    for layer, choice in zip(two, ("0", "none"), strict=True):
        data = np.array(layer.data)
        data[:, :, :30] = 0
        layer.data = data
        annotate(layer, no_data=choice)
    save_as(views_person, kind.name, tmp_path / "mine")
    place = tmp_path / f"mine{kind.ending}"
    assert "no data" not in views_person.messages("done")[0]
    assert [view.no_data for view in open_views(place).views] == ["0", "none"]
    assert [view.no_data for view in open_views(place, no_data="nan").views] == ["nan", "nan"]
    chosen = {open_views(place).names[0]: "auto"}
    assert [view.no_data for view in open_views(place, no_data_views=chosen).views] == ["auto", "none"]
    # As its file says, and as somebody says of it since.
    for choice in ("0", "auto"):
        annotate(two[0], no_data=choice)
        person.press("fuse")
        person.wait_until_done()
        result = model.layers[-1]
        recipe = tmp_path / f"{choice}.recipe.json"
        save_recipe(notes(result)["recipe"], recipe)
        again = drain(load_recipe(recipe).repeat(tmp_path / f"{choice}.zarr"))
        np.testing.assert_array_equal(np.asarray(again.data[:]), np.asarray(result.data))


def test_files_of_a_folder_do_not_say_what_is_no_data_and_that_is_said(views_person, two, tmp_path):
    annotate(two[0], no_data="0")
    save_as(views_person, "TIFF folder", tmp_path / "mine")
    assert (
        "What is no data is not in the files, but goes with a run that is copied." in views_person.messages("done")[0]
    )


@pytest.mark.parametrize("kind", ["files", "OME-Zarr"])
def test_the_recipe_of_a_volume_of_a_series_repeats_it(model, person, views_person, tmp_path, rng, kind):
    series = rng.integers(1, 900, (2, 2, 8, 9, 10)).astype(np.uint16)
    if kind == "files":
        for angle, data in zip((0, 90), series, strict=True):
            write_tiff(tmp_path / f"Angle{angle}.ome.tif", data, Grid((8, 9, 10)), leading=[LeadingAxis("t", 2)])
        views_person.drop(*(tmp_path / f"Angle{angle}.ome.tif" for angle in (0, 90)))
    else:
        leading = [LeadingAxis("t", 2), LeadingAxis("c", 2)]
        write_zarr(tmp_path / "fish.zarr", series.swapaxes(0, 1), Grid((8, 9, 10)), leading=leading)
        views_person.drop(tmp_path / "fish.zarr")
    person.bot.waitUntil(lambda: len(model.layers) == 2)
    views_person.settle()
    made = []
    for time in range(2):
        model.dims.set_current_step(0, time)
        views_person.settle()
        person.press("fuse")
        person.wait_until_done()
        result = model.layers[-1]
        save_recipe(notes(result)["recipe"], tmp_path / f"{time}.recipe.json")
        again = drain(load_recipe(tmp_path / f"{time}.recipe.json").repeat(tmp_path / f"again{time}.zarr"))
        made.append(np.asarray(again.data[:]))
        np.testing.assert_array_equal(made[-1], np.squeeze(np.asarray(result.data)))
    assert not np.array_equal(*made)


def test_transmissions_stay_with_layers_that_are_saved(views_person, two, tmp_path):
    annotate(two[0], transmission=np.ones(two[0].data.shape, np.float32), transmission_layer="t")
    save_as(views_person, "OME-Zarr…", tmp_path / "mine")
    assert "Transmissions that were given are not in the files" in views_person.messages("done")[0]
    assert all(view.transmission is None for view in open_views(tmp_path / "mine.zarr").views)
