"""Reads the pixels of tiles as tensors, from the views themselves or from copies kept in memory."""

from __future__ import annotations

import torch

from napari_mvfusion.data.geometry import Box
from napari_mvfusion.data.views import RegisteredViews


class ViewReader:
    """Reads views for tiles as tensors; keeps whole views in memory when the plan allows it."""

    def __init__(self, views: RegisteredViews, device: torch.device, *, keep: bool, whole: bool) -> None:
        self._views = views
        self._device = device
        self._keep = keep
        self._home = device if whole else torch.device("cpu")
        self._kept: dict[int, tuple[torch.Tensor, torch.Tensor | None]] = {}

    def read(self, box: Box, which: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Pixels and coverage of some views over a box, (view, z, y, x) on the device."""
        if not self._keep:
            values, coverage = self._read(box, which)
            return values.to(self._device), None if coverage is None else coverage.to(self._device)
        for index in which:
            if index not in self._kept:
                values, coverage = self._read(self._views.grid.box, (index,))
                self._kept[index] = (
                    values.to(self._home),
                    None if coverage is None else coverage.to(self._home),
                )
        inner = (slice(None), *box.slices)
        blocks = [self._kept[i][0][inner] for i in which]
        values = torch.cat(blocks) if len(blocks) > 1 else blocks[0]
        masks = [self._kept[i][1] for i in which]
        if all(mask is None for mask in masks):
            return values.to(self._device), None
        filled = [torch.ones_like(values[:1]) if mask is None else mask[inner] for mask in masks]
        return values.to(self._device), torch.cat(filled).to(self._device)

    def release(self) -> None:
        """Forget whole views: from now on tiles are read as they come."""
        self._kept.clear()
        self._keep = False

    def _read(self, box: Box, which: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor | None]:
        values = torch.from_numpy(self._views.read(box, which))
        coverage = self._views.coverage(box, which)
        return values, None if coverage is None else torch.from_numpy(coverage)
