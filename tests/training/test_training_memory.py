"""Memory: what is lowered when it runs out, that a run goes on with that, and that the estimate is a bound."""

import sys
import textwrap

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import warm_process
from napari_mvfusion.models.universal import UniversalArchitecture
from napari_mvfusion.training import TrainConfig, train_events
from napari_mvfusion.training.memory_fallback import least_side, smaller_step
from napari_mvfusion.training.own_views import OwnViews, check_tile
from napari_mvfusion.training.resources import estimate_resources, measure_step
from napari_mvfusion.training.state import read_header
from napari_mvfusion.training.training_events import MemoryFallback, StepDone, Trained
from small_training import CPU, OWN, own_views, psf

pytestmark = pytest.mark.usefixtures("one_thread")
BIGGER = {"kind": "universal", "view_maps": 16, "maps": 32, "deep_maps": 32, "blocks": 1, "deep_blocks": 1}

sides = st.sampled_from(range(16, 132, 4))


@given(tile=st.tuples(sides, sides, sides), least=st.tuples(sides, sides, sides), batch=st.integers(1, 9))
@settings(deadline=None)
def test_what_is_lowered_gets_smaller_until_nothing_is_left(tile, least, batch):
    seen = [(tile, batch)]
    while (now := smaller_step(*seen[-1], least)) is not None:
        (before, many), (tile_, fewer) = seen[-1], now
        assert fewer == many // 2 and tile_ == before if many > 1 else tile_ != before
        assert all(n <= m and n % 4 == 0 for n, m in zip(tile_, before, strict=True))
        assert all(n >= min(m, k) for n, m, k in zip(tile_, before, least, strict=True))
        if many == 1:
            free = [n for n, k in zip(before, least, strict=True) if n > k]
            assert max(free) not in [n for n, k in zip(tile_, least, strict=True) if n > k]
        seen.append(now)
    assert all(n <= k for n, k in zip(seen[-1][0], least, strict=True))
    assert seen[-1][1] == 1


@pytest.mark.parametrize("length", [3, 15, 17, 31, 51])
def test_the_smallest_tile_is_one_that_the_blur_allows(length):
    side = least_side(length)
    views = own_views()[0].with_psfs([psf(0, length)] * 2)
    source = OwnViews(TrainConfig.model_validate(OWN | {"tile": (side,) * 3, "weights": {"energy": 1}}), [views], CPU)
    assert max(source.least_tile()) <= side
    check_tile(source.recordings[0], source.least_tile())


LIMITED = """
    import resource, sys
    from pathlib import Path
    import psutil, torch
    from small_training import OWN, own_views
    from napari_mvfusion.errors import MVFusionError
    from napari_mvfusion.training import TrainConfig, train_events
    from napari_mvfusion.training.training_events import *
    torch.set_num_threads(1)
    config = TrainConfig.model_validate(OWN | {changes})
    events = train_events(config, Path(sys.argv[1]) / "mine.safetensors", views=[own_views((80, 64, 64))[0]], device="cpu")
    try:
        for event in events:
            if isinstance(event, {when}) and event.step == 1:
                most = psutil.Process().memory_info().vms + int(sys.argv[2]) * 2**20
                resource.setrlimit(resource.RLIMIT_AS, (most, most))
                # What torch keeps for later would hide the limit.
                held = []
                try:
                    while True:
                        held.append(torch.empty(2**18))
                except RuntimeError:
                    del held[-{spare} :]
            if isinstance(event, (MemoryFallback, StepDone, Validated, Trained)):
                print(event, flush=True)
    except MVFusionError as error:
        print(type(error).__name__, error)
"""


def run_limited(tmp_path, spare_mib, when, **changes):
    """Train in a process that, after an event of its first step, gets so much memory more and no more than that."""
    code = textwrap.dedent(LIMITED.format(changes=changes, spare=spare_mib, when=when))
    done = warm_process.run(code, tmp_path, 16)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are kept by Linux")
def test_a_run_that_is_short_of_memory_goes_on_with_less_and_so_does_its_resume(tmp_path, monkeypatch):
    config = {"tile": (40, 40, 40), "batch": 2, "steps": 5, "architecture": BIGGER, "checkpoint_seconds": 60}
    # Far more than the smallest tile takes, and far less than the first.
    said = run_limited(tmp_path, 32, "StepDone", **config)
    assert said[2].startswith("MemoryFallback(step=1, tile=(40, 40, 40), batch=1)"), said
    smaller = [line for line in said if line.startswith("MemoryFallback") and "(40, 40, 40)" not in line]
    assert smaller, said
    assert said[-1].startswith("Trained(step=5")
    progress = read_header(tmp_path / "mine.training" / "state.safetensors").progress
    assert f"tile={progress.tile}, batch=1" in smaller[-1]
    drawn = []
    draw = OwnViews.draw

    def noted(source, step):
        samples = draw(source, step)
        drawn.append((len(samples), samples[0].tensors["views"].shape[2:], len(source.validation())))
        assert all(volume.shape == (40, 40, 40) for volume in source.validation()), "held-out tiles stay"
        return samples

    monkeypatch.setattr(OwnViews, "draw", noted)
    more = TrainConfig.model_validate(OWN | config | {"steps": 7})
    views = [own_views((80, 64, 64))[0]]
    events = list(train_events(more, tmp_path / "mine.safetensors", views=views, device="cpu", resume=True))
    assert [event.step for event in events if isinstance(event, StepDone)] == [6, 7]
    assert not any(isinstance(event, MemoryFallback) for event in events)
    assert isinstance(events[-1], Trained)
    assert {tile[1:] for tile in drawn} == {(torch.Size(progress.tile), drawn[0][2])}


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are kept by Linux")
def test_when_nothing_is_left_to_lower_it_says_so_and_the_checkpoint_stays(tmp_path):
    said = run_limited(tmp_path, 1, "Saved", tile=(16, 16, 16), steps=9, architecture=BIGGER, checkpoint_seconds=0)
    assert said[-1].startswith("MemoryShortage even a tile of 16 x 16 x 16 voxels does not fit"), said
    assert "close other programs" in said[-1]
    assert read_header(tmp_path / "mine.training" / "state.safetensors").progress.step == 1


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are kept by Linux")
def test_a_checkpoint_for_which_there_is_no_memory_is_told_in_words(tmp_path):
    said = run_limited(tmp_path, 1, "StepDone", tile=(16, 16, 16), steps=9, architecture=BIGGER, checkpoint_seconds=0)
    assert said[-1].startswith("MemoryShortage"), said


PEAK = """
    import sys
    from pathlib import Path
    from small_training import OWN, own_views
    import torch
    from napari_mvfusion.training import TrainConfig, train_events
    from napari_mvfusion.training.resources import estimate_resources
    torch.set_num_threads(1)
    config = TrainConfig.model_validate(OWN | {changes})
    views, sharp = own_views((72, 72, 72))
    bound = estimate_resources(config, [views], "cpu").memory_bytes
    # What reading has made of the memory of the process is forgotten: only the run counts.
    Path("/proc/self/clear_refs").write_text("5")
    sharp = [sharp] if config.mode == "semi" else []
    for event in train_events(config, Path(sys.argv[1]) / "m.safetensors", views=[views], sharp=sharp, device="cpu"):
        pass
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(bound, int(peak.split()[1]) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize(
    "changes",
    [
        {"tile": (32, 32, 32), "steps": 2, "architecture": {"kind": "universal"}},
        {"tile": (32, 32, 32), "steps": 2, "mode": "semi", "discriminator_maps": 16},
        {"tile": (64, 32, 32), "steps": 2, "architecture": {"kind": "paper", "views": 2, "feature_maps": 16}},
    ],
    ids=["universal", "semi", "paper"],
)
def test_the_estimate_is_an_upper_bound_of_what_a_run_takes(tmp_path, changes):
    done = warm_process.run(textwrap.dedent(PEAK.format(changes=changes)), tmp_path)
    assert done.returncode == 0, done.stderr
    bound, peak = map(int, done.stdout.split())
    # A bound that is far too high would refuse what fits.
    assert peak <= bound <= 2.5 * peak, (bound / 2**20, peak / 2**20)


def test_estimates_grow_with_the_tile_and_know_the_speed_once_it_is_measured():
    views = [own_views()[0]]
    architecture = UniversalArchitecture(view_maps=4, maps=5, deep_maps=4, blocks=0, deep_blocks=1)
    small, large = (
        TrainConfig.model_validate(OWN | {"architecture": architecture.model_dump(), "tile": (side,) * 3})
        for side in (16, 256)
    )
    assert estimate_resources(small, views, "cpu").step_seconds is None
    measure_step(architecture, "cpu")
    assert estimate_resources(small, views, "cpu").memory_bytes < estimate_resources(large, views, "cpu").memory_bytes
    seconds = [estimate_resources(config, views, "cpu").step_seconds for config in (small, large)]
    assert seconds[0] > 0
    assert estimate_resources(small, views, "cpu", threads=1).step_seconds is None, "other threads have another speed"
    np.testing.assert_allclose(seconds[1] / seconds[0], 16**3)
    assert estimate_resources(small, views, "cpu").fits
    huge = large.model_copy(update={"tile": (4096,) * 3})
    assert not estimate_resources(huge, views, "cpu").fits
