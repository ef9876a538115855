"""Runs that go on without napari, from the Fuse panel: started, followed, left, found again, stopped and gone on with."""

import os
import shlex
import shutil
import signal
import sys

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.compat import isalive
from qtpy.QtWidgets import QCheckBox, QComboBox, QLabel, QPushButton

from dask_processes import scheduler, worker
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.engine import background
from napari_mvfusion.engine.background import command_of, log_path
from napari_mvfusion.engine.finishing import partial_folder
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.engine.progress import read_progress
from napari_mvfusion.gui.layers.notes import KEY
from napari_mvfusion.gui.panels.fuse.panel import FusePanel
from napari_mvfusion.gui.reader import get_reader
from napari_mvfusion.io.ome_zarr.writer import write_zarr
from napari_mvfusion.io.opening import open_views
from napari_mvfusion.io.streaming import LeadingAxis
from napari_mvfusion.methods import Average
from napari_mvfusion.system.locks import locked, process_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are held by signals that Windows lacks")

SHAPE = (8, 12, 16)
TIMES = 12


@pytest.fixture(autouse=True)
def started(monkeypatch):
    """The processes that a test has started, which end with it."""
    found = []
    begin = background.BackgroundRun.__init__

    def noted(self, out, process=None):
        begin(self, out, process)
        if process is not None:
            found.append(process)

    monkeypatch.setattr(background.BackgroundRun, "__init__", noted)
    yield found
    for process in found:
        process.kill()
        process.wait()


@pytest.fixture
def recording(tmp_path):
    """An OME-Zarr whose channels are two views, at many time points."""
    path = tmp_path / "fish.zarr"
    data = np.random.default_rng(5).integers(100, 1000, (TIMES, 2, *SHAPE)).astype(np.uint16)
    write_zarr(path, data, Grid(SHAPE, (2.0, 0.5, 0.5)), leading=[LeadingAxis("t", TIMES, 30.0), LeadingAxis("c", 2)])
    return path


@pytest.fixture
def in_front(qtbot, make_person):
    """A person in front of another panel, that of another window; it is closed at the end, if nobody has closed it."""
    panels = []

    def opened(viewer):
        panel = FusePanel(viewer)
        panels.append(panel)
        panel.show()
        person = make_person(panel)
        person.use("Average")
        return person

    yield opened
    for panel in panels:
        if isalive(panel):
            panel.close_down()


def show(viewer, path):
    for data, look, kind in get_reader(str(path))(str(path)):
        if kind == "image":
            viewer.add_layer(Image(data, **look))


def of_series(person, viewer, recording):
    """Choose all time points of a recording."""
    show(viewer, recording)
    person.bot.waitUntil(lambda: person.see("volumes").isVisibleTo(person.panel))
    person.choose("volumes", "Several")
    person.bot.waitUntil(lambda: person.can_press("fuse"))
    return recording.with_name("fish-fused.zarr")


def go_apart(person):
    box = person.see("apart", QCheckBox)
    box.setChecked(True)
    person.bot.wait(120)


def results(viewer):
    return [layer for layer in viewer.layers if layer.metadata[KEY].get("role") == "fused"]


def held_in_the_middle(person, out, started):
    """Start the run, and hold its process once some of its volumes are finished."""
    person.press("fuse")
    folder = partial_folder(out)
    person.bot.waitUntil(lambda: (now := read_progress(folder)) is not None and now.finished > 0)
    started[-1].send_signal(signal.SIGSTOP)
    return read_progress(folder).finished


def said(person, name):
    label = person.see(name, QLabel)
    return label.text() if label.isVisibleTo(person.panel) else ""


def test_a_volume_is_fused_by_another_process_into_the_same_layer(model, person, views_folder, tmp_path):
    show(model, views_folder)
    person.choose("place", "OME-Zarr")
    go_apart(person)
    out = tmp_path / "own.zarr"
    person.enter("path", str(out))
    person.press("fuse")
    person.wait_until_done()
    assert person.messages("error") == []
    assert f"Saved as {out}." in person.messages("done")[0]
    (result,) = results(model)
    expected = fuse(open_views(views_folder, tag="a"), Average()).data
    np.testing.assert_array_equal(np.asarray(result.data), expected)
    assert result.metadata[KEY]["recipe"]["method"]["name"] == "average"
    first, *rest = log_path(out).read_text().splitlines()
    assert first.startswith("$ mvfusion fuse ")
    assert rest[-2:] == [str(out), f"{out}.recipe.json"]


def test_a_run_goes_on_without_its_panel_and_is_followed_again(model, recording, started, in_front):
    person = in_front(model)
    out = of_series(person, model, recording)
    go_apart(person)
    finished = held_in_the_middle(person, out, started)
    assert 0 < finished < TIMES
    person.bot.waitUntil(lambda: len(results(model)) == 1)
    assert "goes on when napari is closed" in said(person, "machine")
    assert not person.can_press("save_result"), "there is no result yet"
    assert person.panel.going_on == "", "closing the panel stops nothing"
    person.panel.close_down()
    later = ViewerModel()
    again = in_front(later)
    again.panel.follow(out)
    again.bot.waitUntil(lambda: len(results(later)) == 1)
    (layer,) = results(later)
    assert layer.metadata[KEY]["running"]
    assert np.isnan(np.asarray(layer.data[-1])).all()
    assert not np.isnan(np.asarray(layer.data[0])).any()
    assert f"of {TIMES}" in said(again, "step")
    started[-1].send_signal(signal.SIGCONT)
    again.wait_until_done()
    assert again.messages("done")[0].startswith(f"{TIMES} of {TIMES} volumes done in ")
    (layer,) = results(later)
    assert not layer.metadata[KEY].get("running")
    assert not np.isnan(np.asarray(layer.data[-1])).any()


def test_two_panels_follow_one_run_and_one_of_them_ends_it(model, person, recording, started, in_front):
    out = of_series(person, model, recording)
    go_apart(person)
    held_in_the_middle(person, out, started)
    other = ViewerModel()
    second = in_front(other)
    second.panel.follow(out)
    second.bot.waitUntil(lambda: len(results(other)) == 1)
    second.press("cancel")
    started[-1].send_signal(signal.SIGCONT)
    second.bot.waitUntil(lambda: second.messages("warning") != [])
    person.wait_until_done()
    assert second.messages("warning")[0].startswith("fish-fused.zarr is unfinished, with ")
    assert person.messages("warning")[-1].startswith("Cancelled after ")
    assert person.messages("error") == []
    assert results(other)[0].name == "fish-fused (unfinished)"
    # The command is known: it goes on from here, though no view is open.
    second.press("go_on")
    second.wait_until_done()
    assert second.messages("done")[0].startswith(f"{TIMES} of {TIMES} volumes")
    assert [layer.name for layer in results(other)][-1] == "fish-fused"


def test_a_process_that_is_killed_is_told_and_gone_on_with(model, person, recording, started):
    out = of_series(person, model, recording)
    go_apart(person)
    held_in_the_middle(person, out, started)
    started[-1].kill()
    person.bot.waitUntil(lambda: person.messages("error") != [])
    assert "was ended from outside (signal 9)" in person.messages("error")[0]
    assert "choose “Go on with the unfinished run”" in person.messages("error")[0]
    person.bot.waitUntil(lambda: person.can_press("fuse"))
    assert person.see("fuse", QPushButton).text() == "Go on"
    person.press("fuse")
    person.bot.waitUntil(lambda: person.messages("done") != [])
    assert person.messages("done")[0].startswith(f"{TIMES} of {TIMES} volumes")


def test_a_file_that_another_run_writes_is_followed(model, person, recording, started):
    out = of_series(person, model, recording)
    with locked(out):
        person.enter("path", str(out))
        assert person.see("existing", QComboBox).currentText() == "Being written: follow that run"
        assert person.see("fuse", QPushButton).text() == "Follow"
        assert process_of(out) == os.getpid()
        with pytest.raises(background.Busy, match="another run writes"):
            background.begin(["mvfusion", "fuse"], out)
        person.press("fuse")
        person.bot.waitUntil(lambda: not person.views.isEnabled())
    person.wait_until_done()
    assert "is not there any more" in person.messages("error")[0]
    assert started == []


def test_a_folder_that_is_removed_while_it_is_followed_is_told(model, person, recording, started):
    out = of_series(person, model, recording)
    go_apart(person)
    held_in_the_middle(person, out, started)
    shutil.rmtree(partial_folder(out))
    started[-1].send_signal(signal.SIGCONT)
    person.wait_until_done()
    assert str(partial_folder(out)) in person.messages("error")[0]


def test_views_that_no_file_holds_cannot_go_to_another_process(model, person, small_views, show_views, tmp_path):
    show_views(model, small_views)
    person.choose("place", "OME-Zarr")
    person.enter("path", str(tmp_path / "own.zarr"))
    assert person.can_press("fuse")
    go_apart(person)
    assert not person.can_press("fuse")
    assert "press Save views…" in person.hint()


def on_cluster(person, address):
    person.choose("device", "Cluster…")
    person.enter("cluster", address)


def test_addresses_are_looked_at_and_remembered(model, person, recording, in_front, tmp_path, monkeypatch):
    of_series(person, model, recording)
    on_cluster(person, "gpu-server")
    assert "is no cluster" in person.hint()
    person.enter("cluster", "local:1")
    lacking = tmp_path / "lacking"
    lacking.mkdir()
    (lacking / "distributed.py").write_text("raise ModuleNotFoundError(name='distributed')")
    with monkeypatch.context() as without:
        without.setenv("PYTHONPATH", os.pathsep.join([str(lacking), os.environ.get("PYTHONPATH", "")]))
        person.press("fuse")
        person.wait_until_done()
    assert 'pip install "napari-mvfusion[cluster]"' in person.messages("error")[0]
    person.enter("cluster", "tcp://127.0.0.1:1")
    assert person.can_press("fuse"), person.hint()
    assert not person.see("apart").isVisibleTo(person.panel), "a cluster's runs always go on"
    person.press("fuse")
    person.wait_until_done()
    assert "No scheduler of Dask answers at tcp://127.0.0.1:1" in person.messages("error")[0]
    again = in_front(ViewerModel())
    assert again.see("device", QComboBox).currentText() == "Cluster…"
    assert again.see("cluster").text() == "tcp://127.0.0.1:1"


def test_a_cluster_fuses_the_volumes_of_a_series_and_one_volume(model, person, recording, tmp_path):
    out = of_series(person, model, recording)
    person.enter("timepoints", "0:4")
    with scheduler(tmp_path) as (_, address), worker(address, tmp_path / "worker"):
        on_cluster(person, address)
        person.press("fuse")
        person.wait_until_done()
        of_all = person.messages("error"), person.messages("done")
        person.choose("volumes", "This one")
        assert not person.can_press("fuse")
        assert "what a cluster computes goes to disk" in person.hint().lower()
        person.choose("place", "OME-Zarr")
        person.enter("path", str(tmp_path / "one.zarr"))
        person.press("fuse")
        person.wait_until_done()
    assert person.messages("error") == []
    assert f"Saved as {tmp_path / 'one.zarr'}." in person.messages("done")[0]
    one = results(model)[-1]
    assert (one.ndim, one.metadata[KEY]["running"]) == (3, False)
    assert of_all[0] == []
    assert of_all[1][0].startswith("4 of 4 volumes done in ")
    assert ["--cluster", address] == shlex.split(log_path(out).read_text().splitlines()[0])[-4:-2]
    assert command_of(out)[-3:] == ("--resume", "-o", str(out))
    assert results(model)[0].data.shape[0] == 4
