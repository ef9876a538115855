"""States of training runs: written, read back, and compared."""

import json

import torch

from napari_mvfusion.training.state import TrainingProgress, load_state, save_state
from small_training import toy_config

MODULE = "network"


def network(seed):
    torch.manual_seed(seed)
    return torch.nn.Linear(3, 2)


def saved(path, seed, step, **options):
    """Save a small state, and return its network with one step of its optimiser."""
    module = network(seed)
    optimiser = torch.optim.Adam(module.parameters())
    module(torch.ones(3)).sum().backward()
    optimiser.step()
    config = json.dumps([toy_config().model_dump(mode="json", by_alias=True), ""])
    save_state(
        path, TrainingProgress(step=step, best_score=0.5), {MODULE: module}, {MODULE: optimiser}, config, **options
    )
    return module


def loaded(path):
    module = network(99)
    optimiser = torch.optim.Adam(module.parameters())
    return load_state(path, {MODULE: module}, {MODULE: optimiser}, lambda run: ""), module


def same(first, second):
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)
