"""How a run fits into memory: the size of its tiles, and what is kept in memory between them.

The bound is a sum of what the run can hold at once, stated before it starts:

    tile work of the method  +  inputs of two tiles (one is read ahead)  +  one finished tile
    + views and estimate where they are kept in memory  +  the result where it is an array
    + 96 MiB for what file libraries decode at once and the allocator keeps back
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import prod

from napari_mvfusion.data.geometry import Box, Triple
from napari_mvfusion.data.tiles import TilePlan, align, largest_tile
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.estimate import volumes_needed
from napari_mvfusion.errors import MemoryShortage
from napari_mvfusion.io.formats import growing_format
from napari_mvfusion.methods.base import BoundMethod, iterates

LIBRARY_BYTES = 96 * 2**20
_FLOAT_BYTES = 4
_TILES_OF_EACH = 4


class EstimateStorage(StrEnum):
    """Where the estimate of a method of several stages lives between them."""

    NONE = "none"
    DEVICE = "device"
    MEMORY = "memory"
    DISK = "disk"


@dataclass(frozen=True)
class RunPlan:
    """Tiles of a run, what is kept in memory between them, and the bound that follows, in bytes."""

    tiles: TilePlan
    storage: EstimateStorage
    keep_views: bool
    bound_bytes: int


def plan_run(
    bound: BoundMethod,
    views: RegisteredViews,
    *,
    chunk: Triple,
    budget: int,
    tile: Triple | None,
    array_result: bool,
    scratch: bool,
    shared_by: int | None = None,
) -> RunPlan:
    """Choose the largest tiles, and the fastest storage, that stay within a budget of memory.

    Parameters
    ----------
    bound : the method, ready to run
    views : the views it fuses
    chunk : tiles are whole multiples of it, (z, y, x) voxels
    budget : bytes that the run may take
    tile : tile shape that the user asked for, or None to choose
    array_result : whether the result is an array in memory
    scratch : whether there is a folder for an estimate that does not fit into memory
    shared_by : how many processes share the tiles out, each with that budget: then nothing is kept in memory between them,
        and there are tiles for all of them, where the volume has as many chunks

    Raises
    ------
    MemoryShortage
        If even the smallest tile does not fit; the message says what would help.
    """
    shape = views.grid.shape
    available = budget - LIBRARY_BYTES
    volume = views.grid.box.size * _FLOAT_BYTES
    several = len(bound.stages) > 1
    estimate = volumes_needed(bound.extrapolation_floor) * volume
    result = volume if array_result else 0
    kept_views = volume * len(views) * (2 if views.coverage(Box((0, 0, 0), (1, 1, 1))) is not None else 1)
    wanted = None if tile is None else align(tile, shape, chunk)

    def tile_bytes(candidate: Triple) -> int:
        size = candidate[0] * candidate[1] * candidate[2] * _FLOAT_BYTES
        inputs = input_bytes(views, bound, candidate)
        return bound.working_bytes(candidate) + 2 * inputs + size

    def choose(kept: int, storage: EstimateStorage, *, keep_views: bool) -> RunPlan | None:
        def fits(candidate: Triple) -> bool:
            return kept + tile_bytes(candidate) <= available

        def is_shared(candidate: Triple) -> bool:
            return fits(candidate) and _count(shape, candidate) >= least_tiles

        try:
            best = wanted or largest_tile(shape, chunk, is_shared)
        except MemoryShortage:
            return None
        return RunPlan(TilePlan(shape, best), storage, keep_views, LIBRARY_BYTES + kept + tile_bytes(best))

    # Tiles of one stage wait for no others, so that more of them keep all busy to the end; those of several have halos.
    least_tiles = min((shared_by or 1) * (_TILES_OF_EACH if shared_by and not several else 1), _count(shape, chunk))
    if not several or shared_by is not None:
        storage = EstimateStorage.DISK if several else EstimateStorage.NONE
        plan = choose(result, storage, keep_views=False)
        if plan is None:
            raise MemoryShortage(_advice(budget, array_result))
        return plan

    # Iterations in memory are saved now and then. Few stages, as long as a run, are kept tile by tile.
    saved_by_tiles = scratch and not iterates(bound.stages)
    whole = estimate + kept_views + result + tile_bytes(shape)
    if whole <= available and wanted in (None, shape) and not saved_by_tiles:
        return RunPlan(TilePlan(shape, shape), EstimateStorage.DEVICE, True, LIBRARY_BYTES + whole)
    if saved_by_tiles:
        options = [(kept_views + result, EstimateStorage.DISK, True)]
    else:
        options = [
            (estimate + kept_views + result, EstimateStorage.MEMORY, True),
            (estimate + result, EstimateStorage.MEMORY, False),
        ]
    if scratch:
        options.append((result, EstimateStorage.DISK, False))
    for kept, storage, keep_views in options:
        # Keeping whole volumes must not squeeze the tiles: small tiles lose more to their halos than disks cost.
        if kept > available // 2 and (storage, keep_views) != (options[-1][1], options[-1][2]):
            continue
        plan = choose(kept, storage, keep_views=keep_views)
        if plan is not None:
            return plan
    raise MemoryShortage(_advice(budget, array_result))


def input_bytes(views: RegisteredViews, bound: BoundMethod, tile: Triple) -> int:
    """The largest input of any stage for one tile, with the temporary arrays that reading it takes."""
    shape = views.grid.shape
    corner = Box((0, 0, 0), (1, 1, 1))
    most = 0
    # What an accelerated iteration begins with is made from two volumes.
    volumes = 1 if bound.extrapolation_floor is None else 3
    for stage in bound.stages:
        covered = bool(stage.views) and views.coverage(corner, stage.views) is not None
        pixels = _largest(shape, tile, stage.view_halo)
        total = len(stage.views) * pixels * _FLOAT_BYTES * (2 if covered else 1)
        # Raw pixels of one view while they are converted; positions in float64 where it is resampled.
        total += pixels * (8 + (24 if covered else 0)) if stage.views else 0
        if stage.estimate_halo is not None:
            total += _largest(shape, tile, stage.estimate_halo) * _FLOAT_BYTES * volumes
        most = max(most, total)
    return most


def _count(shape: Triple, tile: Triple) -> int:
    """How many tiles of a shape a volume has."""
    return prod(-(-n // t) for n, t in zip(shape, tile, strict=True))


def _largest(shape: Triple, tile: Triple, halo: Triple) -> int:
    """Voxels of the largest tile with its halo."""
    sides = [min(n, t + 2 * h) for n, t, h in zip(shape, tile, halo, strict=True)]
    return sides[0] * sides[1] * sides[2]


def _advice(budget: int, array_result: bool) -> str:
    ending = growing_format().suffixes[0]
    place = f"write to a {ending} instead of an array, " if array_result else ""
    return (
        f"the run does not fit into {budget / 2**30:.2f} GiB of memory, not even with the smallest tiles: "
        f"{place}close other programs, allow more memory, or crop the PSFs"
    )
