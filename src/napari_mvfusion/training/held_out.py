"""Which tiles are trained on and which are held out, as pure coordinates: no tile of one kind touches one of the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.errors import InputError

# Corners lie at multiples of what the networks count in, as in the engine.
CELL = 4
# What is held out beyond the first tile must leave this share of the light to train on.
_LEFT = 0.5
# Tiles with less light than this share of the brightest one say little about a network.
_BRIGHT = 0.4


@dataclass(frozen=True, eq=False)
class Split:
    """Tiles of several blocks.

    Attributes
    ----------
    held_out : block and box of each tile to validate on, voxels of the block
    corners : int (n, 4), block and corner (z, y, x) of each tile that may be trained on
    light : float (n,), mean brightness of each of these
    """

    held_out: tuple[tuple[int, Box], ...]
    corners: np.ndarray
    light: np.ndarray


def split_tiles(blocks: Sequence[np.ndarray], tile: Triple, count: int) -> Split:
    """Choose tiles to hold out: bright ones, placed so that much remains to train on.

    Parameters
    ----------
    blocks : brightness (z, y, x) of each block
    tile : (z, y, x) voxels, multiples of 4
    count : most tiles to hold out; at least one is, further ones while half of the light remains to train on

    Raises
    ------
    InputError
        If the blocks are too small to hold one tile out and to train on another that does not touch it.
    """
    light = [_light(block, tile) for block in blocks]
    left = [values.copy() for values in light]
    free = [np.ones(values.shape, bool) for values in light]
    whole = sum(float(values.sum()) for values in light)
    candidates = [(b, corner) for b, values in enumerate(light) for corner in _coarse(values.shape, tile)]
    brightest = max((light[b][corner] for b, corner in candidates), default=0.0)
    candidates = [(b, corner) for b, corner in candidates if light[b][corner] >= _BRIGHT * brightest]
    reach = [n // CELL for n in tile]
    held: list[tuple[int, Box]] = []
    while candidates and len(held) < count:
        costs = [float(left[b][_touching(corner, reach)].sum()) for b, corner in candidates]
        best = int(np.argmin(costs))
        b, corner = candidates.pop(best)
        remaining = [values.copy() for values in free]
        remaining[b][_touching(corner, reach)] = False
        enough = sum(float(values.sum()) for values in left) - costs[best] >= _LEFT * whole
        if not any(values.any() for values in remaining) or (held and not enough):
            break
        free = remaining
        left[b][_touching(corner, reach)] = 0
        start = triple(CELL * c for c in corner)
        held.append((b, Box(start, triple(a + n for a, n in zip(start, tile, strict=True)))))
    if not held:
        raise _too_small([triple(block.shape) for block in blocks], tile)
    corners = np.concatenate([np.insert(np.argwhere(values) * CELL, 0, b, axis=1) for b, values in enumerate(free)])
    return Split(tuple(held), corners, np.concatenate([v[f] for v, f in zip(light, free, strict=True)]))


def check_blocks(shapes: Sequence[Triple], tile: Triple) -> None:
    """Check by their sizes alone that one tile of the blocks can be held out beside another.

    Raises
    ------
    InputError
        If not.
    """
    room = [[n // CELL - t // CELL for n, t in zip(shape, tile, strict=True)] for shape in shapes]
    fitting = [beyond for beyond in room if min(beyond) >= 0]
    if len(fitting) == 1 and any(beyond >= t // CELL for beyond, t in zip(fitting[0], tile, strict=True)):
        return
    if len(fitting) < 2:
        raise _too_small(shapes, tile)


def _too_small(shapes: Sequence[Triple], tile: Triple) -> InputError:
    sizes = ", ".join(" x ".join(map(str, shape)) for shape in shapes)
    return InputError(
        f"no tile of {' x '.join(map(str, tile))} voxels can be held out of {sizes} voxels beside one to train on: "
        "choose a smaller tile (--tile, tile=), or a larger region"
    )


def _light(block: np.ndarray, tile: Triple) -> np.ndarray:
    """Mean brightness of the tile at each corner on the lattice, float64; no corner where the block is too small."""
    cells = [n // CELL for n in block.shape]
    sides = [n // CELL for n in tile]
    if any(c < s for c, s in zip(cells, sides, strict=True)):
        return np.zeros((0, 0, 0))
    z, y, x = (CELL * c for c in cells)
    shape = (cells[0], CELL, cells[1], CELL, cells[2], CELL)
    sums = block[:z, :y, :x].astype(np.float32).reshape(shape).mean(axis=(1, 3, 5), dtype=np.float64)
    for axis, side in enumerate(sides):
        total = np.cumsum(np.insert(sums, 0, 0, axis=axis), axis=axis)
        after = np.take(total, range(side, total.shape[axis]), axis=axis)
        sums = (after - np.take(total, range(total.shape[axis] - side), axis=axis)) / side
    return np.asarray(sums)


def _coarse(shape: tuple[int, ...], tile: Triple) -> list[Triple]:
    """Corners half a tile apart, and those at the far border."""
    rows = [sorted({*range(0, n, max(1, t // CELL // 2)), n - 1} - {-1}) for n, t in zip(shape, tile, strict=True)]
    return [triple(corner) for corner in product(*rows)]


def _touching(corner: Triple, reach: Sequence[int]) -> tuple[slice, ...]:
    """The corners of all tiles that share a voxel with the tile at a corner."""
    return tuple(slice(max(0, c - r + 1), c + r) for c, r in zip(corner, reach, strict=True))
