"""A training run in a process of its own: what it is told, how it ends, and that nobody else ends with it."""

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import psutil
import pytest
import torch
from safetensors import safe_open

import warm_process
from napari_mvfusion.data.trust import with_trust
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.io.saved_views import write_views_folder
from napari_mvfusion.models import load_model
from napari_mvfusion.training import TrainConfig
from napari_mvfusion.training import process as process_module
from napari_mvfusion.training.job import TrainJob, run_job
from napari_mvfusion.training.pickling import MappedPixels, picklable
from napari_mvfusion.training.process import TrainingOutcome, TrainingProcess
from napari_mvfusion.training.state import read_best_weights, read_header
from napari_mvfusion.training.training_events import (
    Continued,
    Paused,
    Previewed,
    Saved,
    Started,
    StepDone,
    Stopped,
    Trained,
    Validated,
    Waiting,
)
from patience import PATIENCE_SECONDS
from small_models import SMALL, save
from small_training import OWN, own_views

ENDLESS = {"steps": 100_000, "validate_every": 50, "checkpoint_seconds": 0.2}


@pytest.fixture(scope="module")
def views():
    return own_views()[0]


def job(tmp_path, *data, **changes):
    options = {
        name: changes.pop(name) for name in ("resume", "sharp", "start_from", "preview_seconds") if name in changes
    }
    config = TrainConfig.model_validate(OWN | changes)
    return TrainJob(config, str(tmp_path / "mine.safetensors"), data, device="cpu", threads=1, **options)


class Run:
    """A process, and all that it said so far."""

    def __init__(self, what):
        self.process = TrainingProcess(what)
        self.events = []
        self.process.start()

    def until(self, kind, count=1):
        """Wait for so many events of a kind; the last of them."""
        end = time.monotonic() + PATIENCE_SECONDS
        while sum(isinstance(event, kind) for event in self.events) < count:
            assert time.monotonic() < end, self.events[-5:]
            self.events += self.process.events(0.1)
            last = self.events[-1] if self.events else None
            assert not isinstance(last, TrainingOutcome) or kind is TrainingOutcome, last
        return [event for event in self.events if isinstance(event, kind)][count - 1]


@pytest.fixture(autouse=True)
def _a_busy_machine_answers_late(request, monkeypatch):
    """Give a run all the time to hear that it is to stop, unless it is meant to hang."""
    if "hangs" not in request.node.name:
        monkeypatch.setattr(process_module, "_GRACE_SECONDS", PATIENCE_SECONDS)


@pytest.fixture
def run():
    runs = []

    def begin(what):
        runs.append(Run(what))
        return runs[-1]

    yield begin
    for each in runs:
        each.process.kill()
        each.until(TrainingOutcome)


def children():
    return psutil.Process().children(recursive=True)


def test_it_trains_as_this_process_would(tmp_path, views, run):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    list(run_job(job(tmp_path / "here", views)))
    there = run(job(tmp_path / "there", views, preview_seconds=0.01))
    ended = there.until(TrainingOutcome)
    assert ended == TrainingOutcome("trained", tmp_path / "there" / "mine.safetensors", "", "")
    assert there.process.events(0.1) == []
    assert not there.process.running
    ours, _ = load_model(tmp_path / "here" / "mine.safetensors")
    theirs, _ = load_model(ended.path)
    for name, value in ours.state_dict().items():
        np.testing.assert_allclose(value, theirs.state_dict()[name], rtol=1e-4, atol=1e-6)
    kinds = [type(event) for event in there.events]
    assert kinds[-2:] == [Trained, TrainingOutcome]
    assert kinds.count(StepDone) == 7
    assert {Waiting, Started, Validated, Previewed, Saved} <= set(kinds)


def test_the_child_knows_nothing_of_a_display_and_opens_files_itself(tmp_path, views, run, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":77")
    write_views_folder(tmp_path / "data", views, "fish")
    there = run(job(tmp_path, Inputs(source=str(tmp_path / "data")), **ENDLESS))
    there.until(StepDone)
    (child,) = children()
    assert "DISPLAY" not in child.environ()
    maps = {Path(each.path).name for each in child.memory_maps()}
    assert not any("Qt" in name for name in maps)


def test_pause_waits_and_stop_works_meanwhile(tmp_path, views, run):
    there = run(job(tmp_path, views, **ENDLESS))
    there.until(StepDone, 3)
    there.process.pause()
    paused = there.until(Paused)
    assert there.process.paused
    assert [event for event in there.events if isinstance(event, StepDone)][-1].step == paused.step
    assert read_header(tmp_path / "mine.training" / "state.safetensors").progress.step == paused.step
    time.sleep(1.0)
    assert there.process.events() == []
    there.process.go_on()
    assert there.until(Continued).step == paused.step
    count = sum(isinstance(event, StepDone) for event in there.events)
    there.until(StepDone, count + 1)
    there.process.pause()
    there.until(Paused, 2)
    there.process.stop()
    assert there.until(TrainingOutcome).how == "stopped"
    assert not any(isinstance(event, Continued) for event in there.events[-3:])


def test_stop_is_heard_between_two_steps_and_keeps_the_best(tmp_path, views, run):
    there = run(job(tmp_path, views, **ENDLESS | {"validate_every": 2}))
    there.until(Validated, 4)
    there.process.stop()
    ended = there.until(TrainingOutcome)
    assert (ended.how, ended.words) == ("stopped", "")
    stopped = there.until(Stopped)
    assert stopped.path == ended.path
    assert children() == []
    if ended.path is not None:
        load_model(ended.path)


def test_stop_in_the_middle_of_preparing_the_data_answers_too(tmp_path, run):
    small = own_views((32, 32, 32))[0]
    large = RegisteredViews(replace(view, data=np.tile(view.data, (4, 4, 4))) for view in small.views)
    there = run(job(tmp_path, large, data={"whole_below": 1, "side": 16, "blocks": 512}))
    there.until(Waiting, 3)
    there.process.stop()
    assert there.until(TrainingOutcome).how == "stopped"
    assert there.events[-2].fraction < 1, "it did not prepare to the end first"
    assert not (tmp_path / "mine.training").exists()


def test_stop_before_it_has_begun_ends_it_at_once(tmp_path, views, run):
    there = run(job(tmp_path, views))
    there.process.stop()
    assert there.until(TrainingOutcome) == TrainingOutcome("stopped", None, "", there.events[-1].details)
    assert not any(isinstance(event, StepDone) for event in there.events)


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_child_that_dies_is_told_and_its_checkpoint_goes_on(tmp_path, views, run, number):
    there = run(job(tmp_path, views, **ENDLESS))
    saved = there.until(Saved, 2)
    (child,) = children()
    os.kill(child.pid, number)
    ended = there.until(TrainingOutcome)
    assert (ended.how, ended.path) == ("crashed", None)
    assert f"the training process ended unexpectedly (signal {number:d})" in ended.words
    assert "last checkpoint" in ended.words
    again = run(job(tmp_path, views, resume=True, **ENDLESS))
    assert again.until(Started).step >= saved.step
    again.until(StepDone)


def test_errors_come_in_words(tmp_path, views, run):
    without = RegisteredViews([View(view.data, view.name) for view in views.views])
    ended = run(job(tmp_path, without)).until(TrainingOutcome)
    assert (ended.how, ended.details) == ("failed", "")
    assert "view '0' has no PSF" in ended.words
    negative = RegisteredViews([View(view.data - 50, view.name, psf=view.psf) for view in views.views])
    assert "negative values" in run(job(tmp_path, negative)).until(TrainingOutcome).words
    assert list(tmp_path.iterdir()) == []


def test_a_child_that_hangs_is_killed_and_the_best_of_its_checkpoint_is_kept(tmp_path, views, run):
    # A start of random weights soon gets better.
    save(tmp_path, "start", SMALL)
    settings = {"architecture": SMALL.model_dump(), "start_from": str(tmp_path / "start.safetensors")}
    settings |= ENDLESS | {"validate_every": 4, "rate": 1e-4}
    there = run(job(tmp_path, views, **settings))
    state = tmp_path / "mine.training" / "state.safetensors"
    there.until(Saved)
    end = time.monotonic() + PATIENCE_SECONDS
    while not read_header(state).progress.best_step:
        assert time.monotonic() < end
        time.sleep(0.1)
    (child,) = children()
    child.suspend()
    there.process.stop()
    ended = there.until(TrainingOutcome)
    assert ended.how == "stopped"
    assert "did not answer" in ended.words
    network, card = load_model(ended.path)
    progress = read_header(state).progress
    assert card.training["best_step"] == progress.best_step
    assert card.metrics["residual"] == progress.best["residual"]
    assert card.training["device"].startswith("CPU")
    for name, weights in read_best_weights(state)[1].items():
        torch.testing.assert_close(network.state_dict()[name], weights, rtol=0, atol=0)
    # The model is known as its own: the run goes on.
    again = run(job(tmp_path, views, resume=True, **settings))
    assert again.until(StepDone).step > progress.step


def test_a_child_that_hangs_before_anything_is_better_leaves_its_checkpoint(tmp_path, views, run):
    there = run(job(tmp_path, views, **ENDLESS | {"validate_every": 1000}))
    there.until(Saved)
    (child,) = children()
    child.suspend()
    there.process.stop()
    assert there.until(TrainingOutcome) == TrainingOutcome(
        "stopped", None, "the training did not answer and was ended", ""
    )
    assert read_header(tmp_path / "mine.training" / "state.safetensors").progress.step > 0


def test_a_child_that_keeps_slowly_is_waited_for(tmp_path, views, run, monkeypatch):
    monkeypatch.setattr("napari_mvfusion.training.process._GRACE_SECONDS", 0.0)
    there = run(job(tmp_path, views, **ENDLESS | {"validate_every": 1}))
    there.until(Validated, 3)
    there.process._acknowledged.set()
    there.process.stop()
    ended = there.until(TrainingOutcome)
    assert (ended.how, ended.words) == ("stopped", "")
    assert there.until(Stopped)


# --- where it is started from


BEGIN = """
    import sys, time
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from small_training import OWN, own_views
    from napari_mvfusion.training import TrainConfig
    from napari_mvfusion.training.training_events import Saved
    from napari_mvfusion.training.job import TrainJob
    from napari_mvfusion.training.process import TrainingProcess, TrainingOutcome
    print("the script begins", flush=True)
    config = TrainConfig.model_validate(OWN | dict(steps={steps}, checkpoint_seconds=0.2))
    job = TrainJob(config, {out!r}, (own_views()[0],), device="cpu", threads=1)
    process = TrainingProcess(job)
    process.start()
    while True:
        for event in process.events(0.1):
            if isinstance(event, (Saved, TrainingOutcome)):
                print(event, flush=True)
            if isinstance(event, TrainingOutcome):
                sys.exit()
"""


def script(tmp_path, steps):
    out = tmp_path / "mine.safetensors"
    return textwrap.dedent(BEGIN.format(tests=str(Path(__file__).parents[1]), out=str(out), steps=steps))


def test_a_script_without_a_guard_runs_once(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(script(tmp_path, 3))
    # Names that a child must not take for modules of its own.
    (tmp_path / "numpy.py").write_text("raise ImportError('this is not numpy')")
    done = subprocess.run(
        [sys.executable, "-P", str(path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    assert done.stdout.count("the script begins") == 1
    assert "TrainingOutcome(how='trained'" in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_the_death_of_the_parent_ends_the_child_with_a_checkpoint(tmp_path):
    with warm_process.start(script(tmp_path, 100_000)) as parent:
        assert "the script begins" in next(parent.stdout)
        assert "Saved" in next(parent.stdout)
        (child,) = psutil.Process(parent.pid).children()
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    child.wait(PATIENCE_SECONDS)
    state = tmp_path / "mine.training" / "state.safetensors"
    with safe_open(state, framework="pt") as file:
        assert file.keys()
    assert read_header(state).progress.step > 0


# --- how views travel


def test_views_travel_as_what_they_are(tmp_path, views):
    pixels = np.array(views.views[0].data)
    path = tmp_path / "pixels.raw"
    pixels.tofile(path)
    mapped = np.memmap(path, pixels.dtype, mode="r", shape=pixels.shape)
    cases = {
        "mapped": mapped[4:, ::2, ::-1],
        "strided": pixels[4:, ::2, ::-1],
        "lazy": da.from_array(pixels, chunks=16)[4:, ::2, ::-1],
        "unpicklable": da.from_array(pixels, chunks=16).map_blocks(Unpicklable())[4:, ::2, ::-1],
    }
    plain = RegisteredViews([View(data, name, psf=views.views[0].psf) for name, data in cases.items()])
    weighed = [
        with_trust(
            view, plain.grid, weights=view.data[(slice(None),) * 3] > pixels.mean(), box_um=((0, 0, 0), (9, 9, 9))
        )
        for view in plain.views[1:]
    ]
    given = RegisteredViews([replace(plain.views[0], trust=plain.views[0].data), *weighed])
    sent = pickle.loads(pickle.dumps(picklable(job(tmp_path, given)).data[0]))
    assert isinstance(sent.views[0].data, MappedPixels)
    assert isinstance(sent.views[0].trust, MappedPixels)
    np.testing.assert_array_equal(sent.read(sent.grid.box), given.read(given.grid.box))
    np.testing.assert_array_equal(sent.coverage(sent.grid.box, [1, 2, 3]), given.coverage(given.grid.box, [1, 2, 3]))


class Unpicklable:
    """A function that cannot be sent."""

    def __call__(self, block):
        return block

    def __reduce__(self):
        raise TypeError("this stays here")
