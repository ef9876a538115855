"""Families of attenuation: what takes the light of a specimen, and on which way.

A law says which matter absorbs, and along which ways light passes it: to the specimen as a sheet, from one side or from
both, and from the specimen to the camera. Ways are those of the view's own frame; see `rotation`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Literal

import numpy as np
from scipy import ndimage

from napari_mvfusion.data.geometry import Triple
from napari_mvfusion.simulation.painting import Body, paint_ellipsoid, random_directions
from napari_mvfusion.simulation.rotation import turn

Way = Literal["lit", "lit from both sides", "seen"]
"""Light comes along own y, from its far end or half of it from either; or leaves along own z, towards the near end."""

_BODY_SIGMA = 5.0
_BODY_LEVEL = 0.15


@dataclass(frozen=True)
class AttenuationLaw:
    """A family of attenuation.

    Attributes
    ----------
    matter : from a specimen, float32 (z, y, x) in 0 to 1, to what absorbs, float32 of the same shape, any scale
    ways : along which light passes it
    """

    matter: Callable[[np.ndarray, np.random.Generator], np.ndarray]
    ways: tuple[Way, ...]


def matter_of(law: str, specimen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What absorbs light, float32 (z, y, x): in all as much as where the specimen's brightness absorbs."""
    matter = ATTENUATION_LAWS[law].matter(specimen, rng)
    total = float(matter.sum(dtype=np.float64))
    if total <= 0:
        return np.zeros_like(specimen)
    return np.asarray(matter * np.float32(float(specimen.sum(dtype=np.float64)) / total), np.float32)


def light_left(matter: np.ndarray, angle: float, ways: tuple[Way, ...], per_voxel: float) -> np.ndarray:
    """Share of the light that is left in every voxel, by the law of Beer and Lambert along all of these ways.

    Parameters
    ----------
    matter : float32 (z, y, x) in the frame of the fused volume, what absorbs
    angle : of the view about x, degrees
    ways : of the light
    per_voxel : logarithmic share that a voxel of matter 1 takes

    Returns
    -------
    float32 (z, y, x), above 0 to 1. Light is followed on a grid twice as coarse.
    """
    z, y, x = (ceil(n / 2) for n in matter.shape)
    padded = np.pad(matter, [(0, 2 * m - n) for m, n in zip((z, y, x), matter.shape, strict=True)])
    coarse = padded.reshape(z, 2, y, 2, x, 2).mean(axis=(1, 3, 5)) * np.float32(2 * per_voxel)
    inner: Triple | None = None
    if angle % 90:
        side = ceil(sqrt(z**2 + y**2)) + 2
        inner = (side, side, x)
    own = turn(coarse, angle, inner)
    light = np.ones_like(own)
    for way in ways:
        light *= _passed(own, way)
    left = turn(light, -angle, (z, y, x))
    fine = ndimage.zoom(left, 2, order=1, mode="nearest", grid_mode=True)
    return np.asarray(np.clip(fine[tuple(slice(n) for n in matter.shape)], 1e-4, 1))


def _passed(own: np.ndarray, way: Way) -> np.ndarray:
    """Share of the light that passes along one way, in the frame of the view."""
    axis = 0 if way == "seen" else 1
    before = np.cumsum(own, axis=axis)
    from_near = np.exp(own / 2 - before)
    if way == "seen":
        return np.asarray(from_near)
    from_far = np.exp(before - own / 2 - before[:, -1:])
    return np.asarray(from_far if way == "lit" else (from_far + from_near) / 2)


def _labels(specimen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What shines absorbs."""
    del rng
    return specimen


def _tissue(specimen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """All tissue absorbs alike, also where it is not labelled."""
    del rng
    around = np.asarray(ndimage.zoom(specimen[::2, ::2, ::2], 0.5, order=1), np.float32)
    smooth = ndimage.gaussian_filter(around, _BODY_SIGMA / 4)
    body = np.clip(smooth / max(_BODY_LEVEL * float(smooth.max()), 1e-6), 0, 1)
    factors = [n / m for n, m in zip(specimen.shape, body.shape, strict=True)]
    return np.asarray(ndimage.zoom(body, factors, order=1, mode="nearest", grid_mode=True), np.float32)


def _pigment(specimen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Dark bodies absorb, as eyes and pigment cells do, and throw shadows with sharp borders."""
    out = np.zeros(specimen.shape, np.float32)
    least = min(specimen.shape)
    bright = np.argwhere(specimen[::4, ::4, ::4] > 0.2 * float(specimen.max())) * 4
    for _ in range(int(rng.integers(6, 16))):
        centre = bright[int(rng.integers(len(bright)))] if len(bright) else rng.random(3) * specimen.shape
        sizes = least * rng.uniform(0.03, 0.1, 3)
        paint_ellipsoid(out, Body(centre + rng.normal(0, 0.05 * least, 3), sizes, random_directions(rng)), 1.0)
    return out


ATTENUATION_LAWS: Mapping[str, AttenuationLaw] = {
    "labels": AttenuationLaw(_labels, ("lit",)),
    "tissue": AttenuationLaw(_tissue, ("lit",)),
    "tissue, to and fro": AttenuationLaw(_tissue, ("lit", "seen")),
    "tissue, lit from both sides": AttenuationLaw(_tissue, ("lit from both sides",)),
    "pigment": AttenuationLaw(_pigment, ("lit",)),
}
"""Every family of attenuation by its name."""
