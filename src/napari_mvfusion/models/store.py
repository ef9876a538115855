"""Where models lie: those that come with the package, and the user's folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import torch
from torch import nn

from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.io.atomic import writing
from napari_mvfusion.io.overlap import refuse_overlap
from napari_mvfusion.models import pretrained
from napari_mvfusion.models.build import Generator
from napari_mvfusion.models.card import ModelCard, check_name
from napari_mvfusion.models.model_file import SUFFIX, load_file, read_card, read_state, save_model, write

FOLDER_VARIABLE = "MVFUSION_MODELS"


@dataclass(frozen=True)
class ModelEntry:
    """A model in the package or the user's folder.

    Attributes
    ----------
    name : the stem of its file
    path : its file
    card : what it says of itself, or None where it cannot be read
    shipped : whether it came with the package
    error : why it cannot be read, or None
    """

    name: str
    path: Path
    card: ModelCard | None
    shipped: bool
    error: str | None = None


def user_folder() -> Path:
    """The folder of the user's models: `MVFUSION_MODELS`, or one in the user's data folder. It may not exist yet."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    return platformdirs.user_data_path("napari-mvfusion", appauthor=False) / "models"


def shipped_folder() -> Path:
    """The folder of the models that come with the package."""
    return Path(pretrained.__path__[0])


def list_models() -> list[ModelEntry]:
    """All models by name, shipped ones first; one that cannot be read comes with the reason.

    A file of the user that has the name of a shipped model is listed as an error: the shipped one is used.
    """
    shipped = [_entry(path, shipped=True) for path in _files(shipped_folder())]
    taken = {entry.name for entry in shipped}
    own = [_entry(path, shipped=False, taken=taken) for path in _files(user_folder())]
    return shipped + own


def find_model(name_or_path: str | Path) -> ModelEntry:
    """Find a model by its name, or by the path of its file.

    Raises
    ------
    InputError
        If there is none of that name, which names those that exist; or if it cannot be read.
    """
    path, shipped = _place(name_or_path)
    return ModelEntry(path.stem, path, read_card(path), shipped)


def load_model(path_or_name: str | Path, device: torch.device | str = "cpu") -> tuple[Generator, ModelCard]:
    """Load a model by its name, or by the path of its file.

    Parameters
    ----------
    path_or_name : a name as in `list_models`, or a file
    device : where its weights go

    Returns
    -------
    The network, float32, in evaluation mode; and its card.

    Raises
    ------
    InputError
        If there is no such model, its file is damaged, it has no card or one of a newer format, or weights are
        missing, unexpected, of another shape or not finite.
    """
    path, _ = _place(path_or_name)
    return load_file(path, device)


def place_for(name: str) -> Path:
    """The file that a new model of the user gets; its folder is made.

    Raises
    ------
    InputError
        If the name is none, or that of a shipped model.
    OutputError
        If the user has a model of that name, or the folder cannot be made.
    """
    check_name(name)
    if any(path.stem.lower() == name.lower() for path in _files(shipped_folder())):
        raise InputError(f"'{name}' is the name of a model that comes with napari-mvfusion: choose another name")
    folder = user_folder()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}{SUFFIX}"
    if path.exists():
        raise _taken(name)
    return path


def add_model(module: nn.Module, card: ModelCard, *, half: bool = False) -> ModelEntry:
    """Save a network into the user's folder, under the name on its card.

    Parameters
    ----------
    module : fits the card's architecture
    card : describes it
    half : store float16, at half the size

    Raises
    ------
    InputError
        If the name is that of a shipped model, or weights do not fit the card or are not finite.
    OutputError
        If the user has a model of that name, or the folder cannot be written.
    """
    path = place_for(card.name)
    with _new_name(path):
        save_model(path, module, card, half=half)
    return ModelEntry(card.name, path, card, shipped=False)


def install_model(path: str | Path, *, name: str | None = None) -> ModelEntry:
    """Copy a model into the user's folder, after all checks.

    Parameters
    ----------
    path : a file as `export_model` writes it
    name : what to call it; by default as its file

    Raises
    ------
    InputError
        If the file cannot be used, or its name is that of a shipped model or none.
    OutputError
        If the user has a model of that name.
    """
    source = Path(path)
    state, card = read_state(source)
    called = source.stem if name is None else name
    return _put(state, card, called)


def rename_model(old: str, new: str) -> ModelEntry:
    """Give a model of the user another name.

    Raises
    ------
    InputError
        If there is no such model, it came with the package, it cannot be read, or the new name is none or shipped.
    OutputError
        If the user has a model of the new name.
    """
    path = _own(old, "renamed")
    state, card = read_state(path)
    entry = _put(state, card, new)
    with writing(path):
        path.unlink()
    return entry


def delete_model(name: str) -> None:
    """Delete a model of the user, also one that cannot be read.

    Raises
    ------
    InputError
        If there is no such model, or it came with the package.
    """
    path = _own(name, "deleted")
    with writing(path):
        path.unlink()


def export_model(name: str | Path, out: str | Path, *, overwrite: bool = False) -> None:
    """Copy a model to a file, after all checks.

    Raises
    ------
    InputError
        If there is no such model or it cannot be read.
    OutputError
        If the file exists and may not be replaced, or cannot be written.
    """
    out = Path(out)
    if out.suffix != SUFFIX:
        raise OutputError(f"{out} does not end in {SUFFIX}: models are safetensors files")
    path, _ = _place(name)
    refuse_overlap([out], [path])
    state, card = read_state(path)
    write(out, state, card, overwrite=overwrite)


def _put(state: dict[str, torch.Tensor], card: ModelCard, name: str) -> ModelEntry:
    path = place_for(name)
    named = card.model_copy(update={"name": name})
    with _new_name(path):
        write(path, state, named, overwrite=False)
    return ModelEntry(name, path, named, shipped=False)


@contextmanager
def _new_name(path: Path) -> Iterator[None]:
    """Say it in words of models where somebody else has made a file of this name meanwhile."""
    try:
        yield
    except OutputError as error:
        if path.exists():
            raise _taken(path.stem) from error
        raise


def _taken(name: str) -> OutputError:
    return OutputError(f"there is a model '{name}' already: choose another name, or delete it first")


def _entry(path: Path, *, shipped: bool, taken: set[str] | None = None) -> ModelEntry:
    if path.stem in (taken or set()):
        return ModelEntry(path.stem, path, None, shipped, f"{path} has the name of a shipped model: rename the file")
    try:
        return ModelEntry(path.stem, path, read_card(path), shipped)
    except InputError as error:
        return ModelEntry(path.stem, path, None, shipped, str(error))


def _files(folder: Path) -> list[Path]:
    # Hidden files are those that are being written.
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if not path.name.startswith("."))


def _place(name_or_path: str | Path) -> tuple[Path, bool]:
    """The file of a model, and whether it is shipped."""
    text = str(name_or_path)
    for folder, shipped in ((shipped_folder(), True), (user_folder(), False)):
        for path in _files(folder):
            if path.stem == text:
                return path, shipped
    if Path(text).name != text or text.endswith(SUFFIX):
        return Path(text).expanduser(), False
    raise _unknown(text)


def _own(name: str, done: str) -> Path:
    """The file of a model that the user may change."""
    for path in _files(user_folder()):
        if path.stem == name:
            return path
    if any(path.stem == name for path in _files(shipped_folder())):
        raise InputError(f"'{name}' comes with napari-mvfusion and cannot be {done}: export it under another name")
    raise _unknown(name)


def _unknown(name: str) -> InputError:
    known = ", ".join(dict.fromkeys(path.stem for path in _files(shipped_folder()) + _files(user_folder())))
    return InputError(f"there is no model '{name}': choose from {known or 'none yet'}, or give a {SUFFIX} file")
