"""The third tab: where two volumes differ, and where a volume fails to explain a view."""

from __future__ import annotations

from functools import partial
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image
from napari.utils.colormaps import Colormap
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QGroupBox, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.jobs.bar import TaskBar
from napari_mvfusion.gui.jobs.tasks import Failed, Latest
from napari_mvfusion.gui.layers.conversion import place_of_volume
from napari_mvfusion.gui.layers.notes import KEY, notes
from napari_mvfusion.gui.panels.compare.compared_layers import view_layers_with_psfs, views_of, volume_at
from napari_mvfusion.gui.panels.compare.layer_list import ComparedLayers
from napari_mvfusion.gui.panels.compare.pair import PairChoice
from napari_mvfusion.gui.widgets.inputs import DropList, describe, push_button
from napari_mvfusion.measures.differences import Difference, ResidualVolume, difference, residual

# Light where there is much, dark in the middle, so that it can be seen on a dark canvas and in 3D.
_DIVERGING = Colormap(
    [[0.62, 0.86, 1.0], [0.13, 0.47, 0.78], [0.03, 0.03, 0.04], [0.80, 0.30, 0.14], [1.0, 0.83, 0.60]],
    name="blue black orange",
)


class DifferenceTab(QWidget):
    """Adds layers with the difference of two volumes, or with the residual of a view.

    Parameters
    ----------
    viewer : gets the layers
    compared : what can be chosen
    """

    failed = Signal(object)
    warned = Signal(str)
    said = Signal(str)
    begun = Signal()

    def __init__(self, viewer: ViewerModel, compared: ComparedLayers, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._compared = compared
        self._pair = PairChoice(compared)
        self._task = Latest(self)
        self._bar = TaskBar(self._task)
        self._place: dict[str, Any] = {}
        self._by_hand: set[QComboBox] = set()
        self._lay_out()
        compared.changed.connect(self._follow)
        self._pair.changed.connect(self._describe)
        for box in (self._fused, self._view):
            box.activated.connect(partial(self._choose, box))
        self._subtract.clicked.connect(self._start_difference)
        self._explain.clicked.connect(self._start_residual)
        self._task.reported.connect(self._add)
        self._task.failed.connect(self.failed)
        self._task.ended.connect(self._describe)
        self._follow()

    def _lay_out(self) -> None:
        self._subtract = push_button("Add A − B as a layer", "subtract")
        self._explain = push_button("Add the residual as a layer", "explain")
        self._fused = _box("fused", "The volume that should explain the view")
        self._view = _box("view", "The view, which needs a PSF")
        first, second = QGroupBox("Difference of A and B"), QGroupBox("Residual of a view")
        inner = QVBoxLayout(first)
        inner.addWidget(self._pair)
        inner.addWidget(_words("B is brought to the brightness of A first. Orange: A is brighter. Blue: B is."))
        inner.addWidget(self._subtract)
        form = QFormLayout(second)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.addRow("Volume", self._fused)
        form.addRow("View", self._view)
        form.addRow(
            _words(
                "The view minus the volume as the view would see it, in units of the noise that is expected: noise "
                "alone stays within ±3. Light that fades with depth is allowed for. Orange: the view is brighter than "
                "explained."
            )
        )
        form.addRow(self._explain)
        layout = QVBoxLayout(self)
        layout.addWidget(first)
        layout.addWidget(second)
        layout.addWidget(self._bar)
        layout.addStretch()

    def _follow(self) -> None:
        """The layers are others; what is chosen stays chosen while it is there."""
        listed = self._compared.listed()
        results = [layer for layer in listed if notes(layer).get("role") != "view"]
        fused = [layer for layer in results if notes(layer).get("role") == "fused"]
        self._by_hand = {box for box in self._by_hand if box.currentData() in listed}
        views = view_layers_with_psfs(listed)
        for box, layers, proposed in (
            (self._fused, results, fused[-1:] or results[:1]),
            (self._view, views, views[:1]),
        ):
            _offer(box, layers, [box.currentData()] if box in self._by_hand else proposed)
        self._describe()

    def _choose(self, box: QComboBox) -> None:
        self._by_hand.add(box)

    def _describe(self) -> None:
        running = self._task.running
        busy = "Something is being computed: cancel it, or wait" if running else ""
        pair = busy or ("" if self._pair.both else "Two layers are needed: choose A and B")
        self._subtract.setEnabled(not pair)
        self._subtract.setToolTip(pair or "The layer is computed where you look at it, whatever its size")
        missing = "" if self._fused.count() else "No result is open: fuse the views first"
        missing = missing or ("" if self._view.count() else "No view with a PSF is open")
        self._explain.setEnabled(not (busy or missing))
        self._explain.setToolTip(
            busy
            or missing
            or "What is not in the model, as a wrong PSF or angle, shows up besides errors of the result"
        )

    def _start_difference(self) -> None:
        both = self._pair.both
        assert both is not None
        a, b = both
        self.begun.emit()
        try:
            point = self._viewer.dims.point
            volumes = volume_at(a, point), volume_at(b, point)
        except InputError as error:
            self.failed.emit(Failed(str(error)))
            return
        self._place = place_of_volume(a) | {"name": f"{a.name} − {b.name}"}
        self._start("Fitting brightness", partial(difference, *volumes))

    def _start_residual(self) -> None:
        fused, view = self._fused.currentData(), self._view.currentData()
        self.begun.emit()
        try:
            volume = volume_at(fused, self._viewer.dims.point)
            views = views_of(volume, [view], self._viewer.dims.point)
        except InputError as error:
            self.failed.emit(Failed(str(error)))
            return
        self._place = place_of_volume(fused) | {"name": f"Residual of {fused.name} in {view.name}"}
        self._start("Blurring", partial(residual, volume, views, views.names[0]))

    def _start(self, words: str, work: Any) -> None:
        self._bar.begin(words)
        self._task.start(lambda check: work(check.report))
        self._describe()

    def _add(self, found: Difference | ResidualVolume) -> None:
        """Show what was computed."""
        if isinstance(found, Difference):
            limit, role = found.limit, "difference"
            self.said.emit(f"Added '{self._place['name']}': B × {found.scale:.4g} {found.offset:+.4g} is taken from A.")
        else:
            limit, role = found.limit, "residual"
            transmission = found.residual.transmission
            depth = 0.0 if transmission is None else transmission.depth
            faded = (
                f" Up to {depth:.0%} of the light is attenuated in this view, which is allowed for."
                if depth >= 0.05
                else ""
            )
            self.said.emit(
                f"Added '{self._place['name']}': {found.residual.rms:.2f} times the expected noise (1 is the noise "
                f"itself).{faded}"
            )
        layer = self._viewer.add_image(
            found.data,
            colormap=_DIVERGING,
            contrast_limits=(-limit, limit),
            blending="translucent_no_depth",
            metadata={KEY: {"role": role}},
            **self._place,
        )
        layer.contrast_limits_range = (-3 * limit, 3 * limit)


def _offer(box: DropList, layers: list[Image], proposed: list[Image]) -> None:
    box.clear()
    for layer in layers:
        box.addItem(layer.name, layer)
    box.setCurrentIndex(layers.index(proposed[0]) if proposed and proposed[0] in layers else -1)


def _box(name: str, words: str) -> DropList:
    box = DropList()
    describe(box, name, words, words)
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return box


def _words(text: str) -> QLabel:
    label = QLabel(text)
    label.setWordWrap(True)
    return label
