"""Whether a fine-tune helped, as a sentence: figures on tiles that were never trained on, before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Literal

import torch

from napari_mvfusion.data.views import RegisteredViews, drain
from napari_mvfusion.errors import InputError
from napari_mvfusion.methods.channels import channel_order
from napari_mvfusion.models import load_model
from napari_mvfusion.models.build import Architecture
from napari_mvfusion.training.config import TrainConfig
from napari_mvfusion.training.figures import current
from napari_mvfusion.training.own_views import OwnViews
from napari_mvfusion.training.self_supervised import ScoreViews
from napari_mvfusion.training.training_events import Stopped, Trained
from napari_mvfusion.training.training_samples import TrainingVolume

# A residual so far below 1 shows that noise was learned; what lies nearer may be an error of the estimated noise.
_BELOW_THE_FLOOR = 0.05
# Less than this share of the misfit is no difference that one could see.
_NOTICEABLE = 0.02
# The structure residual, in units of the noise variance, is uncertain by about this much.
_LEAST = 0.002
_TINY = 1e-12
_NOTHING_KEPT = "No model was kept, as nothing better than the start was measured yet."


@dataclass(frozen=True)
class Verdict:
    """What is to be thought of a fine-tune.

    Attributes
    ----------
    kind : in two words
    sentence : for the user, with both residuals
    before, after : residual of the start and of the kept weights in units of the expected noise; 1 is the noise floor
    """

    kind: Literal["better", "no better", "overfitted"]
    sentence: str
    before: float
    after: float


def judge(before: Mapping[str, float], after: Mapping[str, float]) -> Verdict:
    """Compare the figures of the start and of the weights that were kept, both on tiles that were never trained on.

    "overfitted" is a residual more than 0.05 below the noise floor that is also further from it than before; "better"
    lowers the structure residual, or where that is not known the misfit, the distance from the noise floor, by at least 2 %.
    A residual that rises above the noise floor is never better.

    Parameters
    ----------
    before, after : figures of `ScoreViews`: "residual", and "structure_residual" or "misfit" where they are known

    Raises
    ------
    InputError
        If there is no residual, as after supervised training.
    """
    before, after = current(before), current(after)
    if "residual" not in before or "residual" not in after:
        raise InputError("there are no residuals to compare: only runs on your own views (self, semi) have them")
    was, is_ = before["residual"], after["residual"]
    words = f"the residual on tiles that were never trained on went from {was:.2f} to {is_:.2f} (1 is the noise floor)"
    if is_ < 1 - _BELOW_THE_FLOOR and _distance(is_) > _distance(was):
        return Verdict("overfitted", f"Overfitted: noise was learned; {words}. Use the start instead.", was, is_)
    if _is_lower(before, after) and not _rises(was, is_):
        return Verdict("better", f"Better: {words}.", was, is_)
    if was == is_:
        words = f"the residual on tiles that were never trained on stays at {was:.2f} (1 is the noise floor)"
    return Verdict("no better", f"No better: {words}. Use the start, or train longer.", was, is_)


def verdict_of(last: Stopped | Trained | None, path: Path | None) -> tuple[Literal["done", "warning"], str]:
    """Whether a run that is over helped, and what became of its model, for the user.

    Parameters
    ----------
    last : how it ended, where that is known
    path : of the model, where there is one

    Returns
    -------
    Whether all is well, and the words.
    """
    verdict = None
    if last is not None:
        try:
            verdict = judge(last.before, last.after)
        except InputError:
            verdict = None  # stopped before the first measurement
    if path is None:
        return "warning", f"{verdict.sentence} {_NOTHING_KEPT}" if verdict else _NOTHING_KEPT
    kept = f"The model '{path.stem}' is in the lists now."
    if isinstance(last, Trained) and last.best_step == 0:
        kept = f"The model '{path.stem}' has the weights of the start."
    if verdict is None:
        return "done", f"Done. {kept}"
    return "done" if verdict.kind == "better" else "warning", f"{verdict.sentence} {kept}"


def compare_models(
    start: str, tuned: str, views: RegisteredViews, config: TrainConfig, device: torch.device | str = "cpu"
) -> Verdict:
    """Compare two models on the tiles that a run with this configuration holds out of these views.

    Parameters
    ----------
    start, tuned : names or files of models
    views : with PSFs
    config : of the run; says which tiles are held out
    device : where to compute

    Raises
    ------
    InputError
        If a model or the views cannot be used.
    """
    where = torch.device(device)
    figures: list[Mapping[str, float]] = []
    first, first_card = load_model(start, where)
    # Nothing is trained: one half of the noise is enough, and nothing has to be restored.
    data = config.data.model_copy(update={"copies": 1})
    quick = config.model_copy(update={"data": data, "weights": config.weights.model_copy(update={"resimulated": 0.0})})
    read: tuple[Architecture, tuple[str, ...]] | None = None
    tiles: Sequence[TrainingVolume] = ()
    for name in (start, tuned):
        network, card = (first, first_card) if name == start else load_model(name, where)
        order = tuple(views.names[index] for index in channel_order(views, card).indices)
        # Models of one architecture read the same; the views are looked at once for both.
        if read != (card.architecture, order):
            read = card.architecture, order
            known = first if card.architecture == first_card.architecture else network
            ordered = [views.select(list(order))]
            source = OwnViews(quick.model_copy(update={"architecture": card.architecture}), ordered, where, known)
            drain(source.begin(0))
            tiles = source.validation()
            source.close()
        figures.append(ScoreViews(config.weights)(network, tiles, where))
    return judge(*figures)


def _is_lower(before: Mapping[str, float], after: Mapping[str, float]) -> bool:
    """Whether the figure that decides fell by more than nothing."""
    if "structure_residual" in before and "structure_residual" in after:
        was = before["structure_residual"]
        return was - after["structure_residual"] > max(_NOTICEABLE * was, _LEAST)
    return _misfit(after) <= (1 - _NOTICEABLE) * _misfit(before)


def _rises(was: float, is_: float) -> bool:
    """Whether a residual moves away from the noise floor, upwards, as far as the sentence shows it."""
    return round(is_, 2) > max(round(was, 2), 1.0)


def _misfit(figures: Mapping[str, float]) -> float:
    return figures.get("misfit", _distance(figures["residual"]))


def _distance(residual: float) -> float:
    """How far a residual is from the noise floor, on a logarithmic scale."""
    return abs(log(max(residual, _TINY)))
