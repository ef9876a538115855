"""Runs in processes of their own: one start at a time, files that are no logs, and what is read of damaged files."""

import json

import numpy as np
import pytest

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.engine.background import begin, log_path
from napari_mvfusion.engine.progress import PROGRESS, ProgressFile, read_progress
from napari_mvfusion.errors import OutputError
from napari_mvfusion.io.formats import write_volume
from napari_mvfusion.system.locks import Busy, locked


@pytest.fixture
def words(tmp_path):
    """A command that fuses two small views."""
    rng = np.random.default_rng(1)
    folder = tmp_path / "views"
    folder.mkdir()
    for angle in (0, 90):
        write_volume(folder / f"a_view_{angle}.tif", rng.random((8, 8, 8), np.float32) + 1, Grid((8, 8, 8)))
    return ["mvfusion", "fuse", str(folder), "--method", "average", "-o", str(tmp_path / "fused.zarr")]


def test_a_start_waits_until_the_output_is_its_own_and_nobody_starts_meanwhile(words, tmp_path):
    out = tmp_path / "fused.zarr"
    log_path(out).write_text("$ mvfusion fuse before\n")
    with locked(log_path(out)), pytest.raises(Busy, match="is being started"):
        begin(words, out)
    assert log_path(out).read_text() == "$ mvfusion fuse before\n"
    run = begin(words, out)
    run._process.wait()
    ended = run.ended()
    assert ended.finished, ended
    again = begin(words, out)
    again._process.wait()
    # There is a result, but not of this run.
    assert not again.ended().finished
    assert "exists already" in again.ended().error


def test_a_file_that_is_no_log_is_not_overwritten(words, tmp_path):
    out = tmp_path / "fused.zarr"
    log_path(out).write_text("my notes\n")
    with pytest.raises(OutputError, match=r"fused\.zarr\.log is no log of a run"):
        begin(words, out)
    assert log_path(out).read_text() == "my notes\n"


@pytest.mark.parametrize(
    "changed",
    [{"share": "x"}, {"share": None}, {"share": float("nan")}, {"volume": [1]}, {"plan": 3}, {"count": "many"}],
)
def test_a_damaged_progress_is_not_known(tmp_path, changed):
    ProgressFile(tmp_path).tell(ProgressFile(tmp_path).now)
    assert read_progress(tmp_path) is not None
    values = json.loads((tmp_path / PROGRESS).read_text())
    (tmp_path / PROGRESS).write_text(json.dumps(values | changed))
    assert read_progress(tmp_path) is None
