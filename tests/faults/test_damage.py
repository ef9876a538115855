"""A resumed run makes the identical volume whatever became of the files of the unfinished one, and says what it lost."""

import os
import re
import shutil

import numpy as np
import pytest

from napari_mvfusion.data.events import Finished, TileDone, Warned
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine import run as engine
from napari_mvfusion.engine.finishing import partial_folder
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.engine.planning import LIBRARY_BYTES
from napari_mvfusion.methods import make_method
from small_methods import Diffuse

SHAPE = (70, 66, 75)
DISK = {"tile": (64, 64, 64), "memory_bytes": LIBRARY_BYTES + 8_000_000}
SAMPLE = "estimate in memory, handing over"
# Method, how it runs, and after how many tiles it is left.
RUNS = {
    "tiles of the output": (make_method("average"), {"tile": (64, 64, 64)}, 5),
    "estimate on disk, within a stage": (Diffuse(iterations=3), DISK, 8 * 3 + 4),
    "estimate on disk, accelerated": (Diffuse(iterations=4, extrapolates_above=40.0), DISK, 8 * 7 + 3),
    "estimate on disk, early": (Diffuse(iterations=3), DISK, 5),
    "estimate on disk, handing over": (Diffuse(iterations=2), DISK, 8 * 5 + 3),
    "estimate in memory, with a checkpoint": (Diffuse(iterations=3), {"tile": (70, 66, 75)}, 5),
    "estimate in memory, accelerated": (Diffuse(iterations=4, extrapolates_above=40.0), {"tile": (70, 66, 75)}, 8),
    "estimate in memory, handing over": (Diffuse(iterations=2), {"tile": (64, 64, 75)}, 4 * 5 + 2),
}


def made():
    rng = np.random.default_rng(5)
    views = [View(rng.random(SHAPE, np.float32) * 100, f"v{i}", angle=90.0 * i) for i in range(2)]
    return RegisteredViews(views, Grid(SHAPE))


def leave(out, method, how, tiles):
    """Begin a run and leave it after some tiles, as a kill would."""
    done = 0
    events = fuse_events(made(), method, out=out, device="cpu", **how)
    for event in events:
        done += isinstance(event, TileDone)
        if done == tiles:
            break
    events.close()


def resumed(out, method, how):
    said = []
    for event in fuse_events(made(), method, out=out, device="cpu", resume=True, **how):
        if isinstance(event, Warned):
            said.append(event.message)
    assert isinstance(event, Finished)
    return np.asarray(event.fused.data[:]), event.fused.changes, " ".join(said)


def remove(path):
    path.unlink()


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    os.truncate(path, 0)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 0x40
    path.write_bytes(content)


def zeros(path):
    path.write_bytes(bytes(path.stat().st_size))


DAMAGES = [remove, cut, empty, flip, zeros]


@pytest.mark.parametrize(
    "name", [name if name == SAMPLE else pytest.param(name, marks=pytest.mark.slow) for name in RUNS]
)
def test_what_is_missing_or_damaged_is_computed_again(tmp_path, monkeypatch, name):
    monkeypatch.setattr(engine, "_CHECKPOINT_SECONDS", -1.0)  # a checkpoint after every iteration
    method, how, tiles = RUNS[name]
    whole = tmp_path / "whole.zarr"
    *_, event = fuse_events(made(), method, out=whole, device="cpu", **how)
    expected, changes = np.asarray(event.fused.data[:]), event.fused.changes
    left = tmp_path / "left" / "fused.zarr"
    left.parent.mkdir()
    leave(left, method, how, tiles)
    files = sorted(p.relative_to(left.parent) for p in partial_folder(left).rglob("*") if p.is_file())
    assert len(files) > 3
    told = 0
    for number, file in enumerate(files):
        damage = DAMAGES[number % len(DAMAGES)]
        folder = tmp_path / str(number)
        shutil.copytree(left.parent, folder)
        damage(folder / file)
        out = folder / "fused.zarr"
        values, found, said = resumed(out, method, how)
        assert np.array_equal(values, expected), f"{damage.__name__} {file}"
        assert found == changes, f"{damage.__name__} {file}"
        shutil.rmtree(folder)
        told += bool(re.search("missing or damaged|are damaged", said))
    # Some files do not matter, as levels that are made anew and buffers that are written next.
    assert told >= 1


def test_an_undamaged_run_goes_on_without_a_word(tmp_path):
    method, how, tiles = RUNS["estimate on disk, within a stage"]
    leave(tmp_path / "fused.zarr", method, how, tiles)
    done = 0
    for event in fuse_events(made(), method, out=tmp_path / "fused.zarr", device="cpu", resume=True, **how):
        assert not isinstance(event, Warned)
        done += isinstance(event, TileDone)
    assert done == 8 * 7 - tiles + 8
