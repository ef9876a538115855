"""The model of a run: its card, its file, and the best weights of a run that could not write them itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import torch

from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.io.atomic import writing
from napari_mvfusion.models import ModelCard, save_model, weights_sha256
from napari_mvfusion.models.card import parse_card
from napari_mvfusion.models.model_file import state_sha256
from napari_mvfusion.training.config import TrainConfig
from napari_mvfusion.training.state import STATE_FILE, TrainingProgress, has_state, read_best_weights

_CARD_FILE = "card.json"


def finished_card(card: ModelCard, config: TrainConfig, progress: TrainingProgress) -> ModelCard:
    """The card of a run's model, with how it was trained and how good it is.

    Parameters
    ----------
    card : of the run, from its beginning
    config : of the run
    progress : where it stands
    """
    trained = {
        "config": config.model_dump(mode="json", by_alias=True),
        "steps": progress.step,
        "best_step": progress.best_step,
        "seconds": round(progress.seconds),
        "start_metrics": dict(progress.start),
    }
    return card.model_copy(
        update={"training": card.training | trained, "metrics": card.metrics | dict(progress.best)},
    )


def save_card(folder: Path, card: ModelCard) -> None:
    """Write the card of a run into its folder, for `final_model_from_checkpoint`."""
    with writing(folder / _CARD_FILE):
        (folder / _CARD_FILE).write_text(card.model_dump_json(indent=2), encoding="utf-8")


def check_written_by_run(out: Path, folder: Path, known: Collection[str]) -> None:
    """Check that a model, where there is one, was written by a run.

    Parameters
    ----------
    out : file of the model
    folder : of the run
    known : hashes of the weights that the run wrote, or was about to write

    Raises
    ------
    OutputError
        If it was not: it must not be replaced.
    """
    if not out.exists():
        return
    try:
        there = weights_sha256(out)
    except InputError:
        there = ""
    if there not in known:
        raise OutputError(f"{out} is not what the run in {folder} made, and would be replaced: rename it, then go on")


def save_final_model(
    out: Path, weights: Mapping[str, torch.Tensor], card: ModelCard, folder: Path, known: Collection[str]
) -> None:
    """Write the model of a run, as a new file or in the place of one that the run wrote before; see `check_written_by_run`.

    Raises
    ------
    OutputError
        If somebody else has made a model of that name meanwhile, or it cannot be written.
    """
    check_written_by_run(out, folder, known)
    replaces = out.exists()
    try:
        save_model(out, weights, card, overwrite=replaces)
    except OutputError:
        if not replaces:
            check_written_by_run(out, folder, known)
        raise


def final_model_from_checkpoint(folder: Path, out: Path) -> Path | None:
    """Write the best weights of a run that is gone as its model.

    Parameters
    ----------
    folder : of the run
    out : file of the model; replaced where the run wrote it, as the run itself would have done

    Returns
    -------
    The file, or None where the run had saved nothing better than its start yet.

    Raises
    ------
    InputError, OutputError
        If the checkpoint is damaged, or the model cannot be written.
    """
    state = folder / STATE_FILE
    if not has_state(state):
        return None
    header, best = read_best_weights(state)
    if not header.progress.best_step:
        return None
    path = folder / _CARD_FILE
    try:
        card = parse_card(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error}): go on with the run, then stop it") from error
    known = (*header.progress.model_hashes, state_sha256(best))
    save_final_model(out, best, finished_card(card, header.config, header.progress), folder, known)
    return out
