"""Boxes of voxels and the grid of the fused volume: pure coordinates, no arrays of pixels.

All triples are (z, y, x). Boxes count voxels of the fused grid; world coordinates are micrometres.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from napari_mvfusion.errors import InputError

Triple = tuple[int, int, int]
FloatTriple = tuple[float, float, float]
Known = tuple[bool, bool, bool]

StatedSize = tuple[float | None, float | None, float | None]

ALL_KNOWN: Known = (True, True, True)
NOT_KNOWN: Known = (False, False, False)
NO_SIZE: StatedSize = (None, None, None)

# Degrees.
_SAME_ANGLE = 1e-3
# As a share of a voxel, at the end of a side of so many voxels.
_SLANT = 0.01
_LONG_SIDE = 10_000
# What a matrix leaves of a volume that it squeezes flat, as a share of the product of its columns.
_FLAT = 1e-6
# What rounding leaves of 0, as a share of the largest number of a column.
_ROUNDING = 1e-12
# Places that are the same, as a share of a voxel.
_SAME_STEP = 1e-5
_SAME_PLACE = 0.01


def same_direction(one: float, other: float) -> bool:
    """Whether two angles in degrees are one direction: they differ by full turns."""
    return abs((one - other + 180) % 360 - 180) < _SAME_ANGLE


def is_aligned(affine: np.ndarray, side: int = _LONG_SIDE) -> bool:
    """Whether a matrix leaves axes along those of the world: it scales, moves, and may mirror, but turns and shears nothing.

    Parameters
    ----------
    affine : 3 x 3 or 4 x 4, from voxels to the world
    side : voxels after which an axis may be off by a hundredth of a voxel; rounding is no turn
    """
    linear = affine[:3, :3]
    sizes = np.abs(np.diag(linear))
    slant = np.abs(linear - np.diag(np.diag(linear))).max(axis=0)
    return bool((sizes > 0).all() and (slant <= _SLANT * sizes / side).all())


def is_upright(affine: np.ndarray, side: int = _LONG_SIDE) -> bool:
    """Whether a matrix from voxels to the world scales and moves only: see `is_aligned`, and nothing is mirrored."""
    return is_aligned(affine, side) and bool((np.diag(affine)[:3] > 0).all())


def is_flat(linear: np.ndarray) -> bool:
    """Whether a square matrix squeezes a volume flat, in whatever unit it counts and wherever it puts it.

    Parameters
    ----------
    linear : the part of an affine that is no translation; its scale does not count
    """
    sides = np.linalg.norm(linear, axis=0)
    return not (np.isfinite(sides).all() and sides.all()) or abs(float(np.linalg.det(linear / sides))) < _FLAT


def without_rounding(linear: np.ndarray) -> np.ndarray:
    """A matrix, without its translation, in which what a turn left of 0 is 0: 6e-17 beside 1 in a column."""
    size = np.abs(linear)
    return np.where(size < _ROUNDING * size.max(axis=0, initial=0.0), 0.0, linear)


def same_affine(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two affines (4 x 4, that can be inverted) place voxels alike, to a hundredth of a voxel, wherever that is."""
    apart = np.linalg.solve(one[:3, :3], (other - one)[:3])
    return bool((np.abs(apart[:, :3]) <= _SAME_STEP).all() and (np.abs(apart[:, 3]) <= _SAME_PLACE).all())


def triple(values: Iterable[int]) -> Triple:
    """Return three integers as a tuple (z, y, x)."""
    z, y, x = (int(value) for value in values)
    return z, y, x


def float_triple(values: Iterable[float]) -> FloatTriple:
    """Return three floats as a tuple (z, y, x)."""
    z, y, x = (float(value) for value in values)
    return z, y, x


def assumed_size(stated: StatedSize) -> tuple[FloatTriple, Known]:
    """Voxel size (z, y, x) in um to go on with where it is stated for some axes only, and for which it is.

    An axis without a size gets that of a cube: the finest of the others, 1 where there is none.
    """
    usual = min((size for size in stated if size is not None), default=1.0)
    z, y, x = (size is not None for size in stated)
    return float_triple(usual if size is None else size for size in stated), (z, y, x)


# From far below an atom to a metre; beyond, a unit is wrong, and files cannot state it.
_SMALLEST_UM, _LARGEST_UM = 1e-5, 1e6
# From expanded specimens to whole brains at low magnification.
_FINEST_UM, _COARSEST_UM = 0.005, 100.0


@dataclass(frozen=True, order=True)
class Box:
    """A half-open box of voxels, `start <= index < stop` on each of the axes (z, y, x)."""

    start: Triple
    stop: Triple

    def __post_init__(self) -> None:
        if any(stop < start for start, stop in zip(self.start, self.stop, strict=True)):
            raise InputError(f"a box cannot end before it starts: {self.start} to {self.stop}")

    @classmethod
    def whole(cls, shape: Iterable[int]) -> Box:
        """The box that covers a volume of this shape."""
        return cls((0, 0, 0), triple(shape))

    @property
    def shape(self) -> Triple:
        """Number of voxels along (z, y, x)."""
        return triple(b - a for a, b in zip(self.start, self.stop, strict=True))

    @property
    def size(self) -> int:
        """Number of voxels inside."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The box as an index into an array of the whole volume."""
        z, y, x = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return z, y, x

    def grow(self, halo: Triple) -> Box:
        """The box with `halo` voxels more on both sides of each axis; it may leave the volume."""
        return Box(
            triple(a - h for a, h in zip(self.start, halo, strict=True)),
            triple(b + h for b, h in zip(self.stop, halo, strict=True)),
        )

    def clip(self, shape: Triple) -> Box:
        """The part of the box that lies inside a volume of `shape` (empty where they do not meet)."""
        start = triple(min(max(a, 0), n) for a, n in zip(self.start, shape, strict=True))
        stop = triple(min(max(b, 0), n) for b, n in zip(self.stop, shape, strict=True))
        return Box(start, triple(max(a, b) for a, b in zip(start, stop, strict=True)))

    def meet(self, other: Box) -> Box:
        """What both boxes have in common (empty where they do not meet)."""
        start = triple(max(a, b) for a, b in zip(self.start, other.start, strict=True))
        stop = triple(min(a, b) for a, b in zip(self.stop, other.stop, strict=True))
        return Box(start, triple(max(a, b) for a, b in zip(start, stop, strict=True)))

    def inside(self, other: Box) -> Box:
        """The same box in the coordinates of `other`, that is, with `other.start` as the origin."""
        return Box(
            triple(a - o for a, o in zip(self.start, other.start, strict=True)),
            triple(b - o for b, o in zip(self.stop, other.start, strict=True)),
        )

    def within(self, other: Box) -> Box:
        """A box in the coordinates of `other` in those that `other` is in: the way back from `inside`."""
        return Box(
            triple(a + o for a, o in zip(self.start, other.start, strict=True)),
            triple(b + o for b, o in zip(self.stop, other.start, strict=True)),
        )


def box_of(index: Sequence[slice | int], shape: Sequence[int]) -> tuple[Box, tuple[slice | int, ...]]:
    """The smallest box with all voxels that an index of a lazy volume asks for, and the index of these in the box.

    Parameters
    ----------
    index : one slice, with any step, or number for each axis
    shape : (z, y, x) of the volume
    """
    runs = [
        range(n)[part] if isinstance(part, slice) else range(n)[int(part) :][:1]
        for part, n in zip(index, shape, strict=True)
    ]
    box = Box(triple(min(run, default=0) for run in runs), triple(max(run, default=-1) + 1 for run in runs))
    picked = tuple(
        slice(None, None, run.step) if isinstance(part, slice) else 0 for part, run in zip(index, runs, strict=True)
    )
    return box, picked


def is_impossible_size(voxel_size_um: Sequence[float]) -> bool:
    """Whether voxels (z, y, x) are such as no microscope has: below 0.01 nm, or above 1 m."""
    return any(0 < size < _SMALLEST_UM or _LARGEST_UM < size < np.inf for size in voxel_size_um)


def is_unlikely_size(voxel_size_um: Sequence[float]) -> bool:
    """Whether voxels (z, y, x) are such as light-sheet microscopes do not record: below 5 nm, or above 0.1 mm."""
    return any(not _FINEST_UM <= size <= _COARSEST_UM for size in voxel_size_um)


def refuse_impossible_size(voxel_size_um: Sequence[float], file: str = "", units: Sequence[str] = ()) -> None:
    """Refuse voxels (z, y, x) that no microscope has, of a file, where one is named, in the units that it writes.

    Raises
    ------
    InputError
        If one is below 0.01 nm or above 1 m.
    """
    if is_impossible_size(voxel_size_um):
        shown = ", ".join(f"{size:g}" for size in voxel_size_um)
        named = (unit for size, unit in zip(voxel_size_um, units, strict=False) if unit and is_impossible_size([size]))
        words = " and ".join(f"'{unit}'" for unit in dict.fromkeys(named))
        raise InputError(
            f"{file}{': ' if file else ''}voxels of ({shown}) um cannot be those of a microscope: "
            f"check the unit{f', which it states as {words}' if words else ''}"
            f"{', or say their size with --voxel-size Z,Y,X (voxel_size_um=)' if file else ''}"
        )


@dataclass(frozen=True)
class Grid:
    """Where the voxels of the fused volume lie.

    Attributes
    ----------
    shape : (z, y, x), voxels
    voxel_size_um : (z, y, x), micrometres between voxel centres
    origin_um : (z, y, x), world position of the centre of voxel (0, 0, 0)
    known : along which axes (z, y, x) anybody said the voxel size; along the others it is a number to go on with, and
        no size (see `assumed_size`). It makes no grids differ
    """

    shape: Triple
    voxel_size_um: FloatTriple = (1.0, 1.0, 1.0)
    origin_um: FloatTriple = field(default=(0.0, 0.0, 0.0))
    known: Known = field(default=ALL_KNOWN, compare=False)

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or any(n < 1 for n in self.shape):
            raise InputError(f"a grid needs three positive sizes (z, y, x), not {tuple(self.shape)}")
        if not all(np.isfinite(s) and s > 0 for s in self.voxel_size_um):
            raise InputError(f"voxel sizes must be positive micrometres, not {tuple(self.voxel_size_um)}")
        refuse_impossible_size(self.voxel_size_um)
        if not all(np.isfinite(o) for o in self.origin_um):
            raise InputError(f"the origin of a grid must be finite, not {tuple(self.origin_um)}")

    @property
    def box(self) -> Box:
        """The box of the whole volume."""
        return Box.whole(self.shape)

    @property
    def size_known(self) -> bool:
        """Whether the voxel size is known along all axes."""
        return all(self.known)

    @property
    def stated_size_um(self) -> StatedSize:
        """Voxel size (z, y, x), None along axes where nobody said it."""
        z, y, x = (size if known else None for size, known in zip(self.voxel_size_um, self.known, strict=True))
        return z, y, x

    @property
    def affine(self) -> np.ndarray:
        """4 x 4 matrix from voxel index (z, y, x, 1) to world micrometres, float64."""
        matrix = np.diag([*self.voxel_size_um, 1.0])
        matrix[:3, 3] = self.origin_um
        return matrix

    @property
    def anisotropy(self) -> FloatTriple:
        """Voxel size on each axis divided by the smallest one, (z, y, x), each at least 1."""
        smallest = min(self.voxel_size_um)
        return float_triple(size / smallest for size in self.voxel_size_um)
