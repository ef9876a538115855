"""One volume on a cluster is what a run without one makes, whatever happens to workers and scheduler."""

import json
import logging
import signal
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

import dask_processes
from accidents import Endless, Fails, KillsAlways, KillsOnce
from command_line import run
from napari_mvfusion.data.events import Cancelled, Finished, Prepared, TileDone
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.engine.cluster import workers
from napari_mvfusion.engine.cluster.connecting import connected
from napari_mvfusion.engine.cluster.named_cluster import NamedCluster
from napari_mvfusion.engine.cluster.volume_on_workers import VolumeOnWorkers
from napari_mvfusion.engine.finishing import recipe_path
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.errors import DeviceError, InputError, MemoryShortage
from napari_mvfusion.io.ome_zarr.writer import write_zarr
from napari_mvfusion.methods import Average

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.long

SHAPE = (68, 14, 70)
TILE = (64, 64, 64)
# Where the third of four tiles begins, and what its first voxel in the first view is.
THIRD, MARK = (64, 0, 0), 7


@pytest.fixture(scope="module")
def cluster():
    """Two processes with a thread each."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=60
    ) as started:
        yield started


@pytest.fixture
def client(cluster):
    with connected(NamedCluster(address=cluster.scheduler_address)) as found:
        # Earlier tests may have killed some.
        found.wait_for_workers(2)
        yield found


@pytest.fixture
def sources(tmp_path):
    rng = np.random.default_rng(5)
    for view in range(2):
        pixels = rng.integers(100, 999, SHAPE).astype(np.uint16)
        pixels[THIRD] = MARK
        write_zarr(tmp_path / f"view{view}.zarr", pixels, Grid(SHAPE))
    return {"0": str(tmp_path / "view0.zarr"), "90": str(tmp_path / "view1.zarr")}


def events_of(sources, method, out, client=None, **how):
    inputs = Inputs(source=sources)
    opened = inputs.model_dump(mode="json")
    runner = None if client is None else VolumeOnWorkers(client)
    return fuse_events(inputs.open(), method, out=out, inputs=opened, device="cpu", tile=TILE, runner=runner, **how)


def voxels(out):
    return zarr.open_array(out / "0", mode="r")[:]


def averaged(sources, folder):
    """The voxels of a run without a cluster."""
    out = folder / "expected.zarr"
    list(events_of(sources, Average(), out))
    return voxels(out)


def test_results_are_those_of_a_run_without_a_cluster(cluster, sources, tmp_path):
    """Of a method with iterations, in which tiles wait for neighbours; and as a TIFF file, which this process writes."""
    profile = np.exp(-(np.arange(-2, 3) ** 2) / 2)
    psf = np.einsum("i,j,k->ijk", profile, profile, profile).astype(np.float32)
    tifffile.imwrite(tmp_path / "psf.tif", psf, photometric="minisblack")
    views = [word for name, path in sources.items() for word in ("--view", f"{name}={path}")]
    psfs = [word for name in sources for word in ("--psf", f"{name}={tmp_path / 'psf.tif'}")]
    common = ["fuse", *views, *psfs, "--tile", 64, "--device", "cpu", "--method", "ebmd", "--iterations", 2]
    for ending in ("zarr", "tif"):
        here, there = (tmp_path / f"{name}.{ending}" for name in ("here", "there"))
        run(*common, "-o", here)
        done = run(*common, "-o", there, "--cluster", cluster.scheduler_address)
        assert "2 workers (CPU, 1 thread); its dashboard is at http://127.0.0.1" in done.stderr
        assert "ebmd on 2 workers (CPU, 1 thread): 4 tiles of 64 x 14 x 64" in done.stderr
        values = [voxels(path) if ending == "zarr" else tifffile.imread(path) for path in (here, there)]
        np.testing.assert_array_equal(*values)
        recipes = [json.loads(recipe_path(path).read_text()) for path in (here, there)]
        assert recipes[1]["run"].pop("threads") == 1
        for recipe in recipes:
            recipe["run"].pop("threads", None)
            recipe["run"].pop("storage")
        assert recipes[0] == recipes[1]
    again = tmp_path / "again.zarr"
    run("fuse", "--recipe", tmp_path / "there.zarr", "-o", again, "--cluster", cluster.scheduler_address)
    np.testing.assert_array_equal(voxels(again), voxels(tmp_path / "there.zarr"))


def test_a_worker_that_is_killed_costs_only_its_tile(client, sources, tmp_path):
    method = KillsOnce(at=MARK, start=THIRD, marker=str(tmp_path / "killed"))
    events = list(events_of(sources, method, tmp_path / "fused.zarr", client))
    assert (tmp_path / "killed").exists()
    assert isinstance(events[-1], Finished)
    np.testing.assert_array_equal(voxels(tmp_path / "fused.zarr"), averaged(sources, tmp_path))


@pytest.mark.slow
def test_a_tile_that_ends_every_worker_ends_the_run_in_words(client, sources, tmp_path):
    out = tmp_path / "fused.zarr"
    with pytest.raises(MemoryShortage, match=r"ended one after the other.*less with --memory.*go on with --resume"):
        list(events_of(sources, KillsAlways(at=MARK, start=THIRD), out, client))
    events = list(events_of(sources, Average(), out, client, overwrite=True))
    assert isinstance(events[-1], Finished)


def test_a_run_whose_scheduler_ends_is_told_and_goes_on(sources, tmp_path):
    out = tmp_path / "fused.zarr"
    with (
        dask_processes.scheduler(tmp_path) as (scheduler, address),
        dask_processes.worker(address, tmp_path / "worker"),
        connected(NamedCluster(address=address)) as client,
    ):
        client.wait_for_workers(1)
        method = KillsOnce(at=MARK, start=THIRD, marker=str(tmp_path / "killed"), victim=scheduler.pid)
        with pytest.raises(DeviceError, match=f"{address} is gone.*go on with --resume"):
            list(events_of(sources, method, out, client))
        # Dask's client tells of it with tracebacks before.
        assert not logging.getLogger("distributed.client").isEnabledFor(logging.ERROR)
    events = list(events_of(sources, method, out, resume=True))
    assert next(event for event in events if isinstance(event, Prepared)).resumed_tiles == 2
    np.testing.assert_array_equal(voxels(out), averaged(sources, tmp_path))


def test_a_cancelled_run_keeps_finished_tiles_and_goes_on(client, sources, tmp_path):
    out = tmp_path / "fused.zarr"
    method = Endless(at=MARK, start=THIRD, begun=str(tmp_path / "begun"))
    *_, last = events_of(sources, method, out, client, cancel=Path(method.begun).exists)
    assert isinstance(last, Cancelled)
    kept = last.finished_tiles
    assert kept <= 3
    *_, last = events_of(sources, Average(), tmp_path / "next.zarr", client)
    assert isinstance(last, Finished), "workers are free again"


def test_a_worker_that_does_not_answer_holds_up_neither_the_end_nor_a_cancel(sources, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "_PATIENCE_SECONDS", 1.0)
    begun = tmp_path / "begun"
    with (
        dask_processes.scheduler(tmp_path) as (_, address),
        dask_processes.worker(address, tmp_path / "worker") as worker,
        connected(NamedCluster(address=address)) as client,
    ):
        client.wait_for_workers(1)
        for event in events_of(sources, Average(), tmp_path / "fused.zarr", client):
            if isinstance(event, TileDone) and event.tile == event.tiles:
                worker.send_signal(signal.SIGSTOP)
        assert isinstance(event, Finished)
        worker.send_signal(signal.SIGCONT)

        def cancel():
            if begun.exists():
                worker.send_signal(signal.SIGSTOP)
            return begun.exists()

        method = Endless(at=MARK, start=THIRD, begun=str(begun))
        *_, last = events_of(sources, method, tmp_path / "next.zarr", client, cancel=cancel)
        assert isinstance(last, Cancelled)
        assert last.finished_tiles == 2


def test_a_worker_on_which_something_unforeseen_happens_is_named(client, sources, tmp_path):
    with pytest.raises(RuntimeError, match=r"the worker tcp://127.0.0.1:\d+, which .* says ZeroDivisionError"):
        list(events_of(sources, Fails(at=MARK, start=THIRD), tmp_path / "fused.zarr", client))


def test_a_worker_that_does_not_see_the_views_is_named(client, sources, tmp_path, monkeypatch):
    """Names that begin nowhere mean other files from the folders in which workers run."""
    monkeypatch.chdir(tmp_path)
    relative = {name: Path(path).name for name, path in sources.items()}
    with pytest.raises(
        InputError, match=r"the worker tcp://127.0.0.1:\d+ on .* does not see view0.zarr: views must lie"
    ):
        list(events_of(relative, Average(), tmp_path / "fused.zarr", client))
    assert not list(tmp_path.glob("*fused*"))
