"""The second tab: a line drawn once, and the values of all ticked volumes along it, plotted for dark and light themes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QVBoxLayout

from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.jobs.status import Status
from napari_mvfusion.gui.jobs.tasks import Failed, Latest
from napari_mvfusion.gui.panels.compare.curves_plot import CurvesPlot, PlottedCurve
from napari_mvfusion.gui.panels.compare.layer_list import ComparedLayers, ComparePart
from napari_mvfusion.gui.panels.compare.look_tab import LookTab
from napari_mvfusion.gui.panels.compare.profile_line import ProfileLine
from napari_mvfusion.gui.widgets.inputs import DropList, ask_for_file, describe, push_button, text_label
from napari_mvfusion.gui.widgets.plots import CURVES
from napari_mvfusion.gui.widgets.waiting import Later
from napari_mvfusion.measures.comparison import profile_figure, save_comparison
from napari_mvfusion.measures.profiles import ProfileCurve, read_profiles

_WAIT_MS = 20
Way = tuple[str, str, Callable[[ProfileCurve, ProfileCurve], np.ndarray]]
# The label of the axis, what it means, and the values of a curve where another one is the first.
_WAYS: dict[str, Way] = {
    "fitted to the first": (
        "intensity, fitted",
        "Scale and offset of least squares bring each curve to the first one",
        ProfileCurve.fitted_to,
    ),
    "as they are": ("intensity", "The values of the layers", lambda curve, _: curve.values),
    "each from 0 to 1": (
        "share of each range",
        "Each curve from its least to its greatest value",
        lambda curve, _: curve.over_its_range(),
    ),
}
_VALUES_TIP = "Methods differ in gain: bring the curves together to compare their shapes"
_DRAW_TIP = "Draw with the mouse in the canvas; the ends of the line can be dragged afterwards"
_NO_LINE = "Draw a line in the canvas to see the values of all ticked layers along it."
_NO_LAYER = "Tick layers to compare first."


class ProfileTab(ComparePart):
    """Lets the user draw a line and plots the values along it, again whenever line, slice, ticks or data change.

    Parameters
    ----------
    viewer : gets the layer to draw in
    compared, status : see `ComparePart`
    look : leaves the grid when a line is to be drawn
    """

    def __init__(self, viewer: ViewerModel, compared: ComparedLayers, status: Status, look: LookTab) -> None:
        super().__init__(viewer, compared, status)
        self._look = look
        self._line = ProfileLine(viewer, self)
        self._reading = Latest(self)
        self._curves: list[ProfileCurve] = []
        # Of the curves that are shown, and of those that are being read.
        self._colours: list[str] = []
        self._next_colours: list[str] = []
        self._lay_out()
        self._due = Later(_WAIT_MS, self._read, self)
        self._line.moved.connect(self._due.ask)
        compared.changed.connect(self._due.ask)
        compared.time_changed.connect(self._due.ask)
        viewer.events.theme.connect(self._paint)
        self._reading.reported.connect(self._take)
        self._reading.failed.connect(status.fail)
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
        self._viewer.events.theme.disconnect(self._paint)
        self._line.remove()

    def _lay_out(self) -> None:
        self._draw = push_button("Draw a line", "draw")
        self._save = push_button("Save plot…", "save_plot")
        self._as = DropList()
        describe(self._as, "values_as", "Values", _VALUES_TIP)
        for row, (words, (_, tip, _)) in enumerate(_WAYS.items()):
            self._as.addItem(words)
            self._as.setItemData(row, tip, Qt.ItemDataRole.ToolTipRole)
        self._plot = CurvesPlot("distance along the line (µm)")
        self._hint = text_label("profile_hint")
        above = QGridLayout()
        above.addWidget(self._draw, 0, 0)
        above.addWidget(self._save, 0, 1)
        above.addWidget(QLabel("Values"), 1, 0)
        above.addWidget(self._as, 1, 1)
        above.setColumnStretch(0, 1)
        above.setColumnStretch(1, 1)
        layout = QVBoxLayout(self)
        layout.addLayout(above)
        layout.addWidget(self._hint)
        layout.addWidget(self._plot, 1)

    def _begin_line(self) -> None:
        with self._told():
            self._look.leave_grid()
            self._line.draw(self._compared.ticked()[0])

    def _read(self) -> None:
        """Read the line through all ticked layers, in a thread."""
        try:
            ends = self._line.ends()
            ticked, listed = self._compared.ticked(), self._compared.listed()
            volumes = [self._volume(layer) for layer in ticked]
        except InputError as error:
            self._status.fail(Failed(str(error)))
            return
        if ends is None or not volumes:
            self._reading.cancel()
            self._next_colours = []
            self._take([])
        else:
            self._next_colours = [CURVES[listed.index(layer) % len(CURVES)] for layer in ticked]
            self._reading.start(lambda check: read_profiles(volumes, ends, check.report))

    def _take(self, curves: list[ProfileCurve]) -> None:
        self._curves, self._colours = curves, self._next_colours
        self._show()

    def _shown(self) -> list[PlottedCurve]:
        """The curves with the values that are shown."""
        way = _WAYS[self._as.currentText()][2]
        shown = zip(self._curves, self._colours, strict=True)
        return [
            PlottedCurve(curve.name, colour, curve.distance, way(curve, self._curves[0])) for curve, colour in shown
        ]

    def _show(self) -> None:
        self._plot.show_curves(self._shown(), _WAYS[self._as.currentText()][0])
        ticked = bool(self._compared.ticked())
        self._hint.setText("" if self._curves else _NO_LINE if ticked else _NO_LAYER)
        self._hint.setVisible(not self._curves)
        self._draw.setEnabled(ticked)
        self._draw.setToolTip(_DRAW_TIP if ticked else _NO_LAYER)
        self._save.setEnabled(bool(self._curves))
        self._save.setToolTip("Save the curves as a PNG or SVG, dark on white" if self._curves else _NO_LINE)

    def _paint(self, event: Any = None) -> None:
        del event
        self._plot.set_theme(self._viewer.theme)

    def _save_plot(self) -> None:
        with self._told():
            path = ask_for_file(self, "Save the plot", "profile", {"png": "Picture", "svg": "Drawing"})
            if path is not None:
                curves = {curve.name: (curve.along, curve.values) for curve in self._shown()}
                colours = dict(zip(curves, self._colours, strict=True))
                label = _WAYS[self._as.currentText()][0]
                save_comparison(profile_figure(curves, colours=colours, value_label=label), path)
                self._status.say("done", f"The plot is saved as {path}.")
