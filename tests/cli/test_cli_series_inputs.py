"""Series of what inputs there are: names of files, tags, projects, PSFs, shapes; and what one method decides for all."""

import json

import numpy as np
import pytest
import tifffile
import zarr
from scipy.ndimage import gaussian_filter

from bdv_projects import IDENTITY, Setup, write_n5_view, xml_of
from command_line import run
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.engine.recipe import Inputs, load_recipe
from napari_mvfusion.engine.series_choice import SeriesAxes, choose_series, chosen_numbers
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.formats import open_stored
from napari_mvfusion.io.ome_zarr.writer import write_zarr
from napari_mvfusion.io.streaming import LeadingAxis
from napari_mvfusion.io.tiff.writer import write_tiff

SHAPE = (16, 18, 20)
GRID = Grid(SHAPE, (1.0, 1.0, 1.0))


def pixels(*seed, shape=SHAPE):
    return np.random.default_rng(seed).integers(100, 1000, shape).astype(np.uint16)


def mean_of(*views):
    return np.mean(np.array(views, np.float32), axis=0)


def write(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, values)


@pytest.fixture
def named(tmp_path):
    """A folder whose names say times, which leave one out, and channels."""
    folder = tmp_path / "named"
    for timepoint in (1, 2, 4):
        for number, channel in enumerate(("GFP", "RFP")):
            for angle in (0, 90):
                write(folder / f"spim_TL{timepoint}_{channel}_Angle{angle}.tif", pixels(timepoint, number, angle))
    return [folder, "--pattern", "spim_TL{timepoint}_{channel}_Angle{angle}.tif", "--method", "average"]


def test_names_say_which_volumes_there_are(named, tmp_path):
    out = tmp_path / "fused.zarr"
    run("fuse", *named, "--timepoints", "all", "--channels", "RFP,GFP", "-o", out)
    stored = open_stored(out)
    assert dict(stored.leading) == {"t": 3, "c": 2}
    assert stored.channel_names == ("RFP", "GFP")
    fused = zarr.open_array(out / "0")
    for t, timepoint in enumerate((1, 2, 4)):
        for c, number in enumerate((1, 0)):
            expected = mean_of(pixels(timepoint, number, 0), pixels(timepoint, number, 90))
            assert np.allclose(fused[t, c], expected)
    said = run("fuse", *named, "--timepoints", "3", "--channels", "all", "-o", tmp_path / "other.zarr", code=2).stderr
    assert "has 3 time points, 1 to 4" in said


def test_a_view_that_is_missing_fails_its_volume_alone(named, tmp_path):
    (tmp_path / "named" / "spim_TL2_GFP_Angle90.tif").unlink()
    (tmp_path / "named" / "spim_TL2_GFP_Angle0.tif").unlink()
    out = tmp_path / "fused.tif"
    said = run("fuse", *named, "--timepoints", "all", "--channels", "all", "-o", out, code=2).stderr
    assert "error: time point 2, channel 0 (GFP): " in said
    assert len(list(tmp_path.glob("fused-*.tif"))) == 5


def test_a_volume_of_another_shape_fails_alone_in_one_image_and_not_in_files(tmp_path):
    folder = tmp_path / "named"
    for timepoint, shape in enumerate((SHAPE, (16, 18, 22), SHAPE)):
        for angle in (0, 90):
            write(folder / f"t{timepoint}_a{angle}.tif", pixels(timepoint, angle, shape=shape))
    series = ["fuse", folder, "--pattern", "t{timepoint}_a{angle}.tif", "--method", "average", "--timepoints", "all"]
    said = run(*series, "-o", tmp_path / "fused.zarr", code=2).stderr
    assert "error: time point 1: its fused volume has 16 × 18 × 22 voxels, and that of the first 16 × 18 × 20" in said
    assert zarr.open_array(tmp_path / "fused.zarr" / "0").shape == (3, *SHAPE)
    run(*series, "-o", tmp_path / "fused.tif")
    assert tifffile.imread(tmp_path / "fused-001.tif").shape == (16, 18, 22)


def test_tags_are_time_points(tmp_path):
    folder = tmp_path / "tags"
    for tag in (2, 10):
        for angle in (0, 90):
            write(folder / f"tl{tag}_view_{angle}.tif", pixels(tag, angle))
    said = run("fuse", folder, "--method", "average", "--timepoints", "all", "-o", tmp_path / "fused.zarr").stderr
    assert "the tags are the time points: 0 is tl2, 1 is tl10" in said
    fused = zarr.open_array(tmp_path / "fused.zarr" / "0")
    for t, tag in enumerate((2, 10)):
        assert np.allclose(fused[t], mean_of(pixels(tag, 0), pixels(tag, 90)))


def test_a_project_is_a_series_by_its_own_numbers(tmp_path):
    folder = tmp_path / "project"
    size = SHAPE[::-1]
    setups = {
        setup: Setup(size=size, parts={"channel": setup // 2, "angle": setup % 2, "illumination": 0, "tile": 0})
        for setup in range(4)
    }
    times = (3, 5)
    for setup in setups:
        for timepoint in times:
            write_n5_view(folder / "d.n5", setup, timepoint, [pixels(timepoint, setup)], [[1, 1, 1]])
    names = {
        "channel": {0: "GFP", 1: "RFP"},
        "angle": {0: "0", 1: "90"},
        "illumination": {0: "0"},
        "tile": {0: "0"},
    }
    loader = '<ImageLoader format="bdv.n5"><n5 type="relative">d.n5</n5></ImageLoader>'
    transforms = {(t, s): [IDENTITY] for t in times for s in setups}
    text = xml_of(loader, setups, transforms, timepoints=times, names=names)
    (folder / "dataset.xml").write_text(text, encoding="utf-8")
    out = tmp_path / "fused.zarr"
    project = ["fuse", folder / "dataset.xml", "--method", "average", "--timepoints", "all"]
    run(*project, "--channels", "all", "-o", out)
    assert open_stored(out).channel_names == ("GFP", "RFP")
    fused = zarr.open_array(out / "0")
    for t, timepoint in enumerate(times):
        for c in range(2):
            assert np.allclose(fused[t, c], mean_of(pixels(timepoint, 2 * c), pixels(timepoint, 2 * c + 1)))
    run(*project, "--channels", "RFP", "-o", tmp_path / "fused.tif")
    assert sorted(path.name for path in tmp_path.glob("*.tif")) == ["fused-003.tif", "fused-005.tif"]


def test_an_image_whose_channels_are_views_has_time_points(tmp_path):
    data = np.array([[pixels(t, view) for view in range(2)] for t in range(3)])
    write_zarr(tmp_path / "views.zarr", data, GRID, leading=[LeadingAxis("t", 3, 5.0), LeadingAxis("c", 2)])
    out = tmp_path / "fused.zarr"
    run("fuse", tmp_path / "views.zarr", "--method", "average", "--timepoints", "all", "-o", out)
    assert dict(open_stored(out).leading) == {"t": 3}
    assert open_stored(out).time_step == 5.0
    for t, fused in enumerate(zarr.open_array(out / "0")[:]):
        assert np.allclose(fused, mean_of(pixels(t, 0), pixels(t, 1)))


@pytest.fixture
def blurred(tmp_path):
    """A folder of two views with PSFs in two channels."""
    folder = tmp_path / "blurred"
    z, y, x = np.ogrid[-3:4, -3:4, -3:4]
    psf = np.exp(-(z**2 + y**2 + x**2) / 2).astype(np.float32)
    for channel in range(2):
        for angle in (0, 90):
            for timepoint in range(2):
                smooth = gaussian_filter(pixels(channel, timepoint, angle).astype(np.float32), 1)
                write(folder / f"c{channel}_t{timepoint}_a{angle}.tif", smooth)
            write_tiff(folder / f"psf_c{channel}_a{angle}.tif", psf, Grid(psf.shape, (1.0, 1.0, 1.0)))
    return [folder, "--pattern", "c{channel}_t{timepoint}_a{angle}.tif|psf_c{channel}_a{angle}.tif"]


def test_iterations_are_found_once_for_each_channel(blurred, tmp_path):
    out = tmp_path / "fused.zarr"
    series = ["fuse", *blurred, "--timepoints", "all", "--channels", "all", "--iterations", "auto", "-o", out]
    run(*series)
    recipe = json.loads((tmp_path / "fused.zarr.recipe.json").read_text())
    taken = [each["method"]["parameters"]["iterations"] for each in recipe["series"]]
    assert taken[0] == taken[2]
    assert taken[1] == taken[3]
    because = [each["run"]["iterations_because"] for each in recipe["series"]]
    assert all(one.startswith("the middle of what time points 0 and 1 bear: ") for one in because)
    assert len(set(because)) == 2


def test_psfs_of_some_channels_only_are_said_before_any_work(blurred, tmp_path):
    for file in (tmp_path / "blurred").glob("psf_c1_*"):
        file.unlink()
    said = run("fuse", *blurred, "--timepoints", "all", "--channels", "all", "-o", tmp_path / "a.zarr", code=2).stderr
    assert "error: time point 0, channel 1: " in said
    assert "PSF" in said
    assert not list(tmp_path.glob("a.zarr*"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("all", (2, 3, 5, 8)),
        ("3", (3,)),
        ("8,2,8", (8, 2)),
        ("-1", (8,)),
        (":5", (2, 3)),
        ("::3", (2, 5, 8)),
        ("3:9:5,5", (3, 8, 5)),
        ("::-1", (8, 5, 3, 2)),
    ],
)
def test_numbers_are_chosen_as_python_chooses(text, found):
    assert chosen_numbers(text, SeriesAxes("a", {"t": (2, 3, 5, 8)}), "t") == found


@pytest.mark.parametrize("text", ["4", "9", "0:10", "-20:", "1:2", "::0", "", "3-5", "GFP"])
def test_what_chooses_nothing_that_is_there_is_refused(text):
    with pytest.raises(InputError, match="a has 4 time points, 2 to 8"):
        chosen_numbers(text, SeriesAxes("a", {"t": (2, 3, 5, 8)}), "t")


def test_a_recipe_that_lacks_volumes_is_damaged(named, tmp_path):
    out = tmp_path / "fused.zarr"
    run("fuse", *named, "--timepoints", "1,2", "--channels", "all", "-o", out)
    beside = tmp_path / "fused.zarr.recipe.json"
    recipe = json.loads(beside.read_text())
    del recipe["series"][1]
    beside.write_text(json.dumps(recipe))
    said = run("fuse", "--recipe", beside, "-o", tmp_path / "again.zarr", code=2).stderr
    assert "fused.zarr.recipe.json is damaged" in said
    with pytest.raises(InputError, match="is the recipe of a series of volumes, and that of one is needed here"):
        load_recipe(out)


def test_an_input_of_one_volume_is_no_series(tmp_path):
    for angle in (0, 90):
        write(tmp_path / f"a_view_{angle}.tif", pixels(angle))
    choice, _ = choose_series(Inputs(source=str(tmp_path)), "all", "all")
    assert choice.indices == [()]
    assert choice.inputs_at(()).timepoint is None
