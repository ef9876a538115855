"""A training run from its parts: what is trained, on which data, and where the model goes."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import JsonValue

from napari_mvfusion.devices import pick_device
from napari_mvfusion.errors import OutputError
from napari_mvfusion.networks import ModelCard, find_model, place_for, user_folder
from napari_mvfusion.networks.files import SUFFIX
from napari_mvfusion.networks.paper import PaperArchitecture
from napari_mvfusion.provenance import software_versions
from napari_mvfusion.training import loop
from napari_mvfusion.training.config import TrainConfig
from napari_mvfusion.training.events import TrainEvent
from napari_mvfusion.training.objectives import Objective, Supervised, score_supervised
from napari_mvfusion.training.scenes import Scenes
from napari_mvfusion.views import drain

_MODELLED = "modelled and randomised light-sheet PSFs, new ones in every scene"


@dataclass(frozen=True)
class Description:
    """What a card says that the configuration does not.

    Attributes
    ----------
    title, summary, licence : of the model
    command : that makes it again, or "" where there is none
    data : what it is trained on, in words; made up from the configuration when ""
    """

    title: str = ""
    summary: str = ""
    licence: str = "not stated"
    command: str = ""
    data: str = ""


@dataclass(frozen=True)
class _Parts:
    """All that the loop needs of a mode."""

    source: loop.Source
    objective: Objective
    score: loop.Score
    decides: str
    card: ModelCard


def train_events(
    config: TrainConfig,
    out: str | Path,
    *,
    start_from: str | Path | None = None,
    device: str = "auto",
    resume: bool = False,
    cancel: Callable[[], bool] = lambda: False,
    description: Description | None = None,
) -> Generator[TrainEvent, None, Path | None]:
    """Train a generator, step by step.

    Parameters
    ----------
    config : all parameters; an architecture that it does not set is that of the model to begin with
    out : name of a new model in the user's folder, or a `.safetensors` file; the run works in `OUT.training` beside it
    start_from : name or file of the model to begin with, or None for random weights
    device : "auto", "cpu", "cuda", "cuda:1" or "mps"
    resume : go on with an unfinished run of `out` where there is one
    cancel : polled between steps; when it returns True the run ends with `Stopped`
    description : what the model's card says beside the configuration

    Yields
    ------
    Events of `napari_mvfusion.training.events`, the last one `Trained` or `Stopped`.

    Returns
    -------
    The file with the best weights, or None when there are none yet.

    Raises
    ------
    InputError, OutputError, DeviceError
        Before any training: if the start does not fit the configuration, or files are in the way.
    """
    path = model_path(out, resume=resume)
    where = pick_device(device)
    parent = None if start_from is None else find_model(start_from).card
    if parent is not None and "architecture" not in config.model_fields_set:
        config = config.model_copy(update={"architecture": parent.architecture})
    parts = _supervised(config, path.stem, where, description or Description(), parent)
    return (
        yield from loop.train_events(
            config,
            parts.source,
            parts.objective,
            parts.score,
            parts.card,
            path,
            decides=parts.decides,
            device=where,
            start_from=start_from,
            resume=resume,
            cancel=cancel,
        )
    )


def train(
    config: TrainConfig,
    out: str | Path,
    *,
    start_from: str | Path | None = None,
    device: str = "auto",
    resume: bool = False,
    description: Description | None = None,
) -> Path:
    """Train a generator to the end; see `train_events`.

    Returns
    -------
    The file with the best weights.
    """
    path = drain(
        train_events(config, out, start_from=start_from, device=device, resume=resume, description=description)
    )
    assert path is not None
    return path


def model_path(out: str | Path, *, resume: bool = False) -> Path:
    """The file of a model that is named, or given as a file.

    Raises
    ------
    InputError
        If the name is none, or that of a shipped model.
    OutputError
        If the model exists already and there is no unfinished run of it to resume, or its folder does not exist.
    """
    text = str(out)
    is_file = text.endswith(SUFFIX) or Path(text).name != text
    path = Path(text).expanduser() if is_file else user_folder() / f"{text}{SUFFIX}"
    if path.suffix != SUFFIX:
        raise OutputError(f"{path} does not end in {SUFFIX}: give a name without folders, or such a file")
    if resume and loop.run_folder(path).is_dir():
        return path
    if not is_file:
        return place_for(text)
    if path.exists():
        raise OutputError(f"{path} exists already: choose another name")
    if not path.parent.is_dir():
        raise OutputError(f"the folder {path.parent} does not exist: make it, or choose another place")
    return path


def _supervised(
    config: TrainConfig, name: str, device: torch.device, description: Description, parent: ModelCard | None
) -> _Parts:
    scenes = config.scenes
    counts = (scenes.least_views, scenes.most_views) if scenes.angles is None else (len(scenes.angles),) * 2
    kinds = "of all kinds" if scenes.kinds is None else f"({', '.join(scenes.kinds)})"
    words = f"endless simulated scenes {kinds} of {scenes.size} voxels a side, seed {config.seed}"
    card = _card(config, name, description, parent, counts, scenes.angles, words)
    return _Parts(Scenes(config, device), Supervised(config.weights), score_supervised, "nrmse", card)


def _card(
    config: TrainConfig,
    name: str,
    description: Description,
    parent: ModelCard | None,
    counts: tuple[int, int],
    angles: tuple[float, ...] | None,
    data: str,
) -> ModelCard:
    """The card of a model that is yet to be trained."""
    paper = isinstance(config.architecture, PaperArchitecture)
    training: dict[str, JsonValue] = {
        "mode": config.mode,
        "data": description.data or data,
        "losses": _losses(config),
        "software": dict(software_versions()),
    }
    if description.command:
        training["command"] = description.command
    if parent is not None:
        training["parent"] = {"name": parent.name, "version": parent.version, "created": parent.created}
    return ModelCard(
        name=name,
        title=description.title,
        summary=description.summary,
        licence=description.licence,
        architecture=config.architecture,
        least_views=counts[0],
        most_views=counts[1],
        # The universal generator takes views in any order and from anywhere.
        angles=angles if paper else None,
        normalisation="maximum" if paper else "brightness",
        tile=config.tile,
        psfs=_MODELLED,
        training=training,
    )


def _losses(config: TrainConfig) -> str:
    """The loss in words."""
    weights = config.weights
    parts = {"absolute error": weights.absolute, "squared error": weights.square}
    return " + ".join(f"{weight:g} x {name}" for name, weight in parts.items() if weight)
