"""Sharp volumes of other specimens, and how the user's microscope would have recorded them."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from napari_mvfusion.errors import InputError
from napari_mvfusion.geometry import Box, Triple, triple
from napari_mvfusion.imaging import Blur
from napari_mvfusion.methods.universal import whole_evidence
from napari_mvfusion.networks.build import Architecture
from napari_mvfusion.networks.universal import UniversalArchitecture
from napari_mvfusion.training.samples import Recording, Volume, arrays_of
from napari_mvfusion.training.volumes import blocks_in
from napari_mvfusion.views import RegisteredViews, View, VolumeLike

_SPAN_PERCENTILE = 99.9


def read_sharp(volume: VolumeLike, name: str, tile: Triple, side: int) -> np.ndarray:
    """Read the part of a sharp volume that has most to show.

    Parameters
    ----------
    volume : (z, y, x)
    name : how to call it in a message
    tile : (z, y, x) that must fit in
    side : most voxels along each axis of the part

    Returns
    -------
    float32 (z, y, x)

    Raises
    ------
    InputError
        If it has other axes, is smaller than a tile, constant, negative somewhere, or not finite.
    """
    if len(volume.shape) != 3:
        raise InputError(f"{name} has {len(volume.shape)} axes: a sharp volume needs exactly three (z, y, x)")
    shape = triple(volume.shape)
    if any(n < t for n, t in zip(shape, tile, strict=True)):
        raise InputError(
            f"{name} of {shape} voxels is smaller than a tile of {tile}: choose a smaller tile or leave it out"
        )
    best, values = -1.0, np.zeros((0, 0, 0), np.float32)
    for box in blocks_in(Box.whole(shape), max(side, *tile)):
        part = np.asarray(volume[box.slices]).astype(np.float32)
        if not np.isfinite(part).all():
            raise InputError(f"{name} has values that are NaN or infinite: repair it, or leave it out")
        if (detail := float(part.std())) > best and all(n >= t for n, t in zip(part.shape, tile, strict=True)):
            best, values = detail, part
    if not values.size:
        raise InputError(f"{name} of {shape} voxels cannot be cut into parts of {tile}: choose a larger data.side")
    if values.min() < 0:
        raise InputError(f"{name} has negative values, but light cannot be negative: subtract its background first")
    if values.min() == values.max():
        raise InputError(f"{name} has the value {values.min():g} everywhere: leave it out, or check its file")
    return values


def sha256_of(values: np.ndarray) -> str:
    """SHA-256 of the shape and the float32 values."""
    return hashlib.sha256(str(values.shape).encode() + np.ascontiguousarray(values, np.float32).tobytes()).hexdigest()


def blurred_volume(
    sharp: np.ndarray,
    recording: Recording,
    architecture: Architecture,
    rng: np.random.Generator,
    device: torch.device,
) -> Volume:
    """What a network would read of a sharp volume, had it been recorded as the user's views were.

    Parameters
    ----------
    sharp : (z, y, x), not negative; any unit
    recording : PSFs and noise of the views, in the network's brightness
    architecture : of the network
    rng : for the noise
    device : where the estimate is computed

    Returns
    -------
    Volume with "target", the sharp volume in the brightness of the views.
    """
    blurred = Blur(recording.psfs, triple(sharp.shape), "mirror")(torch.from_numpy(sharp)).numpy().clip(min=0)
    paper = not isinstance(architecture, UniversalArchitecture)
    # As bright as the views, so that the noise is theirs.
    unit = (
        float(blurred.max())
        if paper
        else float((blurred.astype(np.float64) ** 2).sum() / blurred.sum(dtype=np.float64))
    )
    views = []
    for image, noise in zip(blurred / np.float32(unit), recording.noise, strict=True):
        pixels = rng.poisson(image / noise.gain) * noise.gain if noise.gain > 0 else image
        pixels = pixels + rng.normal(0, np.sqrt(noise.read_variance), image.shape)
        views.append(np.maximum(pixels, 0).astype(np.float32))
    target = sharp / np.float32(unit)
    if isinstance(architecture, UniversalArchitecture):
        registered = RegisteredViews(
            View(pixels, name, psf=psf)
            for pixels, name, psf in zip(views, recording.names, recording.psfs, strict=True)
        )
        evidence = whole_evidence(registered, architecture, device)
        scale, arrays = evidence.scale, arrays_of(evidence)
    else:
        scale = float(max(pixels.max() for pixels in views))
        arrays = {"views": (np.stack(views) / np.float32(scale)).astype(np.float16)}
    target = target / np.float32(scale)
    low, high = np.percentile(target, [100 - _SPAN_PERCENTILE, _SPAN_PERCENTILE])
    return Volume(arrays | {"target": target.astype(np.float16)}, float(high - low), unit * scale)
