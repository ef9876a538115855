"""Training runs in the user's model folder: those that were begun and can go on, and models with the runs they came from."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from napari_mvfusion.errors import InputError
from napari_mvfusion.io.atomic import writing
from napari_mvfusion.models import delete_model, rename_model, user_folder
from napari_mvfusion.models.card import check_name
from napari_mvfusion.models.model_file import SUFFIX
from napari_mvfusion.system.words import duration
from napari_mvfusion.training.config import TrainConfig
from napari_mvfusion.training.state import RUN_SUFFIX, STATE_FILE, read_header, saved_at

_DAY_SECONDS = 86400


@dataclass(frozen=True)
class UnfinishedRun:
    """A run that can go on.

    Attributes
    ----------
    name : of the model to be
    folder : of the run
    step : steps that are done, at the last checkpoint
    steps : of the whole run
    config : all parameters
    start_from : name or file of the model it began with, or None
    saved : time of the last checkpoint
    seconds : that it has worked
    complete : whether it came to its end; it can go on with more steps or minutes
    """

    name: str
    folder: Path
    step: int
    steps: int
    config: TrainConfig
    start_from: str | None
    saved: datetime
    seconds: float = 0.0
    complete: bool = False

    @property
    def kept_since(self) -> bool:
        """Whether it was stopped in good order: its model is newer than its last checkpoint, and can be gone on with."""
        path = model_file(self.name)
        return path.is_file() and path.stat().st_mtime >= self.saved.timestamp()

    def words(self, now: datetime) -> str:
        """How far it came, and when it was saved."""
        ago = max(0.0, (now - self.saved).total_seconds())
        when = f"{duration(ago)} ago" if ago < _DAY_SECONDS else f"{self.saved:%Y-%m-%d}"
        return f"The training of '{self.name}' did not come to its end: step {self.step}, saved {when}."


def model_file(name: str) -> Path:
    """Where a model of the user with this name lies, or would lie."""
    return user_folder() / f"{name}{SUFFIX}"


def folder_of_run(name: str) -> Path:
    """Where the run of a model of the user lies, or would lie."""
    return user_folder() / f"{name}{RUN_SUFFIX}"


def rename_with_run(old: str, new: str) -> None:
    """Give a model of the user another name, and the run that it came from.

    Raises
    ------
    InputError, OutputError
        See `rename_model`; or if the folder of the run cannot be renamed.
    """
    rename_model(old, new)
    if folder_of_run(old).is_dir():
        with writing(folder_of_run(old)):
            folder_of_run(old).rename(folder_of_run(new))


def delete_with_run(name: str) -> None:
    """Delete a model of the user, and the run that it came from.

    Raises
    ------
    InputError, OutputError
        See `delete_model` and `discard_run`.
    """
    delete_model(name)
    if folder_of_run(name).is_dir():
        discard_run(name)


def unfinished_runs() -> list[UnfinishedRun]:
    """The runs in the user's model folder that can go on, newest first; those that cannot be read are left out."""
    folders = user_folder().glob(f"*{RUN_SUFFIX}")
    found = [run for folder in folders if (run := _read(folder)) is not None and not run.complete]
    return sorted(found, key=lambda run: run.saved, reverse=True)


def find_run(name: str) -> UnfinishedRun | None:
    """The run that made a model of the user, also one that is complete; None where it is gone or cannot be read."""
    return _read(folder_of_run(check_name(name)))


def discard_run(name: str) -> None:
    """Remove the folder of a run in the user's model folder: state, configuration and logs. A model stays.

    Raises
    ------
    InputError
        If there is no such run.
    OutputError
        If it cannot be removed.
    """
    folder = folder_of_run(check_name(name))
    if not (folder / "config.json").is_file():
        raise InputError(f"there is no training run '{name}' in {user_folder()}")
    with writing(folder):
        shutil.rmtree(folder)


def _read(folder: Path) -> UnfinishedRun | None:
    state = folder / STATE_FILE
    try:
        note = read_header(state)
        saved = datetime.fromtimestamp(saved_at(state), UTC)
    except (InputError, OSError):
        return None
    progress = note.progress
    return UnfinishedRun(
        folder.name.removesuffix(RUN_SUFFIX),
        folder,
        progress.step,
        note.config.steps,
        note.config,
        note.start_from,
        saved,
        progress.seconds,
        progress.complete,
    )
