"""What earlier states of the package have saved still opens, repeats, fuses and goes on.

`tests/saved/0.1` was made on the command line in /data/saved, before modules were put into rooms:

    mvfusion simulate sample --phantom embryo --size 32 --angles 0,90 --seed 3   (then as 16-bit integers of ImageJ)
    mvfusion fuse sample --method ebmd --iterations 3 --offset 100 --weight 90=0.5 --device cpu -o ebmd.zarr
    mvfusion fuse sample --method cbif --tile 16,32,32 -o cbif.tif
    mvfusion fuse sample --method generator --model small --device cpu -o generator.zarr
    mvfusion train --config train.yaml --seed 1 --device cpu -o whole   (and -o half, killed after four of eight steps)
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from command_line import run
from napari_mvfusion.io.opening import open_volume, read_recipe

SAVED = Path(__file__).parent / "saved" / "0.1"
MADE_IN = "/data/saved"
# Another processor may sum in another order.
SAME = {"rtol": 1e-4, "atol": 1e-3}
# The network computes in bfloat16, where the last bit of a value is 1/256 of it: here a voxel, and their root mean square.
ROUNDED, ROUNDED_RMS = 4e-3, 1e-4


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """A copy that may be written to, with its place in the recipes."""
    folder = tmp_path / "saved"
    shutil.copytree(SAVED, folder)
    for recipe in folder.glob("*.recipe.json"):
        recipe.write_text(recipe.read_text().replace(MADE_IN, str(folder)))
    monkeypatch.setenv("MVFUSION_MODELS", str(folder / "models"))
    return folder


@pytest.mark.parametrize("name", ["ebmd.zarr", "cbif.tif", "generator.zarr"])
def test_a_recipe_of_then_repeats_the_volume(saved, name):
    again = saved / f"again{Path(name).suffix}"
    run("fuse", "--recipe", saved / f"{name}.recipe.json", "-o", again)
    expected, grid = open_volume(saved / name)
    found, grid_now = open_volume(again)
    assert grid == grid_now
    assert grid.voxel_size_um == (2.0, 0.5, 0.5)
    now, then = np.asarray(found[:], np.float64), np.asarray(expected[:], np.float64)
    if "generator" in name:
        assert np.abs(now - then).max() < ROUNDED * then.max()
        assert np.sqrt(np.mean((now - then) ** 2)) < ROUNDED_RMS * then.max()
    else:
        np.testing.assert_allclose(now, then, **SAME)


@pytest.mark.parametrize("name", ["ebmd.zarr", "cbif.tif", "generator.zarr"])
def test_a_fused_volume_of_then_holds_its_recipe(saved, name):
    recipe = read_recipe(saved / name)
    assert recipe["method"]["name"] == name.split(".")[0]
    assert [view["name"] for view in recipe["views"]] == ["0", "90"]


@pytest.mark.training
def test_a_training_run_of_then_goes_on_to_the_same_weights(saved):
    config = saved / "train.yaml"
    found = run("train", "--config", config, "--seed", "1", "--device", "cpu", "-o", "half", "--resume")
    assert "4 done before" in found.stderr
    weights, expected = load_file(saved / "models/half.safetensors"), load_file(saved / "whole.safetensors")
    assert set(weights) == set(expected)
    for key, value in expected.items():
        np.testing.assert_allclose(weights[key], value, rtol=1e-3, atol=1e-5)
