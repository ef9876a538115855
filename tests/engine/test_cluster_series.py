"""A series on a cluster is what a run without one makes, whatever happens to workers and scheduler."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

import dask_processes
from accidents import Endless, KillsAlways, KillsOnce
from command_line import run
from napari_mvfusion.data.events import Cancelled, Warned
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.engine.cluster.connecting import connected
from napari_mvfusion.engine.cluster.named_cluster import NamedCluster
from napari_mvfusion.engine.cluster.series_on_workers import SeriesOnWorkers
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.engine.running_series import VolumeDone, VolumeFailed
from napari_mvfusion.engine.series_choice import choose_series
from napari_mvfusion.engine.series_run import SeriesFinished, fuse_chosen
from napari_mvfusion.errors import DeviceError, InputError, OutputError
from napari_mvfusion.io.ome_zarr.writer import write_zarr
from napari_mvfusion.io.streaming import LeadingAxis
from napari_mvfusion.methods import Average
from napari_mvfusion.system.locks import locked

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.long

SHAPE = (14, 16, 15)
COUNT = 4


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
        found.wait_for_workers(1)
        yield found


@pytest.fixture
def sources(tmp_path):
    """Two views of a few time points; the first voxel of the first view says which time point it is."""
    rng = np.random.default_rng(5)
    for view in range(2):
        pixels = rng.integers(100, 999, (COUNT, *SHAPE)).astype(np.uint16)
        pixels[:, 0, 0, 0] = np.arange(COUNT)
        write_zarr(tmp_path / f"view{view}.zarr", pixels, Grid(SHAPE), leading=[LeadingAxis("t", COUNT)])
    return {"0": str(tmp_path / "view0.zarr"), "90": str(tmp_path / "view1.zarr")}


@pytest.fixture
def choice(sources):
    return choose_series(Inputs(source=sources), "all", None)[0]


def options(sources):
    views = [word for name, path in sources.items() for word in ("--view", f"{name}={path}")]
    return ["fuse", *views, "--method", "average", "--timepoints", "all"]


def voxels(out):
    if out.suffix == ".zarr":
        return zarr.open_array(out / "0", mode="r")[:]
    return np.array([tifffile.imread(out.with_name(f"{out.stem}-{number:03}.tif")) for number in range(COUNT)])


def fused_here(choice, out):
    """The voxels of a run without a cluster."""
    list(fuse_chosen(choice, Average(), out, device="cpu"))
    return voxels(out)


def content(folder):
    """All files of a folder, but for its name in what they say."""
    return {
        file.relative_to(folder): file.read_bytes().replace(folder.name.encode(), b"")
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_a_result_is_that_of_a_run_without_a_cluster(cluster, client, sources, tmp_path):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    damage = tmp_path / "view0.zarr" / "0" / "c" / "2" / "0" / "0" / "0"
    damage.write_bytes(b"no chunk")
    for ending in ("zarr", "tif"):
        here, there = (tmp_path / name / f"fused.{ending}" for name in ("here", "there"))
        alone = run(*options(sources), "-o", here, code=2)
        done = run(*options(sources), "-o", there, "--cluster", cluster.scheduler_address, code=2)
        assert "2 workers (CPU, 1 thread); its dashboard is at http://127.0.0.1" in done.stderr
        failures = [line for line in done.stderr.splitlines() if line.startswith("error")]
        assert failures == [line for line in alone.stderr.splitlines() if line.startswith("error")]
    recipes = {}
    for name in ("here", "there"):
        recipes[name] = json.loads((tmp_path / name / "fused.zarr.recipe.json").read_text())
        for volume in recipes[name]["series"]:
            volume.get("run", {}).pop("threads", None)
    assert recipes["here"] == recipes["there"]
    assert "failed" in recipes["here"]["series"][2]
    there = {path.name: path for path in (tmp_path / "there").rglob("*.tif")}
    assert len(there) == COUNT - 1
    for path in (tmp_path / "here").rglob("*.tif"):
        assert np.array_equal(tifffile.imread(path), tifffile.imread(there[path.name]))
    for part in ("0", "1"):
        if (tmp_path / "here" / "fused.zarr" / part).exists():
            assert content(tmp_path / "here" / "fused.zarr" / part) == content(tmp_path / "there" / "fused.zarr" / part)
    assert {path.name for path in (tmp_path / "here").iterdir()} == {
        path.name for path in (tmp_path / "there").iterdir()
    }


@pytest.mark.parametrize("ending", ["zarr", "tif"])
def test_a_worker_that_is_killed_costs_only_what_it_was_at(client, choice, tmp_path, ending):
    method = KillsOnce(at=1, marker=str(tmp_path / "killed"))
    out = tmp_path / f"fused.{ending}"
    events = list(fuse_chosen(choice, method, out, device="cpu", runner=SeriesOnWorkers(client)))
    assert (tmp_path / "killed").exists()
    assert sum(isinstance(event, VolumeDone) for event in events) == COUNT
    assert events[-1].failed == ()
    assert np.array_equal(voxels(out), fused_here(choice, tmp_path / f"here.{ending}"))


def test_a_volume_that_ends_every_worker_is_told_and_the_others_go_on(client, choice, tmp_path):
    events = list(
        fuse_chosen(choice, KillsAlways(at=2), tmp_path / "fused.zarr", device="cpu", runner=SeriesOnWorkers(client))
    )
    failed = [event for event in events if isinstance(event, VolumeFailed)]
    assert [event.number for event in failed] == [3]
    assert "where memory runs out: let them take less with --memory" in failed[0].reason
    assert isinstance(events[-1], SeriesFinished)
    expected = fused_here(choice, tmp_path / "here.zarr")
    expected[2] = 0
    assert np.array_equal(voxels(tmp_path / "fused.zarr"), expected)


def test_a_run_whose_scheduler_ends_is_told_and_goes_on(choice, tmp_path):
    out = tmp_path / "fused.zarr"
    with (
        dask_processes.scheduler(tmp_path) as (scheduler, address),
        dask_processes.worker(address, tmp_path / "worker"),
        connected(NamedCluster(address=address)) as client,
    ):
        client.wait_for_workers(1)
        method = KillsOnce(at=2, marker=str(tmp_path / "killed"), victim=scheduler.pid)
        with pytest.raises(DeviceError, match=f"{address} is gone.*go on with --resume"):
            list(fuse_chosen(choice, method, out, device="cpu", runner=SeriesOnWorkers(client)))
    events = list(fuse_chosen(choice, method, out, device="cpu", resume=True))
    assert sum(isinstance(event, VolumeDone) for event in events) < COUNT
    assert np.array_equal(voxels(out), fused_here(choice, tmp_path / "here.zarr"))


def test_a_cancelled_run_keeps_finished_volumes_and_goes_on(client, choice, tmp_path):
    out = tmp_path / "fused.zarr"
    method = Endless(at=3, begun=str(tmp_path / "begun"))
    events = []
    for event in fuse_chosen(
        choice, method, out, device="cpu", runner=SeriesOnWorkers(client), cancel=Path(method.begun).exists
    ):
        events.append(event)
    assert isinstance(events[-1], Cancelled)
    kept = events[-1].finished_tiles
    assert kept == sum(isinstance(event, VolumeDone) for event in events)
    # When the last one begins, the other worker may be at the one before.
    assert COUNT - 2 <= kept <= COUNT - 1
    others = choose_series(choice.inputs, "0:3", None)[0]
    events = list(fuse_chosen(others, Average(), tmp_path / "next.zarr", device="cpu", runner=SeriesOnWorkers(client)))
    assert events[-1].fused == COUNT - 1, "workers are free again"


def test_a_worker_that_does_not_see_the_views_is_named(client, sources, tmp_path, monkeypatch):
    """Names that begin nowhere mean other files from the folders in which workers run."""
    monkeypatch.chdir(tmp_path)
    inputs = Inputs(source={name: Path(path).name for name, path in sources.items()})
    choice = choose_series(inputs, "all", None)[0]
    relative = choice.model_copy(update={"inputs": inputs.model_copy(update={"timepoint": 0})})
    with pytest.raises(
        InputError, match=r"the worker tcp://127.0.0.1:\d+ on .* does not see view0.zarr: views must lie"
    ):
        list(fuse_chosen(relative, Average(), tmp_path / "fused.zarr", runner=SeriesOnWorkers(client)))
    assert not list(tmp_path.glob("*fused*"))


def test_a_worker_with_another_version_is_named(choice, tmp_path):
    stated = tmp_path / "other" / "napari_mvfusion-9.9.dist-info"
    stated.mkdir(parents=True)
    (stated / "METADATA").write_text("Metadata-Version: 2.1\nName: napari-mvfusion\nVersion: 9.9\n")
    with (
        dask_processes.scheduler(tmp_path) as (_, address),
        dask_processes.worker(address, tmp_path / "worker", first_on_path=[stated.parent]),
        connected(NamedCluster(address=address)) as client,
    ):
        client.wait_for_workers(1)
        with pytest.raises(
            DeviceError, match=r"the worker tcp://\S+ on .* has napari-mvfusion 9.9, and this is .*: install"
        ):
            list(fuse_chosen(choice, Average(), tmp_path / "fused.zarr", runner=SeriesOnWorkers(client)))
    assert not list(tmp_path.glob("*fused*"))


def test_a_worker_that_comes_later_and_does_not_fit_gets_no_task(choice, tmp_path):
    stated = tmp_path / "other" / "napari_mvfusion-9.9.dist-info"
    stated.mkdir(parents=True)
    (stated / "METADATA").write_text("Metadata-Version: 2.1\nName: napari-mvfusion\nVersion: 9.9\n")
    method = Endless(at=1, begun=str(tmp_path / "begun"))
    with (
        dask_processes.scheduler(tmp_path) as (_, address),
        dask_processes.worker(address, tmp_path / "worker"),
        connected(NamedCluster(address=address)) as client,
    ):
        client.wait_for_workers(1)
        refused = []
        run = fuse_chosen(
            choice,
            method,
            tmp_path / "fused.zarr",
            device="cpu",
            runner=SeriesOnWorkers(client),
            cancel=lambda: bool(refused),
        )
        for event in run:
            if isinstance(event, VolumeDone):
                other = dask_processes.worker(address, tmp_path / "late", first_on_path=[stated.parent])
                other.__enter__()
            if isinstance(event, Warned) and "9.9" in event.message:
                refused.append(event.message)
        other.__exit__(None, None, None)
    assert isinstance(event, Cancelled)
    assert refused[0].startswith("it gets no task: the worker tcp://")


def test_a_cluster_without_workers_is_told(choice, tmp_path):
    with (
        dask_processes.scheduler(tmp_path) as (_, address),
        connected(NamedCluster(address=address)) as client,
        pytest.raises(DeviceError, match=f"{address} has no workers: start some"),
    ):
        list(fuse_chosen(choice, Average(), tmp_path / "fused.zarr", runner=SeriesOnWorkers(client)))


def test_two_runs_do_not_write_one_output(client, choice, tmp_path):
    out = tmp_path / "fused.zarr"
    with locked(out), pytest.raises(OutputError, match="another run writes"):
        list(fuse_chosen(choice, Average(), out, runner=SeriesOnWorkers(client)))


def test_a_repeated_series_is_the_same(cluster, client, sources, tmp_path):
    first = tmp_path / "first.zarr"
    run(*options(sources), "-o", first)
    again = tmp_path / "again.zarr"
    run("fuse", "--recipe", first, "-o", again, "--cluster", cluster.scheduler_address)
    assert np.array_equal(voxels(first), voxels(again))
