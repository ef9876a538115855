"""Saving what is compared as a figure: slices through the point that is shown, with a scale bar."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari.components import ViewerModel
from qtpy.QtWidgets import QCheckBox, QGroupBox, QVBoxLayout

from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.gui.jobs.status import Status
from napari_mvfusion.gui.jobs.tasks import Latest
from napari_mvfusion.gui.panels.compare.layer_list import ComparedLayers, ComparePart
from napari_mvfusion.gui.panels.compare.look_tab import LookTab
from napari_mvfusion.gui.widgets.inputs import ask_for_file, describe, push_button
from napari_mvfusion.measures.comparison import comparison_figure, save_comparison
from napari_mvfusion.measures.placed_volume import PlacedVolume, Report, require_one_grid
from napari_mvfusion.measures.scores import Row, caption


class FigureBox(ComparePart):
    """Saves the slices of all ticked volumes through the point that is shown as PNG or SVG.

    Parameters
    ----------
    viewer, compared, status : see `ComparePart`
    look : knows the shared contrast
    """

    def __init__(self, viewer: ViewerModel, compared: ComparedLayers, status: Status, look: LookTab) -> None:
        super().__init__(viewer, compared, status)
        self._look = look
        self._captions: dict[str, str] = {}
        self._task = Latest(self)
        self._only = _box("only_region", "Only the region in view", "In 2D: leave out what the canvas does not show")
        self._with_numbers = _box(
            "with_numbers", "With numbers under the names", "PSNR and SSIM, or the residual, where they are computed"
        )
        self._with_numbers.setChecked(True)
        self._save = push_button("Save figure…", "save_figure")
        framed = QGroupBox("Figure")
        inner = QVBoxLayout(framed)
        for widget in (self._only, self._with_numbers, self._save):
            inner.addWidget(widget)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(framed)
        self._save.clicked.connect(self._ask)
        self._task.reported.connect(lambda path: status.say("done", f"The figure is saved as {path}."))
        self._task.failed.connect(status.fail)
        compared.changed.connect(self._describe)
        self._describe()

    def set_captions(self, rows: Sequence[Row], part: str) -> None:
        """Take the numbers that may stand under the names."""
        self._captions = {row.name: caption(row, part) for row in rows}

    def _describe(self) -> None:
        ticked = bool(self._compared.ticked())
        self._save.setEnabled(ticked)
        self._save.setToolTip(
            "Three slices of every ticked layer through the point that is shown, with a scale bar, as PNG or SVG"
            if ticked
            else "Tick layers to compare first"
        )

    def _ask(self) -> None:
        with self._told():
            point, ticked = self._viewer.dims.point, self._compared.ticked()
            volumes = [self._volume(layer) for layer in ticked]
            require_one_grid(volumes)
            at = _position(volumes[0], point)
            region = self._region(volumes[0]) if self._only.isChecked() and self._viewer.dims.ndisplay == 2 else None
            if region is not None:
                at = triple(np.clip(at, region.start, np.subtract(region.stop, 1)))
            path = ask_for_file(self, "Save the figure", "comparison", {"png": "Picture", "svg": "Drawing"})
            if path is None:
                return
            shared, known = self._look.contrast, {name: words for name, words in self._captions.items() if words}
            options = {
                "position": at,
                "region": region,
                "limits": shared.limits if shared.layers[:1] == ticked[:1] else None,
                "captions": known if self._with_numbers.isChecked() and known else None,
                "fit": self._look.fits_brightness,
            }
            self._task.start(lambda check: _write(volumes, path, options, check.report))

    def _region(self, volume: PlacedVolume) -> Box:
        """What the canvas shows along the axes that it shows, all along the others."""
        cell = np.array(self._viewer.canvas.viewbox_size(self._viewer.layers), float)
        if self._viewer.canvas.grid.enabled:
            cell = np.array(self._viewer.canvas.size) / self._viewer.canvas.grid.actual_shape(self._viewer.layers)
        half = cell / self._viewer.scene.camera.zoom / 2
        centre = np.array(self._viewer.scene.camera.center)[-2:]
        dims, shape = self._viewer.dims, np.array(volume.shape)
        world = np.array([dims.point, dims.point], float)
        world[:, list(dims.displayed)] = centre - half, centre + half
        corners = np.sort(volume.voxels(world[:, -3:]), axis=0)
        low, high = np.full(3, -0.5), shape - 0.5
        for axis in np.array(dims.displayed) - (dims.ndim - 3):
            low[axis], high[axis] = corners[:, axis]
        start = np.clip(np.floor(low + 0.5), 0, shape - 1).astype(int)
        stop = np.clip(np.ceil(high + 0.5), start + 1, shape).astype(int)
        return Box(triple(start), triple(stop))


def _write(
    volumes: Sequence[PlacedVolume], path: Path, options: dict[str, Any], report: Report
) -> Generator[Path, None, None]:
    report("Drawing the figure", 0.0)
    figure = comparison_figure({volume.name: volume.data for volume in volumes}, volumes[0].grid, **options)
    save_comparison(figure, path)
    yield path


def _box(name: str, words: str, tip: str) -> QCheckBox:
    box = QCheckBox(words)
    describe(box, name, words, tip)
    return box


def _position(volume: PlacedVolume, point: Sequence[float]) -> Triple:
    """The voxel of a volume at the point that is shown."""
    voxel = volume.voxels(np.array([point[-3:]], float))[0]
    return triple(np.clip(np.round(voxel), 0, np.array(volume.shape) - 1).astype(int))
