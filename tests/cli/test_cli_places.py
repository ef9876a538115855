"""Views in places of their own on the command line: what is chosen, said, kept in the recipe and repeated."""

import json

import numpy as np
import pytest
import tifffile

from command_line import run
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.io.formats import write_volume
from napari_mvfusion.io.opening import open_volume


@pytest.fixture
def shifted(tmp_path, rng):
    """Two views of one scene, the second begins two voxels later."""
    whole = rng.random((14, 12, 12), np.float32) + 1
    files = []
    for name, start in (("a", 0), ("b", 2)):
        file = tmp_path / f"{name}.zarr"
        write_volume(file, whole[start : start + 12], Grid((12, 12, 12), (0.5, 0.5, 0.5), (start * 0.5, 0, 0)))
        files.append(file)
    return files, whole


def test_views_are_fused_in_their_places_and_the_recipe_repeats_it(shifted, tmp_path):
    files, whole = shifted
    done = run("fuse", *files, "--method", "average", "-o", tmp_path / "o.zarr")
    fused, grid = open_volume(tmp_path / "o.zarr")
    assert grid == Grid((14, 12, 12), (0.5, 0.5, 0.5))
    np.testing.assert_allclose(fused[:], whole, rtol=1e-5)
    assert "14 x 12 x 12 voxels of 0.5 x 0.5 x 0.5 um" in done.stderr
    run("fuse", "--recipe", tmp_path / "o.zarr.recipe.json", "-o", tmp_path / "again.zarr")
    np.testing.assert_array_equal(open_volume(tmp_path / "again.zarr")[0][:], fused[:])


def test_grid_and_box_are_options(shifted, tmp_path):
    files, whole = shifted
    run("fuse", *files, "--method", "average", "--box", "1,0,0,3,2.5,2.5", "-o", tmp_path / "o.zarr")
    fused, grid = open_volume(tmp_path / "o.zarr")
    assert grid == Grid((5, 6, 6), (0.5, 0.5, 0.5), (1, 0, 0))
    np.testing.assert_allclose(fused[:], whole[2:7, :6, :6], rtol=1e-5)
    run("fuse", "--recipe", tmp_path / "o.zarr.recipe.json", "-o", tmp_path / "again.zarr")
    np.testing.assert_array_equal(open_volume(tmp_path / "again.zarr")[0][:], fused[:])
    run("fuse", *files, "--method", "average", "--grid", "first", "-o", tmp_path / "f.zarr")
    np.testing.assert_allclose(open_volume(tmp_path / "f.zarr")[0][:], whole[:12], rtol=1e-5)
    run("fuse", *files, "--method", "average", "--grid", "1,0.5,0.5", "-o", tmp_path / "c.zarr")
    assert open_volume(tmp_path / "c.zarr")[1] == Grid((8, 12, 12), (1, 0.5, 0.5))


def test_a_recipe_that_says_nothing_of_places_leaves_them_aside(shifted, tmp_path):
    files, _ = shifted
    run("fuse", *files, "--method", "average", "--grid", "same", "-o", tmp_path / "o.zarr")
    file = tmp_path / "o.zarr.recipe.json"
    recipe = json.loads(file.read_text())
    del recipe["inputs"]["grid"], recipe["inputs"]["box_um"]
    file.write_text(json.dumps(recipe))
    run("fuse", "--recipe", file, "-o", tmp_path / "again.zarr")
    again, grid = open_volume(tmp_path / "again.zarr")
    np.testing.assert_array_equal(again[:], open_volume(tmp_path / "o.zarr")[0][:])
    assert grid == Grid((12, 12, 12), (0.5, 0.5, 0.5))
    assert Inputs(source="x").grid == "same"


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--grid", "large"), "give isotropic, first, same, or the size of a voxel in um as z,y,x"),
        (("--grid", "0"), "give isotropic, first, same, or the size of a voxel in um as z,y,x"),
        (("--box", "1,2,3"), "give six numbers in um, the first place z,y,x and the last one"),
        (("--box", "3,0,0,1,1,1"), "a box cannot end before it starts"),
        (("--box", "50,0,0,60,1,1"), "holds no part of a view: they lie between (0, 0, 0) and (6.5, 5.5, 5.5) um"),
        (("--grid", "0.00001"), "voxels of 1e-05 x 1e-05 x 1e-05 um"),
    ],
)
def test_what_no_grid_can_be_is_refused_in_a_line(shifted, tmp_path, option, words):
    done = run("fuse", *shifted[0], *option, "--method", "average", "-o", tmp_path / "o.zarr", code=2)
    assert words in " ".join(done.stderr.replace("│", " ").split())


def test_info_says_which_sizes_are_known(tmp_path):
    grid = Grid((4, 5, 6), (0.5, 0.25, 0.25), known=(False, True, True))
    write_volume(tmp_path / "v.h5", np.ones(grid.shape, np.float32), grid)
    assert "voxels of not known x 0.25 x 0.25 um" in run("info", tmp_path / "v.h5").stdout
    shown = json.loads(run("info", tmp_path / "v.h5", "--json").stdout)
    assert shown["samples"][0]["voxel_size_um"] == [None, 0.25, 0.25]


def test_a_size_that_is_not_known_is_so_in_the_result_and_the_recipe(tmp_path, rng):
    files = []
    for name in "ab":
        grid = Grid((12, 12, 12), (0.25, 0.25, 0.25), known=(False, True, True))
        write_volume(tmp_path / f"{name}.h5", rng.random(grid.shape, np.float32), grid)
        files.append(tmp_path / f"{name}.h5")
    done = run("fuse", *files, "--method", "average", "-o", tmp_path / "o.ome.tif")
    assert "the voxel size along z is not known" in done.stderr
    assert open_volume(tmp_path / "o.ome.tif")[1].stated_size_um == (None, 0.25, 0.25)
    recipe = json.loads((tmp_path / "o.ome.tif.recipe.json").read_text())
    assert recipe["grid"]["voxel_size_known"] == [False, True, True]
    run("fuse", *files, "--voxel-size", "2,0.25,0.25", "--method", "average", "-o", tmp_path / "p.ome.tif")
    assert open_volume(tmp_path / "p.ome.tif")[1].stated_size_um == (2, 0.25, 0.25)


def test_a_psf_of_beads_whose_voxel_size_is_not_known_states_none(tmp_path):
    z, y, x = np.indices((32, 64, 64))
    beads = sum(np.exp(-((z - 16) ** 2 / 8 + (y - b) ** 2 / 4 + (x - a) ** 2 / 4)) for b in (16, 48) for a in (14, 46))
    tifffile.imwrite(tmp_path / "beads.tif", (1000 * beads).astype(np.uint16), photometric="minisblack")
    run("psf", "measure", tmp_path / "beads.tif", tmp_path / "psf.tif", "--size", 15)
    assert not any(open_volume(tmp_path / "psf.tif")[1].known)
