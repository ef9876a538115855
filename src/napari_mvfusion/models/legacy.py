"""Published checkpoints of the paper's networks: PyTorch Lightning 0.6 files of torch 1.3, or of the zip format.

Nothing in such a file is run; `unpickle` reads it.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from pydantic import JsonValue, ValidationError

from napari_mvfusion.errors import InputError
from napari_mvfusion.models.card import ModelCard, PSFRecord, problems_of
from napari_mvfusion.models.model_file import check_state
from napari_mvfusion.models.paper import Activation, PaperArchitecture, PaperGenerator
from napari_mvfusion.models.standins import Storage, TensorRef, plain
from napari_mvfusion.models.unpickle import Pickled, read_pickle

# The authors' loader sorts the names of files as strings, so 270 comes before 90.
PUBLISHED_ANGLES: Mapping[int, tuple[float, ...]] = {2: (0.0, 180.0), 4: (0.0, 180.0, 270.0, 90.0)}

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_PREFIX = "generator."
_LONGEST_PICKLE = 64 * 2**20
_HEAD_BYTES = 8
_SOURCES = ("Yang et al., Multi-View Fusion Using Semi- and Self-Supervised Generative Adversarial Networks",)


@dataclass(frozen=True, eq=False)
class LegacyCheckpoint:
    """What a checkpoint holds.

    Attributes
    ----------
    state : all weights by name
    hyperparameters : as JSON types
    epoch, global_step : how far its training was, or None
    """

    state: dict[str, torch.Tensor]
    hyperparameters: dict[str, Any]
    epoch: int | None
    global_step: int | None


@dataclass(frozen=True)
class ImportDetails:
    """What was found beside the weights of a generator.

    Attributes
    ----------
    architecture : told from the weights
    angles : degrees that the channels stand for, in their order, or None where unknown
    ignored : names of weights that are no part of the generator
    hyperparameters, epoch, global_step : as in `LegacyCheckpoint`
    """

    architecture: PaperArchitecture
    angles: tuple[float, ...] | None
    ignored: tuple[str, ...]
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    epoch: int | None = None
    global_step: int | None = None


def read_checkpoint(path: str | Path) -> LegacyCheckpoint:
    """Read a Lightning checkpoint in the old format of torch or the zip format, without running what it holds.

    Raises
    ------
    InputError
        If the file is missing, damaged, no checkpoint, or asks to run anything.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"the checkpoint {path} does not exist")
    try:
        with path.open("rb") as file:
            if file.read(2) == b"PK":
                return _from_zip(file, path)
            file.seek(0)
            return _from_old(file, path)
    except OSError as error:
        raise InputError(f"the checkpoint {path} cannot be read ({error.strerror or error})") from error


def generator_from_checkpoint(
    path: str | Path, *, activation: Activation = "relu"
) -> tuple[PaperGenerator, ImportDetails]:
    """Read the generator in a checkpoint; views and feature maps are told from the shapes of its weights.

    Parameters
    ----------
    path : a Lightning checkpoint
    activation : the released code has "relu", the text of the paper "leaky_relu"; weights do not tell

    Returns
    -------
    The network, float32, in evaluation mode; and what else was found.

    Raises
    ------
    InputError
        If the file cannot be read, holds no generator, or weights are missing, unexpected, of another shape or not finite.
    """
    checkpoint = read_checkpoint(path)
    state = {
        key.removeprefix(_PREFIX): value.to(torch.float32)
        for key, value in checkpoint.state.items()
        if key.startswith(_PREFIX)
    }
    first = state.get("c1.0.weight")
    if first is None or first.ndim != 5:
        raise InputError(
            f"{path} holds no {_PREFIX}c1.0.weight, the first weights of a generator: is it another network?"
        )
    try:
        architecture = PaperArchitecture(views=first.shape[1], feature_maps=first.shape[0], activation=activation)
    except ValidationError as error:
        raise InputError(f"the generator in {path} cannot be built: {problems_of(error)}") from error
    check_state(state, architecture, f"{path} (generator)")
    network = PaperGenerator(architecture)
    network.load_state_dict(state)
    ignored = tuple(key for key in checkpoint.state if not key.startswith(_PREFIX))
    details = ImportDetails(
        architecture,
        PUBLISHED_ANGLES.get(architecture.views),
        ignored,
        checkpoint.hyperparameters,
        checkpoint.epoch,
        checkpoint.global_step,
    )
    return network.eval(), details


def card_of_import(
    details: ImportDetails,
    name: str,
    *,
    source: str,
    title: str = "",
    angles: Sequence[float] | None = None,
    psfs: Sequence[PSFRecord] = (),
) -> ModelCard:
    """The card of an imported generator.

    Parameters
    ----------
    details : as `generator_from_checkpoint` gives them
    name, title : of the model
    source : the file it came from
    angles : degrees of the channels in their order, instead of those of the published checkpoints
    psfs : what it was trained with, where known

    Raises
    ------
    InputError
        If the name or the number of angles does not fit.
    """
    views = details.architecture.views
    training: dict[str, JsonValue] = {"imported_from": source, "hyperparameters": details.hyperparameters}
    training |= {"epoch": details.epoch, "steps": details.global_step}
    try:
        return ModelCard(
            name=name,
            title=title or f"Imported generator for {views} views, {details.architecture.feature_maps} feature maps",
            summary="Imported from a checkpoint. Its instance normalisation makes a voxel depend on its block.",
            architecture=details.architecture,
            least_views=views,
            most_views=views,
            angles=details.angles if angles is None else tuple(angles),
            normalisation="maximum",
            psfs=tuple(psfs) or "unknown",
            training=training,
            sources=_SOURCES,
        )
    except ValidationError as error:
        raise InputError(f"{source} cannot be imported as '{name}': {problems_of(error)}") from error


def _from_old(file: BinaryIO, path: Path) -> LegacyCheckpoint:
    """Magic number, protocol, system, content and keys as pickles; then the numbers of each key."""
    length = path.stat().st_size

    def following() -> Pickled:
        return read_pickle(file, str(path), length=min(length - file.tell(), _LONGEST_PICKLE))

    if file.read(1) != b"\x80":
        raise InputError(f"{path} is no checkpoint of torch: choose a .ckpt file")
    file.seek(0)
    if following().value != _MAGIC or following().value != _PROTOCOL:
        raise InputError(f"{path} is no checkpoint of torch, or of an unknown version: choose a .ckpt file")
    following()
    content = following()
    keys = following().value
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or len(set(keys)) != len(keys):
        raise _damaged(path, "its list of storages is wrong")
    positions: dict[str, int] = {}
    for key in keys:
        head = file.read(_HEAD_BYTES)
        if key not in content.storages or len(head) < _HEAD_BYTES:
            raise _damaged(path, f"the storage {key[:20]!r} is missing")
        # Machines with the high byte first wrote this number their way; the numbers themselves are the same on all.
        if content.storages[key].total not in (int.from_bytes(head, "little"), int.from_bytes(head, "big")):
            raise _damaged(path, f"the storage {key[:20]!r} has another size than it should")
        positions[key] = file.tell()
        size = _bytes(content.storages[key])
        if positions[key] + size > length:
            raise _damaged(path, f"it ends within the storage {key[:20]!r}")
        file.seek(size, 1)

    def numbers(storage: Storage) -> bytearray:
        if storage.key not in positions:
            raise _damaged(path, f"the storage {storage.key[:20]!r} is missing")
        file.seek(positions[storage.key])
        return bytearray(file.read(_bytes(storage)))

    return _checkpoint(content.value, numbers, path)


def _from_zip(file: BinaryIO, path: Path) -> LegacyCheckpoint:
    """`data.pkl` and the numbers of each key in a folder of an uncompressed archive."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = {info.filename: info for info in archive.infolist()}
            pickled = [name for name in entries if name.endswith("/data.pkl")]
            if len(pickled) != 1:
                raise InputError(f"{path} is a zip file, but no checkpoint of torch: choose a .ckpt file")
            # Compressed entries could grow without bound; torch has never written any, nor encrypted ones.
            if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 for info in entries.values()):
                raise InputError(
                    f"{path} is refused: parts of it are compressed or encrypted; get the file from its authors"
                )
            if sum(info.file_size for info in entries.values()) > path.stat().st_size:
                raise _damaged(path, "its parts are larger than itself")
            folder = pickled[0].removesuffix("data.pkl")
            with archive.open(pickled[0]) as member:
                size = min(entries[pickled[0]].file_size, _LONGEST_PICKLE)
                content = read_pickle(member, str(path), length=size).value
            swapped = f"{folder}byteorder" in entries and archive.read(f"{folder}byteorder").strip() == b"big"

            def numbers(storage: Storage) -> bytearray:
                name = f"{folder}data/{storage.key}"
                if name not in entries or entries[name].file_size != _bytes(storage):
                    raise _damaged(path, f"the storage {storage.key[:20]!r} is missing or has another size")
                data = archive.read(name)
                if swapped:
                    data = np.frombuffer(data, f"u{storage.dtype.itemsize}").byteswap().tobytes()
                return bytearray(data)

            return _checkpoint(content, numbers, path)
    except InputError:
        raise
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError) as error:
        raise _damaged(path, str(error)) from error


def _checkpoint(content: Any, numbers: Callable[[Storage], bytearray], path: Path) -> LegacyCheckpoint:
    """Read the weights that the content refers to, each storage once."""
    states = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(states, dict):
        raise InputError(f"{path} holds no 'state_dict': it is no checkpoint of a Lightning training")
    read: dict[str, torch.Tensor] = {}
    state = {}
    for key, ref in states.items():
        if not isinstance(key, str) or not isinstance(ref, TensorRef):
            raise InputError(f"{path} holds {str(key)[:40]!r} among its weights, which is no tensor")
        storage = ref.storage
        if storage.total == 0 or 0 in ref.size:
            state[key] = torch.empty(ref.size, dtype=storage.dtype)
            continue
        if storage.key not in read:
            read[storage.key] = torch.frombuffer(numbers(storage), dtype=storage.dtype)
        state[key] = read[storage.key].as_strided(ref.size, ref.stride, storage.start + ref.offset)
    try:
        hyperparameters = plain(content.get("hparams", content.get("hyper_parameters", {})))
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(hyperparameters, dict):
        hyperparameters = {"value": hyperparameters}
    return LegacyCheckpoint(state, hyperparameters, _count(content.get("epoch")), _count(content.get("global_step")))


def _bytes(storage: Storage) -> int:
    return storage.total * storage.dtype.itemsize


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f"{path} is damaged or cut off ({why}): get the file again")
