"""How views are opened, as a recipe holds it: what is set on them afterwards is opened again."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.io.saved_views import write_views_folder

SHAPE = (6, 7, 8)


@pytest.fixture
def inputs(tmp_path, rng):
    """Of a folder with views at 0, 90 and 180 degrees."""
    views = [View(rng.random(SHAPE, np.float32), f"{angle}", angle=float(angle)) for angle in (0, 90, 180)]
    write_views_folder(tmp_path / "views", RegisteredViews(views, Grid(SHAPE, (2.0, 0.5, 0.5))), "a")
    return Inputs(source=str(tmp_path / "views"))


def settings(views):
    return [
        (
            v.name,
            v.weight,
            v.offset,
            v.gain,
            v.remove_hot,
            v.no_data,
            None if v.mask is None else np.asarray(v.mask).sum(),
        )
        for v in views.views
    ]


def test_views_come_back_as_they_were_set(inputs, tmp_path, rng):
    opened = inputs.open()
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:] = 1
    tifffile.imwrite(tmp_path / "mask.tif", mask, photometric="minisblack")
    first, second, third = opened.views
    changed = [
        replace(first, weight=2.0, offset=3.0, no_data="auto", remove_hot=True),
        replace(second, gain=1.5, offset=3.0, no_data="auto", remove_hot=True),
        replace(third, offset=-1.0, no_data="auto", mask=mask, remove_hot=True),
    ]
    grid = replace(opened.grid, voxel_size_um=(4.0, 1.0, 1.0))
    masks = {"180": str(tmp_path / "mask.tif")}
    told = inputs.set_as(RegisteredViews(changed, grid), masks)
    again = Inputs(**told.model_dump(mode="json")).open()
    assert settings(again) == settings(RegisteredViews(changed, grid))
    assert again.grid.voxel_size_um == (4.0, 1.0, 1.0)
    some = inputs.set_as(RegisteredViews(changed[:2], grid), masks)
    assert (some.views, some.masks, some.offset, some.offsets) == (["0", "90"], {}, 3.0, {})


def test_hot_pixels_that_are_removed_from_some_views_alone_cannot_be_told(inputs):
    opened = inputs.open()
    first, *others = opened.views
    assert inputs.set_as(RegisteredViews([replace(first, remove_hot=True), *others], opened.grid), {}) is None
