"""A fused volume holds its recipe, which is read from it as from the file beside it."""

import numpy as np
import pytest
import tifffile

from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.engine.recipe import load_recipe, recipe_path
from napari_mvfusion.errors import InputError
from napari_mvfusion.methods import Average
from napari_mvfusion.simulation import sample


@pytest.fixture(scope="module")
def views():
    return sample("nuclei", 32).views


@pytest.mark.parametrize("ending", [".zarr", ".ome.tif", ".tif", ".h5", ".bdv"])
def test_the_recipe_inside_a_result_is_the_one_beside_it(tmp_path, views, ending):
    out = tmp_path / f"fused{ending}"
    fuse(views, Average(), out=out)
    assert load_recipe(out) == load_recipe(recipe_path(out))


def test_a_volume_without_a_recipe_says_so(tmp_path):
    tifffile.imwrite(tmp_path / "plain.tif", np.ones((8, 9, 10), np.uint16))
    with pytest.raises(InputError, match=r"plain\.tif holds no recipe: name a fused volume"):
        load_recipe(tmp_path / "plain.tif")
