"""Tiny networks, views and sources, so that tests of training take no time."""

import numpy as np
import torch
from scipy import ndimage, signal

from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.models import ModelCard
from napari_mvfusion.models.paper import PaperArchitecture
from napari_mvfusion.training.config import TrainConfig
from napari_mvfusion.training.training_events import Waiting
from napari_mvfusion.training.training_samples import TrainingVolume, cut

CPU = torch.device("cpu")
UNIVERSAL = {"kind": "universal", "view_maps": 4, "maps": 4, "deep_maps": 4, "blocks": 0, "deep_blocks": 1}
PAPER = PaperArchitecture(views=2, feature_maps=4, norm="none", activation="leaky_relu", output="softplus")
SCENES = {
    "mode": "supervised",
    "architecture": UNIVERSAL,
    "steps": 7,
    "batch": 1,
    "tile": (16, 16, 16),
    "validate_every": 3,
    "validation": 1,
    "checkpoint_seconds": 0,
    "scenes": {
        "size": 32,
        "angles": (0, 90),
        "kinds": {"beads": 1},
        "pool": 2,
        "first": 1,
        "steps_per_scene": 3,
        "workers": 0,
    },
}
OWN = {
    "mode": "self",
    "architecture": UNIVERSAL,
    "steps": 7,
    "tile": (16, 16, 16),
    "rate": 1e-3,
    "validate_every": 3,
    "validation": 1,
    "checkpoint_seconds": 0,
}


def psf(axis, length=7):
    """A Gaussian that is long along one axis."""
    grid = np.indices((length,) * 3) - length // 2
    sigmas = [1.5 if a == axis else 0.8 for a in range(3)]
    values = np.exp(-0.5 * sum((g / s) ** 2 for g, s in zip(grid, sigmas, strict=True)))
    return (values / values.sum()).astype(np.float32)


def own_views(shape=(40, 32, 32), seed=0, axes=(0, 1), photons=200.0, names=None):
    """Smooth blobs, blurred and with the noise of counted photons."""
    rng = np.random.default_rng(seed)
    sharp = ndimage.gaussian_filter(rng.random(shape) ** 8, 1.5)
    sharp = np.maximum(sharp / sharp.max() - 0.1, 0.01)
    views = []
    for number, axis in enumerate(axes):
        kernel = psf(axis)
        blurred = np.maximum(signal.fftconvolve(sharp, kernel, "same"), 0)
        pixels = rng.poisson(blurred * photons).astype(np.float32)
        name = names[number] if names else f"{90 * number}"
        views.append(View(pixels, name, psf=kernel, angle=90.0 * number))
    return RegisteredViews(views), (sharp * photons).astype(np.float32)


class Toy:
    """A source of one tile, of which two views and the truth are known."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        truth = ndimage.gaussian_filter(rng.random((16, 16, 16)) ** 4, 0.7)
        truth /= truth.max()
        views = np.stack([ndimage.gaussian_filter(truth, 1 + v) for v in range(2)])
        arrays = {"views": views.astype(np.float16), "target": truth.astype(np.float16)}
        self.volume = TrainingVolume(arrays, 1.0, 1.0)
        self.closed = False

    def identity(self):
        return ()

    def begin(self, step):
        yield Waiting("preparing", 1.0)

    def draw(self, step):
        return [cut(self.volume, (0, 0, 0), (16, 16, 16), CPU)]

    def least_tile(self):
        return (16, 16, 16)

    def lower(self, tile, batch):
        pass

    def validation(self):
        return [self.volume]

    def close(self):
        self.closed = True


def toy_config(**changes):
    values = {
        "architecture": PAPER,
        "scenes": {"angles": (0, 90), "size": 32},
        "tile": (16, 16, 16),
        "steps": 6,
        "batch": 1,
        "rate": 1e-2,
        "validate_every": 2,
        "checkpoint_seconds": 0,
    }
    return TrainConfig.model_validate(values | changes)


def toy_card(name="toy"):
    return ModelCard(name=name, architecture=PAPER, least_views=2, most_views=2, normalisation="maximum")
