"""What a training run has to remember to go on after a kill: one safetensors file, no pickle."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from napari_mvfusion.errors import InputError
from napari_mvfusion.writers.aside import written_aside

_META = "state"


@dataclass(frozen=True)
class Progress:
    """Where a run stands: finished steps, the best score and its step, and the factor on the rate after step-backs."""

    step: int = 0
    best_score: float = float("inf")
    best_step: int = 0
    rate_factor: float = 1.0
    seconds: float = 0.0


def save_state(
    path: Path,
    progress: Progress,
    modules: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Optimizer],
    run: str,
) -> None:
    """Write modules and the moments of their optimisers, and what tells this run from others; aside and renamed."""
    tensors: dict[str, torch.Tensor] = {}
    for name, module in modules.items():
        for key, value in module.state_dict().items():
            tensors[f"module/{name}/{key}"] = value.detach().cpu().contiguous().clone()
    for name, optimiser in optimisers.items():
        for index, values in optimiser.state_dict()["state"].items():
            for key, value in values.items():
                tensors[f"optimiser/{name}/{index}/{key}"] = torch.as_tensor(value).cpu().contiguous().clone()
    meta = json.dumps({"progress": progress.__dict__, "config": run})
    with written_aside(path, overwrite=True) as aside:
        save_file(tensors, aside, metadata={_META: meta})


def load_state(
    path: Path,
    modules: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Optimizer],
    fits: Callable[[str], bool],
) -> Progress:
    """Read back what `save_state` wrote, into modules and optimisers.

    `fits` is asked whether what was noted of the run is the same now.

    Raises
    ------
    InputError
        If the file is damaged or belongs to another configuration.
    """
    try:
        with safe_open(path, framework="pt") as file:
            meta = json.loads(file.metadata()[_META])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}): remove its folder, and train from the start") from error
    if not fits(meta["config"]):
        raise InputError(
            f"{path} belongs to a run with another configuration or data: choose another name, or remove its folder"
        )
    for name, module in modules.items():
        prefix = f"module/{name}/"
        module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    for name, optimiser in optimisers.items():
        state: dict[int, dict[str, torch.Tensor]] = {}
        prefix = f"optimiser/{name}/"
        for key, value in tensors.items():
            if key.startswith(prefix):
                index, field = key.removeprefix(prefix).split("/")
                state.setdefault(int(index), {})[field] = value
        optimiser.load_state_dict(optimiser.state_dict() | {"state": state})
    return Progress(**meta["progress"])
