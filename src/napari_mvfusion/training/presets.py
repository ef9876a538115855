"""How one fine-tunes: the parameters that the widget, the command line and the notebook begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.training.config import DataSettings, TrainConfig, make_config
from napari_mvfusion.training.setup import suggest_tile

# A run with minutes ends by the clock.
ENDLESS = 10_000_000
# The noise is split, so that it cannot be learned; what the start makes of the views has to be restored when it is
# resimulated, which teaches the network this microscope on this specimen.
_SELF = {"likelihood": "split", "gains": "start", "cycle": 0.5, "resimulated": 1.0, "gradient": 0.0}
# Sharp volumes take the place of what the start makes, so the light that it explains must not be a measure of what comes
# later; and they are of other specimens, so the views have more to say.
_SEMI = {"likelihood": "split", "gains": "attenuation", "cycle": 2.0, "resimulated": 1.0, "adversarial": 0.2}
# What is not named here has the default of the mode.
_FINE_TUNE: Mapping[str, Mapping[str, Any]] = {
    "self": {"schedule": "constant", "precision": "auto", "weights": _SELF},
    "semi": {"schedule": "constant", "precision": "auto", "weights": _SEMI},
}


def fine_tune_values(mode: str, minutes: float | None) -> dict[str, Any]:
    """The parameters of a fine-tune that are not the defaults of `TrainConfig`, as plain values.

    Parameters
    ----------
    mode : "self" or "semi"
    minutes : of training, or None to go by steps
    """
    clock = {} if minutes is None else {"steps": ENDLESS, "minutes": minutes}
    return {"mode": mode, **_FINE_TUNE[mode], **clock}


def fine_tune_config(
    mode: Literal["self", "semi"],
    *,
    minutes: float | None,
    views: Sequence[RegisteredViews],
    data: DataSettings | Mapping[str, Any] = DataSettings(),  # noqa: B008 - frozen
    **changes: Any,
) -> TrainConfig:
    """The parameters of a fine-tune.

    Parameters
    ----------
    mode : "self" on views alone, "semi" with sharp volumes beside them
    minutes : of training, or None to go by `steps`
    views : what is trained on; the tile is chosen to fit, unless it is among the changes
    data : which part of them
    changes : other fields of `TrainConfig`; a dictionary changes only what it names

    Raises
    ------
    InputError
        If a value cannot be used, a view has no PSF, or the region leaves the volume.
    """
    values = fine_tune_values(mode, minutes) | {"data": data}
    for name, value in changes.items():
        # A few weights of the loss, for example, leave the others as they are.
        usual = values.get(name)
        values[name] = {**usual, **value} if isinstance(usual, Mapping) and isinstance(value, Mapping) else value
    config = make_config(values, "these parameters")
    if "tile" in changes or not views:
        return config
    return config.model_copy(update={"tile": suggest_tile(config, views)})
