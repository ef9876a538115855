"""The loop: averages, rates, clipping, what goes wrong, when it ends, and that a kill changes nothing."""

import csv
import signal
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.optim.optimizer import register_optimizer_step_pre_hook

import warm_process
from napari_mvfusion.cli.stopping import Steering
from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.models import build, load_model
from napari_mvfusion.system.locks import Busy
from napari_mvfusion.training import TrainConfig, loop, train_events
from napari_mvfusion.training.config import LossWeights
from napari_mvfusion.training.objectives import Supervised, score_supervised
from napari_mvfusion.training.training_events import (
    Continued,
    Paused,
    Saved,
    StepDone,
    SteppedBack,
    Stopped,
    Trained,
    Validated,
)
from small_training import CPU, OWN, SCENES, Toy, own_views, toy_card, toy_config

pytestmark = pytest.mark.usefixtures("one_thread")


def toy_events(tmp_path, config=None, objective=None, score=score_supervised, **options):
    config = config or toy_config()
    objective = objective or Supervised(config.weights)
    return loop.train_events(
        config,
        Toy(),
        objective,
        score,
        toy_card(),
        tmp_path / "toy.safetensors",
        decides="nrmse",
        device=CPU,
        **options,
    )


def state(tmp_path, name="toy"):
    return load_file(tmp_path / f"{name}.training" / "state.safetensors")


def weights_of(tensors, module):
    prefix = f"module/{module}/"
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def rows(tmp_path, name="toy"):
    with (tmp_path / f"{name}.training" / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def stopped_after(tmp_path, steps):
    """A run of the toy that the user stops."""
    done = []
    for event in toy_events(tmp_path, cancel=lambda: len(done) == steps):
        if isinstance(event, StepDone):
            done.append(event.step)


class Scripted:
    """A score that follows a script, whatever the network."""

    def __init__(self, *scores):
        self.scores = list(scores)

    def __call__(self, network, volumes, device):
        return {"nrmse": self.scores.pop(0)}


class NotANumber(Supervised):
    """An objective whose loss is NaN in some of its calls."""

    def __init__(self, when):
        super().__init__(LossWeights())
        self.calls = 0
        self.when = when

    def losses(self, network, sample):
        self.calls += 1
        parts = super().losses(network, sample)
        return {name: value * float("nan") for name, value in parts.items()} if self.when(self.calls) else parts


def test_a_network_learns_a_tile_and_the_best_weights_are_kept(tmp_path):
    events = list(toy_events(tmp_path, toy_config(steps=32, validate_every=8, ema=0.5, rate=2e-2)))
    losses = [event.losses["total"] for event in events if isinstance(event, StepDone)]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    trained = events[-1]
    assert isinstance(trained, Trained)
    scores = [event.score for event in events if isinstance(event, Validated)]
    assert trained.score == min(scores) < scores[0]
    network, card = load_model(trained.path)
    volume = Toy().volume
    assert score_supervised(network, [volume], CPU)["nrmse"] == pytest.approx(trained.score, rel=1e-5)
    assert card.metrics["nrmse"] == trained.score
    assert card.training["steps"] == 32


def test_the_average_follows_the_weights_slowly(tmp_path):
    before = None
    for event in toy_events(tmp_path, toy_config(ema=0.3, steps=5)):
        if isinstance(event, Saved):
            tensors = state(tmp_path)
            network, averaged = weights_of(tensors, "network"), weights_of(tensors, "averaged")
            if before is not None:
                step = event.step - 1
                decay = min(0.3, (1 + step) / (10 + step))
                for key, value in averaged.items():
                    expected = decay * before[key].double() + (1 - decay) * network[key].double()
                    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-7)
            before = averaged


def test_rates_rise_and_fall_along_a_cosine_or_stay(tmp_path):
    def rates(folder, **changes):
        folder.mkdir()
        events = toy_events(folder, toy_config(steps=8, validate_every=100, checkpoint_seconds=60, **changes))
        return [event.rate for event in events if isinstance(event, StepDone)]

    assert rates(tmp_path / "a", schedule="constant") == [1e-2] * 8
    found = rates(tmp_path / "b", warmup=0.25)
    np.testing.assert_allclose(found[:2], 1e-2 * np.arange(1, 3) / 3)
    share = np.arange(6) / 6
    np.testing.assert_allclose(found[2:], 1e-2 * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * share))))


def test_gradients_are_clipped(tmp_path):
    norms = []

    def note(optimiser, arguments, options):
        squares = [p.grad.square().sum() for group in optimiser.param_groups for p in group["params"]]
        norms.append(float(torch.stack(squares).sum().sqrt()))

    hook = register_optimizer_step_pre_hook(note)
    try:
        list(toy_events(tmp_path, toy_config(clip=1e-3, steps=3)))
    finally:
        hook.remove()
    np.testing.assert_allclose(norms, [1e-3] * 3, rtol=1e-2)


def test_a_loss_that_is_not_finite_steps_back_to_the_checkpoint_at_half_the_rate(tmp_path):
    config = toy_config(schedule="constant", steps=6)
    events = list(toy_events(tmp_path, config, NotANumber(lambda call: call == 4)))
    (back,) = [event for event in events if isinstance(event, SteppedBack)]
    assert (back.step, back.rate) == (3, 5e-3)
    steps = [(event.step, event.rate) for event in events if isinstance(event, StepDone)]
    assert steps == [(1, 1e-2), (2, 1e-2), (3, 1e-2), (4, 5e-3), (5, 5e-3), (6, 5e-3)]
    assert all(torch.isfinite(value).all() for value in state(tmp_path).values())


class Judge(Supervised):
    """Learns beside a discriminator; in one call its loss is finite and the gradient of that is not."""

    def __init__(self, weights, wrong):
        super().__init__(weights)
        self.discriminator = torch.nn.Linear(1, 1)
        self._wrong, self._calls = wrong, 0

    def judge(self):
        self._calls += 1
        value = self.discriminator.weight.square().sum()
        return (0 * value).sqrt() if self._calls == self._wrong else value


def test_a_gradient_of_the_discriminator_that_is_not_finite_steps_back_too(tmp_path):
    config = toy_config(schedule="constant", steps=6)
    judge = Judge(config.weights, 4)
    events = list(toy_events(tmp_path, config, judge, adversary=judge))
    (back,) = [event for event in events if isinstance(event, SteppedBack)]
    assert (back.step, back.rate) == (3, 5e-3)
    assert [event.step for event in events if isinstance(event, StepDone)] == [1, 2, 3, 4, 5, 6]
    assert all(torch.isfinite(value).all() for value in state(tmp_path).values())


def test_a_run_that_never_has_a_finite_loss_ends_with_words(tmp_path):
    with pytest.raises(InputError, match="not finite 9 times, at last in step 1: lower the learning rate"):
        list(toy_events(tmp_path, objective=NotANumber(lambda call: True)))
    assert not (tmp_path / "toy.training").exists(), "nothing was learned, nothing is left"


def test_training_ends_early_when_nothing_gets_better(tmp_path):
    events = list(toy_events(tmp_path, toy_config(steps=50, patience=2), score=Scripted(5, 4, 6, 6, 6)))
    assert events[-1].step == 6
    assert events[-1].score == 4


def test_a_start_that_training_only_harms_is_what_is_kept(tmp_path):
    torch.manual_seed(0)
    events = list(toy_events(tmp_path, toy_config(steps=4), score=Scripted(1, 2, 2)))
    network, card = load_model(events[-1].path)
    assert card.training["best_step"] == 0
    torch.manual_seed(0)
    for kept, first in zip(network.parameters(), build(network.architecture).parameters(), strict=True):
        torch.testing.assert_close(kept, first, rtol=0, atol=0)


def test_stop_keeps_the_best_and_the_run_can_go_on(tmp_path):
    saved = {}
    done = []
    for event in toy_events(tmp_path, score=Scripted(5, 3, 4), cancel=lambda: len(done) == 5):
        if isinstance(event, StepDone):
            done.append(event.step)
        if isinstance(event, Saved):
            saved[event.step] = weights_of(state(tmp_path), "averaged")
    assert isinstance(event, Stopped)
    network, _ = load_model(event.path)
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, saved[2][key], rtol=0, atol=0)
    events = list(toy_events(tmp_path, score=Scripted(2), resume=True))
    assert events[0].step == 5
    assert events[-1].step == 6
    assert events[-1].score == 2


def test_a_model_is_trained_by_one_run_at_a_time(tmp_path):
    first = toy_events(tmp_path)
    next(event for event in first if isinstance(event, StepDone))
    with pytest.raises(Busy, match=r"another run writes .*toy\.training \(process \d+ on "):
        next(toy_events(tmp_path, resume=True))
    assert isinstance(list(first)[-1], Trained)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy.safetensors", "toy.training"]


def test_a_run_by_the_clock_ends_with_a_validation(tmp_path):
    events = list(toy_events(tmp_path, toy_config(steps=100_000, minutes=0.005, validate_every=1000)))
    assert events[-1].step < 100_000
    assert any(isinstance(event, Validated) and event.step == events[-1].step for event in events)


def test_the_log_holds_each_step_once_also_after_a_row_was_cut_short(tmp_path):
    stopped_after(tmp_path, 3)
    path = tmp_path / "toy.training" / "log.csv"
    with path.open("a") as file:
        file.write("4,absolute,0.1\n4,squ")
    list(toy_events(tmp_path, resume=True))
    totals = [int(row["step"]) for row in rows(tmp_path) if row["name"] == "total"]
    assert totals == [1, 2, 3, 4, 5, 6]
    assert [int(row["step"]) for row in rows(tmp_path) if row["name"] == "validation/nrmse"] == [0, 2, 4, 6]
    assert (tmp_path / "toy.training" / "tensorboard").exists() == (find_spec("tensorboard") is not None)


def test_a_run_waits_and_stops_as_files_say(tmp_path):
    steered = Steering(tmp_path, lambda: False)
    seen = []
    for event in toy_events(tmp_path, cancel=steered.cancel, paused=steered.paused):
        seen.append(type(event))
        if isinstance(event, StepDone) and event.step == 2:
            (tmp_path / "pause").touch()
        elif isinstance(event, Paused):
            (tmp_path / "pause").unlink()
        elif isinstance(event, StepDone) and event.step == 4:
            (tmp_path / "stop").touch()
    assert seen.index(Paused) < seen.index(Continued)
    assert seen[-1] is Stopped
    assert event.step == 4
    assert Steering(None, lambda: True).cancel()


def test_files_in_the_way_and_states_that_do_not_fit_are_named(tmp_path):
    stopped_after(tmp_path, 3)
    model = tmp_path / "toy.safetensors"
    model.unlink(missing_ok=True)
    with pytest.raises(OutputError, match=r"holds an unfinished run: go on with it \(--resume\), "):
        next(toy_events(tmp_path))
    with_workers = toy_config(scenes={"angles": (0, 90), "size": 32, "workers": 3})
    assert next(toy_events(tmp_path, with_workers, resume=True)).step == 3
    with pytest.raises(
        InputError, match=r"toy\.training was made with another configuration or data \(other settings: rate\)"
    ):
        next(toy_events(tmp_path, toy_config(rate=1e-3), resume=True))
    model.touch()
    with pytest.raises(OutputError, match="exists already"):
        next(toy_events(tmp_path))
    path = tmp_path / "toy.training" / "state.safetensors"
    path.with_name("state-before.safetensors").unlink()
    content = path.read_bytes()
    for damaged in (content[:200], b"", content[:-50]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="cannot be read"):
            next(toy_events(tmp_path, resume=True))


KILLED = """
import sys
from pathlib import Path
import torch
from small_training import OWN, SCENES, own_views
from napari_mvfusion.training import TrainConfig, train_events
from napari_mvfusion.training.training_events import Saved
torch.set_num_threads(1)
folder = Path(sys.argv[1])
runs = {
    "scenes": train_events(TrainConfig.model_validate(SCENES), folder / "scenes.safetensors", device="cpu"),
    "own": train_events(
        TrainConfig.model_validate(OWN), folder / "own.safetensors", views=[own_views()[0]], device="cpu"
    ),
}
for name, events in runs.items():
    for event in events:
        if isinstance(event, Saved) and event.step == 4:
            break
print("both are at work", flush=True)
while True:
    for events in runs.values():
        next(events, None)
"""


def test_a_run_that_was_killed_goes_on_to_the_same_weights(tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    killed.mkdir()
    whole.mkdir()
    with warm_process.start(KILLED, killed) as process:
        assert process.stdout.readline() == "both are at work\n", process.said()
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    for name, values, views in (("scenes", SCENES, []), ("own", OWN, [own_views()[0]])):
        config = TrainConfig.model_validate(values)
        out = f"{name}.safetensors"
        unbroken = list(train_events(config, whole / out, views=views, device="cpu"))
        resumed = list(train_events(config, killed / out, views=views, device="cpu", resume=True))
        steps = [event.step for event in resumed if isinstance(event, StepDone)]
        assert 0 < len(steps) < 7
        assert steps[-1] == 7
        assert unbroken[-1].score == resumed[-1].score
        ours, theirs = state(killed, name), state(whole, name)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), name
        assert not torch.equal(ours["module/network/out.weight"], torch.zeros_like(ours["module/network/out.weight"]))
        totals = [int(row["step"]) for row in rows(killed, name) if row["name"] == "total"]
        assert totals == list(range(1, 8))
