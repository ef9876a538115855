"""Series from the command line: time points and channels of an input as one run, and what fails of it."""

import json
import shutil

import numpy as np
import pytest
import tifffile
import zarr

from command_line import run
from napari_mvfusion.data.events import Cancelled
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.engine.running_series import VolumeDone
from napari_mvfusion.engine.series_choice import choose_series
from napari_mvfusion.engine.series_run import fuse_chosen
from napari_mvfusion.io.formats import open_stored
from napari_mvfusion.io.ome_zarr.writer import write_zarr
from napari_mvfusion.io.opening import open_volume
from napari_mvfusion.io.streaming import LeadingAxis
from napari_mvfusion.methods import Average

SHAPE = (18, 20, 70)  # x has a coarser level
GRID = Grid(SHAPE, (2.0, 0.5, 0.5), (10.0, 0.0, 0.0))
TIMES, CHANNELS = 4, 2


def pixels(view, timepoint, channel):
    rng = np.random.default_rng([view, timepoint, channel])
    return rng.integers(100, 1000, SHAPE).astype(np.uint16)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Two views with time points and channels, each an OME-Zarr with a time step and names of channels."""
    folder = tmp_path_factory.mktemp("series")
    for view in range(2):
        data = np.array([[pixels(view, t, c) for c in range(CHANNELS)] for t in range(TIMES)])
        path = folder / f"view{view}.zarr"
        write_zarr(path, data, GRID, leading=[LeadingAxis("t", TIMES, 30.0), LeadingAxis("c", CHANNELS)])
        group = zarr.open_group(path, mode="r+")
        channels = [{"label": name, "color": "00FF00"} for name in ("GFP", "RFP")]
        group.attrs["ome"] = group.attrs["ome"] | {"omero": {"channels": channels}}
    return folder


@pytest.fixture
def views(recorded, tmp_path):
    """The arguments that name a copy of the views."""
    for view in range(2):
        shutil.copytree(recorded / f"view{view}.zarr", tmp_path / f"view{view}.zarr")
    return ["--view", f"0={tmp_path / 'view0.zarr'}", "--view", f"90={tmp_path / 'view1.zarr'}", "--method", "average"]


def alone(views, folder, timepoint, channel):
    """One volume, fused by a run of its own."""
    out = folder / f"alone-{timepoint}-{channel}.zarr"
    run("fuse", *views, "--timepoint", timepoint, "--channel", channel, "-o", out)
    return out


def damage(path, timepoint, channel):
    """Spoil the pixels of one volume of a file."""
    chunk = path / "0" / "c" / str(timepoint) / str(channel) / "0" / "0" / "0"
    chunk.write_bytes(b"no chunk")


def test_all_volumes_are_one_image_that_says_what_the_views_say(views, tmp_path):
    out = tmp_path / "fused.zarr"
    done = run("fuse", *views, "--timepoints", "1:4:2", "--channels", "all", "-o", out)
    assert "volume 4 of 4 (time point 3, channel 1 (RFP))" in done.stderr
    stored = open_stored(out)
    assert dict(stored.leading) == {"t": 2, "c": 2}
    assert stored.channel_names == ("GFP", "RFP")
    assert stored.time_step == 60.0
    assert stored.grid == GRID
    group = zarr.open_group(out, mode="r")
    for t, timepoint in enumerate((1, 3)):
        for channel in range(CHANNELS):
            single = zarr.open_group(alone(views, tmp_path, timepoint, channel), mode="r")
            assert sorted(single.array_keys()) == sorted(group.array_keys()) == ["0", "1"]
            for level in ("0", "1"):
                assert np.array_equal(group[level][t, channel], single[level][:])
    assert not list(tmp_path.glob("fused.zarr.partial*"))


def test_an_axis_with_one_volume_is_left_out(views, tmp_path):
    run("fuse", *views, "--timepoints", "all", "--channels", "RFP", "-o", tmp_path / "times.zarr")
    assert dict(open_stored(tmp_path / "times.zarr").leading) == {"t": TIMES}
    run("fuse", *views, "--timepoints", "-1", "--channel", 1, "-o", tmp_path / "one.zarr")
    assert np.array_equal(
        open_volume(tmp_path / "one.zarr")[0][:], open_volume(alone(views, tmp_path, TIMES - 1, 1))[0][:]
    )


def test_another_format_gets_a_file_for_each_volume(views, tmp_path):
    done = run("fuse", *views, "--timepoints", "2:", "--channels", "0,1", "-o", tmp_path / "fused.tif")
    assert f"{tmp_path / 'fused-002-000.tif'} to fused-003-001.tif, 4 files" in done.stdout
    files = sorted(path.name for path in tmp_path.glob("fused*.tif"))
    assert files == [f"fused-{t:03}-{c:03}.tif" for t in (2, 3) for c in (0, 1)]
    expected = open_volume(alone(views, tmp_path, 3, 0))[0][:]
    assert np.array_equal(tifffile.imread(tmp_path / "fused-003-000.tif"), expected)
    done = run("fuse", *views, "--timepoints", "2:", "--channels", "0,1", "-o", tmp_path / "fused.tif", "--resume")
    assert "nothing is left to do" in done.stdout
    run("fuse", "--recipe", tmp_path / "fused.tif.recipe.json", "-o", tmp_path / "again.tif")
    assert np.array_equal(tifffile.imread(tmp_path / "again-003-000.tif"), expected)


def test_the_recipe_repeats_all_of_it(views, tmp_path):
    out = tmp_path / "fused.zarr"
    run("fuse", *views, "--timepoints", "0:2", "--channels", "all", "-o", out)
    for recipe in (out, tmp_path / "fused.zarr.recipe.json"):
        again = tmp_path / f"again-{recipe.suffix[1:]}.zarr"
        run("fuse", "--recipe", recipe, "-o", again)
        assert np.array_equal(zarr.open_array(again / "0")[:], zarr.open_array(out / "0")[:])
    assert "nothing is left to do" in run("fuse", "--recipe", out, "-o", again, "--resume").stdout
    said = run("fuse", "--recipe", out, "--channels", "0", "-o", tmp_path / "other.zarr", code=2).stderr
    assert "--channels would be ignored" in said


def test_a_volume_that_fails_is_told_and_done_later(views, tmp_path):
    out = tmp_path / "fused.zarr"
    damage(tmp_path / "view1.zarr", 1, 0)
    series = ["fuse", *views, "--timepoints", "all", "--channels", "all", "-o", out]
    said = run(*series, code=2).stderr
    (line,) = [line for line in said.splitlines() if line.startswith("error")]
    assert line.startswith("error: time point 1, channel 0 (GFP): ")
    assert "view1.zarr" in line
    assert "1 of 8 volumes failed" in said
    fused = zarr.open_array(out / "0")[:]
    assert not fused[1, 0].any()
    assert all(fused[t, c].any() for t in range(TIMES) for c in range(CHANNELS) if (t, c) != (1, 0))
    recipe = json.loads((tmp_path / "fused.zarr.recipe.json").read_text())
    assert [n for n, volume in enumerate(recipe["series"]) if "failed" in volume] == [2]
    assert run(*series, "--resume", code=2).stderr.count("error: time point") == 1
    data = zarr.open_array(tmp_path / "view1.zarr" / "0", mode="r+")
    data[1, 0] = pixels(1, 1, 0)
    said = run(*series, "--resume").stderr
    assert said.count(" of 8 (") == 1
    assert np.array_equal(zarr.open_array(out / "0")[1, 0], open_volume(alone(views, tmp_path, 1, 0))[0][:])
    assert "nothing is left to do" in run(*series, "--resume").stdout


def test_a_finished_volume_that_was_damaged_is_fused_again(views, tmp_path):
    out = tmp_path / "fused.zarr"
    series = ["fuse", *views, "--timepoints", "0:2", "--channels", "all", "-o", out]
    run(*series)
    whole = zarr.open_array(out / "0")[:]
    damage(out, 1, 1)
    said = run(*series, "--resume").stderr
    assert "time point 1, channel 1 (RFP) is fused again" in said
    assert np.array_equal(zarr.open_array(out / "0")[:], whole)


def test_a_resumed_series_is_the_same(views, tmp_path):
    out = tmp_path / "fused.zarr"
    series = ["fuse", *views, "--timepoints", "0:2", "--channel", "0", "-o", out]
    run(*series)
    assert "exists already" in run(*series, code=3).stderr
    said = run(*series, "--set", "border=20", "--resume", code=2).stderr
    other = ["fuse", *views, "--timepoints", "1:3", "--channel", "0", "-o", out, "--resume"]
    assert "was made otherwise" in run(*other, code=3).stderr, said
    run(*other, "--overwrite")


def test_a_cancelled_series_keeps_what_is_finished_and_goes_on(views, tmp_path):
    out = tmp_path / "fused.zarr"
    files = {"0": str(tmp_path / "view0.zarr"), "90": str(tmp_path / "view1.zarr")}
    choice, _ = choose_series(Inputs(source=files, channel=0), "all", None)
    done = []
    events = list(tap(fuse_chosen(choice, Average(), out, device="cpu", cancel=lambda: len(done) > 1), done))
    assert events[-1] == Cancelled(2, TIMES, tmp_path / "fused.zarr.partial")
    assert not out.exists()
    done.clear()
    *_, end = tap(fuse_chosen(choice, Average(), out, device="cpu", resume=True), done)
    assert len(done) == TIMES - 2
    assert (end.fused, end.failed, end.files) == (TIMES, (), (out,))


def tap(events, done):
    """Pass events on, and gather the volumes that are done."""
    for event in events:
        if isinstance(event, VolumeDone):
            done.append(event)
        yield event


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--timepoints", "0:9"], "has 4 time points, 0 to 3, and --timepoints 0:9 goes beyond"),
        (["--timepoints", "3:3"], "--timepoints 3:3 chooses none of the time points"),
        (["--timepoints", "0,7"], "--timepoints '7' is none of them"),
        (["--timepoints", "all"], "has 2 channels, 0 (GFP), 1 (RFP): choose with --channels"),
        (
            ["--timepoints", "0", "--channels", "DAPI"],
            "has 2 channels, 0 (GFP), 1 (RFP), and --channels 'DAPI' is none",
        ),
        (["--timepoints", "0", "--timepoint", "1"], "give either --timepoint or --timepoints"),
    ],
)
def test_what_is_not_there_is_said_before_any_work(views, tmp_path, asked, said):
    assert said in " ".join(run("fuse", *views, *asked, "-o", tmp_path / "fused.zarr", code=2).stderr.split())
    assert not list(tmp_path.glob("fused*"))
