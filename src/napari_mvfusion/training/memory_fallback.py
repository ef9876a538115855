"""What is done when memory runs out: fewer tiles a step, then smaller ones."""

from __future__ import annotations

from napari_mvfusion.data.geometry import Triple, triple

_STEP = 4
_SMALLER = 0.75
SMALLEST_SIDE = 16


def smaller_step(tile: Triple, batch: int, least: Triple) -> tuple[Triple, int] | None:
    """The next smaller tile and batch, or None when neither can shrink.

    Parameters
    ----------
    tile : (z, y, x) voxels
    batch : tiles a step; it is halved before tiles get smaller
    least : sides below which a tile may not go

    Returns
    -------
    A tile whose largest sides are a quarter shorter, in multiples of 4.
    """
    if batch > 1:
        return tile, batch // 2
    shrinking = [n for n, m in zip(tile, least, strict=True) if n > m]
    if not shrinking:
        return None
    side = int(max(shrinking) * _SMALLER) // _STEP * _STEP
    return triple(n if n <= m else max(m, min(n, side)) for n, m in zip(tile, least, strict=True)), batch


def least_side(psf: int) -> int:
    """The shortest side of a tile in which the blur with a PSF of this length is known somewhere."""
    return max(SMALLEST_SIDE, psf // _STEP * _STEP + _STEP)
