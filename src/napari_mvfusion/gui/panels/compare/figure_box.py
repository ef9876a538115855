"""Saving what is compared as a figure: slices through the point that is shown, with a scale bar."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari.components import ViewerModel
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QGroupBox, QVBoxLayout, QWidget

from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.jobs.tasks import Failed, Latest
from napari_mvfusion.gui.panels.compare.compared_layers import volume_at
from napari_mvfusion.gui.panels.compare.layer_list import ComparedLayers
from napari_mvfusion.gui.panels.compare.look_tab import LookTab
from napari_mvfusion.gui.widgets.inputs import ask_for_file, push_button
from napari_mvfusion.measures.comparison import comparison_figure, save_comparison
from napari_mvfusion.measures.placed_volume import PlacedVolume, Report, require_one_grid
from napari_mvfusion.measures.scores import Row, caption


class FigureBox(QGroupBox):
    """Saves the slices of all ticked volumes through the current point as PNG or SVG.

    Parameters
    ----------
    viewer : says which point and region are shown
    compared : the layers
    look : knows the shared contrast
    """

    failed = Signal(object)
    said = Signal(str)
    begun = Signal()

    def __init__(
        self, viewer: ViewerModel, compared: ComparedLayers, look: LookTab, parent: QWidget | None = None
    ) -> None:
        super().__init__("Figure", parent)
        self._viewer = viewer
        self._compared = compared
        self._look = look
        self._captions: dict[str, str] = {}
        self._task = Latest(self)
        self._only = QCheckBox("Only the region in view")
        self._only.setObjectName("only_region")
        self._only.setToolTip("In 2D: leave out what the canvas does not show")
        self._with_numbers = QCheckBox("With numbers under the names")
        self._with_numbers.setObjectName("with_numbers")
        self._with_numbers.setChecked(True)
        self._with_numbers.setToolTip("PSNR and SSIM, or the residual, where they are computed")
        self._save = push_button("Save figure…", "save_figure")
        layout = QVBoxLayout(self)
        for widget in (self._only, self._with_numbers, self._save):
            layout.addWidget(widget)
        self._save.clicked.connect(self._ask)
        self._task.reported.connect(self._tell)
        self._task.failed.connect(self.failed)
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
        self.begun.emit()
        try:
            point = self._viewer.dims.point
            volumes = [volume_at(layer, point) for layer in self._compared.ticked()]
            require_one_grid(volumes)
            at = _position(volumes[0], point)
            region = self._region(volumes[0]) if self._only.isChecked() and self._viewer.dims.ndisplay == 2 else None
            if region is not None:
                at = triple(np.clip(at, region.start, np.subtract(region.stop, 1)))
        except InputError as error:
            self.failed.emit(Failed(str(error)))
            return
        path = ask_for_file(self, "Save the figure", "comparison", {"png": "Picture", "svg": "Drawing"})
        if path is None:
            return
        shared = self._look.contrast
        first = self._compared.ticked()[0]
        limits = shared.limits if shared.layers and shared.layers[0] is first else None
        known = {name: words for name, words in self._captions.items() if words}
        captions = known if self._with_numbers.isChecked() and known else None
        options = {"position": at, "region": region, "limits": limits, "captions": captions}
        fit = {"fit": self._look.fits_brightness}
        self._task.start(lambda check: _write(volumes, path, options | fit, check.report))

    def _tell(self, path: Path) -> None:
        self.said.emit(f"The figure is saved as {path}.")

    def _region(self, volume: PlacedVolume) -> Box:
        """What the canvas shows along the axes that it shows, all along the others."""
        cell = np.array(self._viewer.canvas.viewbox_size(self._viewer.layers), float)
        if self._viewer.canvas.grid.enabled:
            cell = np.array(self._viewer.canvas.size) / self._viewer.canvas.grid.actual_shape(self._viewer.layers)
        half = cell / self._viewer.scene.camera.zoom / 2
        centre = np.array(self._viewer.scene.camera.center)[-2:]
        ndim, shape = self._viewer.dims.ndim, np.array(volume.shape)
        low, high = np.full(3, -0.5), shape - 0.5
        inverse = np.linalg.inv(volume.matrix)
        corners = []
        for side in (-1, 1):
            world = np.array(self._viewer.dims.point, float)
            world[list(self._viewer.dims.displayed)] = centre + side * half
            corners.append(inverse[:3, :3] @ world[-3:] + inverse[:3, 3])
        for shown in self._viewer.dims.displayed:
            axis = shown - (ndim - 3)
            low[axis], high[axis] = sorted(corner[axis] for corner in corners)
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


def _position(volume: PlacedVolume, point: Sequence[float]) -> Triple:
    """The voxel of a volume at the point that is shown."""
    voxel = volume.voxels(np.array([point[-3:]], float))[0]
    return triple(np.clip(np.round(voxel), 0, np.array(volume.shape) - 1).astype(int))
