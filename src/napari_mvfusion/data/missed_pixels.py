"""How many pixels that hold something a view lacks beyond a face of its hull, told by other views at places as bright.

Where photons are counted without a background, dark pixels are common: a hull ends where the last photons lie by chance, and
others show some light beyond it. So tiles beyond the face are compared with tiles inside the hull in which the other views
are as bright. Where such tiles are empty now and then, empty ones tell nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from napari_mvfusion.data.geometry import Box, Triple

# Planes that are looked at, evenly spread; more of them at the faces, so far from these.
_PLANES = 24
_AT_FACES = (-6, -3, -1, 1, 3, 6)
# Sides of a tile: sparse photons need large ones, narrow margins small ones. A tile lies on one side for this share of it.
_SIDES = (4, 8, 16, 32)
_SHARE = 0.4
# Tiles are as bright where the light of the other views falls into one such step, of the logarithm to base 2. Of so many
# tiles inside the share of the emptiest says what must be expected at least.
_STEP = 0.5
_FEWEST_TILES = 20
_EMPTIEST = 0.03


@dataclass(frozen=True, eq=False)
class _Sums:
    """Of the voxels on one side in each tile, (n,): their number, those that hold something, the light of the others."""

    voxels: np.ndarray
    held: np.ndarray
    light: np.ndarray


def planes_to_look_at(shape: Triple, places: Sequence[np.ndarray]) -> np.ndarray:
    """Positions along z, rising.

    Parameters
    ----------
    shape : of the fused volume
    places : int (n, 3), voxels of it at each face
    """
    chosen = [np.linspace(0, shape[0] - 1, min(shape[0], _PLANES)).astype(int)]
    for face in places:
        ends = np.array([face[:, 0].min(), face[:, 0].max()])
        chosen += [ends + step for step in _AT_FACES]
    found = np.unique(np.concatenate(chosen))
    return found[(found >= 0) & (found < shape[0])]


def missed_beyond(
    index: int,
    planes: np.ndarray,
    shape: Triple,
    means: Sequence[float],
    read: Callable[[Box], np.ndarray],
    inside: Callable[[Box], np.ndarray],
    beyond: Sequence[Callable[[Box], np.ndarray]],
) -> list[float]:
    """How many voxels that hold something a view would have beyond each face at least, of those that are looked at.

    Parameters
    ----------
    index : of the view
    planes : positions along z
    shape : of the fused volume
    means : brightness of each view inside its hull
    read : gives the views over a box, float (view, z, y, x)
    inside : gives where each view lies inside its hull, bool, the same shape
    beyond : for each face, gives what lies beyond it, bool (z, y, x)
    """
    within: dict[int, list[_Sums]] = {side: [] for side in _SIDES}
    outside: list[dict[int, list[_Sums]]] = [{side: [] for side in _SIDES} for _ in beyond]
    for z in planes:
        box = Box((int(z), 0, 0), (int(z) + 1, *shape[1:]))
        known = inside(box)[:, 0]
        values = read(box)[:, 0]
        others = [u for u in range(len(known)) if u != index and means[u] > 0]
        expected = sum(known[u] * means[u] for u in others) + np.zeros(shape[1:])
        light = sum(known[u] * values[u] for u in others) / np.maximum(expected, 1e-30)
        seen = expected > 0
        held = values[index] != 0
        for side in _SIDES:
            within[side].append(_sums(known[index] & seen, held, light, side))
            for sums, part in zip(outside, beyond, strict=True):
                sums[side].append(_sums(part(box)[0] & seen, held, light, side))
    return [max(_expected(within[side], sums[side]) for side in _SIDES) for sums in outside]


def _sums(chosen: np.ndarray, held: np.ndarray, light: np.ndarray, side: int) -> _Sums:
    voxels, mine, bright = (_in_tiles(chosen * each, side) for each in (np.ones(chosen.shape), held, light))
    enough = voxels >= _SHARE * side**2
    return _Sums(voxels[enough], mine[enough], bright[enough])


def _in_tiles(plane: np.ndarray, side: int) -> np.ndarray:
    rows = np.add.reduceat(plane, np.arange(0, plane.shape[0], side), axis=0)
    tiles: np.ndarray = np.add.reduceat(rows, np.arange(0, plane.shape[1], side), axis=1)
    return tiles


def _expected(within: Sequence[_Sums], beyond: Sequence[_Sums]) -> float:
    """Voxels beyond that would hold something, were they as in the emptiest of the tiles inside that are as bright."""
    levels, shares = _levels(within)
    others, _ = _levels(beyond)
    voxels = np.concatenate([sums.voxels for sums in beyond])
    found = 0.0
    for level in np.unique(others):
        alike = shares[levels == level]
        if np.isfinite(level) and len(alike) >= _FEWEST_TILES:
            found += float(np.quantile(alike, _EMPTIEST, method="lower") * voxels[others == level].sum())
    return found


def _levels(sums: Sequence[_Sums]) -> tuple[np.ndarray, np.ndarray]:
    """Steps of brightness of the other views, -inf where they are dark, and the share of each tile that holds something."""
    voxels, held, light = (
        np.concatenate([getattr(each, name) for each in sums]) for name in ("voxels", "held", "light")
    )
    with np.errstate(divide="ignore"):
        return np.round(np.log2(light / voxels) / _STEP), held / voxels
