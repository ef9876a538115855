"""Runs that go on: unfinished ones, finished ones, those whose model is somebody else's; and what is said in the end."""

import os
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from test_training_loop import Scripted, state, toy_events

from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.models import find_model, rename_model
from napari_mvfusion.training import TrainConfig, train_events
from napari_mvfusion.training.held_out import split_tiles
from napari_mvfusion.training.own_views import OwnViews
from napari_mvfusion.training.runs import (
    delete_with_run,
    discard_run,
    find_run,
    model_file,
    rename_with_run,
    unfinished_runs,
)
from napari_mvfusion.training.training_events import (
    Paused,
    Previewed,
    Saved,
    Started,
    StepDone,
    Stopped,
    Trained,
    Validated,
)
from napari_mvfusion.training.verdict import compare_models, judge, verdict_of
from small_training import CPU, OWN, own_views, toy_config

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("MVFUSION_MODELS", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def views():
    return own_views()[0]


def events_of(out, views, *, cancel_after=None, resume=False, start_from=None, preview_seconds=None, **changes):
    """All events of a run, which is cancelled after so many steps."""
    found = []
    config = TrainConfig.model_validate(OWN | {"schedule": "constant"} | changes)
    for event in train_events(
        config,
        out,
        views=[views],
        device="cpu",
        resume=resume,
        start_from=start_from,
        preview_seconds=preview_seconds,
        cancel=lambda: sum(isinstance(event, StepDone) for event in found) == cancel_after,
    ):
        found.append(event)
    return found


# --- runs that go on


def test_unfinished_runs_are_listed_newest_first_and_can_be_discarded(models, views):
    events_of("first", views, cancel_after=2)
    events_of("second", views, cancel_after=4)
    events_of("done", views, steps=1)
    (models / "broken.training").mkdir()
    (models / "broken.training" / "state.safetensors").write_bytes(b"no state")
    second, first = unfinished_runs()
    assert [(run.name, run.step, run.steps, run.start_from) for run in (first, second)] == [
        ("first", 2, 7, None),
        ("second", 4, 7, None),
    ]
    assert first.config == TrainConfig.model_validate(OWN | {"schedule": "constant"})
    assert first.saved <= second.saved
    assert find_run("done").complete
    assert find_run("missing") is None
    discard_run("first")
    assert [run.name for run in unfinished_runs()] == ["second"]
    assert (models / "done.safetensors").exists()
    for name in ("first", "broken"):
        with pytest.raises(InputError, match="no training run"):
            discard_run(name)
    with pytest.raises(InputError, match="cannot be the name"):
        discard_run("../done")


def test_an_unfinished_run_says_how_far_it_came_unless_its_model_was_kept_since(models, views):
    events_of("mine", views, cancel_after=2)
    (run,) = unfinished_runs()
    assert run.words(run.saved + timedelta(seconds=30)) == (
        "The training of 'mine' did not come to its end: step 2, saved 30 s ago."
    )
    assert run.words(run.saved + timedelta(days=3)).endswith(f"saved {run.saved:%Y-%m-%d}.")
    assert not run.kept_since
    model_file("mine").touch()
    for later, kept in ((-1, False), (1, True)):
        os.utime(model_file("mine"), (run.saved.timestamp() + later,) * 2)
        assert run.kept_since == kept


def test_a_model_is_renamed_and_deleted_with_the_run_that_it_came_from(models, views):
    events_of("mine", views, steps=1)
    before = find_run("mine").config
    rename_with_run("mine", "yours")
    assert sorted(path.name for path in models.glob("*") if path.name[0] != ".") == [
        "yours.safetensors",
        "yours.training",
    ]
    assert find_run("yours").config == before
    delete_with_run("yours")
    assert not [path for path in models.glob("*") if path.name[0] != "."]
    with pytest.raises(InputError):
        rename_with_run("yours", "mine")


def test_a_finished_run_goes_on_as_if_it_had_been_longer_from_the_start(models, views):
    events_of("parts", views, steps=4, validate_every=2)
    went_on = events_of("parts", views, steps=8, validate_every=2, resume=True)
    assert next(event for event in went_on if isinstance(event, Started)).step == 4
    whole = events_of("whole", views, steps=8, validate_every=2)
    ours, theirs = state(models, "parts"), state(models, "whole")
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert went_on[-1].score == whole[-1].score
    assert find_model("parts").card.training["steps"] == 8
    # The figures of the start were found by the first part.
    assert went_on[-1].before == whole[-1].before


def test_a_finished_run_goes_on_for_more_minutes(views):
    endless = {"steps": 100_000, "validate_every": 1000}
    first = events_of("mine", views, minutes=0.01, **endless)
    again = events_of("mine", views, minutes=0.01, resume=True, **endless)
    assert [type(event) for event in again if isinstance(event, StepDone | Trained)] == [Trained]
    more = events_of("mine", views, minutes=0.02, resume=True, **endless)
    assert more[-1].step > first[-1].step
    assert more[-1].seconds < 60 * 0.05


def test_other_views_are_named_when_a_run_shall_go_on(views):
    events_of("mine", views, steps=2)
    first, *others = [view.psf for view in views.views]
    turned = views.with_psfs([first, *(psf + psf.max() / 10 for psf in others)])
    with pytest.raises(InputError, match=r"other pixels, PSF or place of view 2") as caught:
        events_of("mine", turned, steps=4, resume=True)
    assert "safetensors" not in str(caught.value)


def test_a_run_with_a_falling_rate_keeps_its_number_of_steps(tmp_path):
    list(toy_events(tmp_path, toy_config(steps=4)))
    with pytest.raises(InputError, match="another configuration or data"):
        next(toy_events(tmp_path, toy_config(steps=8), resume=True))


def test_a_model_is_replaced_by_the_run_that_made_it_only(models, views):
    events_of("mine", views, steps=2)
    events_of("other", views, steps=2, seed=5)
    ours, theirs = models / "mine.safetensors", models / "other.safetensors"
    theirs.replace(ours)
    with pytest.raises(OutputError, match="would be replaced: rename it"):
        events_of("mine", views, steps=4, resume=True)
    rename_model("mine", "saved")
    events_of("mine", views, steps=4, resume=True)
    assert find_model("mine").card.training["steps"] == 4


def test_an_interrupted_validation_is_made_up_for(tmp_path):
    class Slow:
        def __call__(self, network, volumes, device):
            if stop:
                network(torch.zeros(1, 2, 16, 16, 16))
                raise AssertionError("it polls between its layers")
            return {"nrmse": 1.0}

    stop, events = [], []
    for event in toy_events(tmp_path, score=Slow(), cancel=lambda: bool(stop)):
        events.append(event)
        if isinstance(event, StepDone) and event.step == 2:
            stop.append(True)
    assert isinstance(events[-1], Stopped)
    assert [event.step for event in events if isinstance(event, Validated)] == [0]
    resumed = list(toy_events(tmp_path, score=Scripted(3, 2, 1), resume=True))
    assert [event.step for event in resumed if isinstance(event, Validated)] == [2, 4, 6]


def test_a_pause_saves_and_leaves_the_weights_alone(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    waiting, seen = [], []
    config = toy_config(checkpoint_seconds=60)
    for event in toy_events(tmp_path / "a", config, paused=lambda: bool(waiting) and waiting.pop() is not None):
        seen.append(event)
        if isinstance(event, StepDone) and event.step == 3:
            waiting.extend([True] * 3)
    assert [event.step for event in seen if isinstance(event, Saved | Paused)] == [3, 3]
    list(toy_events(tmp_path / "b", config))
    ours, theirs = state(tmp_path / "a"), state(tmp_path / "b")
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


# --- previews


def test_previews_show_the_brightest_tile_that_is_held_out(models, views):
    events_of("start", views, steps=2)
    common = {"validation": 3, "start_from": "start", "preview_seconds": 0.0, "validate_every": 1}
    found = events_of("mine", views, steps=6, **common)
    previews = [event for event in found if isinstance(event, Previewed)]
    first, *_, last = previews
    pixels = views.read(views.grid.box).mean(axis=0)
    held = split_tiles([pixels], (16, 16, 16), 3).held_out
    brightest = max((box for _, box in held), key=lambda box: pixels[box.slices].mean())
    np.testing.assert_allclose(first.view, pixels[brightest.slices], rtol=5e-3, atol=0.1)
    assert first.step == 0
    np.testing.assert_array_equal(first.before, first.after)
    np.testing.assert_array_equal(first.before, last.before)
    assert first.residual_before == first.residual_after == last.residual_before
    assert not np.array_equal(last.before, last.after)
    for values in (last.before, last.after, last.view):
        assert (values.shape, values.dtype) == ((16, 16, 16), np.float32)
    # In the brightness of the views.
    assert 0.7 < first.before.mean() / first.view.mean() < 1.4
    again = events_of("mine", views, steps=8, resume=True, **common)
    preview = next(event for event in again if isinstance(event, Previewed))
    np.testing.assert_array_equal(preview.before, first.before)
    assert preview.step == 6


# --- the verdict


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (1.30, 1.10, "better"),
        (1.30, 1.30, "no better"),
        (1.30, 1.299, "no better"),
        (1.10, 1.30, "no better"),
        (1.30, 0.98, "better"),
        (1.02, 0.90, "overfitted"),
        (0.80, 0.90, "better"),
        (0.97, 0.93, "overfitted"),
        (1.20, 0.90, "better"),
        (1.00, 0.96, "no better"),
    ],
)
def test_the_verdict_follows_the_residual_and_the_noise_floor(before, after, kind):
    verdict = judge({"residual": before}, {"residual": after})
    assert verdict.kind == kind
    assert verdict.sentence.lower().startswith(kind)
    assert f"{before:.2f}" in verdict.sentence
    assert (verdict.before, verdict.after) == (before, after)


@pytest.mark.parametrize(
    ("residuals", "best_step", "kind", "end"),
    [
        ((1.3, 1.1), 3, "done", "The model 'mine' is in the lists now."),
        ((1.3, 1.3), 0, "warning", "The model 'mine' has the weights of the start."),
        (None, 3, "done", "Done. The model 'mine' is in the lists now."),
        ((1.3, 1.1), None, "warning", "nothing better than the start was measured yet."),
    ],
)
def test_a_run_that_is_over_says_whether_it_helped_and_what_became_of_its_model(residuals, best_step, kind, end):
    before, after = ({"residual": each} for each in residuals) if residuals else ({}, {})
    path = None if best_step is None else Path("mine.safetensors")
    last = Stopped(3, None, before, after) if path is None else Trained(3, path, 1.0, 2.0, before, after, best_step)
    told, words = verdict_of(last, path)
    assert told == kind
    assert words.endswith(end)
    assert words.startswith(judge(before, after).sentence if residuals else end)


def test_figures_without_residuals_are_not_judged():
    with pytest.raises(InputError, match="no residuals"):
        judge({"nrmse": 1.0}, {"nrmse": 0.5})


def test_two_models_are_compared_on_the_tiles_that_a_run_holds_out(models, views, monkeypatch):
    events_of("start", views, steps=2)
    end = events_of("mine", views, start_from="start", steps=9, validate_every=1)[-1]
    config = find_run("mine").config
    begun = []
    begin = OwnViews.begin
    monkeypatch.setattr(OwnViews, "begin", lambda source, step: begun.append(step) or begin(source, step))
    verdict = compare_models("start", "mine", views, config, CPU)
    assert len(begun) == 1, "the views are read once for both"
    assert verdict.before == pytest.approx(end.before["residual"], rel=1e-3)
    assert verdict.after == pytest.approx(end.after["residual"], rel=1e-3)
    assert verdict.kind == judge(end.before, end.after).kind
