"""Resimulation: what the start makes of the views is recorded once more in the computer, as its views were.

It follows from what a generator makes of the views before it is trained. That need not be perfect: the transmission of a
view changes slowly, and details do not matter to it; and to restore what one has made is a task with a known answer,
whatever it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from napari_mvfusion.data.geometry import Triple, triple
from napari_mvfusion.data.tiles import TilePlan
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.imaging import Blur
from napari_mvfusion.measures.fitted_transmission import nearer
from napari_mvfusion.methods.cellwise_filter import network_input_of
from napari_mvfusion.models.build import Architecture, Generator
from napari_mvfusion.models.universal import UniversalArchitecture
from napari_mvfusion.training.training_samples import Recording, TrainingVolume, arrays_of, cut, ends, run_network

# Blocks up to this side pass the network at once; larger ones in parts, with surroundings.
_WHOLE_SIDE = 128
_PART_SIDE = 96
_SURROUNDINGS = 16
# The transmission of a view is found on ever finer scales, voxels.
_SCALES = (10.0, 6.0, 4.0)
# Light below which the transmission is taken to be 1.
_DARK = 0.01


def generate(network: Generator, volume: TrainingVolume, device: torch.device) -> np.ndarray:
    """What a network makes of a block, in the network's brightness: float32 (z, y, x), not negative.

    Blocks longer than 128 voxels pass in parts with 16 voxels around them: good enough for what is learned from it.
    """
    shape = volume.shape
    inner = triple(n // 4 * 4 for n in shape)
    part = triple(n if n <= _WHOLE_SIDE else _PART_SIDE for n in inner)
    result = np.zeros(shape, np.float32)
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            for box in TilePlan(inner, part).boxes:
                wide = box.grow((_SURROUNDINGS,) * 3).clip(inner)
                made = run_network(network, cut(volume, wide.start, wide.shape, device))[0, 0].cpu().numpy()
                result[box.slices] = made[box.inside(wide).slices]
    finally:
        network.train(training)
    # Up to three voxels at the far border, where the block is no multiple of what networks count in.
    pad = [(0, n - i) for n, i in zip(shape, inner, strict=True)]
    return np.pad(result[tuple(slice(i) for i in inner)], pad, mode="edge").clip(min=0)


def fit_transmissions(result: np.ndarray, volume: TrainingVolume, device: torch.device) -> np.ndarray:
    """Fit how much of a result each view saw, from the ratio of smoothed images.

    Parameters
    ----------
    result : (z, y, x), of the block, in the network's brightness
    volume : the block, with its recording
    device : where the blur is computed

    Returns
    -------
    float32 (view, z, y, x): the views are about `transmission times result (x) PSF`
    """
    assert volume.recording is not None
    blur = Blur(volume.recording.psfs, volume.shape, "mirror", device)
    latent = torch.from_numpy(result).to(device)
    views = volume.arrays["views"].astype(np.float32)
    covered = volume.arrays.get("coverage")
    known = volume.arrays.get("transmission")
    found = np.ones_like(views) if known is None else known.astype(np.float32)
    for sigma in _SCALES:
        fitted = blur.each(torch.from_numpy(found).to(device) * latent).cpu().numpy()
        for v, (seen, expected) in enumerate(zip(views, fitted, strict=True)):
            if covered is not None:
                seen, expected = seen * covered[v], expected * covered[v]
            found[v] = nearer(found[v], _smooth(seen, sigma), _smooth(expected, sigma).clip(min=0), _DARK)
    return found


def simulate_recording(
    latent: np.ndarray,
    recording: Recording,
    architecture: Architecture,
    rng: np.random.Generator,
    device: torch.device,
    *,
    transmission: np.ndarray | None = None,
    known_transmission: np.ndarray | None = None,
    unit: float | None = None,
) -> TrainingVolume:
    """What a network would read of a volume, had it been recorded as the user's views were.

    Parameters
    ----------
    latent : (z, y, x), not negative
    recording : PSFs and noise of the views, in the network's brightness
    architecture : of the network
    rng : for the noise
    device : where the filter is computed
    transmission : (view, z, y, x), how much of it each view sees; all of it when None
    known_transmission : (view, z, y, x), what the network is told of that; nothing when None
    unit : brightness of the volume that counts as 1; when None it is made as bright as the views are, so that their noise
        is its noise

    Returns
    -------
    Volume with "target", the volume in the brightness of the views.
    """
    seen = torch.from_numpy(np.ascontiguousarray(latent, np.float32)).to(device)
    blur = Blur(recording.psfs, triple(latent.shape), "mirror", device)
    if transmission is None:
        blurred = blur(seen).cpu().numpy().clip(min=0)
    else:
        blurred = blur.each(torch.from_numpy(np.ascontiguousarray(transmission)).to(device) * seen).cpu().numpy()
        blurred = blurred.clip(min=0)
    universal = isinstance(architecture, UniversalArchitecture)
    if unit is None:
        total = float(blurred.sum(dtype=np.float64))
        unit = float((blurred.astype(np.float64) ** 2).sum() / total) if universal else float(blurred.max())
    views = []
    for image, noise in zip(blurred / np.float32(unit), recording.noise, strict=True):
        pixels = rng.poisson(image / noise.gain) * noise.gain if noise.gain > 0 else image
        pixels = pixels + rng.normal(0, np.sqrt(noise.read_variance), image.shape)
        views.append(np.maximum(pixels, 0).astype(np.float32))
    if isinstance(architecture, UniversalArchitecture):
        registered = RegisteredViews(
            View(pixels, name, psf=psf)
            for pixels, name, psf in zip(views, recording.names, recording.psfs, strict=True)
        )
        known = None
        if known_transmission is not None:
            known = torch.from_numpy(np.ascontiguousarray(known_transmission, np.float32)).to(device)
        network_input = network_input_of(registered, architecture, device, known)
        scale, arrays = network_input.scale, arrays_of(network_input)
    else:
        scale = float(max(pixels.max() for pixels in views)) or 1.0
        arrays = {"views": (np.stack(views) / np.float32(scale)).astype(np.float16)}
    target = np.asarray(latent, np.float32) / np.float32(unit * scale)
    low, high = ends(target)
    span = (high - low) or high or 1.0
    return TrainingVolume(arrays | {"target": target.astype(np.float16)}, span, unit * scale)


@dataclass(frozen=True, eq=False)
class Resimulated:
    """A result that was resimulated.

    Attributes
    ----------
    volume : as the network reads it, with its target
    axes : how the axes of the result were permuted
    flips : axes that were mirrored afterwards
    """

    volume: TrainingVolume
    axes: Triple
    flips: tuple[int, ...]

    def corner(self, corner: Triple, tile: Triple) -> Triple:
        """Where the tile at a corner of the result lies now; a tile whose sides differ needs unpermuted axes."""
        turned = [corner[axis] for axis in self.axes]
        shape = self.volume.shape
        return triple(shape[i] - tile[i] - c if i in self.flips else c for i, c in enumerate(turned))


def resimulate(
    result: np.ndarray,
    volume: TrainingVolume,
    architecture: Architecture,
    rng: np.random.Generator,
    device: torch.device,
    *,
    turn: bool = True,
) -> Resimulated:
    """Record a result as its views were: with their PSFs, transmission and noise, turned and mirrored at random.

    Parameters
    ----------
    result : (z, y, x), of the block, in the network's brightness
    volume : the block, with its recording and transmission
    architecture : of the network
    rng : for noise and orientation
    device : where the filter is computed
    turn : also permute axes, not only mirror them
    """
    assert volume.recording is not None
    axes = rng.permutation(3) if turn else np.arange(3)
    flips = tuple(axis for axis in range(3) if rng.random() < 0.5)
    turned = np.flip(result.transpose(axes), flips)
    transmissions = {
        parameter: np.flip(volume.arrays[name].transpose(0, *(axes + 1)), tuple(axis + 1 for axis in flips)).astype(
            np.float32
        )
        for parameter, name in (("transmission", "fitted_transmission"), ("known_transmission", "transmission"))
        if name in volume.arrays
    }
    made = simulate_recording(turned, volume.recording, architecture, rng, device, unit=1.0, **transmissions)
    return Resimulated(made, triple(axes), flips)


def _smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    return np.asarray(ndimage.gaussian_filter(values, sigma, mode="nearest", truncate=3.0))
