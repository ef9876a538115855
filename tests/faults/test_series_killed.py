"""A series that is killed at any step loses no finished volume, and goes on to the same."""

import shutil
from functools import partial

import numpy as np
import pytest
import tifffile
import zarr

from command_line import run
from faults.killing import KILLED, in_child
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.io.ome_zarr.writer import write_zarr
from napari_mvfusion.io.streaming import LeadingAxis

SHAPE = (12, 14, 13)
COUNT = 3


@pytest.fixture
def views(tmp_path):
    """The arguments that name two views of a few time points."""
    rng = np.random.default_rng(5)
    for view in range(2):
        pixels = rng.integers(1, 999, (COUNT, *SHAPE)).astype(np.uint16)
        write_zarr(tmp_path / f"view{view}.zarr", pixels, Grid(SHAPE), leading=[LeadingAxis("t", COUNT)])
    return ["--view", f"0={tmp_path / 'view0.zarr'}", "--view", f"90={tmp_path / 'view1.zarr'}"]


def voxels(out):
    if out.suffix == ".zarr":
        return zarr.open_array(out / "0", mode="r")[:]
    return np.array([tifffile.imread(out.with_name(f"{out.stem}-{number:03}.tif")) for number in range(COUNT)])


@pytest.mark.parametrize(
    ("ending", "tried"),
    [("zarr", 5), ("tif", 3), *(pytest.param(ending, None, marks=pytest.mark.slow) for ending in ("zarr", "tif"))],
)
def test_a_series_that_is_killed_goes_on_to_the_same(views, tmp_path, ending, tried):
    def folder_of(name):
        folder = tmp_path / name
        folder.mkdir()
        return folder

    def fuse(folder, *how):
        series = ["fuse", *views, "--method", "average", "--timepoints", "all"]
        run(*series, "-o", folder / f"fused.{ending}", *how)

    whole = folder_of("whole")
    ended = in_child(partial(fuse, whole), folder=whole)
    assert ended.code == 0
    # The last steps, at which the result takes its place, in any case.
    steps = range(1, ended.steps + 1)
    for at in steps if tried is None else sorted({*steps[:: len(steps) // tried], *steps[-6:-2]}):
        folder = folder_of(f"killed-{at}")
        assert in_child(partial(fuse, folder), folder=folder, at=at).code == KILLED
        fuse(folder, "--resume")
        assert np.array_equal(voxels(folder / f"fused.{ending}"), voxels(whole / f"fused.{ending}"))
        left = {path.name for path in folder.iterdir()} - {path.name for path in whole.iterdir()}
        assert not {name for name in left if not name.endswith(".lock")}


@pytest.mark.parametrize("tried", [4, pytest.param(None, marks=pytest.mark.slow)])
def test_a_result_that_lacks_a_volume_is_lost_by_no_kill(views, tmp_path, tried):
    series = ["fuse", *views, "--method", "average", "--timepoints", "all"]
    folder = tmp_path / "place"
    folder.mkdir()
    chunk = tmp_path / "view0.zarr" / "0" / "c" / "1" / "0" / "0" / "0"
    pixels = chunk.read_bytes()
    chunk.write_bytes(b"no chunk")
    run(*series, "-o", folder / "fused.zarr", code=2)
    chunk.write_bytes(pixels)
    lacking = tmp_path / "lacking"
    shutil.copytree(folder, lacking)
    run(*series, "-o", tmp_path / "whole.zarr")

    def resume():
        run(*series, "-o", folder / "fused.zarr", "--resume")

    steps = range(1, in_child(resume, folder=folder).steps + 1)
    for at in steps if tried is None else sorted({*steps[:: len(steps) // tried], *steps[-6:-2]}):
        shutil.rmtree(folder)
        shutil.copytree(lacking, folder)
        assert in_child(resume, folder=folder, at=at).code == KILLED
        resume()
        assert np.array_equal(voxels(folder / "fused.zarr"), voxels(tmp_path / "whole.zarr"))
        assert {path.name for path in folder.iterdir()} <= {path.name for path in lacking.iterdir()}
