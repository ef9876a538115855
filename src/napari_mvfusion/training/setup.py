"""A training run from its parts: what is trained, on which data, and where the model goes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from napari_mvfusion.data.events import Statement, Warned
from napari_mvfusion.data.geometry import Triple, triple
from napari_mvfusion.data.views import RegisteredViews, VolumeLike, drain
from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.imaging.threads import Interrupted
from napari_mvfusion.methods.channels import channel_order
from napari_mvfusion.models import ModelCard, find_model, load_model, place_for, user_folder
from napari_mvfusion.models.build import Generator as Network
from napari_mvfusion.models.model_file import SUFFIX
from napari_mvfusion.models.paper import PaperArchitecture
from napari_mvfusion.psf.usable import look_at_psf
from napari_mvfusion.system.devices import pick_device
from napari_mvfusion.training import loop
from napari_mvfusion.training.adversarial import SemiSupervised, WithSharp, make_discriminator
from napari_mvfusion.training.cards import Description, card_of, psf_records
from napari_mvfusion.training.config import TrainConfig
from napari_mvfusion.training.learner import poll_between_layers
from napari_mvfusion.training.objectives import Adversary, Objective, Supervised, score_supervised
from napari_mvfusion.training.own_views import OwnViews, describe_psfs, region_of, scan_all
from napari_mvfusion.training.scene_pool import ScenePool
from napari_mvfusion.training.self_supervised import ScoreViews, SelfSupervised
from napari_mvfusion.training.training_events import Stopped, TrainEvent

_MODELLED = "modelled and randomised light-sheet PSFs, new ones in every scene"
_SMALLEST_TILE = 16
_TILE_STEP = 8


@dataclass(frozen=True)
class _Parts:
    """All that the loop needs of a mode."""

    source: loop.SampleSource
    objective: Objective
    score: loop.Score
    decides: str
    card: ModelCard
    adversary: Adversary | None = None


def train_events(
    config: TrainConfig,
    out: str | Path,
    *,
    views: Sequence[RegisteredViews] = (),
    sharp: Sequence[VolumeLike] = (),
    start_from: str | Path | None = None,
    device: str = "auto",
    resume: bool = False,
    cancel: Callable[[], bool] = lambda: False,
    paused: Callable[[], bool] = lambda: False,
    preview_seconds: float | None = None,
    description: Description | None = None,
) -> Generator[TrainEvent, None, Path | None]:
    """Train a generator, step by step.

    Parameters
    ----------
    config : all parameters; an architecture that it does not set is that of the model to begin with
    out : name of a new model in the user's folder, or a `.safetensors` file; the run works in `OUT.training` beside it
    views : volumes or time points with PSFs to learn from ("self" and "semi"), in the voxels of the fused volume
    sharp : volumes (z, y, x) of other specimens without blur, with voxels of the same size ("semi")
    start_from : name or file of the model to begin with, or None for random weights
    device : "auto", "cpu", "cuda", "cuda:1" or "mps"
    resume : go on with an earlier run of `out` where there is one, also one that is complete: with more `steps`
        (schedule "constant") or `minutes`, which count from the very start
    cancel : polled between steps and between the layers of a network; when it returns True the run ends with `Stopped`
    paused : polled between steps; while it returns True the run waits, with a checkpoint saved
    preview_seconds : about how often `Previewed` comes ("self" and "semi"), or None for never
    description : what the model's card says beside the configuration

    Yields
    ------
    Events of `napari_mvfusion.training.training_events`, the last one `Trained` or `Stopped`.

    Returns
    -------
    The file with the best weights, or None when there are none yet.

    Raises
    ------
    InputError, OutputError, DeviceError
        Before any training: if data or start do not fit the configuration, or files are in the way.
    MemoryShortage
        If memory runs out even for the smallest tile; the last checkpoint stays.
    """
    path = model_path(out, resume=resume)
    where = pick_device(device)
    parent = None if start_from is None else find_model(start_from).card
    if parent is not None and "architecture" not in config.model_fields_set:
        config = config.model_copy(update={"architecture": parent.architecture})
    setup = _Setup(config, path.stem, where, description or Description(), parent, start_from)
    if config.mode == "supervised":
        if views or sharp:
            raise InputError(
                "supervised training makes its own scenes: leave the data out, or choose mode self or semi"
            )
        parts = setup.supervised()
    else:
        try:
            parts = yield from loop.stoppable(setup.own(views, sharp), cancel)
        except Interrupted:
            yield Stopped(0, None)
            return None
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
            adversary=parts.adversary,
            start_from=start_from,
            resume=resume,
            cancel=cancel,
            paused=paused,
            preview_seconds=preview_seconds,
        )
    )


def train(
    config: TrainConfig,
    out: str | Path,
    *,
    views: Sequence[RegisteredViews] = (),
    sharp: Sequence[VolumeLike] = (),
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
        train_events(
            config,
            out,
            views=views,
            sharp=sharp,
            start_from=start_from,
            device=device,
            resume=resume,
            description=description,
        )
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


def suggest_tile(config: TrainConfig, views: Sequence[RegisteredViews]) -> Triple:
    """The largest tile, up to that of the configuration, of which one can be held out beside one to train on.

    Raises
    ------
    InputError
        If a view has no PSF, or the region leaves the volume.
    """
    shapes = [region_of(each, config.data).shape for each in views]
    psfs = [psf.shape for each in views for psf in describe_psfs(each, config.weights.energy).psfs]
    least = triple(max((shape[axis] for shape in psfs), default=0) for axis in range(3))
    for side in range(max(config.tile), _SMALLEST_TILE - 1, -_TILE_STEP):
        tile = triple(min(t, side, max(n[axis] for n in shapes) // 4 * 4) for axis, t in enumerate(config.tile))
        # Two tiles lie beside each other along some axis, or in different volumes.
        apart = len(shapes) > 1 or any(n >= 2 * t for n, t in zip(shapes[0], tile, strict=True))
        if apart and all(t > k for t, k in zip(tile, least, strict=True)):
            return tile
    return config.tile


class _Setup:
    """Brings together what a run is made of."""

    def __init__(
        self,
        config: TrainConfig,
        name: str,
        device: torch.device,
        description: Description,
        parent: ModelCard | None,
        start_from: str | Path | None,
    ) -> None:
        self._start_from = start_from
        self._config = config
        self._name = name
        self._device = device
        self._description = description
        self._parent = parent

    def supervised(self) -> _Parts:
        """Endless scenes."""
        config, scenes = self._config, self._config.scenes
        counts = (scenes.least_views, scenes.most_views) if scenes.angles is None else (len(scenes.angles),) * 2
        kinds = "of all kinds" if scenes.kinds is None else f"({', '.join(scenes.kinds)})"
        broad = " of the broad set" if scenes.families == "broad" else ""
        words = f"endless simulated scenes {kinds}{broad} of {scenes.size} voxels a side, seed {config.seed}"
        card = card_of(config, self._name, self._description, self._parent, counts, scenes.angles, words, _MODELLED)
        objective = Supervised(config.weights)
        decides = "unmended" if config.weights.unmended else "nrmse"
        return _Parts(ScenePool(config, self._device), objective, score_supervised, decides, card)

    def own(self, views: Sequence[RegisteredViews], sharp: Sequence[VolumeLike]) -> Generator[TrainEvent, None, _Parts]:
        """The user's views, and sharp volumes beside them."""
        config = self._config
        if not views:
            raise InputError(f"training in mode {config.mode} learns from your views: name the data")
        if sharp and config.mode == "self":
            raise InputError("sharp volumes are for mode semi: choose it, or leave them out")
        for each in views:
            self._check_count(each)
        card = self._own_card(views, len(sharp))
        ordered = []
        for each in views:
            order = channel_order(each, card)
            odd = [note for view in each.views for note in look_at_psf(view, each.grid.shape, "training on views")]
            for note in [*odd, *order.warnings]:
                if not isinstance(note, Statement):
                    yield Warned(note)
            ordered.append(each.select([each.names[index] for index in order.indices]))
        objective: Objective
        adversary: Adversary | None = None
        if config.mode == "semi":
            objective = adversary = SemiSupervised(config.weights, make_discriminator(config, self._device))
            source: OwnViews = WithSharp(config, ordered, sharp, self._device, self._start())
        else:
            objective = SelfSupervised(config.weights)
            source = OwnViews(config, ordered, self._device, self._start())
        yield from scan_all(ordered)
        for note in (note for each in ordered for note in each.notes):
            yield Warned(note)
        score = ScoreViews(config.weights)
        return _Parts(source, objective, score, score.decides, card, adversary)

    def _start(self) -> Network | None:
        """The network that training starts from, for what it makes of the views."""
        if self._start_from is None or self._parent is None:
            return None
        network, card = load_model(self._start_from, self._device)
        poll_between_layers(network)
        return network if card.architecture == self._config.architecture else None

    def _own_card(self, views: Sequence[RegisteredViews], sharp: int) -> ModelCard:
        """The card, with the angles of the channels: those of the parent, of the configuration, or of the views."""
        parent, scenes = self._parent, self._config.scenes
        known = [view.angle for view in views[0].views if view.angle is not None]
        angles = tuple(known) if len(known) == len(views[0]) else None
        angles = parent.angles if parent is not None else scenes.angles or angles
        counts = sorted(len(each) for each in views)
        range_ = (parent.least_views, parent.most_views) if parent is not None else (counts[0], counts[-1])
        shapes = ", ".join(" x ".join(map(str, each.grid.shape)) for each in views)
        words = f"own views: {len(views)} volume(s) of {shapes} voxels"
        words += f", and {sharp} sharp volume(s)" if sharp else ""
        psfs = psf_records(views)
        return card_of(self._config, self._name, self._description, parent, range_, angles, words, psfs)

    def _check_count(self, views: RegisteredViews) -> None:
        architecture, parent = self._config.architecture, self._parent
        if isinstance(architecture, PaperArchitecture) and len(views) != architecture.views:
            raise InputError(
                f"the network takes {architecture.views} views, but the data have {len(views)}: choose a model or an "
                f"architecture for {len(views)}"
            )
        if parent is not None and not parent.least_views <= len(views) <= parent.most_views:
            raise InputError(
                f"the model '{parent.name}' takes {parent.least_views} to {parent.most_views} views, but the data have "
                f"{len(views)}: choose another model, or other views"
            )
