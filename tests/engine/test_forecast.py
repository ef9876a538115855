"""What is said of a run before it starts, against what the engine then says and does."""

import json

import pytest

from napari_mvfusion.data.events import Prepared
from napari_mvfusion.engine.forecast import Forecast, Forecaster, Speeds, kind_of, words_of
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.errors import MemoryShortage
from napari_mvfusion.imaging.threads import Interrupted
from napari_mvfusion.methods import CBIF, EBMD, Average
from napari_mvfusion.simulation import sample

GIB = 2**30


@pytest.fixture(scope="module")
def views():
    return sample("nuclei", 32).views


@pytest.mark.parametrize("budget", [GIB, GIB // 8])
@pytest.mark.parametrize("to_file", [False, True])
@pytest.mark.parametrize("method", [Average(), CBIF(), EBMD(iterations=2)], ids=lambda m: m.name)
def test_the_bound_is_that_of_the_run(views, tmp_path, method, to_file, budget):
    told = Forecaster(views, Speeds()).forecast(method, "cpu", memory_bytes=budget, to_file=to_file)
    out = tmp_path / "fused.zarr" if to_file else None
    events = fuse_events(views, method, device="cpu", out=out, memory_bytes=budget)
    prepared = next(event for event in events if isinstance(event, Prepared))
    events.close()
    assert told.memory_bytes == prepared.memory_bound_bytes
    assert told.seconds is None, "nothing was measured"


def test_what_does_not_fit_is_said_with_what_helps(views):
    with pytest.raises(MemoryShortage, match=r"write to a \.zarr"):
        Forecaster(views, Speeds()).forecast(Average(), "cpu", memory_bytes=2**20, to_file=False)


def test_a_cancelled_forecast_ends(views):
    with pytest.raises(Interrupted):
        Forecaster(views, Speeds()).forecast(Average(), "cpu", memory_bytes=GIB, to_file=False, cancel=lambda: True)


def test_time_is_told_from_a_run_and_grows_with_passes(views):
    speeds, voxels = Speeds(), views.grid.box.size
    speeds.add(kind_of(EBMD(iterations=10), 2, "cpu", 0), voxels, 21, 42.0)
    told = Forecaster(views, Speeds(json.loads(json.dumps(speeds.state()))))
    common = {"memory_bytes": GIB, "to_file": False}
    # A start, and one pass an iteration and view.
    assert told.forecast(EBMD(iterations=10), "cpu", **common).seconds == pytest.approx(42)
    assert told.forecast(EBMD(iterations=20), "cpu", **common).seconds == pytest.approx(82)
    assert told.forecast(EBMD(iterations=20), "cpu", threads=1, **common).seconds is None
    assert told.forecast(Average(), "cpu", **common).seconds is None


def test_the_nearest_size_tells_and_far_ones_do_not():
    speeds = Speeds()
    speeds.add("a", 1000, 1, 10.0)
    speeds.add("a", 8000, 1, 40.0)
    assert speeds.seconds("a", 7000, 1) == pytest.approx(35)
    assert speeds.seconds("a", 1500, 2) == pytest.approx(30)
    assert speeds.seconds("a", 10**9, 1) is None
    speeds.add("a", 8100, 1, 81.0)
    assert speeds.seconds("a", 8000, 1) == pytest.approx(80), "the latest of a size"
    assert speeds.seconds("a", 8000, None) == pytest.approx(80)
    speeds.add("b", 8000, 3, 81.0)
    assert speeds.seconds("b", 8000, None) is None, "nobody knows how many passes it will take"


def test_damaged_memories_are_left_out():
    state = {
        "a": [[8, 1, 2.0]],
        "b": [[8, 1]],
        "c": "x",
        "d": [[0, 1, 1]],
        "e": [["8", 1, 1]],
        "f": [[8, 1, float("nan")]],
    }
    assert Speeds(state).state() == {"a": [[8, 1, 2.0]]}


def test_forecasts_of_several_runs_add_their_times_and_take_the_largest_memory():
    gib = 2**30
    assert words_of([Forecast(gib, 30.0), Forecast(3 * gib, 30.0)], 2) == "About 2 min, at most 3.0 GiB of memory"
    assert words_of([Forecast(None, 30.0)], 1) == "About 30 s, memory not known yet"
    assert words_of([Forecast(gib, None), Forecast(gib, 2.0)], 1) == "Time not known yet, at most 1.0 GiB of memory"
    assert words_of([Forecast(None, None)], 1) == "Time and memory are not known yet"
