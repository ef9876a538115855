"""A small iterative method with a halo, to test the engine apart from the real methods: quick, and exact by hand."""

from collections.abc import Generator
from typing import ClassVar

import torch

from napari_mvfusion.methods.base import FusionMethod, Stage


class Diffuse(FusionMethod):
    """Each update averages the estimate with its six neighbours (borders mirrored) and moves it towards one view."""

    name: ClassVar[str] = "diffuse"
    title: ClassVar[str] = "Diffuse"
    summary: ClassVar[str] = "Smooths."
    coarse_first: ClassVar[bool] = True
    iterations: int = 3
    stop_at_change: float = 0.0
    extrapolates_above: float = 0.0
    largest_tile_voxels: int = 2**40
    scratch_arrays: int = 4

    def check(self, views) -> list[str]:
        return []

    def context(self, views):
        return (2, 2, 2)

    def prepare(self, views, device) -> Generator[object, None, "BoundDiffuse"]:
        yield from ()
        return BoundDiffuse(self, views)


class BoundDiffuse:
    def __init__(self, method, views):
        self.method = method
        self.shape = views.grid.shape
        self.extrapolation_floor = method.extrapolates_above or None
        self.taken = set()
        count = len(views)
        self.stages = [Stage("start", tuple(range(count)))]
        for k in range(1, method.iterations + 1):
            for v in range(count):
                last = v == count - 1
                self.stages.append(
                    Stage(f"iteration {k}, view {v}", (v,), estimate_halo=(1, 1, 1), iteration=k if last else 0)
                )

    def working_bytes(self, tile_shape):
        return self.method.scratch_arrays * 4 * (tile_shape[0] + 2) * (tile_shape[1] + 2) * (tile_shape[2] + 2)

    def run(self, stage, tile):
        if tile.tile.size > self.method.largest_tile_voxels:
            torch.empty(2**46)  # more than any machine has: a real shortage, not a pretended one
        if stage.estimate_halo is None:
            return tile.values.mean(dim=0)
        padded = tile.estimate
        for axis in range(3):
            first = padded.narrow(axis, 0, 1) if tile.tile.start[axis] == 0 else None
            last = padded.narrow(axis, padded.shape[axis] - 1, 1) if tile.tile.stop[axis] == self.shape[axis] else None
            padded = torch.cat([part for part in (first, padded, last) if part is not None], dim=axis)
        core = padded[1:-1, 1:-1, 1:-1]
        around = (
            padded[2:, 1:-1, 1:-1]
            + padded[:-2, 1:-1, 1:-1]
            + padded[1:-1, 2:, 1:-1]
            + padded[1:-1, :-2, 1:-1]
            + padded[1:-1, 1:-1, 2:]
            + padded[1:-1, 1:-1, :-2]
        )
        return 0.7 * ((core + around) / 7) + 0.3 * tile.values[0]

    def outcome(self):
        return None

    def converged(self, change):
        return change < self.method.stop_at_change

    def release(self):
        self.method = self.method.model_copy()
