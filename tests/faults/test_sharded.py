"""A result of many chunks, which becomes few files at the end: what a kill costs while that is done."""

import os
import shutil

import numpy as np
import pytest
import zarr

from faults.killing import KILLED, in_child
from napari_mvfusion.data.events import Finished, Prepared
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.finishing import partial_folder, recipe_path
from napari_mvfusion.engine.fusion import fuse, fuse_events
from napari_mvfusion.engine.outputs import open_output
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.engine.series_choice import choose_series
from napari_mvfusion.engine.series_run import fuse_chosen
from napari_mvfusion.io.ome_zarr.writer import write_zarr
from napari_mvfusion.io.opening import read_recipe
from napari_mvfusion.io.streaming import LeadingAxis
from napari_mvfusion.methods import Average

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")

PART = "result in shards, killed while they are made"
# As thin as few voxels can be in more than 512 chunks of 64 x 64.
SHAPE = (2, 2048, 1088)
TILE = (2, 1024, 1088)


def recorded(time=0):
    """Two views, uint16: ramps, as noise would be searched for hot pixels for long."""
    ramp = np.add.outer(np.arange(SHAPE[1]), np.arange(SHAPE[2])).astype(np.uint16)
    return [np.stack([ramp + 100 * (number + time + 1)] * SHAPE[0]) for number in range(2)]


def made():
    return RegisteredViews([View(pixels, f"v{number}") for number, pixels in enumerate(recorded())], Grid(SHAPE))


def test_a_kill_among_the_shards_costs_no_tile(tmp_path, campaign):
    out = tmp_path / "here" / "fused.zarr"
    out.parent.mkdir()
    whole = np.asarray(fuse(made(), Average(), device="cpu").data)

    def work():
        for _ in fuse_events(made(), Average(), out=out, device="cpu", tile=TILE):
            pass

    for at in (1, 40):
        # Steps count from the first shard on: chunks are written under another name, and renamed.
        code, *_ = in_child(work, folder=out.parent, at=at, since="/0/c/0/0/0")
        assert code == KILLED
        aside = [path.name for path in partial_folder(out).iterdir()]
        assert any("fused.zarr.writing" in name for name in aside), aside
        again = list(fuse_events(made(), Average(), out=out, device="cpu", resume=True))
        ready = next(event for event in again if isinstance(event, Prepared))
        assert ready.resumed_tiles == 2
        assert isinstance(again[-1], Finished)
        assert np.array_equal(np.asarray(open_output(out)[:]), whole)
        assert zarr.open_array(out / "0", mode="r").shards == (2, 256, 256)
        assert sorted(path.name for path in out.parent.iterdir()) == ["fused.zarr", "fused.zarr.recipe.json"]
        shutil.rmtree(out)
        recipe_path(out).unlink()
        campaign.cases += 1
    campaign.settle()


def test_volumes_of_a_series_move_in_shards(tmp_path):
    times = 2
    files = {}
    for number in range(2):
        files[str(number)] = str(tmp_path / f"view{number}.zarr")
        stacked = np.stack([recorded(time)[number] for time in range(times)])
        write_zarr(files[str(number)], stacked, Grid(SHAPE), leading=[LeadingAxis("t", times)])
    choice, _ = choose_series(Inputs(source=files), "all", None)
    for _ in fuse_chosen(choice, Average(), tmp_path / "fused.zarr", device="cpu"):
        pass
    group = zarr.open_group(tmp_path / "fused.zarr", mode="r")
    assert group["0"].shards == (1, 2, 256, 256)
    assert group["1"].shards == (1, 2, 256, 256)
    for time in range(times):
        assert np.allclose(group["0"][time], np.mean(recorded(time), axis=0))
    assert len(read_recipe(tmp_path / "fused.zarr")["series"]) == times
    stored = [path for path in (tmp_path / "fused.zarr" / "0").rglob("*") if path.is_file()]
    assert len(stored) == 1 + times * 8 * 5
