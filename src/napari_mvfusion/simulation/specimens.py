"""Specimens of many kinds for training scenes, whole or as parts of larger ones, at any shape.

Every specimen is a function of a shape (z, y, x), a generator and `isolated`: True draws a whole specimen with empty
medium around it, False what a volume cut from a larger specimen holds. All are float32 (z, y, x) in 0 to 1.
"""

from __future__ import annotations

from math import ceil
from typing import Protocol

import numpy as np

from napari_mvfusion.data.geometry import Triple
from napari_mvfusion.simulation.painting import (
    Body,
    log_uniform,
    paint_balls,
    paint_ellipsoid,
    paint_packed_balls,
    random_body,
    random_directions,
    scatter,
    smooth_field,
    thin,
)

# The published embryo on its final grid of 289 voxels: the canvas it is drawn on is twice as fine.
_BLOBS_A_VOXEL = 8 * 3.5e-4
_BLOB_RADII = np.arange(1, 21) / 2
_MOST_NUCLEI = 1500


class Specimen(Protocol):
    """How every kind of specimen is drawn."""

    def __call__(self, shape: Triple, rng: np.random.Generator, *, isolated: bool = False) -> np.ndarray:
        """Draw it: float32 (z, y, x) in 0 to 1."""


def blobs(shape: Triple, rng: np.random.Generator, *, isolated: bool = False) -> np.ndarray:
    """Draw what the published embryo is locally: a body full of balls, the brightest wins.

    Lengths are those of the 289-voxel embryo times 0.35 to 1.1, the density is the published one times 0.4 to 2. Half
    of them are softened as by one linear interpolation.
    """
    return packed_balls(shape, rng, rng.uniform(0.35, 1.1), (0.4, 2.0), isolated=isolated)


def small_blobs(shape: Triple, rng: np.random.Generator, *, isolated: bool = False) -> np.ndarray:
    """Draw the published embryo as it is on fewer voxels: as `blobs`, with its lengths times 0.28 to 0.55."""
    return packed_balls(shape, rng, log_uniform(rng, 0.28, 0.55), (0.7, 1.4), isolated=isolated)


def packed_balls(
    shape: Triple, rng: np.random.Generator, scale: float, crowded: tuple[float, float], *, isolated: bool
) -> np.ndarray:
    """Draw the published embryo, its lengths multiplied by a scale and its density by a number between two."""
    scale = min(scale, min(shape) / 5 / _BLOB_RADII[-1])
    largest = float(_BLOB_RADII[-1] * scale)
    body = random_body(shape, rng, isolated=isolated, rim=largest + 2, longest=float(rng.choice([1.01, 1.6])))
    density = _BLOBS_A_VOXEL / scale**3 * log_uniform(rng, *crowded)
    centres = scatter(shape, density, body, rng, rim=0 if isolated else largest)
    radii = rng.choice(_BLOB_RADII, len(centres)) * scale
    centres = np.floor(2 * centres) / 2 + 0.25
    out = paint_packed_balls(shape, centres, radii, rng.random(len(centres)))
    return _interpolated(out, rng) if rng.random() < 0.5 else out


def nuclei_cluster(shape: Triple, rng: np.random.Generator, *, isolated: bool = False) -> np.ndarray:
    """Draw nuclei: soft ellipsoids, some with a dimmer nucleolus or with texture, apart or touching.

    The body that holds them is a worm a third of the time. Radii are 2 to 12 voxels.
    """
    worm = rng.random() < 1 / 3
    radius = min(log_uniform(rng, 2, 12), min(shape) / 8)
    body = random_body(shape, rng, isolated=isolated, rim=1.2 * radius + 1, longest=5.0 if worm else 1.6)
    if worm and not isolated:
        narrow = np.sort(body.axes) * [1, 1, 3] / body.axes.min() * rng.uniform(2.5, 8) * radius
        body = Body((np.array(shape) - 1) / 2 + rng.uniform(-0.2, 0.2, 3) * shape, narrow, random_directions(rng))
    spacing = radius * log_uniform(rng, 1.2, 3)
    centres = thin(scatter(shape, 3 / spacing**3, body, rng, rim=0 if isolated else radius), spacing)[:_MOST_NUCLEI]
    if not len(centres):
        centres = np.clip(body.centre, 0, np.array(shape) - 1)[None]
    out = np.zeros(shape, np.float32)
    variation, has_nucleoli, dimmest = rng.uniform(0, 0.35), rng.random() < 0.6, rng.uniform(0.1, 0.9)
    for centre in centres:
        own = radius * np.exp(rng.normal(0, variation)).clip(0.5, 1.6)
        nucleus = Body(centre, own * rng.uniform(0.7, 1.2, 3), random_directions(rng))
        dim = None
        if has_nucleoli and own > 2.5:
            inside = centre + own * rng.uniform(-0.35, 0.35, 3)
            dim = Body(inside, np.full(3, own * rng.uniform(0.2, 0.4)), nucleus.directions)
        paint_ellipsoid(out, nucleus, rng.uniform(dimmest, 1), dim)
    if rng.random() < 0.4:
        grain = smooth_field(shape, rng, scale=rng.uniform(0.7, 2.0))
        out *= np.clip(1 - rng.uniform(0.1, 0.35) * (1 + grain), 0, 1)
    return out


def membranes(shape: Triple, rng: np.random.Generator, *, isolated: bool = False) -> np.ndarray:
    """Draw the walls between Voronoi cells of 8 to 30 voxels, 1 to 3 voxels thick, thinner in small cells."""
    cell = min(log_uniform(rng, 8, 30), min(shape) / 2)
    body = random_body(shape, rng, isolated=isolated)
    counts = [ceil(n / cell) + 2 for n in shape]
    lattice = np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), axis=-1).reshape(-1, 3)
    seeds = (lattice - 1 + rng.uniform(0.1, 0.9, lattice.shape)) * cell
    out = _walls(shape, seeds, reach=1.35 * cell, thickness=rng.uniform(1, min(3, cell / 5)))
    patchy = rng.uniform(0, 0.4)
    out *= np.clip(1 - patchy * (1 + smooth_field(shape, rng, scale=cell / 2)), 0.05, 1)
    out *= body.mask(shape)
    return out


def filaments(shape: Triple, rng: np.random.Generator, *, isolated: bool = False) -> np.ndarray:
    """Draw smooth curves in random directions, 1 to 3 voxels thick, some starting on another one."""
    body = random_body(shape, rng, isolated=isolated, rim=3)
    count, length = int(log_uniform(rng, 20, 400)), ceil(1.5 * max(shape))
    starts = scatter(shape, 2000 / float(np.prod(shape)), body, rng)
    if not len(starts):
        starts = np.clip(body.centre, 0, np.array(shape) - 1)[None]
    stiffness = rng.uniform(0.02, 0.12)
    thick = rng.uniform(0.5, 1.5)
    curves, sizes, lights = [np.empty((0, 3))], [np.empty(0)], [np.empty(0)]
    for _ in range(count):
        previous = curves[int(rng.integers(len(curves)))]
        if len(previous) and rng.random() < 0.4:
            start = previous[int(rng.integers(len(previous)))]
        else:
            start = starts[int(rng.integers(len(starts)))]
        heading = np.cumsum(rng.normal(0, stiffness, (2 * length, 3)), axis=0) + rng.normal(size=3)
        heading /= np.linalg.norm(heading, axis=1, keepdims=True)
        curve = start + np.cumsum(0.5 * heading, axis=0)
        curve = curve[: int(rng.integers(length // 3, 2 * length))]
        curve = curve[body.contains(curve)]
        curves.append(curve)
        sizes.append(np.full(len(curve), np.clip(thick * rng.uniform(0.7, 1.3), 0.5, 1.5)))
        lights.append(np.full(len(curve), rng.uniform(0.2, 1)))
    return paint_balls(shape, np.concatenate(curves), np.concatenate(sizes), np.concatenate(lights), steps=4)


def beads(shape: Triple, rng: np.random.Generator, *, isolated: bool = False) -> np.ndarray:
    """Draw points and small balls at sub-voxel positions, radii 0.3 to 2 voxels."""
    body = random_body(shape, rng, isolated=isolated, rim=4)
    density = log_uniform(rng, 5e-5, 3e-3)
    centres = scatter(shape, density, body, rng)
    if not len(centres):
        centres = np.clip(body.centre, 0, np.array(shape) - 1)[None]
    one_size = rng.random() < 0.5
    radii = np.full(len(centres), rng.uniform(0.5, 2)) if one_size else rng.uniform(0.3, 2, len(centres))
    return paint_balls(shape, centres, radii, rng.uniform(rng.uniform(0.1, 1), 1, len(centres)), steps=4)


def texture(shape: Triple, rng: np.random.Generator, *, isolated: bool = False) -> np.ndarray:
    """Draw a random field with a power-law spectrum, thresholded or not, inside a smooth body."""
    body = random_body(shape, rng, isolated=isolated, rim=4)
    field = smooth_field(shape, rng, scale=rng.uniform(0.5, 2.5), power=rng.uniform(0.5, 2.2))
    if rng.random() < 0.5:
        out = np.clip((field - rng.uniform(-0.3, 1.2)) * rng.uniform(2, 8) + 0.5, 0, 1)
    else:
        out = np.clip(0.5 + rng.uniform(0.15, 0.3) * field, 0, 1)
    out *= body.mask(shape, softness=rng.uniform(1, 6))
    return np.asarray(out, np.float32)


def mixture(shape: Triple, rng: np.random.Generator, *, isolated: bool = False) -> np.ndarray:
    """Draw two specimens of different kinds, added or the brighter of both."""
    first, second = rng.choice(len(_SIMPLE), 2, replace=False)
    a = _SIMPLE[int(first)](shape, rng, isolated=isolated)
    b = _SIMPLE[int(second)](shape, rng, isolated=isolated)
    b *= np.float32(log_uniform(rng, 0.15, 1.0))
    if rng.random() < 0.5:
        return np.asarray(np.maximum(a, b))
    a += b
    return np.asarray(a / max(float(a.max()), 1.0), np.float32)


def _walls(shape: Triple, seeds: np.ndarray, reach: float, thickness: float) -> np.ndarray:
    """Walls between the Voronoi cells of seeds, with soft borders of one voxel; nothing farther than `reach` from all."""
    # Squared distance and number of a seed in one integer, so that the two nearest are found by minimum and maximum.
    bits = len(seeds).bit_length()
    grain = np.float32(2 ** (30 - bits) / (3 * reach**2))
    nearest = np.full(shape, np.iinfo(np.int32).max, np.int32)
    second = nearest.copy()
    axes = [np.arange(n, dtype=np.float32) for n in shape]
    for number, seed in enumerate(seeds):
        low = np.maximum(np.ceil(seed - reach), 0).astype(np.intp)
        high = np.minimum(np.floor(seed + reach) + 1, shape).astype(np.intp)
        if (high <= low).any():
            continue
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        z, y, x = (grain * (axis[s] - np.float32(c)) ** 2 for axis, s, c in zip(axes, box, seed, strict=True))
        key = ((z[:, None, None] + y[:, None]) + x).astype(np.int32)
        key <<= bits
        key |= number
        first = nearest[box]
        np.minimum(second[box], np.maximum(first, key), out=second[box])
        np.minimum(first, key, out=first)
    # Half the difference of the squares over the distance of the two seeds is how far away the wall is. Seeds are at most
    # the sum of both distances apart, which leaves few voxels to look at.
    half = np.float32(thickness / 2 + 0.5)
    mask = (1 << bits) - 1
    close = ((second >> bits) - (nearest >> bits)) < np.int32(4 * reach * half * grain)
    close &= second < np.iinfo(np.int32).max
    place = np.flatnonzero(close)
    a, b = nearest.reshape(-1)[place], second.reshape(-1)[place]
    squared = ((b >> bits) - (a >> bits)).astype(np.float32) / grain
    a &= mask
    b &= mask
    positions = seeds.astype(np.float32)
    apart = np.sqrt(sum((column[a] - column[b]) ** 2 for column in positions.T.copy()))
    out = np.zeros(shape, np.float32)
    out.reshape(-1)[place] = np.clip(half - squared / np.maximum(2 * apart, 1e-6), 0, 1)
    return out


def _interpolated(volume: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Soften along z and y as linear interpolation at a random sub-voxel shift does."""
    for axis in (0, 1):
        share = np.float32(rng.uniform(0.1, 0.5))
        volume = (1 - share) * volume + share * np.roll(volume, 1, axis)
        index: list[slice | int] = [slice(None)] * 3
        index[axis] = 0
        volume[tuple(index)] = volume[tuple(index)].clip(0, 1)
    return np.asarray(volume, np.float32)


_SIMPLE: tuple[Specimen, ...] = (blobs, nuclei_cluster, membranes, filaments, beads, texture)

SPECIMENS: dict[str, Specimen] = {
    "blobs": blobs,
    "nuclei_cluster": nuclei_cluster,
    "membranes": membranes,
    "filaments": filaments,
    "beads": beads,
    "texture": texture,
    "mixture": mixture,
    "small_blobs": small_blobs,
}
"""Every kind of specimen by its name."""

__all__ = [
    "SPECIMENS",
    "Specimen",
    "beads",
    "blobs",
    "filaments",
    "membranes",
    "mixture",
    "nuclei_cluster",
    "packed_balls",
    "small_blobs",
    "texture",
]
