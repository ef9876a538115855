"""One training run as a value that can be sent to another process, and what runs it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.io.opening import open_volume
from napari_mvfusion.training.cards import Description
from napari_mvfusion.training.config import TrainConfig
from napari_mvfusion.training.setup import train_events
from napari_mvfusion.training.training_events import TrainEvent

_UNDESCRIBED = Description()


def _never() -> bool:
    return False


@dataclass(frozen=True, eq=False)
class TrainJob:
    """All that a training run needs to know.

    Attributes
    ----------
    config : all parameters; an architecture that it does not set is that of the model to begin with
    out : name of the model to be, or a `.safetensors` file
    data : volumes or time points to learn from; `Inputs` are opened where the run is, views are taken there
    sharp : volumes (z, y, x) of other specimens without blur, as arrays or as files that are opened where the run is
    start_from : name or file of the model to begin with, or None for random weights
    device : "auto", "cpu", "cuda", "cuda:1" or "mps"
    threads : processor threads; 0 is what torch takes by itself
    resume : go on with an earlier run of `out` where there is one
    description : what the model's card says beside the configuration
    preview_seconds : about how often `Previewed` comes, or None for never
    """

    config: TrainConfig
    out: str
    data: tuple[RegisteredViews | Inputs, ...] = ()
    sharp: tuple[Path | np.ndarray, ...] = ()
    start_from: str | None = None
    device: str = "auto"
    threads: int = 0
    resume: bool = False
    description: Description = _UNDESCRIBED
    preview_seconds: float | None = 3.0


def run_job(
    job: TrainJob, *, cancel: Callable[[], bool] = _never, paused: Callable[[], bool] = _never
) -> Generator[TrainEvent, None, Path | None]:
    """Open what has to be opened, and train; see `napari_mvfusion.training.train_events` for what comes and goes wrong.

    Parameters
    ----------
    job : what to do
    cancel : polled; when it returns True the run ends with `Stopped`
    paused : polled; while it returns True the run waits
    """
    if job.threads:
        torch.set_num_threads(job.threads)
    views = [each.open() if isinstance(each, Inputs) else each for each in job.data]
    sharp = [each if isinstance(each, np.ndarray) else open_volume(each)[0] for each in job.sharp]
    return (
        yield from train_events(
            job.config,
            job.out,
            views=views,
            sharp=sharp,
            start_from=job.start_from,
            device=job.device,
            resume=job.resume,
            cancel=cancel,
            paused=paused,
            preview_seconds=job.preview_seconds,
            description=job.description,
        )
    )
