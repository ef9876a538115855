"""What specimens are painted with: bodies that hold them, balls and ellipsoids in local boxes, smooth random fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
from scipy import fft
from scipy.spatial import cKDTree

from napari_mvfusion.data.geometry import Triple

# Balls of nearly the same radius and sub-voxel position share one stencil: radii are rounded to an eighth of a voxel.
_RADIUS_STEPS = 8
_STENCIL_VOXELS = 2 * 2**20
_EVERYWHERE = 0.15
# Four of the eight points that halve a voxel along each axis, as far apart from each other as possible.
_SAMPLES = np.array([(-1, -1, -1), (-1, 1, 1), (1, -1, 1), (1, 1, -1)]) / 4


@dataclass(frozen=True, eq=False)
class Body:
    """An ellipsoid that holds a specimen.

    Attributes
    ----------
    centre : float64 (3,), (z, y, x) in voxels, may lie outside the volume
    axes : float64 (3,), half-axes in voxels
    directions : float64 (3, 3), column i is the direction of half-axis i
    """

    centre: np.ndarray
    axes: np.ndarray
    directions: np.ndarray

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Which points (n, 3) lie inside: bool (n,)."""
        return np.asarray(np.linalg.norm((points - self.centre) @ self.directions / self.axes, axis=1) <= 1)

    def mask(self, shape: Triple, softness: float = 1.0) -> np.ndarray:
        """Share of every voxel inside, float32 (z, y, x); the border is about `softness` voxels wide."""
        low, high = -self.centre, np.array(shape) - 1 - self.centre
        corners = np.array(np.meshgrid(*zip(low, high, strict=True), indexing="ij")).reshape(3, 8).T
        if (np.linalg.norm(corners @ self.directions / self.axes, axis=1) < 1 - softness / self.axes.min()).all():
            return np.ones(shape, np.float32)
        z, y, x = (
            np.arange(n, dtype=np.float32).reshape([-1 if i == axis else 1 for i in range(3)]) - np.float32(c)
            for axis, (n, c) in enumerate(zip(shape, self.centre, strict=True))
        )
        distance = np.zeros(shape, np.float32)
        for axis in range(3):
            d = (self.directions[:, axis] / self.axes[axis]).astype(np.float32)
            distance += ((z * d[0] + y * d[1]) + x * d[2]) ** 2
        np.sqrt(distance, out=distance)
        distance *= -1
        distance += 1
        distance *= np.float32(self.axes.min() / softness)
        distance += 0.5
        return np.clip(distance, 0, 1, out=distance)


def random_body(
    shape: Triple, rng: np.random.Generator, *, isolated: bool, rim: float = 2.0, longest: float = 1.6
) -> Body:
    """Draw an ellipsoid of random size, direction and place.

    Parameters
    ----------
    shape : (z, y, x) of the volume
    rng : source of all randomness
    isolated : True keeps it inside the volume. Otherwise the middle of the volume lies deep inside the body, near its
        border, or just outside, and the body can be much larger than the volume.
    rim : voxels to keep free around an isolated body
    longest : ratio of the longest half-axis to a typical one
    """
    sizes = np.array(shape, np.float64)
    directions = random_directions(rng)
    proportions = rng.uniform(1 / longest, 1, 3)
    if isolated:
        room = np.maximum(sizes / 2 - rim, 3.0)
        extent = np.linalg.norm(directions * proportions, axis=1)
        axes = proportions * float((room / extent).min()) * rng.uniform(0.55, 1)
        slack = np.maximum(room - np.linalg.norm(directions * axes, axis=1), 0)
        return Body((sizes - 1) / 2 + slack * rng.uniform(-1, 1, 3), axes, directions)
    if rng.random() < _EVERYWHERE:
        return Body((sizes - 1) / 2, np.full(3, 4 * sizes.max()), directions)
    axes = proportions * float(sizes.min()) / 2 * log_uniform(rng, 0.4, 3.0)
    outwards = rng.normal(size=3)
    outwards *= rng.uniform(0, 1.05) / np.linalg.norm(outwards)
    middle = (sizes - 1) / 2 + sizes * rng.uniform(-0.15, 0.15, 3)
    return Body(middle - directions @ (axes * outwards), axes, directions)


def random_directions(rng: np.random.Generator) -> np.ndarray:
    """Three orthogonal directions drawn evenly, as columns, float64 (3, 3)."""
    directions, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return np.asarray(directions)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number whose logarithm is evenly distributed between those of `low` and `high`."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def scatter(shape: Triple, density: float, body: Body, rng: np.random.Generator, rim: float = 0.0) -> np.ndarray:
    """Points thrown into a body, float64 (n, 3), `density` a voxel, also up to `rim` voxels outside the volume."""
    sizes = np.array(shape) + 2 * rim
    points = rng.random((int(rng.poisson(density * float(np.prod(sizes)))), 3)) * sizes - rim - 0.5
    return np.asarray(points[body.contains(points)])


def thin(points: np.ndarray, distance: float) -> np.ndarray:
    """Drop points closer than `distance` to one that comes before them (hard-core thinning after Matérn, type II)."""
    pairs = cKDTree(points).query_pairs(distance, output_type="ndarray")
    kept = np.ones(len(points), bool)
    kept[pairs.max(axis=1)] = False
    return np.asarray(points[kept])


def paint_balls(
    shape: Triple, centres: np.ndarray, radii: np.ndarray, brightness: np.ndarray, *, steps: int = 2
) -> np.ndarray:
    """Paint balls with a soft border of one voxel; where they meet the brightest wins.

    Parameters
    ----------
    shape : (z, y, x)
    centres : (n, 3), voxels, rounded to `1 / steps` of a voxel; may lie outside
    radii : (n,), voxels, rounded to 1/8. What is smaller than a voxel is as much dimmer as it fills the voxel less.
    brightness : (n,), 0 to 1
    steps : sub-voxel positions along each axis

    Returns
    -------
    float32 (z, y, x)
    """
    rounded = np.maximum(np.rint(radii * _RADIUS_STEPS), 1) / _RADIUS_STEPS
    return _paint(shape, centres, rounded, brightness, steps, _soft_ball)


def paint_packed_balls(shape: Triple, centres: np.ndarray, radii: np.ndarray, brightness: np.ndarray) -> np.ndarray:
    """Paint balls that overlap, as `paint_balls` does, without dark seams where one ends in front of another.

    The brightest ball wins at four points of each voxel, whose mean is taken; centres are rounded to half a voxel.
    """
    out = np.zeros(shape, np.float32)
    for sample in _SAMPLES:
        out += _paint(shape, centres - sample, radii, brightness, 4, _hard_ball)
    out /= len(_SAMPLES)
    return out


def _paint(
    shape: Triple,
    centres: np.ndarray,
    radii: np.ndarray,
    brightness: np.ndarray,
    steps: int,
    stencil: Callable[[float, np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> np.ndarray:
    """Paint one stencil a ball into a volume where it is brighter; balls of one stencil at a time."""
    sizes, size = np.unique(radii, return_inverse=True)
    voxel, phase = np.divmod(np.rint(centres * steps).astype(np.intp), steps)
    reach = np.ceil(radii + 1).astype(np.intp)
    near = ((voxel > -reach[:, None] - 1) & (voxel < np.array(shape) + reach[:, None])).all(axis=1)
    if not near.any():
        return np.zeros(shape, np.float32)
    pad = 2 * int(reach.max()) + 2
    canvas = np.zeros([n + 2 * pad for n in shape], np.float32)
    strides = np.array([canvas.shape[1] * canvas.shape[2], canvas.shape[2], 1])
    place = (voxel + pad) @ strides
    key = np.ravel_multi_index((size, *phase.T), (len(sizes), steps, steps, steps))
    chosen = np.flatnonzero(near)
    chosen = chosen[np.lexsort((place[chosen], key[chosen]))]
    flat = canvas.reshape(-1)
    light = brightness.astype(np.float32)
    for group in np.split(chosen, np.flatnonzero(np.diff(key[chosen])) + 1):
        offsets, share = stencil(float(sizes[size[group[0]]]), phase[group[0]] / steps)
        if not len(offsets):
            continue
        jumps = offsets @ strides
        many = max(1, _STENCIL_VOXELS // len(jumps))
        for start in range(0, len(group), many):
            part = group[start : start + many]
            np.maximum.at(flat, (place[part, None] + jumps).ravel(), (light[part, None] * share).ravel())
    return np.ascontiguousarray(canvas[tuple(slice(pad, pad + n) for n in shape)])


def paint_ellipsoid(out: np.ndarray, body: Body, brightness: float, dim: Body | None = None) -> None:
    """Paint an ellipsoid into a volume where it is brighter, 40 % darker inside the body `dim`."""
    extent = np.linalg.norm(body.directions * body.axes, axis=1) + 1
    low = np.maximum(np.floor(body.centre - extent), 0).astype(np.intp)
    high = np.minimum(np.ceil(body.centre + extent) + 1, out.shape).astype(np.intp)
    if (high <= low).any():
        return
    size: Triple = (int(high[0] - low[0]), int(high[1] - low[1]), int(high[2] - low[2]))
    painted = Body(body.centre - low, body.axes, body.directions).mask(size) * np.float32(brightness)
    if dim is not None:
        painted *= 1 - np.float32(0.4) * Body(dim.centre - low, dim.axes, dim.directions).mask(size)
    box = out[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    np.maximum(box, painted, out=box)


def smooth_field(shape: Triple, rng: np.random.Generator, *, scale: float, power: float | None = None) -> np.ndarray:
    """Draw a random field of mean 0 and standard deviation 1.

    Parameters
    ----------
    shape : (z, y, x); the field is cut from a periodic one that is a little larger
    rng : source of all randomness
    scale : length in voxels below which it is smooth: a Gaussian of this sigma
    power : None for white noise, otherwise amplitudes fall with this power of the frequency

    Returns
    -------
    float32 (z, y, x)
    """
    padded = [fft.next_fast_len(n + ceil(2 * scale), real=True) for n in shape]
    spectrum = fft.rfftn(rng.standard_normal(padded, np.float32), overwrite_x=True)
    frequency = [fft.fftfreq(n) for n in padded[:2]] + [fft.rfftfreq(padded[2])]
    falls = [np.exp(-2 * (np.pi * scale * f) ** 2).astype(np.float32) for f in frequency]
    spectrum *= falls[0][:, None, None]
    spectrum *= falls[1][:, None] * falls[2]
    if power is not None:
        z, y, x = (f.astype(np.float32) ** 2 for f in frequency)
        squared = (z[:, None, None] + y[:, None]) + x
        squared[0, 0, 0] = 1
        np.power(squared, np.float32(-power / 2), out=squared)
        spectrum *= squared
    spectrum[0, 0, 0] = 0
    field = fft.irfftn(spectrum, padded, overwrite_x=True)[tuple(slice(n) for n in shape)]
    return np.ascontiguousarray(field / max(float(field.std()), 1e-12), np.float32)


def _soft_ball(radius: float, phase: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Voxels that a ball touches, as offsets (k, 3) from the voxel below its centre, and how much of each it fills."""
    reach = ceil(radius + 1)
    grid = np.stack(np.meshgrid(*[np.arange(-reach, reach + 2)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    share = np.clip(radius - np.linalg.norm(grid - phase, axis=1) + 0.5, 0, 1)
    touched = share > 0
    if not touched.any():
        # A point between eight voxels that is too small to touch any: it falls onto all of them.
        share = np.clip(1 - np.abs(grid - phase), 0, 1).prod(axis=1)
        touched = share > 0
    share = share[touched]
    if radius < 1:
        share *= min(1.0, 4 / 3 * np.pi * radius**3 / float(share.sum()))
    return grid[touched], share.astype(np.float32)


def _hard_ball(radius: float, phase: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points of the grid inside a ball, as offsets (k, 3) from the voxel below its centre, and ones."""
    reach = ceil(radius)
    grid = np.stack(np.meshgrid(*[np.arange(-reach, reach + 2)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = grid[((grid - phase) ** 2).sum(axis=1) <= radius**2]
    return inside, np.ones(len(inside), np.float32)
