"""Supervised samples: endless simulated scenes, made by other processes while the network learns."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import resource_tracker

import numpy as np
import torch

from napari_mvfusion.data.geometry import Triple
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.errors import MemoryShortage
from napari_mvfusion.imaging import Blur
from napari_mvfusion.imaging.threads import poll
from napari_mvfusion.methods.cellwise_filter import network_input_of
from napari_mvfusion.models.build import Architecture
from napari_mvfusion.models.universal import UniversalArchitecture
from napari_mvfusion.simulation import Simulation, random_scene
from napari_mvfusion.simulation.families import HELD_OUT, trained_with
from napari_mvfusion.simulation.family_scenes import family_scene
from napari_mvfusion.training.config import SceneSettings, TrainConfig
from napari_mvfusion.training.memory_fallback import SMALLEST_SIDE
from napari_mvfusion.training.training_events import Waiting
from napari_mvfusion.training.training_samples import TrainingSample, TrainingVolume, arrays_of, draw, ends
from napari_mvfusion.training.unmended import Unmended

_LEAST_SPAN = 0.05
# Scenes to validate on come from seeds of their own.
_VALIDATION_SEED = 1_000_003
_MADE_AHEAD = 2
# In these scenes angles are unknown, and with them where light was lost: the network must get along.
_UNKNOWN_ANGLES = 0.15
_ANGLES_STREAM = 8

# What `make_volume` is given.
_Wanted = tuple[SceneSettings, Architecture, int, int, bool, bool]


class ScenePool:
    """A pool of scenes that changes while training goes on.

    Which scenes are in the pool depends on the step alone, so a run that is resumed sees what an unbroken one does.

    Parameters
    ----------
    config : of the training run
    device : where samples go
    """

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self._config = config
        self._device = device
        self._volumes: dict[int, TrainingVolume] = {}
        self._coming: dict[int, Future[TrainingVolume]] = {}
        self._tile, self._batch = config.tile, config.batch
        self._workers: ProcessPoolExecutor | None = None
        if config.scenes.workers:
            _begin_tracker()
            # A forked child would inherit locks of threads that it does not have.
            self._workers = ProcessPoolExecutor(
                config.scenes.workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_begin_worker,
            )

    def identity(self) -> tuple[str, ...]:
        """Nothing: scenes depend on the configuration alone."""
        return ()

    def begin(self, step: int) -> Generator[Waiting, None, None]:
        """Make the scenes that the steps from `step` on draw from."""
        window = self._window(step)
        for index in window:
            self._ask_for(index)
        for done, index in enumerate(window):
            yield Waiting("making scenes", done / len(window))
            self._take(index)

    def draw(self, step: int) -> list[TrainingSample]:
        """The samples of a step."""
        scenes, config = self._config.scenes, self._config
        window = self._window(step)
        for index in [index for index in self._volumes if index < window.start]:
            del self._volumes[index]
        for index in range(window.start, window.stop + _MADE_AHEAD * max(1, scenes.workers)):
            self._ask_for(index)
        rng = np.random.default_rng([config.seed, 1, step])
        turn = isinstance(config.architecture, UniversalArchitecture)
        return [
            draw(self._take(int(rng.choice(window))), self._tile, rng, self._device, turn=turn)
            for _ in range(self._batch)
        ]

    def least_tile(self) -> Triple:
        """The smallest tile that can be learned from."""
        return (SMALLEST_SIDE,) * 3

    def shrink(self, tile: Triple, batch: int) -> None:
        """From now on draw smaller tiles, and so many a step."""
        self._tile, self._batch = tile, batch

    def validation(self) -> list[TrainingVolume]:
        """Scenes that are never trained on, and of the broad set as many of held-out families."""
        seed = self._config.seed + _VALIDATION_SEED
        groups = (False, True) if self._config.scenes.families == "broad" else (False,)
        wanted = [
            self._arguments(seed, index, held_out=held_out)
            for held_out in groups
            for index in range(self._config.validation)
        ]
        if self._workers is None:
            made = []
            for each in wanted:
                poll()
                made.append(make_volume(*each))
            return made
        with _workers_in_words():
            futures = [self._workers.submit(make_volume, *each) for each in wanted]
            return [future.result() for future in futures]

    def close(self) -> None:
        """End the processes that make scenes."""
        if self._workers is not None:
            self._workers.shutdown(wait=True, cancel_futures=True)

    def _window(self, step: int) -> range:
        scenes = self._config.scenes
        stop = scenes.first + step // scenes.steps_per_scene
        return range(max(0, stop - scenes.pool), stop)

    def _ask_for(self, index: int) -> None:
        if self._workers is not None and index not in self._volumes and index not in self._coming:
            with _workers_in_words():
                self._coming[index] = self._workers.submit(make_volume, *self._arguments(self._config.seed, index))

    def _take(self, index: int) -> TrainingVolume:
        if index not in self._volumes:
            coming = self._coming.pop(index, None)
            with _workers_in_words():
                self._volumes[index] = self._make(self._config.seed, index) if coming is None else coming.result()
        return self._volumes[index]

    def _make(self, seed: int, index: int) -> TrainingVolume:
        return make_volume(*self._arguments(seed, index))

    def _arguments(self, seed: int, index: int, *, held_out: bool = False) -> _Wanted:
        config = self._config
        return config.scenes, config.architecture, seed, index, held_out, config.weights.unmended > 0


@contextmanager
def _workers_in_words() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool as error:
        raise MemoryShortage(
            "a process that makes scenes was ended, as systems do when memory runs out: go on with --resume and fewer "
            "--workers (scenes.workers); the last checkpoint stays"
        ) from error


def _begin_worker() -> None:
    """Share the processor with the network, and leave signals, which all processes may get, to the main process."""
    torch.set_num_threads(1)
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _begin_tracker() -> None:
    """Start the helper of multiprocessing, which ignores other signals, so that a closed terminal does not end it first."""
    if not hasattr(signal, "SIGHUP"):
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        resource_tracker.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def make_volume(
    settings: SceneSettings,
    architecture: Architecture,
    seed: int,
    index: int,
    held_out: bool = False,
    refined: bool = False,
) -> TrainingVolume:
    """Make a scene and what a network reads of it; a pure function of its arguments.

    Parameters
    ----------
    settings : of the scenes
    architecture : of the network
    seed, index : of the scene
    held_out : draw from the families that are never trained on
    refined : tell what updates from the views leave of an error
    """
    scene = _scene(settings, seed, index, held_out=held_out)
    device = torch.device("cpu")
    transmission: torch.Tensor | None = None
    left: Unmended | None = None
    if isinstance(architecture, UniversalArchitecture):
        views = scene.views
        if architecture.light and np.random.default_rng([seed, index, _ANGLES_STREAM]).random() < _UNKNOWN_ANGLES:
            views = RegisteredViews([replace(view, angle=None) for view in views.views], views.grid)
        network_input = network_input_of(views, architecture, device)
        stored, transmission = arrays_of(network_input), network_input.transmission
        scale = network_input.scale
        left = Unmended.of(views) if refined else None
    else:
        pixels = torch.from_numpy(scene.views.read(scene.views.grid.box))
        # A scene may be empty: then nothing has to be scaled.
        scale = float(pixels.max()) or 1.0
        stored = {"views": (pixels / scale).numpy().astype(np.float16)}
    target = visible_truth(scene, transmission)
    low, high = (value / scale for value in ends(target))
    # Where there is nothing but even light, noise is what must not be learned; and a few beads fill less than a percentile.
    span = max(high - low, high * 0.5, _LEAST_SPAN * float(target.max()) / scale) or 1.0
    stored |= {"target": (target / scale).astype(np.float16)}
    return TrainingVolume(stored, span, scale, held_out=held_out, unmended=left)


def _scene(settings: SceneSettings, seed: int, index: int, *, held_out: bool) -> Simulation:
    views = settings.least_views, settings.most_views
    if settings.families == "broad" or held_out:
        families = HELD_OUT if held_out else trained_with(settings.kinds)
        return family_scene(
            seed, index, families, size=settings.size, views=views, angles=settings.angles, axial=settings.axial
        )
    return random_scene(
        seed,
        index,
        size=settings.size,
        views=views,
        angles=settings.angles,
        kinds=settings.kinds,
        axial=settings.axial,
    )


def visible_truth(scene: Simulation, transmission: torch.Tensor | None = None) -> np.ndarray:
    """The truth in the brightness that the views show it with: float32 (z, y, x).

    `a truth + b`, where `a` and `b` are the least-squares fit of the mean of the views by the truth under the mean blur.
    What absorption takes lowers `a`, even light in all views is `b`, and so the light of the views is kept.

    Parameters
    ----------
    scene : with its truth
    transmission : float32 (view, z, y, x), the share of the light that each view is known to have got, so that it lowers
        nothing; None for all
    """
    views = scene.views.read(scene.views.grid.box).mean(axis=0, dtype=np.float32)
    psfs = [view.psf for view in scene.views.views if view.psf is not None]
    seen = Blur(psfs, scene.views.grid.shape)(torch.from_numpy(scene.truth))
    blurred = (seen if transmission is None else seen * transmission).mean(dim=0).numpy()
    mean, blurred_mean = float(views.mean(dtype=np.float64)), float(blurred.mean(dtype=np.float64))
    centred = (blurred - blurred_mean).astype(np.float64)
    variance = float((centred**2).mean())
    factor = float((centred * views).mean()) / variance if variance > 1e-6 * blurred_mean**2 else 0.0
    factor = max(factor, 0.0)
    if mean < factor * blurred_mean:
        return scene.truth * np.float32(mean / blurred_mean)
    return scene.truth * np.float32(factor) + np.float32(mean - factor * blurred_mean)
