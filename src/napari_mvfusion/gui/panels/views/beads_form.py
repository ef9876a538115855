"""A form to measure the PSFs of the views from beads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Points
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QFileDialog, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_mvfusion.data.geometry import FloatTriple, Grid, float_triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.jobs.status import TaskBar
from napari_mvfusion.gui.jobs.tasks import Tasks
from napari_mvfusion.gui.layers.conversion import stack_of, to_world_um
from napari_mvfusion.gui.panels.views.bead_row import BeadRow
from napari_mvfusion.gui.panels.views.file_opener import volumes_in
from napari_mvfusion.gui.panels.views.grids import own_matrix
from napari_mvfusion.gui.widgets.inputs import push_button
from napari_mvfusion.io.bead_files import BeadJob, MeasuredPSF, MeasurementProgress, measure_all
from napari_mvfusion.io.formats import dialog_filter
from napari_mvfusion.io.matching import Wanted, match_files
from napari_mvfusion.psf.frames import is_same_frame
from napari_mvfusion.system.words import sentence

_EXPLAINED = (
    "Choose a recording of beads for each view. Beads that stand alone are centred and averaged; "
    "the PSF is not used before you say so."
)


class BeadsForm(QWidget):
    """For each view, what to measure its PSF from, and what came out.

    Attributes
    ----------
    progress : how far a measurement is, and Cancel; stands where the panel puts it, so that it does not scroll away

    Parameters
    ----------
    tasks : run the thread
    """

    accepted = Signal(list)
    said = Signal(str, str)

    def __init__(self, tasks: Tasks, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._tasks = tasks
        self._rows: dict[Image, BeadRow] = {}
        self._wanted: dict[Image, Wanted] = {}
        self._grid: Grid | None = None
        self._included: list[Image] = []
        explained = QLabel(_EXPLAINED)
        explained.setWordWrap(True)
        self._own = QCheckBox("Recorded in each view's own frame")
        self._own.setObjectName("beads_own")
        self._own.setToolTip(
            "<qt>The beads were recorded as the view was, before it was turned: the PSF is then turned and resampled as the "
            "layer is. Off: the beads were registered together with the views</qt>"
        )
        self._folder = push_button(
            "From a folder…", "beads_folder", "<qt>Match the files of a folder to the views by name or angle</qt>"
        )
        self._folder.clicked.connect(self._ask_folder)
        self._measure = push_button("Measure", "measure")
        self._measure.clicked.connect(self._start)
        names = ("beads_progress", "beads_step", "cancel_beads")
        self.progress = TaskBar(tip="Stop measuring; what was measured stays", names=names)
        self.progress.cancelled.connect(self._stop)
        self._use = push_button(
            "Use these PSFs",
            "use",
            "<qt>Give each view the PSF that was measured for it; the ones before are replaced</qt>",
        )
        self._use.clicked.connect(self._accept)
        self._list = QVBoxLayout()
        self._list.setSpacing(8)
        buttons = QHBoxLayout()
        for button in (self._folder, self._measure):
            buttons.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 0, 6, 0)
        column.addWidget(explained)
        column.addLayout(self._list)
        column.addWidget(self._own)
        column.addLayout(buttons)
        column.addWidget(self._use)
        self._check()

    def offer(
        self, wanted: dict[Image, Wanted], beads: Sequence[Image], points: Sequence[Points], grid: Grid | None
    ) -> None:
        """Offer other views, beads and points.

        Parameters
        ----------
        wanted : the views to measure for, and what their files may be called
        beads : layers that may show beads
        points : layers that may hold positions of beads
        grid : of the fused volume
        """
        self._wanted, self._grid, self._included = wanted, grid, list(wanted)
        for layer in set(self._rows) - set(wanted):
            row = self._rows.pop(layer)
            row.hide()
            row.setParent(None)
            row.deleteLater()
        for layer in wanted:
            if layer not in self._rows:
                self._rows[layer] = BeadRow()
                self._rows[layer].changed.connect(self._check)
                self._rows[layer].file_wanted.connect(partial(self._ask_file, layer))
        named = [layer for layer in beads if "bead" in layer.name.lower()]
        guesses = match_files(list(wanted.values()), [Path(layer.name) for layer in named]).found
        for number, layer in enumerate(wanted):
            row = self._rows[layer]
            self._list.removeWidget(row)
            self._list.insertWidget(number, row)
            guess = next((bead for bead in named if number in guesses and bead.name == str(guesses[number])), None)
            row.offer(layer.name, beads, points, guess)
        matrices = [own_matrix(layer, self._included) for layer in wanted]
        self._own.setVisible(any(matrix is not None and not is_same_frame(matrix) for matrix in matrices))
        self._check()

    @property
    def measuring(self) -> bool:
        """Whether a measurement is going on."""
        return self._tasks.runs("beads")

    def _check(self) -> None:
        chosen = [row for row in self._rows.values() if row.source is not None]
        running = self.measuring
        self._measure.setEnabled(bool(chosen) and not running)
        tip = "<qt>Find the beads and average them; this changes no view yet</qt>"
        if not chosen:
            tip = "Choose the beads of at least one view first"
        self._measure.setToolTip("Measuring already" if running else tip)
        self.progress.setVisible(running)
        self._folder.setEnabled(not running)
        for row in self._rows.values():
            row.setEnabled(not running)
        found = sum(row.measured is not None and row.measured.psf is not None for row in self._rows.values())
        self._use.setVisible(found > 0 and not running)
        self._use.setText("Use this PSF" if found == 1 else f"Use these {found} PSFs")

    def _ask_file(self, layer: Image) -> None:
        name, _ = QFileDialog.getOpenFileName(self, f"Beads for {layer.name}", "", dialog_filter("Beads"))
        self._rows[layer].choose(Path(name) if name else None)

    def _ask_folder(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Folder with recordings of beads")
        if name:
            self.match_folder(Path(name))

    def match_folder(self, folder: Path) -> None:
        """Give each view the bead file in a folder that its name fits."""
        files = [file for file in volumes_in(folder, "bead") if "psf" not in file.name.lower()]
        matches = match_files(list(self._wanted.values()), files)
        for number, file in matches.found.items():
            self._rows[list(self._wanted)[number]].choose(file)
        for problem in matches.problems:
            self.said.emit("warning", f"{problem}.")
        if not matches.found:
            self.said.emit("warning", f"No file in {folder} has the name or angle of a view.")

    def _start(self) -> None:
        try:
            jobs = [self._job(layer, row) for layer, row in self._rows.items() if row.source is not None]
        except InputError as error:
            self.said.emit("error", str(error))
            return
        for row in self._rows.values():
            row.show_measured(None)
        self._tasks.start("beads", measure_all, jobs, done=self._end, report=self._follow)
        self.progress.begin("Starting…")
        self._check()

    def _job(self, layer: Image, row: BeadRow) -> BeadJob:
        source, points = row.source, row.points
        size: FloatTriple | None = None
        if isinstance(source, Image):
            size = _voxel_size(source)
            positions = None if points is None else _positions(points, source)
            return BeadJob(layer, stack_of(source), source.name, positions, size, self._target(layer))
        assert isinstance(source, Path)
        positions = None if points is None else np.asarray(points.data)[:, -3:]
        return BeadJob(layer, source, source.name, positions, None, self._target(layer))

    def _target(self, layer: Image) -> FloatTriple | None:
        """The voxel size that the PSF is to have: of the fused volume, or of the view where the beads lie in its frame."""
        if self.own_frame:
            return _voxel_size(layer)
        size = None if self._grid is None else self._grid.voxel_size_um
        # Readers take 1 um where a file says nothing.
        return None if size == (1.0, 1.0, 1.0) else size

    @property
    def own_frame(self) -> bool:
        """Whether the beads lie in the frames of the views."""
        return self._own.isVisibleTo(self) and self._own.isChecked()

    def _stop(self) -> None:
        self._tasks.stop("beads")
        self.said.emit("warning", "Measuring was cancelled. What was measured by then stays.")
        self._check()

    def _follow(self, event: MeasurementProgress | MeasuredPSF) -> None:
        if isinstance(event, MeasurementProgress):
            self.progress.show_progress(f"Measuring the beads of {event.view.name}", event.share)
        elif (row := self._rows.get(event.job.view)) is not None:
            row.show_measured(event)

    def _end(self, result: Any) -> None:
        del result
        failed = sum(row.measured is not None and row.measured.psf is None for row in self._rows.values())
        if failed:
            views = "1 view" if failed == 1 else f"{failed} views"
            self.said.emit("error", sentence(f"beads of {views} could not be measured: the reason stands there."))
        self._check()

    def _accept(self) -> None:
        found = [row.measured for row in self._rows.values() if row.measured is not None]
        for row in self._rows.values():
            row.show_measured(None)
        self.accepted.emit([measured for measured in found if measured.psf is not None])
        self._check()


def _voxel_size(layer: Image) -> FloatTriple | None:
    """Voxel size of a layer in um, or None where nobody has said it."""
    pixels = all(str(unit) == "pixel" for unit in layer.units[-3:])
    if pixels and np.allclose(layer.scale[-3:], 1):
        return None
    return float_triple(np.linalg.norm(to_world_um(layer)[:3, :3], axis=0))


def _positions(points: Points, beads: Image) -> np.ndarray:
    """Points in voxels of the beads' layer, wherever the two layers lie."""
    world = [points.data_to_world(point)[-3:] for point in np.atleast_2d(points.data)]
    return np.array([beads.world_to_data((*np.zeros(beads.ndim - 3), *point))[-3:] for point in world])
