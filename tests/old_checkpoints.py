"""Published checkpoints around small generators, in the old format of torch and as this torch writes them."""

import argparse
from collections import OrderedDict

import numpy as np
import torch

from napari_mvfusion.models.paper import PaperArchitecture, PaperGenerator
from old_torch import Spec, Tensor

MAPS = 2


def weights(views=4, maps=MAPS, seed=5):
    """A generator's weights by the names and shapes of ALGORITHMS: numpy, no network of ours."""
    rng = np.random.default_rng(seed)
    pairs = {"c1": (views, maps), "c2": (maps, 2 * maps), "c3": (2 * maps, 4 * maps)}
    pairs |= {"c4": (4 * maps, 2 * maps), "c5": (2 * maps, maps)}
    shapes = {}
    for name, (inside, outside) in pairs.items():
        shapes |= {f"{name}.0": (outside, inside, 3, 3, 3), f"{name}.3": (outside, outside, 3, 3, 3)}
    shapes |= {"u1.0": (4 * maps, 2 * maps, 4, 4, 4), "u2.0": (2 * maps, maps, 4, 4, 4), "out.0": (1, maps, 1, 1, 1)}
    found = {}
    for name, shape in shapes.items():
        outputs = shape[1] if name.startswith("u") else shape[0]
        found[f"{name}.weight"] = rng.normal(size=shape).astype(np.float32)
        found[f"{name}.bias"] = rng.normal(size=outputs).astype(np.float32)
    return found


def content(generator=None, **more):
    """A checkpoint of Lightning 0.6 around the weights of a generator."""
    generator = weights() if generator is None else generator
    state = OrderedDict()
    for number, (name, values) in enumerate(generator.items()):
        place = "torch.cuda" if number % 2 else "torch"
        state[f"generator.{name}"] = Tensor(values, str(94137955454256 + number), place=place)
    state["discriminator_full.layers.0.weight"] = Tensor(np.ones((2, 1, 3, 3, 3), np.float32), "1")
    moments = Tensor(np.zeros(3, np.float32), "2", parameter=True)
    adam = {
        "state": {140: {"step": 7, "exp_avg": moments}},
        "param_groups": [{"lr": np.float64(1e-4), "params": [140]}],
    }
    return {
        "epoch": 89,
        "global_step": 9720,
        "checkpoint_callback_best": Tensor(np.array(0.25, np.float64), "3"),
        "early_stop_callback_wait": np.int64(3),
        "optimizer_states": [adam],
        "lr_schedulers": [],
        "state_dict": state,
        "hparams": Spec({"lr": 1e-4, "psf": ["a.tif"], "loss": float("inf"), "best": np.float32(0.5), "gpus": None}),
        "hparams_type": "Namespace",
    } | more


def of_this_torch(path, *, zipped):
    torch.manual_seed(3)
    network = PaperGenerator(PaperArchitecture(views=2, feature_maps=MAPS))
    state = OrderedDict((f"generator.{key}", value) for key, value in network.state_dict().items())
    state["discriminator_half.layers.0.bias"] = torch.ones(2)
    # A transposed tensor and two that share numbers.
    grid = torch.arange(12.0).reshape(3, 4)
    state |= {"other.turned": grid.T, "other.part": grid[1:, 2:], "other.half": torch.ones(2, dtype=torch.float16)}
    adam = {"state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4}]}
    whole = {"epoch": 1, "global_step": 2, "state_dict": state, "optimizer_states": [adam]}
    extra = {"hparams": argparse.Namespace(lr=0.5, views=2), "best": np.float64(0.25), "loss": np.float32(2)}
    torch.save(whole | extra, path, _use_new_zipfile_serialization=zipped)
    torch.save(whole, path.with_suffix(".plain"), _use_new_zipfile_serialization=zipped)
