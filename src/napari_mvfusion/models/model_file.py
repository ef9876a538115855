"""Models as files: weights as safetensors, the card as JSON in its header."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.io.atomic import sweep, writing
from napari_mvfusion.models.build import Generator, build
from napari_mvfusion.models.card import ModelCard, parse_card
from napari_mvfusion.models.paper import PaperArchitecture
from napari_mvfusion.models.universal import UniversalArchitecture
from napari_mvfusion.system.locks import locked

SUFFIX = ".safetensors"
_CARD = "card"
_HASH = "sha256"
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_MOST_NAMED = 4
_PATIENCE_SECONDS = 60.0
_ONE_AT_A_TIME = threading.Lock()


def save_model(
    path: str | Path,
    module: nn.Module | Mapping[str, torch.Tensor],
    card: ModelCard,
    *,
    half: bool = False,
    overwrite: bool = False,
) -> None:
    """Write a model as one file; it is written aside and renamed when it is complete.

    Parameters
    ----------
    path : ends in `.safetensors`
    module : the network, or its state
    card : describes it; its architecture must fit the weights
    half : store float16, at half the size
    overwrite : replace the file when it exists

    Raises
    ------
    InputError
        If weights do not fit the card's architecture, are not finite, or exceed what float16 can hold.
    OutputError
        If the file exists and may not be overwritten, or cannot be written.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise OutputError(f"{path} does not end in {SUFFIX}: models are safetensors files")
    state = module.state_dict() if isinstance(module, nn.Module) else module
    check_state(state, card.architecture, str(path))
    kind = torch.float16 if half else torch.float32
    stored = {key: value.detach().to("cpu", kind, copy=True).contiguous() for key, value in state.items()}
    if half:
        too_large = [key for key, value in stored.items() if not torch.isfinite(value).all()]
        if too_large:
            raise InputError(f"{_few(too_large)} exceed what float16 can hold: save the model without half")
    write(path, stored, card, overwrite=overwrite)


def load_file(path: Path, device: torch.device | str = "cpu") -> tuple[Generator, ModelCard]:
    """Read a model.

    Returns
    -------
    The network on the device, float32, in evaluation mode; and its card.

    Raises
    ------
    InputError
        If the file is missing or damaged, has no card or a bad one, or weights do not fit it.
    """
    state, card = read_state(path)
    # On "meta" a network costs neither memory nor random numbers; the weights of the file take their places.
    with torch.device("meta"):
        network = build(card.architecture)
    network.load_state_dict({key: value.to(torch.float32, copy=True) for key, value in state.items()}, assign=True)
    return network.to(device).eval(), card


def read_card(path: str | Path) -> ModelCard:
    """Read the card of a model without its weights.

    Raises
    ------
    InputError
        If the file is missing or truncated, or has no card or a bad one.
    """
    path = Path(path)
    with _opened(path) as file:
        return _card_in(file, path)


def weights_sha256(path: str | Path) -> str:
    """SHA-256 of the weights in a model's file, as it stands in the header; reading the weights checks it."""
    path = Path(path)
    with _opened(path) as file:
        _card_in(file, path)
        return str(file.metadata().get(_HASH))


def read_state(path: Path) -> tuple[dict[str, torch.Tensor], ModelCard]:
    """Read the weights as they are stored, and the card, after all checks.

    Raises
    ------
    InputError
        As `load_file`.
    """
    with _opened(path) as file:
        card = _card_in(file, path)
        noted = file.metadata().get(_HASH)
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no mapping
        if state_sha256(state) != noted:
            raise InputError(f"the weights in {path} are not those that were saved: the file is damaged, get it again")
        check_state(state, card.architecture, str(path))
        # What is mapped from the file would change or fault with the file.
        return {key: value.clone() for key, value in state.items()}, card


def write(path: Path, state: Mapping[str, torch.Tensor], card: ModelCard, *, overwrite: bool) -> None:
    """Write weights, as they are, and a card to a file that appears only when it is complete.

    Of several that make one new file at the same time, also in several processes, one succeeds.

    Raises
    ------
    OutputError
        If the file exists and may not be overwritten, its folder is missing, or it cannot be written.
    """
    if path.exists() and not overwrite:
        raise _exists(path)
    if not path.parent.is_dir():
        raise OutputError(f"the folder {path.parent} does not exist: make it, or choose another place")
    content = save(dict(state), {_CARD: card.to_json(), _HASH: state_sha256(state)})
    aside = path.with_name(f".{path.name}.writing-{os.getpid()}")
    # Threads of this process would write to one file aside.
    with _ONE_AT_A_TIME, writing(path), locked(path, wait_seconds=_PATIENCE_SECONDS):
        sweep(path)
        try:
            with aside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if overwrite:
                os.replace(aside, path)
            else:
                _appear(aside, path)
        finally:
            aside.unlink(missing_ok=True)


def _appear(aside: Path, path: Path) -> None:
    """Give a finished file its name, which nobody may have."""
    try:
        try:
            # Unlike a rename, a link never takes the place of what is there.
            os.link(aside, path)
        except OSError as error:
            if isinstance(error, FileExistsError):
                raise
            # Not all file systems have links. The name is taken by an empty file, and the whole one replaces it.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            os.replace(aside, path)
    except FileExistsError as error:
        raise _exists(path) from error


def _exists(path: Path) -> OutputError:
    return OutputError(f"{path} exists already: choose another name, or allow it to be overwritten")


def check_state(
    state: Mapping[str, torch.Tensor], architecture: PaperArchitecture | UniversalArchitecture, source: str
) -> None:
    """Check that weights are those of an architecture.

    Parameters
    ----------
    state : names to tensors
    architecture : of the network they are for
    source : the file, for messages

    Raises
    ------
    InputError
        If some are missing, unexpected, of another shape or type, or not finite; the first few are named.
    """
    with torch.device("meta"):
        expected = build(architecture).state_dict()
    what = f"the weights of {source} do not fit the architecture '{architecture.kind}'"
    if missing := [key for key in expected if key not in state]:
        raise InputError(f"{what}: {_few(missing)} missing; get or train the model again")
    if unexpected := [key for key in state if key not in expected]:
        raise InputError(f"{what}: {_few(unexpected)} unexpected; get or train the model again")
    wrong = [
        f"{key} is {tuple(state[key].shape)} and not {tuple(value.shape)}"
        for key, value in expected.items()
        if state[key].shape != value.shape
    ]
    if wrong:
        raise InputError(f"{what}: {_few(wrong)}; get or train the model again")
    if kinds := [f"{key} ({value.dtype})" for key, value in state.items() if value.dtype not in _FLOATS]:
        raise InputError(f"{what}: {_few(kinds)} no floating-point numbers; get or train the model again")
    if broken := [key for key, value in state.items() if not torch.isfinite(value).all()]:
        raise InputError(f"the weights of {source} hold NaN or infinity in {_few(broken)}: train the model again")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise InputError(f"the model {path} does not exist: 'mvfusion models list' shows those that do")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"the model {path} is damaged, cut off, or no safetensors file ({error}): get it again"
        ) from error


def _card_in(file: Any, path: Path) -> ModelCard:
    text = (file.metadata() or {}).get(_CARD)
    if text is None:
        raise InputError(f"{path} holds weights without a model card: only models saved by napari-mvfusion can be used")
    return parse_card(text, str(path))


def state_sha256(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of all names, shapes, types and values of weights, as it stands in the header of their file."""
    found = hashlib.sha256()
    for key in sorted(state):
        value = state[key].contiguous()
        found.update(f"{key} {tuple(value.shape)} {value.dtype}".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
