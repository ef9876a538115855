"""Specimens with a known truth: an embryo of blobs, and the nuclei of a straightened worm.

Both are drawn in the proportions of the published data and scaled as a whole: a larger size is the same specimen
on finer voxels, and one seed gives one specimen at every size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import pi

import numpy as np

from napari_mvfusion.data.geometry import Triple, triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.simulation.rotation import turn

# The published embryo, in voxels of its canvas, which is twice as fine as the 289^3 volume made from it.
_EMBRYO_SIZE = 289
_BALL_RADIUS = 195
_SPHERE_RADIUS = 20
_SPHERE_PROBABILITY = 3.5e-4
_EMBRYO_ANGLE = 15.0

# The published worm is 140 x 140 x 1000 voxels; an L1 larva has 558 nuclei. With this radius they fill about 8 % of
# the volume, as the gap between the published scores over all voxels and over the foreground tells.
_WORM_WIDTH = 140
_WORM_LENGTH = 1000
_WORM_RADIUS = 55.0
_WORM_NUCLEI = 558
_NUCLEUS_RADIUS = 8.0
# Distance of centres over the sum of mean radii. The longest half-axis is 1.2 radii, so a few still touch.
_NUCLEUS_SPACING = 1.1
# A nucleus is left out when this many rounds of tries find no place for it.
_ROUNDS, _TRIES = 20, 16

_SLAB_VOXELS = 16 * 2**20
_SMALLEST = 32


def embryo(size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the embryo of the 2014 simulator: a ball full of small bright spheres.

    Every voxel of a ball (radius 195 on a canvas for 289^3 voxels, twice as fine) starts a small sphere with
    probability 3.5e-4, of radius U{1..20} and brightness U[0, 1); where spheres meet the brightest wins. The canvas is
    averaged down twofold and the volume turned by 15 degrees about x, so that truth and views have both been
    interpolated. For another size all lengths are multiplied by size / 289 and the number of spheres stays.

    Parameters
    ----------
    size : voxels along each axis, at least 32
    rng : source of all randomness

    Returns
    -------
    float32 (size, size, size) in 0 to 1, zero outside the embryo. One slab of the canvas is in memory at a time.

    Raises
    ------
    InputError
        If the size is below 32.

    References
    ----------
    Preibisch et al., Efficient Bayesian-based multiview deconvolution, Nature Methods 11 (2014).
    """
    if size < _SMALLEST:
        raise InputError(
            f"an embryo of {size} voxels is too small to show anything: use a size of at least {_SMALLEST}"
        )
    scale = size / _EMBRYO_SIZE
    count = int(rng.binomial(round(4 / 3 * pi * _BALL_RADIUS**3), _SPHERE_PROBABILITY))
    centres = _voxels_of_ball(count, rng) * scale + (2 * size - 1) / 2
    radii = rng.integers(1, _SPHERE_RADIUS + 1, count) * scale
    brightness = rng.random(count)
    # Painted in this order the brightest comes last, so it wins without a comparison.
    order = np.argsort(brightness)
    return turn(_paint(centres[order], radii[order], brightness[order], size), _EMBRYO_ANGLE)


def nuclei(size: int | Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Draw the nuclei of a straightened worm that lies along x.

    Ellipsoids of random size, direction and brightness, each with a dimmer nucleolus, lie in a body that is round in
    cross-section, blunt at the head and pointed at the tail. Few of them touch. In the proportions of the published
    data (140 x 140 x 1000 voxels, 558 nuclei) all lengths are multiplied by width / 140, and a shorter worm has
    proportionally fewer nuclei.

    Parameters
    ----------
    size : the width; the volume is then (size, size, 4 * size). Or any shape (z, y, x), whose width is the smaller of
        z and y. The width is at least 32 and the length at least the width.
    rng : source of all randomness

    Returns
    -------
    float32 (z, y, x) in 0 to 1, zero outside the nuclei

    Raises
    ------
    InputError
        If the shape is not three numbers, too small, or not elongated along x.
    """
    shape = (size, size, 4 * size) if isinstance(size, int | np.integer) else tuple(size)
    if len(shape) != 3 or min(shape) < _SMALLEST or shape[2] < min(shape[:2]):
        raise InputError(
            f"a worm of shape {shape} cannot be drawn: "
            f"give three sizes (z, y, x) of at least {_SMALLEST}, x the longest"
        )
    width, length = min(shape[:2]), shape[2]
    scale = width / _WORM_WIDTH
    count = max(1, round(_WORM_NUCLEI * (length / width) / (_WORM_LENGTH / _WORM_WIDTH)))
    radii = _NUCLEUS_RADIUS * scale * rng.uniform(0.75, 1.25, count)
    out = np.zeros(shape, np.float32)
    for centre, radius in zip(*_pack(triple(shape), radii, rng), strict=True):
        _draw_nucleus(out, centre, radius, rng)
    return out


PHANTOMS: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {"embryo": embryo, "nuclei": nuclei}
"""Phantoms by name; each takes a size and a random generator and returns its truth."""


def _voxels_of_ball(count: int, rng: np.random.Generator) -> np.ndarray:
    """Distinct voxels of the large ball, as offsets from its centre, float64 (count, 3)."""
    side = 2 * _BALL_RADIUS + 1
    found = np.empty((0, 3), np.int64)
    while len(found) < count:
        found = np.concatenate([found, rng.integers(0, side, (2 * count, 3)) - _BALL_RADIUS])
        found = found[(found**2).sum(axis=1) <= _BALL_RADIUS**2]
        _, first = np.unique(found @ (side**2, side, 1), return_index=True)
        found = found[np.sort(first)]
    return found[:count].astype(np.float64)


def _paint(centres: np.ndarray, radii: np.ndarray, brightness: np.ndarray, size: int) -> np.ndarray:
    """Paint spheres in order on a canvas of 2 * size, slab by slab, and average 2 x 2 x 2 voxels into one."""
    out = np.empty((size, size, size), np.float32)
    thickness = 2 * max(1, _SLAB_VOXELS // (8 * size**2))
    first = np.ceil(centres - radii[:, None]).astype(np.intp)
    last = np.floor(centres + radii[:, None]).astype(np.intp) + 1
    for top in range(0, 2 * size, thickness):
        bottom = min(top + thickness, 2 * size)
        slab = np.zeros((bottom - top, 2 * size, 2 * size), np.float32)
        for i in np.flatnonzero((first[:, 0] < bottom) & (last[:, 0] > top)):
            low, high = first[i].copy(), last[i].copy()
            low[0], high[0] = max(low[0], top), min(high[0], bottom)
            z, y, x = ((np.arange(low[d], high[d]) - centres[i, d]) ** 2 for d in range(3))
            inside = (z[:, None] + y)[:, :, None] + x <= radii[i] ** 2
            box = slab[low[0] - top : high[0] - top, low[1] : high[1], low[2] : high[2]]
            np.copyto(box, np.float32(brightness[i]), where=inside)
        slab = slab[0::2] + slab[1::2]
        slab = slab[:, 0::2] + slab[:, 1::2]
        out[top // 2 : bottom // 2] = (slab[:, :, 0::2] + slab[:, :, 1::2]) / 8
    return out


def _body_radius(along: np.ndarray) -> np.ndarray:
    """Radius of the worm relative to its largest, at a fraction 0 (head) to 1 (tail) of its length."""
    head = np.clip(along / 0.08, 0, 1) ** 0.5
    tail = np.clip((1 - along) / 0.3, 0, 1) ** 0.7
    return np.asarray(head * tail)


def _pack(shape: Triple, radii: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Throw nuclei into the body until they are all in, or no room is found: centres (n, 3) and radii (n,)."""
    centres, kept = np.empty((0, 3)), np.empty(0)
    # The largest first: small ones still find a place between them.
    for radius in np.sort(radii)[::-1]:
        for _ in range(_ROUNDS):
            tries = _places_in_body(shape, radius, rng)
            distance = np.linalg.norm(tries[:, None] - centres, axis=2)
            free = (distance >= _NUCLEUS_SPACING * (radius + kept)).all(axis=1)
            if free.any():
                centres = np.vstack([centres, tries[free.argmax()]])
                kept = np.append(kept, radius)
                break
    return centres, kept


def _places_in_body(shape: Triple, radius: float, rng: np.random.Generator) -> np.ndarray:
    """Random centres of nuclei of a radius that lie inside the body, (n, 3)."""
    body = min(shape[:2]) * _WORM_RADIUS / _WORM_WIDTH
    along, around, share = rng.random((3, _TRIES))
    from_axis = body * np.sqrt(share)
    inside = from_axis <= body * _body_radius(along) - radius
    z = (shape[0] - 1) / 2 + from_axis * np.cos(2 * pi * around)
    y = (shape[1] - 1) / 2 + from_axis * np.sin(2 * pi * around)
    return np.asarray(np.stack([z, y, along * (shape[2] - 1)], axis=1)[inside])


def _draw_nucleus(out: np.ndarray, centre: np.ndarray, radius: float, rng: np.random.Generator) -> None:
    """Add one ellipsoid with a soft border of one voxel; where two meet the brighter wins."""
    axes = radius * rng.uniform(0.8, 1.2, 3)
    directions, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    nucleolus = centre + radius * rng.uniform(-0.3, 0.3, 3)
    brightness = rng.uniform(0.3, 1.0)
    low = np.maximum(np.floor(centre - axes.max() - 1), 0).astype(np.intp)
    high = np.minimum(np.ceil(centre + axes.max() + 2), out.shape).astype(np.intp)
    grid = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"), axis=-1)
    depth = (1 - np.linalg.norm((grid - centre) @ directions / axes, axis=-1)) * axes.min()
    dim = np.clip(0.35 * radius - np.linalg.norm(grid - nucleolus, axis=-1) + 0.5, 0, 1)
    box = out[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    np.maximum(box, brightness * np.clip(depth + 0.5, 0, 1) * (1 - 0.4 * dim), out=box)
