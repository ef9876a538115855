"""Tiles that others compute give what a run by itself gives, in whatever order, and one goes on with what the other left."""

import json

import numpy as np
import pytest
import tifffile
import zarr

from napari_mvfusion.data.events import Cancelled, Finished, Noted, Prepared, TileDone, Warned
from napari_mvfusion.data.tiles import TilePlan
from napari_mvfusion.engine.cluster.tiles_on_worker import made
from napari_mvfusion.engine.estimate import Turn
from napari_mvfusion.engine.finishing import partial_folder, recipe_path
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.engine.planning import LIBRARY_BYTES
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.engine.shared_tiles import OpenTiles
from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.methods import make_method
from napari_mvfusion.methods.base import Stage
from small_methods import Diffuse
from tiles_here import TilesHere

SHAPE = (68, 14, 70)
TILE = {"tile": (64, 64, 64), "device": "cpu"}
# With so little memory the estimate of a run by itself lies on disk too.
DISK = TILE | {"memory_bytes": LIBRARY_BYTES + 1_000_000}
METHODS = {
    "average": make_method("average"),
    "cbif": make_method("cbif", attenuation="estimated"),
    "wiener": make_method("wiener"),
    "ebmd": make_method("ebmd", iterations=3),
    "generator": make_method("generator"),
    "iterations without acceleration": Diffuse(iterations=3),
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Two views of four tiles and their PSFs; the camera saw one of them in part."""
    folder = tmp_path_factory.mktemp("views")
    rng = np.random.default_rng(8)
    for angle in (0, 90):
        pixels = rng.integers(100, 4000, SHAPE).astype(np.uint16)
        if angle:
            pixels[:, :, 60:] = 0
        tifffile.imwrite(folder / f"view_{angle}.tif", pixels, photometric="minisblack")
        tifffile.imwrite(folder / f"psf_{angle}.tif", psf(), photometric="minisblack")
    return Inputs(source=str(folder), no_data="0")


def psf():
    profile = np.exp(-(np.arange(-2, 3) ** 2) / 2)
    return np.einsum("i,j,k->ijk", profile, profile, profile).astype(np.float32)


def events_of(inputs, method, out, **how):
    return list(fuse_events(inputs.open(), method, out=out, inputs=inputs.model_dump(mode="json"), **how))


def voxels(out):
    return zarr.open_array(out / "0", mode="r")[:]


@pytest.mark.parametrize(
    "name", [name if name == "ebmd" else pytest.param(name, marks=pytest.mark.long) for name in METHODS]
)
def test_tiles_of_others_give_the_result_and_recipe_of_a_run_by_itself(inputs, tmp_path, rng, name):
    method = METHODS[name]
    alone, shared = tmp_path / "alone" / "fused.zarr", tmp_path / "shared" / "fused.zarr"
    said = {}
    for out, how in ((alone, {}), (shared, {"runner": TilesHere(rng)})):
        out.parent.mkdir()
        said[out] = events_of(inputs, method, out, **TILE, **how)
    np.testing.assert_array_equal(voxels(shared), voxels(alone))
    assert notes(said[shared]) == notes(said[alone])
    recipes = [json.loads(recipe_path(out).read_text()) for out in (alone, shared)]
    for recipe in recipes:
        del recipe["run"]["threads"], recipe["run"]["storage"]
    assert recipes[0] == recipes[1]


def notes(events):
    return [event.message for event in events if isinstance(event, (Noted, Warned))]


@pytest.mark.parametrize("ending", ["tif", "h5"])
def test_any_file_can_be_written(inputs, tmp_path, rng, ending):
    values = []
    for name, how in (("alone", {}), ("shared", {"runner": TilesHere(rng)})):
        events = events_of(inputs, METHODS["average"], tmp_path / f"{name}.{ending}", **TILE, **how)
        values.append(np.asarray(events[-1].fused.data[:]))
    np.testing.assert_array_equal(*values)


def test_a_worker_with_another_kind_of_device_prepares_the_method_itself(inputs, tmp_path, rng):
    for ready in (True, False):
        events_of(inputs, METHODS["ebmd"], tmp_path / f"{ready}.zarr", runner=TilesHere(rng, ready=ready), **TILE)
    np.testing.assert_array_equal(voxels(tmp_path / "True.zarr"), voxels(tmp_path / "False.zarr"))


@pytest.mark.parametrize("method", [METHODS["average"], Diffuse(iterations=3, extrapolates_above=40.0)])
@pytest.mark.parametrize("by_others", [False, True])
def test_what_was_begun_the_other_way_goes_on(inputs, tmp_path, rng, method, by_others):
    """Left at every place, also where tiles are stages ahead of others."""
    events_of(inputs, method, tmp_path / "whole.zarr", **DISK)
    expected = voxels(tmp_path / "whole.zarr")
    tiles = 4 if method is METHODS["average"] else 4 * 8
    for left_after in range(1, tiles, 1 if tiles == 4 else 6):
        out = tmp_path / f"{left_after}.zarr"
        done = []
        leaving = {"cancel": lambda done=done, after=left_after: len(done) >= after}
        runner = TilesHere(rng)
        first, second = ({}, {"runner": runner}) if by_others else ({"runner": runner}, {})
        run = fuse_events(
            inputs.open(), method, out=out, inputs=inputs.model_dump(mode="json"), **leaving, **DISK, **first
        )
        for event in run:
            if isinstance(event, TileDone):
                done.append(event)
        assert isinstance(event, Cancelled)
        # Handing over to the output comes after the tiles.
        finished = min(left_after, event.tiles)
        assert event.finished_tiles == finished
        again = events_of(inputs, method, out, resume=True, **DISK, **second)
        prepared = next(event for event in again if isinstance(event, Prepared))
        assert prepared.resumed_tiles == finished
        assert not any("missing or damaged" in note for note in notes(again))
        assert isinstance(again[-1], Finished)
        np.testing.assert_array_equal(voxels(out), expected)


@pytest.mark.parametrize("late", [METHODS["average"], Diffuse(iterations=3)])
def test_who_writes_late_changes_no_later_run(inputs, tmp_path, rng, late):
    """A worker whose run was ended need not know that, and may be at a tile for minutes."""
    expected, out = tmp_path / "expected.zarr", tmp_path / "fused.zarr"
    later = {"average": METHODS["cbif"]}.get(late.name, Diffuse(iterations=2))
    events_of(inputs, later, expected, **DISK)
    worker = left_at_a_tile(inputs, late, out, rng)
    for what, how in ((late, {"resume": True}), (later, {"overwrite": True})):
        left_at_a_tile(inputs, what, out, rng, **how)
        for number in range(4):
            with pytest.raises(OutputError, match="cannot write"):
                made(worker.work, (0, number), Turn())
    events_of(inputs, later, out, resume=True, **DISK)
    np.testing.assert_array_equal(voxels(out), voxels(expected))
    with pytest.raises(OutputError, match="cannot write"):
        made(worker.work, (0, 0), Turn())
    assert not partial_folder(out).exists()


def left_at_a_tile(inputs, method, out, rng, **how):
    """Begin a run whose process ends after a tile, and return who computes."""
    runner = TilesHere(rng)
    run = fuse_events(
        inputs.open(), method, out=out, inputs=inputs.model_dump(mode="json"), runner=runner, **DISK, **how
    )
    next(event for event in run if isinstance(event, TileDone))
    run.close()
    return runner


def test_an_estimate_in_memory_is_not_shared_afterwards(inputs, tmp_path, rng):
    out = tmp_path / "fused.zarr"
    run = fuse_events(inputs.open(), Diffuse(), out=out, inputs=inputs.model_dump(mode="json"), device="cpu")
    for event in run:
        if isinstance(event, TileDone):
            break
    run.close()
    with pytest.raises(OutputError, match=r"was begun without a cluster .*: go on without --cluster, or discard it"):
        events_of(inputs, Diffuse(), out, resume=True, runner=TilesHere(rng), device="cpu")
    assert partial_folder(out).exists()


def test_views_in_memory_are_not_shared(inputs, tmp_path, rng):
    for how in ({"out": tmp_path / "fused.zarr"}, {"inputs": inputs.model_dump(mode="json")}):
        with pytest.raises(InputError, match="save the views, and say where the result goes"):
            list(fuse_events(inputs.open(), METHODS["average"], runner=TilesHere(rng), **how))


def test_there_are_tiles_for_all(inputs, tmp_path, rng):
    events = events_of(inputs, METHODS["ebmd"], tmp_path / "fused.zarr", runner=TilesHere(rng), device="cpu")
    assert next(event for event in events if isinstance(event, Prepared)).tiles == 2


def test_a_tile_begins_when_its_neighbours_are_done_and_no_later(rng):
    tiles = TilePlan((40, 30, 20), (10, 10, 10))
    halos = [None, (3, 0, 12), (0, 11, 1)]
    stages = [Stage(str(number), (0,), estimate_halo=halo) for number, halo in enumerate(halos)]
    done = set()
    order = OpenTiles(tiles, stages, range(3), done)
    while order.left:
        open_now = {(s, n) for s in range(3) for n in range(len(tiles.boxes))} - done
        assert set(order.ready()) == {key for key in open_now if all_read(tiles, halos, key) <= done}
        key = order.ready()[rng.integers(len(order.ready()))]
        order.close(key)
        done.add(key)
    assert len(done) == 3 * len(tiles.boxes)


def all_read(tiles, halos, key):
    """The tiles of the stage before that a tile reads voxels of."""
    stage, number = key
    if stage == 0:
        return set()
    box = tiles.boxes[number].grow(halos[stage])
    return {
        (stage - 1, other)
        for other, tile in enumerate(tiles.boxes)
        if all(a < d and c < b for a, b, c, d in zip(box.start, box.stop, tile.start, tile.stop, strict=True))
    }
