"""How far the voxels of a fused volume may be off, as the method that its recipe names says of the same views again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from pydantic import ValidationError

from napari_mvfusion.data.events import Cancelled, Finished, Preparing, TileDone, TileStep
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.engine.recipe import Recipe
from napari_mvfusion.imaging.threads import Interrupted
from napari_mvfusion.methods import method_of_recipe


def uncertainty_of_run(
    recipe: Mapping[str, Any] | None,
    views: RegisteredViews,
    *,
    device: str = "auto",
    report: Callable[[str, float], None] = lambda text, share: None,
    cancel: Callable[[], bool] = lambda: False,
) -> np.ndarray | None:
    """Find how far the voxels of a fused volume may be off: two of three are nearer to the truth.

    Parameters
    ----------
    recipe : of the volume; None where there is none
    views : those that the volume was fused from
    device : where it computes, see `fuse_events`
    report : called with what is being done and the share of it that is done, 0 to 1; an error that it raises ends the work
    cancel : polled while it computes; when it returns True, `Interrupted` is raised

    Returns
    -------
    float32 (z, y, x) in the units of the views; None where the method cannot say, or there is no recipe that can be read.

    Raises
    ------
    InputError
        If the model of the recipe is not there, or has other weights.
    Interrupted
        If it was cancelled.
    """
    try:
        run = None if recipe is None else Recipe.model_validate(dict(recipe))
    except ValidationError:
        run = None
    uncertain = None if run is None else method_of_recipe(run.method.name, run.method.parameters).uncertain
    if uncertain is None:
        return None
    for event in fuse_events(views, uncertain, device=device, cancel=cancel):
        match event:
            case Preparing(label, _):
                report(label, 0.0)
            case TileDone() | TileStep():
                report(event.label, event.fraction)
            case Finished(fused):
                return np.asarray(fused.data)
            case Cancelled():
                break
    raise Interrupted
