"""More kinds of specimens, and all of them as families by name: those to train on, and those that are held out.

They are drawn as those of `specimens`: functions of a shape (z, y, x), a generator and `isolated`, float32 in 0 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

import numpy as np

from napari_mvfusion.data.geometry import Triple
from napari_mvfusion.simulation.painting import (
    Body,
    log_uniform,
    paint_balls,
    paint_ellipsoid,
    random_body,
    random_directions,
    scatter,
    smooth_field,
    thin,
)
from napari_mvfusion.simulation.specimens import (
    SPECIMENS,
    Specimen,
    filaments,
    membranes,
    nuclei_cluster,
    packed_balls,
    texture,
)

_MOST_CELLS = 500
_MOST_RODS = 4000
_MOST_LEAVES = 1500


def dense(shape: Triple, rng: np.random.Generator, *, isolated: bool = False) -> np.ndarray:
    """Draw the published embryo at any scale: its lengths times 0.28 to 1.4, its density times 0.4 to 2."""
    return packed_balls(shape, rng, log_uniform(rng, 0.28, 1.4), (0.4, 2.0), isolated=isolated)


def sparse_nuclei(shape: Triple, rng: np.random.Generator, *, isolated: bool = False) -> np.ndarray:
    """Draw 2 to 60 nuclei far apart, radii 1.5 to 9 voxels, the dimmest with a twentieth of the light of the brightest."""
    radius = min(log_uniform(rng, 1.5, 9), min(shape) / 8)
    body = random_body(shape, rng, isolated=isolated, rim=1.5 * radius + 1)
    density = log_uniform(rng, 2, 60) / float(np.prod(shape))
    centres = thin(scatter(shape, 3 * density, body, rng), 3 * radius)[:_MOST_CELLS]
    if not len(centres):
        centres = np.clip(body.centre, radius, np.array(shape) - 1 - radius)[None]
    out = np.zeros(shape, np.float32)
    for centre in centres:
        nucleus = Body(centre, radius * rng.uniform(0.6, 1.4, 3), random_directions(rng))
        paint_ellipsoid(out, nucleus, log_uniform(rng, 0.05, 1))
    return out / max(float(out.max()), 1e-6)


def vessels(shape: Triple, rng: np.random.Generator, *, isolated: bool = False) -> np.ndarray:
    """Draw branching tubes, radii 1.2 to 7 voxels, thinner at every branch; filled, or walls about an empty lumen."""
    body = random_body(shape, rng, isolated=isolated, rim=8)
    trunk = min(log_uniform(rng, 1.5, 7), min(shape) / 10)
    hollow = rng.random() < 0.5
    wall = max(1.0, trunk * rng.uniform(0.2, 0.5))
    length = 1.2 * max(shape)
    start = np.array(shape) / 2 + rng.uniform(-0.3, 0.3, 3) * shape
    # A tube is where it begins, where it heads, and how wide it is.
    waiting = [(start, rng.normal(size=3), trunk) for _ in range(int(rng.integers(1, 4)))]
    points, radii, lights = [], [], []
    for _ in range(60):
        if not waiting:
            break
        at, heading, radius = waiting.pop(0)
        steps = ceil(length * rng.uniform(0.3, 1) / (0.5 * radius))
        headings = heading / np.linalg.norm(heading) + np.cumsum(
            rng.normal(0, 0.12 * np.sqrt(radius / trunk), (steps, 3)), 0
        )
        headings /= np.linalg.norm(headings, axis=1, keepdims=True)
        path = at + np.cumsum(0.5 * radius * headings, axis=0)
        path = path[body.contains(path)]
        points.append(path)
        radii.append(radius * (1 + 0.1 * np.sin(np.arange(len(path)) * rng.uniform(0.02, 0.2))))
        lights.append(np.full(len(path), rng.uniform(0.5, 1)))
        if radius > 1.2 and len(path):
            for _ in range(int(rng.integers(2, 6))):
                waiting.append((path[int(rng.integers(len(path)))], rng.normal(size=3), radius * rng.uniform(0.5, 0.8)))
    centres, sizes, light = np.concatenate(points), np.concatenate(radii), np.concatenate(lights)
    if not len(centres):
        centres, sizes, light = np.array(shape)[None] / 2, np.array([trunk]), np.ones(1)
    out = paint_balls(shape, centres, sizes, light)
    if hollow:
        inside = sizes - wall
        lumen = inside > 0.8
        out -= paint_balls(shape, centres[lumen], inside[lumen], np.ones(int(lumen.sum())))
        np.maximum(out, 0, out=out)
    return out


def uneven(shape: Triple, rng: np.random.Generator, *, isolated: bool = False) -> np.ndarray:
    """Draw another specimen that is labelled unevenly: a gradient, smooth patches, or both, up to 20 times dimmer."""
    out = _one_of(shape, rng, isolated=isolated)
    slope = rng.normal(size=3)
    slope *= rng.uniform(0.3, 1.5) / np.linalg.norm(slope)
    z, y, x = (s * np.linspace(-1, 1, n, dtype=np.float32) for s, n in zip(slope, shape, strict=True))
    logarithm = (z[:, None, None] + y[:, None]) + x
    if rng.random() < 0.6:
        logarithm = logarithm + rng.uniform(0.2, 0.7) * smooth_field(shape, rng, scale=rng.uniform(8, 25))
    out *= np.exp(np.maximum(logarithm - logarithm.max(), -3)).astype(np.float32)
    return np.asarray(out / max(float(out.max()), 1e-6), np.float32)


def dirty(shape: Triple, rng: np.random.Generator, *, isolated: bool = False) -> np.ndarray:
    """Draw another specimen among dirt: 1 to 25 grains, 1.5 to 20 times as bright as anything in it."""
    out = _one_of(shape, rng, isolated=isolated)
    count = int(rng.integers(1, 26))
    centres = rng.uniform(0.1, 0.9, (count, 3)) * shape
    brightness = log_uniform(rng, 1.5, 20)
    radii = rng.uniform(0.4, 3, count)
    grains = paint_balls(shape, centres, radii, rng.uniform(0.3, 1, count), steps=4)
    return np.asarray(np.maximum(out / np.float32(brightness), grains), np.float32)


def leaves(shape: Triple, rng: np.random.Generator, *, isolated: bool = False) -> np.ndarray:
    """Draw bodies of any size in front of each other, round to square, half of them dark: edges of all kinds, no one scale.

    What images have in common whatever they show: the dead leaves of Matheron, as Lee, Mumford and Huang describe images
    with them (International Journal of Computer Vision 41, 2001), in a volume. Radii are 1 voxel to a third of the volume,
    as frequent as the third power of them is large.
    """
    body = random_body(shape, rng, isolated=isolated, rim=2)
    out = np.zeros(shape, np.float32)
    largest, power = min(shape) / 3, rng.uniform(1.3, 3)
    extent = np.linalg.norm(body.directions * body.axes, axis=1)
    first, last = np.maximum(body.centre - extent, 0), np.minimum(body.centre + extent, shape)
    dark, least = rng.uniform(0.2, 0.7), rng.uniform(0.02, 0.6)
    for _ in range(int(log_uniform(rng, 150, _MOST_LEAVES))):
        radius = float((1 + rng.random() * (largest ** (1 - power) - 1)) ** (1 / (1 - power)))
        leaf = Body(rng.uniform(first, last), radius * rng.uniform(0.5, 1.2, 3), random_directions(rng))
        light = 0.0 if rng.random() < dark else log_uniform(rng, least, 1)
        _put_in_front(out, leaf, light, roundness=float(rng.choice([1.5, 2, 2, 5])))
    if rng.random() < 0.4:
        out *= np.clip(1 - rng.uniform(0.1, 0.4) * (1 + smooth_field(shape, rng, scale=rng.uniform(0.7, 3))), 0, 1)
    out *= body.mask(shape, softness=rng.uniform(1, 4))
    return out


def _put_in_front(out: np.ndarray, leaf: Body, light: float, roundness: float) -> None:
    """Paint a body over what is there: an ellipsoid where roundness is 2, a box where it is large, pointed below 2."""
    extent = np.linalg.norm(leaf.directions * leaf.axes, axis=1) * 3 ** max(0.5 - 1 / roundness, 0) + 1
    low = np.maximum(np.floor(leaf.centre - extent), 0).astype(np.intp)
    high = np.minimum(np.ceil(leaf.centre + extent) + 1, out.shape).astype(np.intp)
    if (high <= low).any():
        return
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    z, y, x = (grid - np.float32(c) for grid, c in zip(np.ogrid[box], leaf.centre, strict=True))
    size = np.zeros(out[box].shape, np.float32)
    for axis in range(3):
        d = (leaf.directions[:, axis] / leaf.axes[axis]).astype(np.float32)
        size += np.abs((z * d[0] + y * d[1]) + x * d[2]) ** np.float32(roundness)
    share = np.clip((1 - size ** np.float32(1 / roundness)) * np.float32(leaf.axes.min()) + 0.5, 0, 1)
    out[box] += share * (np.float32(light) - out[box])


def cysts(shape: Triple, rng: np.random.Generator, *, isolated: bool = False) -> np.ndarray:
    """Draw hollow balls of one layer of cells, each with a nucleus that points outwards, in a thin basal wall."""
    least = min(shape)
    out = np.zeros(shape, np.float32)
    has_wall, wall = rng.random() < 0.7, rng.uniform(0.15, 0.6)
    places: list[tuple[np.ndarray, float]] = []
    for _ in range(int(rng.integers(4, 11))):
        radius = least * rng.uniform(0.16, 0.4)
        room = radius + 3 if isolated else 0.0
        centre = np.array([rng.uniform(room, max(n - room, room + 1)) for n in shape])
        if all(np.linalg.norm(centre - other) > radius + r + 2 for other, r in places):
            places.append((centre, radius))
    for centre, radius in places:
        thick = max(min(log_uniform(rng, 2, 8), 0.4 * radius), 1.5)
        across = max(thick * rng.uniform(0.3, 0.55), 1.0)
        directions = rng.normal(size=(_MOST_CELLS, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        shell = thin(directions * (radius - 0.6 * thick), 1.9 * across)
        for point in shell:
            outwards = point / np.linalg.norm(point)
            axes, _ = np.linalg.qr(np.column_stack([outwards, rng.normal(size=(3, 2))]))
            sizes = np.array([0.45 * thick, across, across]) * rng.uniform(0.85, 1.15, 3)
            paint_ellipsoid(out, Body(centre + point, sizes, axes), rng.uniform(0.5, 1))
        if has_wall:
            grid = np.ogrid[tuple(slice(n) for n in shape)]
            distance = np.sqrt(sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)))
            np.maximum(out, wall * np.clip(1.5 - np.abs(distance - radius), 0, 1), out=out, casting="same_kind")
    return out


def rods(shape: Triple, rng: np.random.Generator, *, isolated: bool = False) -> np.ndarray:
    """Draw a film of bacteria: rods 4 to 16 voxels long and 0.8 to 2.5 in radius, aligned with their neighbours."""
    radius = log_uniform(rng, 0.8, 2.5)
    length = radius * rng.uniform(3, 7)
    body = random_body(shape, rng, isolated=isolated, rim=length / 2 + 2, longest=3.0)
    spacing = 2.3 * radius * log_uniform(rng, 1, 2.5)
    centres = thin(scatter(shape, 2 / spacing**3, body, rng), spacing)[:_MOST_RODS]
    if not len(centres):
        centres = np.clip(body.centre, 0, np.array(shape) - 1)[None]
    main = rng.normal(size=3)
    main /= np.linalg.norm(main)
    waves = rng.normal(size=(3, 3)) * 2 * np.pi / (6 * length)
    bent = np.sin(centres @ waves.T + rng.uniform(0, 2 * np.pi, 3))
    headings = main + rng.uniform(0.3, 1.5) * bent + 0.25 * rng.normal(size=centres.shape)
    headings /= np.linalg.norm(headings, axis=1, keepdims=True)
    along = np.arange(-length / 2 + radius, length / 2 - radius + 0.3, 0.5 * radius)
    points = centres[:, None] + headings[:, None] * along[:, None]
    light = np.repeat(rng.uniform(rng.uniform(0.2, 0.9), 1, len(centres)), len(along))
    return paint_balls(shape, points.reshape(-1, 3), np.full(len(light), radius), light, steps=4)


def _one_of(shape: Triple, rng: np.random.Generator, *, isolated: bool) -> np.ndarray:
    kinds: tuple[Specimen, ...] = (dense, nuclei_cluster, sparse_nuclei, membranes, vessels, filaments, texture)
    return kinds[int(rng.integers(len(kinds)))](shape, rng, isolated=isolated)


SPECIMEN_FAMILIES: Mapping[str, Specimen] = SPECIMENS | {
    "dense": dense,
    "sparse_nuclei": sparse_nuclei,
    "vessels": vessels,
    "uneven": uneven,
    "dirty": dirty,
    "leaves": leaves,
    "cysts": cysts,
    "rods": rods,
}
"""Every family of specimens by its name."""
