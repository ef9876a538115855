"""Tile plans as pure coordinates: how a volume is cut into boxes, without arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.errors import InputError, MemoryShortage


@dataclass(frozen=True)
class TilePlan:
    """A volume of `shape` cut into boxes of `tile` voxels (smaller at the far borders), in z, y, x order."""

    shape: Triple
    tile: Triple

    def __post_init__(self) -> None:
        if any(n < 1 for n in self.tile):
            raise InputError(f"a tile needs three positive sizes (z, y, x), not {self.tile}")

    @cached_property
    def boxes(self) -> tuple[Box, ...]:
        """The tiles: disjoint, and together the whole volume."""
        starts = product(*(range(0, n, t) for n, t in zip(self.shape, self.tile, strict=True)))
        return tuple(
            Box(triple(start), triple(min(a + t, n) for a, t, n in zip(start, self.tile, self.shape, strict=True)))
            for start in starts
        )

    def meeting(self, box: Box) -> list[int]:
        """The numbers of the tiles that a box meets, which lies in the volume."""
        counts = [-(-n // t) for n, t in zip(self.shape, self.tile, strict=True)]
        ranges = (range(a // t, -(-b // t)) for a, b, t in zip(box.start, box.stop, self.tile, strict=True))
        return [(z * counts[1] + y) * counts[2] + x for z, y, x in product(*ranges)]


def align(tile: Triple, shape: Triple, chunk: Triple) -> Triple:
    """Round a tile up to whole chunks, but not beyond the volume.

    A chunk then belongs to one tile only, so that no two tiles ever write the same chunk of a file.
    """
    return triple(min(n, -(-min(t, n) // c) * c) for t, n, c in zip(tile, shape, chunk, strict=True))


def largest_tile(shape: Triple, chunk: Triple, fits: Callable[[Triple], bool]) -> Triple:
    """Find large, even tiles that fit into memory.

    Starts with the whole volume and cuts the longest side of the tile into one more part until `fits` agrees.
    Large tiles waste less on halos; a side is cut into equal parts so that no thin tile is left over.

    Parameters
    ----------
    shape : the volume, (z, y, x) voxels
    chunk : tiles are whole multiples of it, (z, y, x) voxels
    fits : tells whether a tile of a shape can be run

    Raises
    ------
    MemoryShortage
        If even one chunk does not fit.
    """
    parts = [1, 1, 1]
    while True:
        tile = align(triple(-(-n // p) for n, p in zip(shape, parts, strict=True)), shape, chunk)
        if fits(tile):
            return tile
        sides = [t if t > c else 0 for t, c in zip(tile, chunk, strict=True)]
        if not any(sides):
            raise MemoryShortage(
                f"not even a tile of {tile} voxels fits into the memory that is free: "
                "close other programs, choose smaller PSFs, or use another device"
            )
        axis = sides.index(max(sides))
        # Where rounding up to whole chunks swallows the cut, cut again until the side really shrinks.
        while align(triple(-(-n // p) for n, p in zip(shape, parts, strict=True)), shape, chunk)[axis] == tile[axis]:
            parts[axis] += 1


def pieces(box: Box, limit: Triple | None) -> list[Box]:
    """Halve a box until no side is longer than `limit`; the box itself where there is no limit."""
    if limit is None or all(n <= most for n, most in zip(box.shape, limit, strict=True)):
        return [box]
    axis = max(range(3), key=lambda i: box.shape[i] / limit[i])
    middle = box.start[axis] + (box.shape[axis] + 1) // 2
    near = Box(box.start, triple(middle if i == axis else box.stop[i] for i in range(3)))
    far = Box(triple(middle if i == axis else box.start[i] for i in range(3)), box.stop)
    return pieces(near, limit) + pieces(far, limit)
