from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_mvfusion.models import build
from napari_mvfusion.models.universal import UniversalArchitecture
from napari_mvfusion.training.config import LossWeights
from napari_mvfusion.training.objectives import Supervised
from napari_mvfusion.training.training_samples import TrainingVolume, cut
from small_models import FROM_WIENER

CPU = torch.device("cpu")
SIDE = 24
SURE = FROM_WIENER.model_copy(update={"uncertainty": True})


def volume(error: float, architecture: UniversalArchitecture = SURE) -> TrainingVolume:
    """A random truth that an estimate misses by normal errors of this size; the network begins with it."""
    rng = np.random.default_rng(2)
    target = rng.uniform(0.5, 1.5, (SIDE,) * 3)
    estimate = target + error * rng.standard_normal(target.shape)
    arrays = {
        "views": np.stack([target] * 2),
        "blurred": np.stack([target] * 2),
        "noise": np.full((2, *target.shape), 0.03),
        "sharp": np.stack([estimate] * architecture.images),
        "estimate": estimate,
        "target": target,
    }
    return TrainingVolume({name: values.astype(np.float16) for name, values in arrays.items()}, span=1.0, scale=1.0)


def test_uncertainty_learns_what_two_of_three_errors_stay_below() -> None:
    torch.manual_seed(0)
    network = build(SURE)
    sample = cut(volume(0.1), (0, 0, 0), (SIDE,) * 3, CPU)
    objective = Supervised(LossWeights())
    optimiser = torch.optim.Adam(network.of_error.parameters(), lr=0.02)
    for _ in range(150):
        optimiser.zero_grad()
        objective.losses(network, sample)["uncertainty"].backward()
        optimiser.step()
    image, error = network.generate(*(sample.tensors[name] for name in ("views", "blurred", "sharp")))
    assert error is not None
    within = ((image - sample.target).abs() < error).float().mean()
    assert 0.64 < float(within) < 0.72
    assert float(error.detach().mean()) == pytest.approx(0.1, rel=0.15)


def test_the_image_learns_nothing_from_the_uncertainty() -> None:
    torch.manual_seed(0)
    network = build(SURE)
    losses = Supervised(LossWeights()).losses(network, cut(volume(0.1), (0, 0, 0), (SIDE,) * 3, CPU))
    losses["uncertainty"].backward()
    learned = {name for name, p in network.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert learned == {"of_error.weight", "of_error.bias"}


def test_easy_tiles_count_as_much_as_others_where_that_is_wanted() -> None:
    torch.manual_seed(0)
    network = build(FROM_WIENER)

    def loss(error: float, easy: float) -> float:
        sample = cut(volume(error), (0, 0, 0), (SIDE,) * 3, CPU)
        losses = Supervised(LossWeights(absolute=0.1, square=18.0, easy=easy)).losses(network, sample)
        return float(torch.stack(list(losses.values())).detach().sum())

    assert loss(0.02, 1e-4) > 0.9 * loss(0.2, 1e-4)
    assert loss(0.02, 0.1) < 0.3 * loss(0.2, 0.1)
