"""The second tab: a line drawn once, and the values of all ticked volumes along it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.components import ViewerModel
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_mvfusion.data.moments import PairMoments
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.jobs.tasks import Failed, Latest
from napari_mvfusion.gui.panels.compare.compared_layers import volume_at
from napari_mvfusion.gui.panels.compare.layer_list import ComparedLayers
from napari_mvfusion.gui.panels.compare.profile_line import ProfileLine
from napari_mvfusion.gui.panels.compare.profile_plot import ProfilePlot
from napari_mvfusion.gui.widgets.inputs import DropList, ask_for_file, describe, push_button, text_label
from napari_mvfusion.gui.widgets.plots import CURVES
from napari_mvfusion.gui.widgets.waiting import Later
from napari_mvfusion.measures.comparison import profile_figure, save_comparison
from napari_mvfusion.measures.placed_volume import PlacedVolume, Report
from napari_mvfusion.measures.profiles import line_profile

_SAMPLES_PER_VOXEL = 2
_MOST_SAMPLES = 5000
_WAIT_MS = 20
_AS_THEY_ARE, _EACH_RANGE, _FITTED = "as they are", "each from 0 to 1", "fitted to the first"
_VALUES = {
    _FITTED: ("intensity, fitted", "Scale and offset of least squares bring each curve to the first one"),
    _AS_THEY_ARE: ("intensity", "The values of the layers"),
    _EACH_RANGE: ("share of each range", "Each curve from its least to its greatest value"),
}
_NO_LINE = "Draw a line in the canvas to see the values of all ticked layers along it."
_NO_LAYER = "Tick layers to compare first."


@dataclass(frozen=True, eq=False)
class ProfileCurve:
    """Values of one volume along the line; distance in micrometres."""

    name: str
    colour: str
    distance: np.ndarray
    values: np.ndarray


class ProfileTab(QWidget):
    """Lets the user draw a line and plots the values along it, again whenever line, slice, ticks or data change.

    Parameters
    ----------
    viewer : gets the layer to draw in
    compared : the layers
    """

    failed = Signal(object)
    said = Signal(str)
    begun = Signal()
    about_to_draw = Signal()

    def __init__(self, viewer: ViewerModel, compared: ComparedLayers, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._compared = compared
        self._line = ProfileLine(viewer, self)
        self._reading = Latest(self)
        self._curves: list[ProfileCurve] = []
        self._shown: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._lay_out()
        self._due = Later(_WAIT_MS, self._read, self)
        self._line.moved.connect(self._due.ask)
        compared.changed.connect(self._due.ask)
        viewer.dims.events.point.connect(self._notice_time)
        viewer.events.theme.connect(self._paint)
        self._reading.reported.connect(self._take)
        self._reading.failed.connect(self.failed)
        self._draw.clicked.connect(self._begin_line)
        self._as.currentIndexChanged.connect(self._show)
        self._save.clicked.connect(self._save_plot)
        self._paint()
        self._show()

    @property
    def curves(self) -> list[ProfileCurve]:
        """What was read along the line."""
        return list(self._curves)

    def close_down(self) -> None:
        """The panel is closed."""
        self._viewer.dims.events.point.disconnect(self._notice_time)
        self._viewer.events.theme.disconnect(self._paint)
        self._line.remove()

    def _lay_out(self) -> None:
        self._draw = push_button("Draw a line", "draw")
        self._save = push_button("Save plot…", "save_plot")
        self._as = DropList()
        describe(
            self._as, "values_as", "Values", "Methods differ in gain: bring the curves together to compare their shapes"
        )
        for words, (_, tip) in _VALUES.items():
            self._as.addItem(words)
            self._as.setItemData(self._as.count() - 1, tip, 3)
        self._plot = ProfilePlot()
        self._plot.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self._hint = text_label("profile_hint")
        layout = QVBoxLayout(self)
        row = QGridLayout()
        row.addWidget(self._draw, 0, 0)
        row.addWidget(self._save, 0, 1)
        row.addWidget(QLabel("Values"), 1, 0)
        row.addWidget(self._as, 1, 1)
        row.setColumnStretch(0, 1)
        row.setColumnStretch(1, 1)
        layout.addLayout(row)
        layout.addWidget(self._hint)
        layout.addWidget(self._plot, 1)

    def _begin_line(self) -> None:
        self.begun.emit()
        self.about_to_draw.emit()
        try:
            self._line.draw(self._compared.ticked()[0])
        except InputError as error:
            self.failed.emit(Failed(str(error)))

    def _notice_time(self, event: Any = None) -> None:
        """Another time point is shown, where there are any."""
        del event
        if any(layer.ndim > 3 for layer in self._compared.ticked()):
            self._due.ask()

    def _read(self) -> None:
        """Read the line through all ticked layers, in a thread."""
        try:
            ends = self._line.ends()
            listed, point = self._compared.listed(), self._viewer.dims.point
            chosen = [
                (volume_at(layer, point), CURVES[listed.index(layer) % len(CURVES)])
                for layer in self._compared.ticked()
            ]
        except InputError as error:
            self.failed.emit(Failed(str(error)))
            return
        if ends is None or not chosen:
            self._reading.cancel()
            self._take([])
        else:
            self._reading.start(lambda check: _curves(chosen, ends, check.report))

    def _take(self, curves: list[ProfileCurve]) -> None:
        self._curves = curves
        self._show()

    def _show(self) -> None:
        how = self._as.currentText()
        self._shown = {
            curve.name: (curve.distance, values) for curve, values in zip(self._curves, self._values(how), strict=True)
        }
        self._plot.show_curves(self._shown, [curve.colour for curve in self._curves], _VALUES[how][0])
        ticked = bool(self._compared.ticked())
        self._hint.setText("" if self._curves else _NO_LINE if ticked else _NO_LAYER)
        self._hint.setVisible(not self._curves)
        self._draw.setEnabled(ticked)
        self._draw.setToolTip(
            "Draw with the mouse in the canvas; the ends of the line can be dragged afterwards" if ticked else _NO_LAYER
        )
        self._save.setEnabled(bool(self._curves))
        self._save.setToolTip("Save the curves as a PNG or SVG, dark on white" if self._curves else _NO_LINE)

    def _values(self, how: str) -> Iterator[np.ndarray]:
        for curve in self._curves:
            if how == _EACH_RANGE:
                low, high = _ends(curve.values)
                yield (curve.values - low) / (high - low if high > low else 1.0)
            elif how == _FITTED:
                scale, offset = _fit(curve, self._curves[0])
                yield curve.values * scale + offset
            else:
                yield curve.values

    def _paint(self, event: Any = None) -> None:
        del event
        self._plot.set_theme(self._viewer.theme)

    def _save_plot(self) -> None:
        self.begun.emit()
        path = ask_for_file(self, "Save the plot", "profile", {"png": "Picture", "svg": "Drawing"})
        if path is None:
            return
        label = _VALUES[self._as.currentText()][0]
        try:
            figure = profile_figure(self._shown, colours={c.name: c.colour for c in self._curves}, value_label=label)
            save_comparison(figure, path)
        except (InputError, OSError) as error:
            self.failed.emit(Failed(str(error)))
        else:
            self.said.emit(f"The plot is saved as {path}.")


def _curves(
    chosen: list[tuple[PlacedVolume, str]], ends: np.ndarray, report: Report
) -> Generator[list[ProfileCurve], None, None]:
    """Read a line, given by its ends in world micrometres, through volumes."""
    length_um = float(np.linalg.norm(ends[1] - ends[0]))
    curves = []
    for number, (volume, colour) in enumerate(chosen):
        report("Reading profiles", number / len(chosen))
        start, stop = volume.voxels(ends)
        samples = int(np.clip(_SAMPLES_PER_VOXEL * np.linalg.norm(stop - start) + 2, 2, _MOST_SAMPLES))
        values = line_profile(volume.data, start, stop, samples)
        curves.append(ProfileCurve(volume.name, colour, np.linspace(0, length_um, samples), values))
    yield curves


def _ends(values: np.ndarray) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)


def _fit(curve: ProfileCurve, reference: ProfileCurve) -> tuple[float, float]:
    """Scale and offset of least squares, over the distances that both know."""
    known = np.isfinite(reference.values)
    if not known.any():
        return 1.0, 0.0
    target = np.interp(curve.distance, reference.distance[known], reference.values[known])
    both = np.isfinite(curve.values)
    moments = PairMoments()
    moments.add(target[both], curve.values[both])
    scale, offset = moments.fit() if moments.count else (1.0, 0.0)
    return (scale, offset) if scale > 0 else (1.0, 0.0)
