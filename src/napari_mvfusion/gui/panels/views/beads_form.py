"""A form to measure the PSFs of the views from beads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Points
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QFileDialog, QGridLayout, QLabel, QVBoxLayout, QWidget

from napari_mvfusion.data.geometry import NO_SIZE, FloatTriple, Grid
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.jobs.status import Status, TaskBar, box_of
from napari_mvfusion.gui.jobs.tasks import Tasks
from napari_mvfusion.gui.layers.conversion import frame_of, is_sized, stack_of
from napari_mvfusion.gui.panels.views.grids import known_size_um, own_matrix
from napari_mvfusion.gui.panels.views.picture import PSFPicture, numbers_of
from napari_mvfusion.gui.widgets.inputs import DropList, describe, push_button, text_label, wrapped
from napari_mvfusion.gui.widgets.layout import column, discard, row
from napari_mvfusion.gui.widgets.names import NameLabel
from napari_mvfusion.io.bead_files import BeadJob, MeasuredPSF, MeasurementProgress, measure_all
from napari_mvfusion.io.formats import dialog_filter, volumes_called
from napari_mvfusion.io.matching import Wanted, match_files
from napari_mvfusion.psf.frames import is_same_frame
from napari_mvfusion.system.words import sentence

_NONE, _FILE = "Choose beads…", "TIFF file…"
_FOUND = "find them"
_EXPLAINED = (
    "Choose a recording of beads for each view. Beads that stand alone are centred and averaged; "
    "the PSF is not used before you say so."
)


class BeadRow(QWidget):
    """One view: two lists to choose from, and a result.

    Attributes
    ----------
    measured : what was measured last
    """

    changed = Signal()
    file_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.measured: MeasuredPSF | None = None
        self._layers: list[Image] = []
        self._file: Path | None = None
        self._touched = False
        self._name = NameLabel("name")
        self._name.setFixedWidth(120)
        self._beads = _list("beads", "The recording of beads that shows how this view blurs a point")
        self._points = _list("points", "Where the beads are: found by brightness, or the points of a layer")
        self._points_label = QLabel("Positions")
        self._picture = PSFPicture()
        self._numbers = QLabel()
        self._text = text_label("measured")
        self._text.setTextFormat(Qt.TextFormat.PlainText)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(3)
        grid.addWidget(self._name, 0, 0)
        grid.addWidget(self._beads, 0, 1)
        grid.addWidget(self._points_label, 1, 0)
        grid.addWidget(self._points, 1, 1)
        grid.addLayout(row(self._picture, self._numbers, None), 2, 0, 1, 2)
        grid.addWidget(self._text, 3, 0, 1, 2)
        grid.setColumnStretch(1, 1)
        self._beads.activated.connect(self._choose)
        self.show_measured(None)

    @property
    def source(self) -> Image | Path | None:
        """The chosen beads: a layer, a file, or None."""
        return self._beads.currentData()

    @property
    def points(self) -> Points | None:
        """The chosen positions, or None to find the beads."""
        return self._points.currentData()

    def offer(self, name: str, beads: Sequence[Image], points: Sequence[Points], guess: Image | None) -> None:
        """Offer layers to choose from; what was chosen stays, else the guess is taken."""
        self._name.setText(name)
        self._name.setToolTip(name)
        self._beads.setAccessibleName(f"Beads of {name}")
        self._points.setAccessibleName(f"Positions of the beads of {name}")
        self._layers = list(beads)
        self._list_beads(self.source if self._touched else guess)
        self._points.fill([(_FOUND, None), *((layer.name, layer) for layer in points)], self.points)
        for widget in (self._points, self._points_label):
            widget.setVisible(bool(points))

    def choose(self, file: Path | None) -> None:
        """Take a file; None goes back to the last file, or to none."""
        if file is not None:
            self._touched, self._file = True, file
        self._list_beads(self._file)
        self.changed.emit()

    def _list_beads(self, chosen: Image | Path | None) -> None:
        files = [] if self._file is None else [(self._file.name, self._file)]
        layers = [(layer.name, layer) for layer in self._layers]
        self._beads.fill([(_NONE, None), *layers, *files, (_FILE, None)], chosen)

    def show_measured(self, measured: MeasuredPSF | None) -> None:
        """Show a result, or none."""
        self.measured = measured
        look = None if measured is None else measured.look
        self._picture.show_look(look)
        self._picture.setVisible(look is not None)
        self._numbers.setText("" if look is None else numbers_of(look))
        self._numbers.setVisible(look is not None)
        self._text.setVisible(measured is not None)
        if measured is None:
            return
        self._text.setText(sentence(f"{measured.text}."))
        self._text.setStyleSheet("" if look is not None else f"{box_of('error')} padding: 4px;")

    def _choose(self, index: int) -> None:
        self._touched = True
        # The last entry asks for a file.
        (self.file_wanted if index == self._beads.count() - 1 else self.changed).emit()


def _list(name: str, tip: str) -> DropList:
    box = DropList()
    describe(box, name, name.capitalize(), wrapped(tip))
    box.setMinimumContentsLength(8)
    return box


class BeadsForm(QWidget):
    """For each view, what to measure its PSF from, and what came out.

    Attributes
    ----------
    progress : how far a measurement is, and Cancel; stands where the panel puts it, so that it does not scroll away

    Parameters
    ----------
    tasks : run the thread
    status : says what went wrong
    """

    accepted = Signal(list)

    def __init__(self, tasks: Tasks, status: Status) -> None:
        super().__init__()
        self._tasks = tasks
        self._status = status
        self._rows: dict[Image, BeadRow] = {}
        self._wanted: dict[Image, Wanted] = {}
        self._grid: Grid | None = None
        self._own = QCheckBox("Recorded in each view's own frame")
        self._own.setObjectName("beads_own")
        self._own.setToolTip(
            "<qt>The beads were recorded as the view was, before it was turned: the PSF is then turned and resampled as the "
            "layer is. Off: the beads were registered together with the views</qt>"
        )
        tip = "Match the files of a folder to the views by name or angle"
        self._folder = push_button("From a folder…", "beads_folder", tip)
        self._folder.clicked.connect(self._ask_folder)
        self._measure = push_button("Measure", "measure")
        self._measure.clicked.connect(self._start)
        names = ("beads_progress", "beads_step", "cancel_beads")
        self.progress = TaskBar(tip="Stop measuring; what was measured stays", names=names)
        self.progress.cancelled.connect(self._stop)
        tip = "Give each view the PSF that was measured for it; the ones before are replaced"
        self._use = push_button("Use these PSFs", "use", tip)
        self._use.clicked.connect(self._accept)
        self._list = QVBoxLayout()
        self._list.setSpacing(8)
        buttons = row(self._folder, self._measure)
        parts = (text_label("explained", _EXPLAINED), self._list, self._own, buttons, self._use)
        column(self, *parts, margins=(6, 0, 6, 0))
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
        self._wanted, self._grid = wanted, grid
        for layer in set(self._rows) - set(wanted):
            discard(self._rows.pop(layer))
        for layer in wanted:
            if layer not in self._rows:
                self._rows[layer] = BeadRow()
                self._rows[layer].changed.connect(self._check)
                self._rows[layer].file_wanted.connect(partial(self._ask_file, layer))
        named = [layer for layer in beads if "bead" in layer.name.lower()]
        guesses = match_files(list(wanted.values()), [Path(layer.name) for layer in named]).found
        for number, layer in enumerate(wanted):
            each = self._rows[layer]
            self._list.removeWidget(each)
            self._list.insertWidget(number, each)
            guess = next((bead for bead in named if number in guesses and bead.name == str(guesses[number])), None)
            each.offer(layer.name, beads, points, guess)
        matrices = [own_matrix(layer, list(wanted)) for layer in wanted]
        self._own.setVisible(any(matrix is not None and not is_same_frame(matrix) for matrix in matrices))
        self._check()

    def _check(self) -> None:
        chosen = [each for each in self._rows.values() if each.source is not None]
        running = self._tasks.runs("beads")
        self._measure.setEnabled(bool(chosen) and not running)
        tip = "<qt>Find the beads and average them; this changes no view yet</qt>"
        if not chosen:
            tip = "Choose the beads of at least one view first"
        self._measure.setToolTip("Measuring already" if running else tip)
        self.progress.setVisible(running)
        self._folder.setEnabled(not running)
        for each in self._rows.values():
            each.setEnabled(not running)
        found = sum(each.measured is not None and each.measured.psf is not None for each in self._rows.values())
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
        files = [file for file in volumes_called(folder, "bead") if "psf" not in file.name.lower()]
        matches = match_files(list(self._wanted.values()), files)
        for number, file in matches.found.items():
            self._rows[list(self._wanted)[number]].choose(file)
        for problem in matches.problems:
            self._status.say("warning", f"{problem}.")
        if not matches.found:
            self._status.say("warning", f"No file in {folder} has the name or angle of a view.")

    def _start(self) -> None:
        try:
            jobs = [self._job(layer, each) for layer, each in self._rows.items() if each.source is not None]
        except InputError as error:
            self._status.say("error", str(error))
            return
        for each in self._rows.values():
            each.show_measured(None)
        self._tasks.start("beads", measure_all, jobs, done=self._end, report=self._follow)
        self.progress.begin("Starting…")
        self._check()

    def _job(self, layer: Image, chosen: BeadRow) -> BeadJob:
        source, points = chosen.source, chosen.points
        # The PSF is to have the voxels of the fused volume, or of the view where the beads lie in its frame.
        target = _voxel_size(layer) if self.own_frame else self._fused_size
        if isinstance(source, Image):
            positions = None if points is None else _positions(points, source)
            return BeadJob(layer, stack_of(source), source.name, positions, _voxel_size(source), target)
        assert isinstance(source, Path)
        positions = None if points is None else np.asarray(points.data)[:, -3:]
        return BeadJob(layer, source, source.name, positions, None, target)

    @property
    def _fused_size(self) -> FloatTriple | None:
        """Voxel size (z, y, x) of the fused volume, None where it is not known along every axis."""
        z, y, x = known_size_um(self._grid) or NO_SIZE
        return (z, y, x) if z is not None and y is not None and x is not None else None

    @property
    def own_frame(self) -> bool:
        """Whether the beads lie in the frames of the views."""
        return self._own.isVisibleTo(self) and self._own.isChecked()

    def _stop(self) -> None:
        self._tasks.stop("beads")
        self._status.say("warning", "Measuring was cancelled. What was measured by then stays.")
        self._check()

    def _follow(self, event: MeasurementProgress | MeasuredPSF) -> None:
        if isinstance(event, MeasurementProgress):
            self.progress.show_progress(f"Measuring the beads of {event.view.name}", event.share)
        elif (each := self._rows.get(event.job.view)) is not None:
            each.show_measured(event)

    def _end(self, result: Any) -> None:
        del result
        failed = sum(each.measured is not None and each.measured.psf is None for each in self._rows.values())
        if failed:
            views = "1 view" if failed == 1 else f"{failed} views"
            self._status.say("error", sentence(f"beads of {views} could not be measured: the reason stands there."))
        self._check()

    def _accept(self) -> None:
        found = [each.measured for each in self._rows.values() if each.measured is not None]
        for each in self._rows.values():
            each.show_measured(None)
        self.accepted.emit([measured for measured in found if measured.psf is not None])
        self._check()


def _voxel_size(layer: Image) -> FloatTriple | None:
    """Voxel size of a layer in um, or None where nobody has said it."""
    return frame_of(layer)[0].voxel_size_um if is_sized(layer) else None


def _positions(points: Points, beads: Image) -> np.ndarray:
    """Points in voxels of the beads' layer, wherever the two layers lie."""
    world = [points.data_to_world(point)[-3:] for point in np.atleast_2d(points.data)]
    return np.array([beads.world_to_data((*np.zeros(beads.ndim - 3), *point))[-3:] for point in world])
