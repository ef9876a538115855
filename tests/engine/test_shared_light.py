"""Lost light of a series is found once, so that a cell that lights up changes nothing but itself; and found again."""

import json
from functools import cache

import numpy as np
import pytest
import tifffile
import zarr

from command_line import run
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.overviews import Overview, common_overviews
from napari_mvfusion.data.views import RegisteredViews, View, drain
from napari_mvfusion.engine.recipe import load_recipe
from napari_mvfusion.engine.run_attenuation import attenuation_of_run
from napari_mvfusion.engine.shared_light import shared_light, shared_light_again
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.tiff.writer import write_tiff
from napari_mvfusion.measures.attenuation import find_transmission
from napari_mvfusion.simulation import embryo, light_sheet_psfs
from napari_mvfusion.simulation.recording import attenuate_at, blur_inside

SIDE = 32
ANGLES = (0.0, 180.0)
TIMES = 3
CELL = (8, 8, 24)
PER_VOXEL = 0.1
PHOTONS = 4000


def views_at(timepoint):
    return RegisteredViews(recorded_at(timepoint), Grid((SIDE,) * 3))


@cache
def recorded_at(timepoint):
    """A specimen that absorbs; at the middle time point a cell lights up in it that does not."""
    matter = embryo(SIDE, np.random.default_rng(2)) + np.float32(1e-3)
    shown = matter.copy()
    if timepoint == 1:
        shown[tuple(slice(n - 1, n + 2) for n in CELL)] = 8
    views = []
    for angle, psf in zip(ANGLES, light_sheet_psfs(ANGLES, SIDE), strict=True):
        light = attenuate_at(matter, angle, PER_VOXEL) / matter
        around = [(n // 2, n // 2) for n in psf.shape]
        inside = tuple(slice(n, n + SIDE) for n, _ in around)
        expected = blur_inside(np.pad(shown * light, around), psf)[inside]
        photons = np.random.default_rng([timepoint, int(angle)]).poisson(PHOTONS * expected + 1)
        views.append(View(photons.astype(np.float32), f"{angle:g}", psf, angle))
    return views


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A folder of its views and PSFs."""
    folder = tmp_path_factory.mktemp("recording")
    for timepoint in range(TIMES):
        for view in views_at(timepoint).views:
            tifffile.imwrite(folder / f"t{timepoint}_a{view.name}.tif", view.data)
            if timepoint == 0:
                write_tiff(folder / f"psf_a{view.name}.tif", view.psf, Grid(view.psf.shape))
    return folder


@pytest.fixture
def copied(recorded, tmp_path):
    """The same, to be changed."""
    folder = tmp_path / "recording"
    folder.mkdir()
    for file in recorded.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def series(folder, out, *how, **expected):
    names = ["--pattern", "t{timepoint}_a{angle}.tif|psf_a{angle}.tif"]
    method = ["--method", "average", "--set", "attenuation=estimated"]
    return run("fuse", folder, *names, *method, "--timepoints", "all", "-o", out, *how, **expected).stderr


def voxels(out):
    return zarr.open_array(out / "0", mode="r")[:]


def away_from_the_cell(fused):
    """Where the specimen is, half the volume away along x from the cell: the means of the time points."""
    part = fused[..., : SIDE // 2]
    return part[:, part.mean(axis=0) > part.mean()].mean(axis=1)


def test_a_cell_that_lights_up_changes_nothing_far_from_it(recorded, tmp_path):
    said = series(recorded, tmp_path / "once.zarr")
    assert "lost light is looked for in what time points 0, 1 and 2 have in common" in said
    assert series(recorded, tmp_path / "each.zarr", "--per-timepoint").count("in common") == 0
    once, each = (away_from_the_cell(voxels(tmp_path / f"{name}.zarr")) for name in ("once", "each"))
    assert np.ptp(once) < 0.003 * once.mean(), once
    assert np.ptp(each) > 3 * np.ptp(once), (once, each)


def test_what_it_was_found_on_stands_in_the_recipe_and_repeats_it(recorded, tmp_path):
    out = tmp_path / "fused.zarr"
    series(recorded, out)
    recipe = json.loads((tmp_path / "fused.zarr.recipe.json").read_text())
    found_on = [volume["run"]["lost_light_from"] for volume in recipe["series"]]
    assert found_on == [found_on[0]] * TIMES
    assert [place["timepoint"] for place in found_on[0]] == [0, 1, 2]
    pixels = [{view["name"]: view["sha256"] for view in volume["views"]} for volume in recipe["series"]]
    assert [place["views"] for place in found_on[0]] == pixels
    run("fuse", "--recipe", out, "-o", tmp_path / "again.zarr")
    assert np.array_equal(voxels(tmp_path / "again.zarr"), voxels(out))


def test_each_file_of_a_series_is_repeated_alone_with_the_light_of_all(recorded, tmp_path):
    series(recorded, tmp_path / "fused.tif")
    run("fuse", "--recipe", tmp_path / "fused-001.tif.recipe.json", "-o", tmp_path / "again.tif")
    assert np.array_equal(tifffile.imread(tmp_path / "again.tif"), tifffile.imread(tmp_path / "fused-001.tif"))
    recipe = load_recipe(tmp_path / "fused-001.tif.recipe.json")
    views = recipe.open_views()
    used = attenuation_of_run(json.loads((tmp_path / "fused-001.tif.recipe.json").read_text()), views)
    assert used.words == "estimated, as in its run"
    shared = drain(recipe.shared_light())
    np.testing.assert_array_equal(
        used.transmission.values, find_transmission(shared.given_to(recipe.open_views())).values
    )
    assert np.abs(used.transmission.values - find_transmission(views).values).max() > 0.01


def test_a_time_point_that_is_mended_gets_the_light_of_the_others(copied, tmp_path):
    out = tmp_path / "fused.zarr"
    file = copied / "t1_a0.tif"
    pixels = file.read_bytes()
    file.write_bytes(b"no image")
    assert "time points 0 and 2 have in common" in series(copied, out, code=2)
    file.write_bytes(pixels)
    assert "in common" not in series(copied, out, "--resume")
    recipe = json.loads((tmp_path / "fused.zarr.recipe.json").read_text())
    assert [place["timepoint"] for place in recipe["series"][1]["run"]["lost_light_from"]] == [0, 2]
    means = away_from_the_cell(voxels(out))
    assert np.ptp(means) < 0.003 * means.mean(), means


def test_it_goes_on_only_where_time_points_are_what_they_were(copied, tmp_path):
    out = tmp_path / "fused.zarr"
    file = copied / "t1_a0.tif"
    pixels = file.read_bytes()
    file.write_bytes(b"no image")
    series(copied, out, code=2)
    file.write_bytes(pixels)
    first = tifffile.imread(copied / "t0_a0.tif")
    tifffile.imwrite(copied / "t0_a0.tif", first + 1)
    said = series(copied, out, "--resume", code=2)
    assert "the pixels of view '0' at time point 0, on which lost light was found for all of a series, changed" in said


def test_a_time_point_of_another_shape_finds_its_own(copied, tmp_path):
    for angle in ANGLES:
        file = copied / f"t2_a{angle:g}.tif"
        tifffile.imwrite(file, tifffile.imread(file)[:-2])
    said = series(copied, tmp_path / "fused.tif")
    assert "time points 0 and 1 have in common" in said
    assert "lost light is found on each time point whose shape" in said
    recipes = [json.loads((tmp_path / f"fused-{n:03}.tif.recipe.json").read_text()) for n in range(TIMES)]
    assert ["lost_light_from" in recipe["run"] for recipe in recipes] == [True, True, False]


def overview(values, covered=1.0):
    values = np.asarray(values, np.float32)
    return Overview(2, tuple(2 * n for n in values.shape), values, np.full(values.shape, covered, np.float32))


def test_what_volumes_have_in_common_knows_nothing_of_what_one_alone_shows():
    still = np.random.default_rng(0).uniform(1, 2, (4, 5, 6))
    bright = still.copy()
    bright[1, 2, 3] = 50
    (common,) = common_overviews([[overview(still)], [overview(bright)], [overview(still, 0.5)]])
    np.testing.assert_allclose(common.values, still, rtol=1e-6)
    assert (common.covered == 0.5).all()


def test_a_volume_that_bleached_counts_as_much_as_others():
    views = [np.random.default_rng(seed).uniform(1, 2, (4, 5, 6)) for seed in range(2)]
    volumes = [[overview(factor * view) for view in views] for factor in (1.0, 0.5, 0.1)]
    for common, view in zip(common_overviews(volumes), views, strict=True):
        np.testing.assert_allclose(common.values, view, rtol=1e-5)


def test_it_is_given_to_volumes_of_the_same_views_and_shape_only():
    shared = shared_light([({"timepoint": 0}, views_at(0)), ({"timepoint": 1}, views_at(1))])
    assert shared.given_to(views_at(2)).statistics()[0].overview is shared.overviews[0]
    with pytest.raises(InputError, match="--per-timepoint"):
        shared.given_to(views_at(2).select(["180"]))


def test_pixels_that_changed_are_told():
    found = shared_light([({"timepoint": 0, "channel": None, "tag": None}, views_at(0))])
    again = drain(shared_light_again(found.found_on, lambda place: views_at(place["timepoint"])))
    assert again.found_on == found.found_on
    with pytest.raises(InputError, match="view '0' at time point 0"):
        drain(shared_light_again(found.found_on, lambda place: views_at(2)))
