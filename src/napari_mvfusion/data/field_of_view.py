"""Where a view recorded anything: masks of its field, from its own pixels, that are exact and cheap to ask for any box.

What a microscope records is a block of space, so after cropping, turning and resampling the field of a view is convex and
has flat faces: those of the convex hull of all voxels that hold something. Everything beyond that hull is one value, 0 or
NaN, and reaches the border of the volume. A field is kept as the first and last voxel of every row: whole however the
volume is cut, and stray zeros of a dark background do not matter to it. Nothing here knows of other views; `darkness`
asks them whether zeros beyond a face are dark pixels or no data.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice, product
from typing import Any, Literal, Protocol

import numpy as np
from scipy.spatial import ConvexHull, QhullError

NoData = Literal["auto", "0", "nan", "none"]
NO_DATA: tuple[NoData, ...] = ("auto", "0", "nan", "none")
"""Which pixels of a view are no measurement: what is recognised as outside its field, every 0, every NaN, or none."""

_SLAB_VOXELS = 4 * 2**20
_TOLERANCE = 1e-6
# Triangles of a hull are one flat face where their corners lie within so many voxels of a plane, and they look the same way.
_FLAT = 1.0
_ALIKE = 0.87
# A face counts from this share of the section of the volume along it on, and begins with a triangle of that one.
_LEAST_FACE = 0.08
_LEAST_SEED = 0.01
_POINTS = 48
_MOST_FACES = 8


class VolumeLike(Protocol):
    """What a view needs of an array: numpy, dask, zarr and memory maps all have it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes along (z, y, x)."""

    @property
    def dtype(self) -> Any:
        """Type of the pixels."""

    def __getitem__(self, index: Any, /) -> Any:
        """Pixels of a box, as something that `numpy.asarray` understands."""


@dataclass(frozen=True, eq=False)
class HullMask:
    """A convex field as a lazy bool array (z, y, x), True inside.

    Attributes
    ----------
    shape : voxels of the view
    rows : int32 (z, y, 2), first voxel of each row inside, and the first one behind; equal where the row is outside
    """

    shape: tuple[int, ...]
    rows: np.ndarray

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the mask."""
        return np.dtype(bool)

    @property
    def outside(self) -> float:
        """Share of the voxels outside the field."""
        return 1 - float((self.rows[..., 1] - self.rows[..., 0]).sum(dtype=np.int64)) / float(np.prod(self.shape))

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """The mask over a box; slices only."""
        z, y, x = index
        rows = self.rows[z, y]
        places = np.arange(self.shape[2])[x]
        return np.asarray((places >= rows[..., :1]) & (places < rows[..., 1:]))


def measured(mask: np.ndarray) -> np.ndarray:
    """Where a mask says that there is data, bool: what is neither 0 nor NaN."""
    inside: np.ndarray = mask != 0
    return inside & ~np.isnan(mask) if mask.dtype.kind == "f" else inside


@dataclass(frozen=True, eq=False)
class ValueMask:
    """A lazy bool array (z, y, x), False where the pixels of a view have a value that stands for no data.

    Attributes
    ----------
    data : the pixels
    zero, nan : which values these are
    also : another mask, outside of which there is no data either, or None
    """

    data: VolumeLike
    zero: bool = False
    nan: bool = False
    also: VolumeLike | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels of the view."""
        return self.data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the mask."""
        return np.dtype(bool)

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """The mask over a box."""
        pixels = np.asarray(self.data[index])
        known = np.ones(pixels.shape, bool) if self.also is None else measured(np.asarray(self.also[index]))
        if self.zero:
            known &= pixels != 0
        if self.nan and pixels.dtype.kind == "f":
            known &= ~np.isnan(pixels)
        return known


@dataclass(frozen=True, eq=False)
class NumberMask:
    """A lazy bool array (z, y, x): where a mask of floating-point numbers says that there is data.

    Attributes
    ----------
    numbers : the mask
    """

    numbers: VolumeLike

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels of the view."""
        return self.numbers.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the mask."""
        return np.dtype(bool)

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """The mask over a box."""
        return measured(np.asarray(self.numbers[index]))

    def count_nan(self) -> int:
        """How many of the numbers are NaN; reads all of them, slab by slab."""
        depth, height, width = self.shape
        thick = max(1, _SLAB_VOXELS // (height * width))
        slabs = (self.numbers[z : z + thick] for z in range(0, depth, thick))
        return sum(int(np.isnan(np.asarray(slab)).sum()) for slab in slabs)


@dataclass(frozen=True, eq=False)
class Face:
    """A flat part of a hull, inside the volume: where a field may end.

    Attributes
    ----------
    planes : float64 (n, 4), normal (z, y, x) that points outwards, and offset: `normal @ place + offset <= 0` inside
    points : int (m, 3), voxels at it, spread over it
    """

    planes: np.ndarray
    points: np.ndarray


@dataclass(frozen=True, eq=False)
class FieldSearch:
    """What the pixels of a view say about its field.

    Attributes
    ----------
    hull : beyond it all is 0 or NaN; None where that is nothing
    faces : its flat parts, the largest first
    nan : number of voxels that are NaN
    nan_at_border : whether some of these are at the border of the volume, as beyond a field
    mean : of the pixels inside the hull
    filled : share of the voxels inside the hull that are neither 0 nor NaN
    """

    hull: HullMask | None = None
    faces: tuple[Face, ...] = ()
    nan: int = 0
    nan_at_border: bool = False
    mean: float = 0.0
    filled: float = 1.0


def look_for_field(data: VolumeLike) -> Generator[float, None, FieldSearch]:
    """Look for the field of a view, in bounded memory.

    A hull that holds the eight corners holds everything, so volumes without a 0 or NaN there are not read at all.

    Parameters
    ----------
    data : (z, y, x), any real dtype

    Yields
    ------
    The share that is done, after every slab.
    """
    if all(_holds_something(data[corner]) for corner in product(*[(slice(0, 1), slice(-1, None))] * 3)):
        return FieldSearch()
    depth, height, width = data.shape
    shape = (depth, height, width)
    rows = np.zeros((depth, height, 2), np.int32)
    nan, at_border, total, held = 0, False, 0.0, 0
    thick = max(1, _SLAB_VOXELS // (height * width))
    for z in range(0, depth, thick):
        slab = slice(z, min(z + thick, depth))
        pixels = np.asarray(data[slab, :, :])
        something = pixels != 0
        if pixels.dtype.kind == "f":
            missing = np.isnan(pixels)
            if missing.any():
                nan += int(missing.sum())
                ends = missing[:, [0, -1]].any() or missing[:, :, [0, -1]].any()
                ends = ends or (z == 0 and missing[0].any()) or (slab.stop == depth and missing[-1].any())
                at_border = at_border or bool(ends)
                something &= ~missing
        held += int(np.count_nonzero(something))
        total += float(pixels.sum(dtype=np.float64, where=something))
        known = something.any(axis=2)
        rows[slab, :, 0] = np.where(known, something.argmax(axis=2), 0)
        rows[slab, :, 1] = np.where(known, width - something[:, :, ::-1].argmax(axis=2), 0)
        yield slab.stop / depth
    places = np.concatenate([_corners_of_plane(z, plane) for z, plane in enumerate(rows)])
    try:
        hull = ConvexHull(places)
    except (QhullError, ValueError):  # flat, a line, or nothing: no block of space
        return FieldSearch(nan=nan, nan_at_border=at_border)
    mask = inside_planes(hull.equations, shape)
    inside = (1 - mask.outside) * depth * height * width
    mean, filled = total / inside, held / inside
    if not mask.outside:
        return FieldSearch(nan=nan, nan_at_border=at_border, mean=mean)
    return FieldSearch(mask, tuple(islice(_faces(hull, shape), _MOST_FACES)), nan, at_border, mean, filled)


def inside_planes(planes: np.ndarray, shape: tuple[int, int, int]) -> HullMask:
    """All voxels inside of some planes, (n, 4) as in `Face`."""
    found = np.empty((*shape[:2], 2), np.int32)
    y = np.arange(shape[1], dtype=float)
    planes = np.unique(planes.round(12), axis=0)
    along_x = planes[:, 2:3]
    flat, above, below = np.abs(along_x[:, 0]) < _TOLERANCE, along_x[:, 0] >= _TOLERANCE, along_x[:, 0] <= -_TOLERANCE
    for z, row in enumerate(found):
        rest = planes[:, :1] * z + planes[:, 1:2] * y + planes[:, 3:]
        last = (-rest[above] / along_x[above]).min(axis=0, initial=shape[2] - 1.0)
        first = (-rest[below] / along_x[below]).max(axis=0, initial=0.0)
        last[(rest[flat] > _TOLERANCE).any(axis=0)] = -1
        row[:, 0] = np.ceil(first - _TOLERANCE * shape[2])
        row[:, 1] = np.maximum(np.floor(last + _TOLERANCE * shape[2]) + 1, row[:, 0])
    return HullMask(shape, found)


def _holds_something(pixels: Any) -> bool:
    value = np.asarray(pixels).ravel()[0]
    return bool(value != 0 and value == value)


def _corners_of_plane(z: int, rows: np.ndarray) -> np.ndarray:
    """Corners of the convex hull of one plane of rows, float64 (n, 3)."""
    y = np.flatnonzero(rows[:, 1] > rows[:, 0])
    ends = np.concatenate([np.stack([y, rows[y, 0]], axis=1), np.stack([y, rows[y, 1] - 1], axis=1)])
    if len(y) > 2:
        with suppress(QhullError):  # all on one line: every one of them is kept
            ends = ends[ConvexHull(ends).vertices]
    return np.insert(ends.astype(float), 0, z, axis=1)


def _faces(hull: ConvexHull, shape: tuple[int, int, int]) -> Generator[Face, None, None]:
    """The large flat parts of a hull that do not lie at the border of the volume."""
    corners = hull.points[hull.simplices]
    normals, offsets = hull.equations[:, :3], hull.equations[:, 3]
    sides = corners[:, 1:] - corners[:, :1]
    areas = np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1) / 2
    last = np.array(shape) - 1
    at_border = ((corners == 0) | (corners == last)).all(axis=1) & (np.abs(normals) > 1 - _TOLERANCE)
    free = ~at_border.any(axis=1)
    # Triangles of one plane belong together.
    _, plane = np.unique(hull.equations.round(9), axis=0, return_inverse=True)
    plane = plane.ravel()
    whole = np.bincount(plane, areas)
    for first in sorted(range(len(areas)), key=lambda triangle: -whole[plane[triangle]]):
        if not free[first]:
            continue
        normal = normals[first]
        axis = int(np.argmax(np.abs(normal)))
        section = np.prod(np.delete(shape, axis)) / abs(normal[axis])
        if whole[plane[first]] < _LEAST_SEED * section:
            return
        near = np.abs(corners @ normal + offsets[first]).max(axis=1) <= _FLAT
        mine = free & near & (normals @ normal > _ALIKE)
        free &= ~mine
        if areas[mine].sum() >= _LEAST_FACE * section:
            yield Face(np.unique(hull.equations[mine].round(12), axis=0), _spread(corners[mine], areas[mine]))


def _spread(triangles: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Voxels spread evenly over some triangles."""
    number = np.arange(_POINTS)
    chosen = np.searchsorted(np.cumsum(areas) / areas.sum(), (number + 0.5) / _POINTS).clip(max=len(areas) - 1)
    # Steps of a sequence that leaves no gaps, folded from the square onto the triangle.
    u, v = (number * 0.7548776662) % 1, (number * 0.5698402910) % 1
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    a, b, c = triangles[chosen].transpose(1, 0, 2)
    return np.unique((a + u[:, None] * (b - a) + v[:, None] * (c - a)).round().astype(int), axis=0)
