"""What a training run has to remember to go on after a kill: one safetensors file, no pickle."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from napari_mvfusion.errors import InputError
from napari_mvfusion.geometry import Triple, triple
from napari_mvfusion.training.config import TrainConfig
from napari_mvfusion.writers.aside import written_aside

RUN_SUFFIX = ".training"
STATE_FILE = "state.safetensors"
_META = "state"


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes
    ----------
    step : finished steps
    best_score, best_step : of the weights that would be kept
    rate_factor : on the rate, after step-backs
    seconds : of work, pauses left out
    validated : step of the last validation, or -1
    start, best : figures of the start and of the best weights
    tile, batch : what memory allowed after it ran out, or None
    seen : part of a validation volume that memory allowed, or None for all of it
    kept : hashes of the weights that were written as its model
    complete : whether it came to its end
    """

    step: int = 0
    best_score: float = float("inf")
    best_step: int = 0
    rate_factor: float = 1.0
    seconds: float = 0.0
    validated: int = -1
    start: Mapping[str, float] = field(default_factory=dict)
    best: Mapping[str, float] = field(default_factory=dict)
    tile: Triple | None = None
    batch: int | None = None
    seen: Triple | None = None
    kept: tuple[str, ...] = ()
    complete: bool = False

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Progress:
        """Make one from what JSON kept of it; fields that are newer than the file have their defaults."""
        tiles = {name: triple(values[name]) for name in ("tile", "seen") if values.get(name) is not None}
        return cls(**{**values, **tiles, "kept": tuple(values.get("kept", ()))})


@dataclass(frozen=True)
class Note:
    """What a state says beside its weights.

    Attributes
    ----------
    progress : where the run stands
    config : its parameters
    start_from : name or file of the model that it began with, or None
    """

    progress: Progress
    config: TrainConfig
    start_from: str | None


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
            tensors[f"module/{name}/{key}"] = value.detach().cpu().contiguous()
    for name, optimiser in optimisers.items():
        for index, values in optimiser.state_dict()["state"].items():
            for key, value in values.items():
                tensors[f"optimiser/{name}/{index}/{key}"] = torch.as_tensor(value).cpu().contiguous()
    meta = json.dumps({"progress": asdict(progress), "config": run})
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
    with _reading(path), safe_open(path, framework="pt") as file:
        meta = json.loads(file.metadata()[_META])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
        progress = Progress.read(meta["progress"])
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
    return progress


def read_note(path: Path) -> Note:
    """Read what a state says beside its weights.

    Raises
    ------
    InputError
        If the file is missing, damaged, or of a newer version.
    """
    with _reading(path), safe_open(path, framework="pt") as file:
        meta = json.loads(file.metadata()[_META])
        config, start_from, *_ = json.loads(meta["config"])
        return Note(Progress.read(meta["progress"]), TrainConfig.model_validate(config), start_from or None)


def read_best(path: Path) -> dict[str, torch.Tensor]:
    """Read the weights that were best, by the names that they have in their network.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    prefix = "module/best/"
    with _reading(path), safe_open(path, framework="pt") as file:
        return {
            key.removeprefix(prefix): file.get_tensor(key)
            for key in file.keys()  # noqa: SIM118 - not a mapping
            if key.startswith(prefix)
        }


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): remove its folder, and train from the start") from error
