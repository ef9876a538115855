"""Series of volumes in the Fuse panel: what is chosen of files with time points and channels, and what comes of it."""

import shlex
import shutil
import threading

import numpy as np
import pytest
import tifffile
import zarr
from napari.layers import Image
from qtpy.QtCore import Qt, QThreadPool
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QComboBox, QLabel, QLineEdit, QPushButton
from views_person import in_front_of_the_views

from bdv_projects import IDENTITY, Setup, write_n5_view, xml_of
from command_line import run
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.engine import running_series
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.engine.series_choice import choose_series
from napari_mvfusion.engine.series_recipe import load_series_recipe
from napari_mvfusion.engine.series_run import SeriesFinished, fuse_chosen, repeat_series
from napari_mvfusion.gui.layers.notes import KEY, annotate
from napari_mvfusion.gui.panels.base import CopyAs
from napari_mvfusion.gui.panels.fuse.panel import FusePanel
from napari_mvfusion.gui.panels.fuse.series_form import SeriesForm
from napari_mvfusion.gui.panels.views.roles_dialog import RolesDialog
from napari_mvfusion.gui.reader import get_reader
from napari_mvfusion.io.formats import open_stored
from napari_mvfusion.io.ome_zarr.writer import write_zarr
from napari_mvfusion.io.opening import open_volume
from napari_mvfusion.io.streaming import LeadingAxis
from napari_mvfusion.io.tiff.writer import write_tiff
from napari_mvfusion.methods import Average
from napari_mvfusion.simulation import light_sheet_psf
from patience import PATIENCE_SECONDS

SHAPE = (12, 16, 70)  # x has a coarser level
TIMES = 4
CHUNK = "0/c/2/1/0/0/0"
N5 = '<ImageLoader format="bdv.n5"><n5 type="relative">d.n5</n5></ImageLoader>'


def pixels(view, *at):
    return np.random.default_rng([view, *at]).integers(100, 1000, SHAPE).astype(np.uint16)


def mean(*at):
    return np.mean([pixels(view, *at) for view in range(2)], axis=0)


@pytest.fixture
def recording(tmp_path):
    """An OME-Zarr whose channels are the views, every 30 s."""
    path = tmp_path / "fish.zarr"
    data = np.array([[pixels(view, t) for view in range(2)] for t in range(TIMES)])
    axes = [LeadingAxis("t", TIMES, 30.0), LeadingAxis("c", 2)]
    write_zarr(path, data, Grid(SHAPE, (2.0, 0.5, 0.5), (10.0, 0.0, 0.0)), leading=axes)
    return path


def show(viewer, path):
    for data, look, kind in get_reader(str(path))(str(path)):
        if kind == "image":
            viewer.add_layer(Image(data, **look))


def ready(person):
    """Wait until the panel knows what the files hold."""
    person.bot.waitUntil(lambda: person.see("volumes").isVisibleTo(person.panel))
    person.bot.waitUntil(lambda: person.can_press("fuse"))
    return person


@pytest.fixture
def watcher(model, person, recording):
    """A person in front of the panel, with the recording open."""
    show(model, recording)
    return ready(person)


def said(person):
    return person.see("volume", QLabel).text()


def results(viewer):
    return [layer for layer in viewer.layers if layer.metadata[KEY]["role"] == "fused"]


def hold(monkeypatch, number):
    """Let the fusion of the volume with this number, counted from 1, wait until it is told to go on, before its tiles."""
    begun, told, count = threading.Event(), threading.Event(), []

    def held(*arguments, **options):
        count.append(1)
        if len(count) == number:
            begun.set()
            assert told.wait(PATIENCE_SECONDS)
        return (yield from fuse_events(*arguments, **options))

    monkeypatch.setattr(running_series, "fuse_events", held)
    return begun, told


def test_the_volume_that_is_shown_is_fused_alone_until_several_are_chosen(model, watcher):
    model.dims.set_current_step(0, 2)
    watcher.bot.wait(120)
    assert watcher.see("volumes", QComboBox).currentText() == "This one: time point 2"
    assert not watcher.see("timepoints").isVisibleTo(watcher.panel)
    watcher.press("fuse")
    watcher.wait_until_done()
    (result,) = results(model)
    assert (result.name, result.ndim) == ("fish t2 average", 3)
    np.testing.assert_allclose(result.data, mean(2), rtol=1e-5)
    np.testing.assert_allclose(result.translate, (10, 0, 0))
    assert result.metadata[KEY]["recipe"]["inputs"]["timepoint"] == 2


def test_chosen_time_points_become_one_layer_whose_recipe_repeats_them(model, watcher, tmp_path):
    watcher.choose("volumes", "Several")
    assert not watcher.see("channels").isVisibleTo(watcher.panel), "the channels are the views"
    watcher.enter("timepoints", "1:4:2")
    assert said(watcher).endswith("2 volumes: time points 1, 3\ninto fish-fused.zarr")
    assert watcher.see("place", QComboBox).currentText() == "OME-Zarr, one for all"
    watcher.press("fuse")
    watcher.wait_until_done()
    assert watcher.messages("error") == []
    out = tmp_path / "fish-fused.zarr"
    assert watcher.messages("done")[0].startswith("2 of 2 volumes done in ")
    assert watcher.messages("done")[0].endswith(f"Saved as {out}.")
    (result,) = results(model)
    assert (result.name, result.multiscale, result.axis_labels) == ("fish average", True, ("t", "z", "y", "x"))
    np.testing.assert_allclose(result.scale, (60, 2, 0.5, 0.5))
    np.testing.assert_allclose(result.translate, (30, 10, 0, 0))
    for number, timepoint in enumerate((1, 3)):
        np.testing.assert_allclose(np.asarray(result.data[0][number]), mean(timepoint), rtol=1e-5)
    # The next one gets a name of its own, and a single volume goes where single ones went.
    assert watcher.see("path", QLineEdit).text() == str(tmp_path / "fish-fused-2.zarr")
    watcher.choose("volumes", "This one")
    assert watcher.see("place", QComboBox).currentText() == "Memory"
    again = tmp_path / "again.zarr"
    list(repeat_series(load_series_recipe(out), again))
    np.testing.assert_array_equal(zarr.open_group(again)["0"][:], zarr.open_group(out)["0"][:])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0:9", "has 4 time points, 0 to 3, and “Time points” 0:9 goes beyond"),
        ("first", "“Time points” 'first' is none of them: give numbers, ranges as 0:100:2, or all"),
        ("2", "What is entered is a single volume"),
    ],
)
def test_what_names_no_volumes_is_said_while_it_is_typed(watcher, text, words):
    watcher.choose("volumes", "Several")
    field = watcher.see("timepoints")
    field.selectAll()
    watcher.bot.keyClicks(field, text)
    watcher.bot.waitUntil(lambda: words in watcher.hint())
    assert not watcher.can_press("fuse")


def test_a_cancelled_series_goes_on_with_what_is_missing(model, watcher, tmp_path, monkeypatch):
    begun, told = hold(monkeypatch, 3)
    watcher.choose("volumes", "Several")
    watcher.press("fuse")
    watcher.bot.waitUntil(begun.is_set)
    watcher.bot.waitUntil(lambda: watcher.see("step", QLabel).text().startswith("Volume 3 of 4"))
    assert "\nTime point 2: " in watcher.see("step", QLabel).text()
    watcher.press("cancel")
    told.set()
    watcher.wait_until_done()
    folder = tmp_path / "fish-fused.zarr.partial"
    assert watcher.messages("warning") == [
        f"Cancelled after 2 of 4 volumes. What is finished is kept in {folder}: press Go on to fuse the rest."
    ]
    assert results(model) == []
    fuse = watcher.see("fuse", QPushButton)
    assert (fuse.text(), fuse.isEnabled()) == ("Go on", True)
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("**/0/c/0/**/*") if path.is_file()}
    assert kept
    watcher.press("fuse")
    watcher.wait_until_done()
    assert watcher.messages("done")[0].startswith("4 of 4 volumes done in ")
    out = tmp_path / "fish-fused.zarr"
    written = {path.stat().st_mtime_ns for path in out.glob("0/c/0/**/*") if path.is_file()}
    assert written == set(kept.values())
    assert fuse.text() == "Fuse"
    np.testing.assert_allclose(np.asarray(results(model)[0].data[0][3]), mean(3), rtol=1e-5)


def test_what_failed_is_listed_and_fused_once_it_is_mended(model, watcher, recording):
    whole = (recording / CHUNK).read_bytes()
    (recording / CHUNK).write_bytes(b"no chunk")
    watcher.choose("volumes", "Several")
    watcher.press("fuse")
    watcher.wait_until_done()
    assert watcher.messages("done")[0].startswith("3 of 4 volumes done in ")
    first, reason, last = watcher.messages("error")[0].splitlines()
    assert first == "1 volume could not be fused."
    assert reason.startswith(f"• Time point 2: {recording} is damaged")
    assert last == "Mend the views, and press Go on to fuse what is missing."
    assert not np.asarray(results(model)[0].data[0][2]).any()
    (recording / CHUNK).write_bytes(whole)
    assert watcher.see("fuse", QPushButton).text() == "Go on"
    watcher.press("fuse")
    watcher.wait_until_done()
    assert watcher.messages("error") == []
    # One layer shows the file, and not two.
    (result,) = results(model)
    assert result.name == "fish average"
    for timepoint in range(TIMES):
        np.testing.assert_allclose(np.asarray(result.data[0][timepoint]), mean(timepoint), rtol=1e-5)


def test_where_no_volume_can_be_fused_nothing_is_left(model, watcher, recording, tmp_path):
    for chunk in recording.glob("0/c/*/1/0/0/0"):
        chunk.write_bytes(b"no chunk")
    watcher.choose("volumes", "Several")
    watcher.press("fuse")
    watcher.wait_until_done()
    assert watcher.messages("error")[0].splitlines()[-1] == "No volume could be fused."
    assert results(model) == []
    assert [path.name for path in tmp_path.glob("fish-fused*")] == []


def test_each_volume_can_be_a_file_of_its_own(model, watcher, tmp_path):
    watcher.choose("volumes", "Several")
    watcher.enter("timepoints", "1:3")
    watcher.choose("place", "OME-TIFF, a file each")
    assert said(watcher).endswith("into fish-fused-001.ome.tif and fish-fused-002.ome.tif")
    watcher.press("fuse")
    watcher.wait_until_done()
    for timepoint in (1, 2):
        volume, _ = open_volume(tmp_path / f"fish-fused-00{timepoint}.ome.tif")
        np.testing.assert_allclose(np.asarray(volume[:]), mean(timepoint), rtol=1e-5)
    (result,) = results(model)
    assert (result.axis_labels, tuple(result.scale)) == (("t", "z", "y", "x"), (30, 2, 0.5, 0.5))
    np.testing.assert_allclose(np.asarray(result.data[1]), mean(2), rtol=1e-5)
    assert len(result.metadata[KEY]["recipe"]["series"]) == 2
    assert watcher.see("path", QLineEdit).text().endswith("fish-fused-2.ome.tif")


def test_each_method_makes_a_series(model, watcher, tmp_path):
    watcher.use("Average", "Content")
    watcher.choose("volumes", "Several")
    watcher.enter("timepoints", "0:2")
    watcher.press("fuse")
    watcher.wait_until_done()
    assert [layer.name for layer in results(model)] == ["fish average", "fish cbif"]
    assert [message.split(":")[0] for message in watcher.messages("done")] == ["Average", "Content-based fusion"]
    assert {path.name for path in tmp_path.glob("fish-fused*.zarr")} == {
        "fish-fused-average.zarr",
        "fish-fused-cbif.zarr",
    }


@pytest.fixture
def folder(tmp_path):
    """A folder of files, one a view, each with 2 time points and 2 channels."""
    there = tmp_path / "views"
    there.mkdir()
    for view in range(2):
        data = np.array([[pixels(view, t, c) for c in range(2)] for t in range(2)])
        axes = [LeadingAxis("t", 2, 5.0), LeadingAxis("c", 2)]
        write_tiff(there / f"worm_view_{90 * view}.tif", data, Grid(SHAPE, (1.0, 1.0, 1.0)), leading=axes)
    return there


def test_a_folder_of_files_offers_channels_too(model, person, folder):
    show(model, folder)
    ready(person)
    model.dims.set_current_step(1, 1)
    assert person.see("volumes", QComboBox).currentText() == "This one: time point 0, channel 1"
    person.choose("volumes", "Several")
    person.enter("channels", "1,0")
    assert "4 volumes: time points 0, 1; channels 1, 0" in said(person)
    person.press("fuse")
    person.wait_until_done()
    (result,) = results(model)
    assert result.axis_labels == ("t", "c", "z", "y", "x")
    np.testing.assert_allclose(np.asarray(result.data[0][1, 0]), mean(1, 1), rtol=1e-5)
    assert dict(open_stored(folder / "worm-fused.zarr").leading) == {"t": 2, "c": 2}


@pytest.mark.parametrize("place", ["OME-Zarr", "OME-TIFF"])
def test_one_channel_of_several_lies_where_the_views_have_it(model, person, folder, place):
    show(model, folder)
    ready(person)
    assert model.dims.point[1] == 0
    person.choose("volumes", "Several")
    person.enter("channels", "1")
    person.choose("place", place)
    person.press("fuse")
    person.wait_until_done()
    (result,) = results(model)
    assert result.axis_labels == ("t", "c", "z", "y", "x")
    np.testing.assert_allclose(result.translate[:2], (0, 1))
    assert model.dims.point[1] == 1, "it is not seen beside the other channel"
    finest = result.data[0] if result.multiscale else result.data
    assert finest.shape == (2, 1, *SHAPE)
    np.testing.assert_allclose(np.asarray(finest[1, 0]), mean(1, 1), rtol=1e-5)


@pytest.mark.parametrize("kind", ["command", "Python"])
def test_a_copied_series_makes_the_same(model, person, folder, kind):
    show(model, folder)
    ready(person)
    person.choose("volumes", "Several")
    person.enter("channels", "1,0")
    person.panel.findChild(CopyAs).copy(kind)
    text = QGuiApplication.clipboard().text()
    if kind == "command":
        run(*shlex.split(text)[1:])
    else:
        exec(text, {})
    out = folder / "worm-fused.zarr"
    np.testing.assert_allclose(zarr.open_group(out)["0"][1, 0], mean(1, 1), rtol=1e-5)
    assert load_series_recipe(out).channels == (1, 0)


def test_the_time_points_of_a_project_are_offered_beside_the_one_that_is_open(model, person, tmp_path):
    setups = {n: Setup(parts={"angle": n, "channel": 0}) for n in range(2)}
    transforms = {(t, n): [IDENTITY] for t in (3, 5) for n in setups}
    for t, n in transforms:
        values = np.arange(336).reshape(6, 7, 8) % 16 + 10 * t + n
        write_n5_view(tmp_path / "d.n5", n, t, [values.astype(np.uint8)], [[1, 1, 1]])
    file = tmp_path / "dataset.xml"
    file.write_text(xml_of(N5, setups, transforms, timepoints=(3, 5)))
    show(model, file)
    ready(person)
    assert person.see("volumes", QComboBox).currentText() == "This one: time point 3"
    person.choose("volumes", "Several")
    assert "2 volumes: time points 3, 5" in said(person)
    person.press("fuse")
    person.wait_until_done()
    assert person.messages("error") == []
    (result,) = results(model)
    finest = result.data[0] if result.multiscale else result.data
    assert [float(np.asarray(finest[n]).mean()) for n in range(2)] == [38.0, 58.0]


@pytest.fixture
def named(tmp_path):
    """A file for each view at each of three time points, and PSFs that stay the same."""
    there = tmp_path / "named"
    there.mkdir()
    for view, angle in enumerate((90, 180)):
        for t in (1, 2, 4):
            tifffile.imwrite(there / f"spim_TL{t}_Angle{angle}.tif", pixels(view, t))
        tifffile.imwrite(there / f"Angle {angle} - bead PSF.tif", light_sheet_psf(float(angle), shape=(9, 9, 9)))
    return there


def test_files_whose_names_say_time_points_are_offered_as_a_series(model, person, named, qtbot):
    views = in_front_of_the_views(model, qtbot)
    views.drop(named)
    qtbot.waitUntil(lambda: any(dialog.isVisible() for dialog in views.panel.findChildren(RolesDialog)))
    dialog = next(dialog for dialog in views.panel.findChildren(RolesDialog) if dialog.isVisible())
    choice = dialog.findChild(QComboBox, "timepoint")
    choice.setCurrentIndex(choice.findText("2"))
    dialog.accept()
    qtbot.waitUntil(lambda: len(model.layers) == 2)
    views.settle()
    ready(person)
    assert person.see("volumes", QComboBox).currentText() == "This one: time point 2"
    annotate(model.layers[1], weight=3.0)
    person.choose("volumes", "Several")
    assert "3 volumes: time points 1, 2, 4" in said(person)
    person.press("fuse")
    person.wait_until_done()
    assert person.messages("error") == []
    (result,) = results(model)
    for number, t in enumerate((1, 2, 4)):
        expected = (pixels(0, t) + 3.0 * pixels(1, t)) / 4
        np.testing.assert_allclose(np.asarray(result.data[0][number]), expected, rtol=1e-5)
    inputs = load_series_recipe(named / "fused.zarr").inputs
    # Other time points and channels find the PSFs that their names say.
    assert (inputs.source, inputs.psfs) == (str(named), None)
    assert [len(inputs.model_copy(update={"timepoint": t}).open().names) for t in (1, 4)] == [2, 2]
    assert all(view.psf is not None for view in inputs.open().views)


def test_samples_that_are_numbered_are_time_points_and_others_are_not(model, person, tmp_path):
    for name in ("tl0", "tl1"):
        for view in range(2):
            tifffile.imwrite(tmp_path / f"{name}_view_{90 * view}.tif", pixels(view, int(name[-1])))
    show(model, tmp_path)
    ready(person)
    assert person.see("volumes", QComboBox).currentText() == "This one: tag tl0"
    person.choose("volumes", "Several")
    assert "2 volumes: tags tl0, tl1" in said(person)
    person.press("fuse")
    person.wait_until_done()
    np.testing.assert_allclose(np.asarray(results(model)[0].data[0][1]), mean(1), rtol=1e-5)


def test_specimens_in_one_folder_are_no_series(model, person, views_folder):
    show(model, views_folder)
    person.bot.waitUntil(lambda: person.can_press("fuse"))
    person.bot.waitUntil(lambda: not person.panel.findChild(SeriesForm).looking)
    assert not person.see("volumes").isVisibleTo(person.panel)


def test_files_of_one_volume_offer_nothing(model, person, small_views, show_views):
    show_views(model, small_views)
    person.bot.waitUntil(lambda: person.can_press("fuse"))
    assert not person.see("volumes").isVisibleTo(person.panel)


def test_closing_the_window_keeps_the_volumes_that_are_fused(
    make_napari_viewer_proxy, plugin, recording, make_person, qtbot, monkeypatch, tmp_path
):
    viewer = make_napari_viewer_proxy(show=True)
    _, panel = viewer.window.add_plugin_dock_widget("napari-mvfusion", "Fuse")
    assert isinstance(panel, FusePanel)
    person = make_person(panel)
    viewer.open(recording, plugin="napari-mvfusion")
    person.use("Average")
    ready(person)
    begun, told = hold(monkeypatch, 3)
    person.choose("volumes", "Several")
    person.press("fuse")
    qtbot.waitUntil(begun.is_set)
    window = panel.window()
    # The fixture of napari closes its viewer again.
    window.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
    window.close()
    qtbot.wait(50)
    told.set()
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0)
    monkeypatch.undo()
    out = tmp_path / "fish-fused.zarr"
    assert not out.exists()
    inputs = Inputs(source=str(recording))
    choice, _ = choose_series(inputs, "all", None)
    assert len(choice.indices) == TIMES
    assert any(out.with_name("fish-fused.zarr.partial").glob("**/0/c/1/**/*"))
    del viewer.layers[:]
    events = list(fuse_chosen(choice, Average(), out, overwrite=True))
    assert isinstance(events[-1], SeriesFinished)
    shutil.rmtree(out)
