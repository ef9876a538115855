"""What a training run has to remember to go on after a kill: one safetensors file with a hash, no pickle.

A new state is written aside and read back before it takes the place of the last one, which stays beside it under another
name until the next. Whatever happens meanwhile, one whole state is there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from napari_mvfusion.data.geometry import Triple
from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.io.atomic import written_aside
from napari_mvfusion.models.card import problems_of
from napari_mvfusion.models.model_file import state_sha256
from napari_mvfusion.training.config import TrainConfig
from napari_mvfusion.training.figures import current

_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")
T = TypeVar("T")

RUN_SUFFIX = ".training"
STATE_FILE = "state.safetensors"
LAST_STATE_FILE = "state-before.safetensors"
_META = "state"
_WEIGHTS_HASH = "weights_sha256"
_HASH = "sha256"
_START_ANEW = "remove its folder, and train from the start"


# What fields were called in states of earlier versions.
_RENAMED = {"kept": "model_hashes", "seen": "validation_box"}


@dataclass(frozen=True)
class TrainingProgress:
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
    validation_box : part of a validation volume that memory allowed, or None for all of it
    model_hashes : hashes of the weights that were written as its model
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
    validation_box: Triple | None = None
    model_hashes: tuple[str, ...] = ()
    complete: bool = False

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> TrainingProgress:
        """Make one from what JSON kept of it; fields that are newer than the file have their defaults."""
        values = {_RENAMED.get(name, name): value for name, value in values.items()}
        values |= {name: current(values[name]) for name in ("start", "best") if name in values}
        if unknown := set(values) - {each.name for each in fields(cls)}:
            raise ValueError(f"it holds {', '.join(sorted(unknown))}, which this version does not know")
        return _TRAINING_PROGRESS.validate_python(values)


_TRAINING_PROGRESS = TypeAdapter(TrainingProgress)


@dataclass(frozen=True)
class StateHeader:
    """What a state says beside its weights.

    Attributes
    ----------
    progress : where the run stands
    config : its parameters
    start_from : name or file of the model that it began with, or None
    """

    progress: TrainingProgress
    config: TrainConfig
    start_from: str | None


@dataclass(frozen=True)
class LoadedState:
    """A state that was read back.

    Attributes
    ----------
    progress : where the run stands
    remarks : what the user has to know of the file, in words
    newest : whether it was the newest state, and not the one before
    """

    progress: TrainingProgress
    remarks: tuple[str, ...]
    newest: bool


def has_state(path: Path) -> bool:
    """Whether there is a state at a path, or the one before it beside it."""
    return any(each.exists() for each in _places(path))


def saved_at(path: Path) -> float:
    """When the newest state at a path was saved, seconds since 1970.

    Raises
    ------
    OSError
        If there is none.
    """
    return next((place for place in _places(path) if place.exists()), path).stat().st_mtime


def save_state(
    path: Path,
    progress: TrainingProgress,
    modules: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Optimizer],
    run: str,
    *,
    keep_last: bool = True,
) -> None:
    """Write modules and the moments of their optimisers, and what tells this run from others.

    Parameters
    ----------
    path : file of the state
    progress : where the run stands
    modules, optimisers : by name
    run : what tells this run from others
    keep_last : keep the state that was there until the next; not wanted where it is known to be damaged, as the one
        before it is the last that is whole

    Raises
    ------
    OutputError
        If it cannot be written, or does not come back as it was written. The last state stays then.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, module in modules.items():
        for key, value in module.state_dict().items():
            tensors[f"module/{name}/{key}"] = value.detach().cpu().contiguous()
    for name, optimiser in optimisers.items():
        for index, values in optimiser.state_dict()["state"].items():
            for key, value in values.items():
                tensors[f"optimiser/{name}/{index}/{key}"] = torch.as_tensor(value).cpu().contiguous()
    meta = json.dumps({"progress": asdict(progress), "config": run})
    weights = state_sha256(tensors)
    hashes = {_WEIGHTS_HASH: weights, _HASH: _note_sha256(meta, weights)}
    with written_aside(path, overwrite=True) as aside:
        _write(tensors, aside, {_META: meta, **hashes})
        _to_the_disk(aside)
        if not _comes_back(aside, tensors, {_META: meta, **hashes}):
            raise OutputError(f"{path} does not come back as it was written: check the disk")
        if keep_last and path.exists():
            os.replace(path, path.with_name(LAST_STATE_FILE))


def load_state(
    path: Path,
    modules: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Optimizer],
    differs: Callable[[str], str],
) -> LoadedState:
    """Read back what `save_state` wrote, into modules and optimisers; where it is damaged, the state before it.

    `differs` is asked what was noted of the run is otherwise now, in words; "" where nothing is.

    Raises
    ------
    InputError
        If there is no undamaged state, or it belongs to another configuration.
    """
    (meta, tensors, checked), there, remarks = _first_intact(path, _whole)
    if what := differs(meta["config"]):
        raise InputError(
            f"the run in {there.parent} was made with another configuration or data ({what}): go on as it began, choose "
            "another name, or remove that folder"
        )
    progress = TrainingProgress.read(meta["progress"])
    with _reading(there):
        for name, module in modules.items():
            prefix = f"module/{name}/"
            module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        for name, optimiser in optimisers.items():
            state: dict[int, dict[str, torch.Tensor]] = {}
            prefix = f"optimiser/{name}/"
            for key, value in tensors.items():
                if key.startswith(prefix):
                    index, entry = key.removeprefix(prefix).split("/")
                    state.setdefault(int(index), {})[entry] = value
            optimiser.load_state_dict(optimiser.state_dict() | {"state": state})
    said = [f"{remark}: going on from the state before it, of step {progress.step}" for remark in remarks]
    if not checked:
        said.append(f"{there} was saved by an earlier version without a hash: damage to it would not be noticed")
    return LoadedState(progress, tuple(said), there == path)


def read_header(path: Path) -> StateHeader:
    """Read what a state says beside its weights, which are not looked at; or what the state before it says.

    Raises
    ------
    InputError
        If the file is missing, damaged, or of a newer version.
    """
    return _first_intact(path, _read_header)[0]


def read_best_weights(path: Path) -> tuple[StateHeader, dict[str, torch.Tensor]]:
    """Read what a state, or the one before it, says, and its best weights by the names that they have in their network.

    Raises
    ------
    InputError
        If there is no undamaged state.
    """
    prefix = "module/best/"
    (meta, tensors, _), there, _ = _first_intact(path, _whole)
    with _reading(there):
        note = _note(meta)
    return note, {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _places(path: Path) -> tuple[Path, Path]:
    """Where a state may lie: in its place, or in that of the one before."""
    return path, path.with_name(LAST_STATE_FILE)


def _first_intact(path: Path, read: Callable[[Path], T]) -> tuple[T, Path, list[str]]:
    """What can be read of the newest undamaged state, its file, and what is wrong with a newer one."""
    problems: list[InputError] = []
    remarks: list[str] = []
    for place in _places(path):
        try:
            return read(place), place, remarks
        except InputError as error:
            problems.append(error)
            remarks.append(f"{place} is {'damaged' if place.exists() else 'missing'}")
    raise problems[0]


def _whole(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor], bool]:
    """What a state says, all its tensors, and whether they are known to be those that were saved."""
    with _reading(path), safe_open(path, framework="pt") as file:
        meta, weights = _checked_meta(file.metadata())
        # What is mapped from the file would change with the file.
        tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118 - not a mapping
        if weights is not None and state_sha256(tensors) != weights:
            raise ValueError("its numbers are not those that were saved")
        TrainingProgress.read(meta["progress"])
        return meta, tensors, weights is not None


# What a safetensors file calls the types that states have.
_TYPES = {
    torch.float32: "F32",
    torch.float64: "F64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def _write(tensors: Mapping[str, torch.Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    try:
        save_file(dict(tensors), path, metadata=dict(metadata))
    except SafetensorError as error:
        # Its library tells the number of the system's error in words alone.
        number = _SYSTEM_ERROR.search(str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


def _comes_back(path: Path, tensors: Mapping[str, torch.Tensor], header: Mapping[str, str]) -> bool:
    """Whether a file holds just this, read tensor by tensor: memory may be short beside a step of training."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length < path.stat().st_size:
            return False
        try:
            entries = json.loads(file.read(length))
        except ValueError:
            return False
        if entries.pop("__metadata__", None) != header or set(entries) != set(tensors):
            return False
        for key, value in tensors.items():
            numbers = value.reshape(-1).view(torch.uint8).numpy().tobytes()
            begin = entries[key].get("data_offsets", [0])[0]
            place = [begin, begin + len(numbers)]
            if entries[key] != {"dtype": _TYPES[value.dtype], "shape": list(value.shape), "data_offsets": place}:
                return False
            file.seek(8 + length + begin)
            if file.read(len(numbers)) != numbers:
                return False
    return True


def _read_header(path: Path) -> StateHeader:
    with _reading(path), safe_open(path, framework="pt") as file:
        return _note(_checked_meta(file.metadata())[0])


def _note(meta: Mapping[str, Any]) -> StateHeader:
    config, start_from, *_ = json.loads(meta["config"])
    return StateHeader(TrainingProgress.read(meta["progress"]), TrainConfig.model_validate(config), start_from or None)


def _checked_meta(header: Mapping[str, str] | None) -> tuple[dict[str, Any], str | None]:
    """What a header says of the run, and the hash of the weights; None where it is of a version that had none."""
    header = header or {}
    weights = None
    # The header of an older version holds nothing else; another one without hashes is damaged.
    if set(header) != {_META}:
        weights = header[_WEIGHTS_HASH]
        if header[_HASH] != _note_sha256(header[_META], weights):
            raise ValueError("what it says of the run is not what was saved")
    meta = json.loads(header[_META])
    if not isinstance(meta, dict) or not isinstance(meta["progress"], dict) or not isinstance(meta["config"], str):
        raise ValueError("it does not say where the run stands")
    return meta, weights


def _note_sha256(meta: str, weights: str) -> str:
    return hashlib.sha256(f"{weights} {meta}".encode()).hexdigest()


def _to_the_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn all that a damaged file can lead to into words."""
    if not path.is_file():
        raise InputError(f"{path} is missing: {_START_ANEW}")
    try:
        yield
    except ValidationError as error:
        raise InputError(f"{path} cannot be read ({problems_of(error)}): {_START_ANEW}") from error
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read ({reason}): {_START_ANEW}") from error
