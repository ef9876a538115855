"""How much memory a method takes at its peak for a tile, beside what it states. In a process of its own, on Linux."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import torch

from napari_mvfusion.data.geometry import Box
from napari_mvfusion.data.views import RegisteredViews, drain
from napari_mvfusion.methods.base import Method, Stage, TileInput, finished


def used_and_stated(method: Method, views: RegisteredViews, box: Box) -> tuple[int, int]:
    """Bytes that all stages take for a tile at most, without its inputs, and the bound that the method states."""
    torch.set_num_threads(2)
    bound = drain(method.prepare(views, torch.device("cpu")))
    tiles = [_input_of(views, stage, box) for stage in bound.stages]
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far, that of preparing, is forgotten
    held = _resident("VmRSS")
    for stage, tile in zip(bound.stages, tiles, strict=True):
        finished(bound.run(stage, tile))
    used = _resident("VmHWM") - held
    stated = bound.working_bytes(box.shape)
    bound.release()
    return used, stated


def _resident(what: str) -> int:
    status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[what].split()[0]) * 1024


def _input_of(views: RegisteredViews, stage: Stage, box: Box) -> TileInput:
    wide = box.grow(stage.view_halo).clip(views.grid.shape)
    values = torch.from_numpy(np.ascontiguousarray(views.read(wide, stage.views)))
    if stage.estimate_halo is None:
        return TileInput(box, wide, values, None, None, None)
    around = box.grow(stage.estimate_halo).clip(views.grid.shape)
    return TileInput(box, wide, values, None, around, torch.ones(around.shape))
