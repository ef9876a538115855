"""What kills leave behind: removed by the next write of the same place and by `mvfusion clean`, and nothing else is."""

import io
import json
import signal
import sys

import numpy as np
import pytest

import warm_process
from command_line import run
from napari_mvfusion.data.events import TileDone
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.engine.leftovers import find_leftovers
from napari_mvfusion.engine.outputs import open_output
from napari_mvfusion.io.formats import write_volume
from napari_mvfusion.io.ome_zarr.writer import write_zarr
from napari_mvfusion.io.tiff.writer import write_tiff
from napari_mvfusion.methods import make_method
from napari_mvfusion.system.locks import lock_path, locked

GRID = Grid((8, 9, 10))
VOLUME = np.arange(720, dtype=np.float32).reshape(8, 9, 10)

KILLED = """
import os, sys, numpy as np
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.io.formats import write_volume
class Deadly:
    shape, dtype = (8, 9, 10), np.dtype("float32")
    def __getitem__(self, key):
        os.kill(os.getpid(), 9)
write_volume(sys.argv[1], Deadly(), Grid((8, 9, 10)))
"""


def kill_a_write(path):
    assert warm_process.run(KILLED, path).returncode == -signal.SIGKILL
    assert not path.exists()
    assert any(".writing-" in other.name for other in path.parent.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
@pytest.mark.parametrize("name", ["x.tif", "x.zarr", "x.h5"])
def test_the_next_write_of_a_file_removes_what_a_killed_one_left(tmp_path, name):
    kill_a_write(tmp_path / name)
    write_volume(tmp_path / name, VOLUME, GRID)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (open_output(tmp_path / name)[:] == VOLUME).all()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
def test_clean_removes_what_is_nobodys_and_nothing_else(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    kill_a_write(inner / "x.tif")
    views = RegisteredViews([View(VOLUME, "a")], GRID)
    events = fuse_events(views, make_method("average"), out=inner / "y.zarr", device="cpu")
    while not isinstance(next(events), TileDone):
        pass
    events.close()
    own = {".x.lock": "of another program", "notes.partial": "mine", ".y.writing-soon": "mine", "raw.tif": "raw"}
    for file, text in own.items():
        (inner / file).write_text(text)
    (inner / "mine.partial").mkdir()
    (inner / "mine.partial" / "a.tif").write_text("raw")
    (inner / ".z.zarr.writing-1").mkdir()
    with locked(inner / "z.zarr"):
        listed = json.loads(run("clean", tmp_path, "--json").stdout)
        assert [(entry["output"], entry["unfinished"], entry["in_use_by"] is None) for entry in listed] == [
            (str(inner / "x.tif"), False, True),
            (str(inner / "y.zarr"), True, True),
            (str(inner / "z.zarr"), False, False),
        ]
        shown = run("clean", tmp_path, "--yes").stdout
        assert "stays: in use by process" in shown
        assert "stays: an unfinished run, go on with --resume" in shown
        assert (inner / ".z.zarr.writing-1").is_dir()
    left = {path.name for path in inner.iterdir()}
    assert left == {*own, "mine.partial", "y.zarr.partial", ".z.zarr.writing-1"}
    run("clean", tmp_path, "--yes", "--unfinished")
    assert {path.name for path in inner.iterdir()} == {*own, "mine.partial"}
    assert "nothing is left to clean" in run("clean", tmp_path).stdout


def test_clean_asks(tmp_path, monkeypatch):
    (tmp_path / ".x.tif.writing-77").write_text("half")
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    run("clean", tmp_path, code=130)
    assert find_leftovers(tmp_path) != [], "without yes nothing is removed"


def test_an_old_version_that_was_set_aside_is_put_back(tmp_path):
    """Killed between the two renames, the old volume has no name of its own: it is never removed."""
    write_zarr(tmp_path / ".x.zarr.replaced-77", VOLUME, GRID)
    (tmp_path / ".x.zarr.writing-77").mkdir()
    run("clean", tmp_path, "--yes")
    assert [path.name for path in tmp_path.iterdir()] == ["x.zarr"]
    assert (open_output(tmp_path / "x.zarr")[:] == VOLUME).all()


def test_locks_of_killed_runs_leave_with_the_next_run(tmp_path):
    lock_path(tmp_path / "x.tif").write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": 0.0}))
    write_tiff(tmp_path / "x.tif", VOLUME, GRID)
    assert [path.name for path in tmp_path.iterdir()] == ["x.tif"]
