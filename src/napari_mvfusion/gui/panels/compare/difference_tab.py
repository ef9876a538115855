"""The third tab: where volumes differ, fail to explain a view, or have light that no view supports."""

from __future__ import annotations

from functools import partial
from typing import Any

from napari.components import ViewerModel
from napari.utils.colormaps import Colormap
from qtpy.QtWidgets import QGroupBox, QVBoxLayout

from napari_mvfusion.engine.run_attenuation import attenuation_of_run
from napari_mvfusion.gui.jobs.status import Status, TaskBar
from napari_mvfusion.gui.jobs.tasks import Latest
from napari_mvfusion.gui.layers.conversion import place_of_volume
from napari_mvfusion.gui.layers.notes import KEY
from napari_mvfusion.gui.panels.compare.compared_layers import (
    ROLES,
    role_of,
    view_layers_with_psfs,
    views_of,
    with_role,
)
from napari_mvfusion.gui.panels.compare.layer_list import ComparedLayers, ComparePart, LayerChoice, PairChoice
from napari_mvfusion.gui.panels.compare.unsupported_box import UnsupportedBox
from napari_mvfusion.gui.widgets.forms import Field, Form
from napari_mvfusion.gui.widgets.inputs import push_button, text_label
from napari_mvfusion.measures.differences import Difference, ResidualVolume, difference, residual

# Light where there is much, dark in the middle, so that it can be seen on a dark canvas and in 3D.
_DIVERGING = Colormap(
    [[0.62, 0.86, 1.0], [0.13, 0.47, 0.78], [0.03, 0.03, 0.04], [0.80, 0.30, 0.14], [1.0, 0.83, 0.60]],
    name="blue black orange",
)
_ABOUT_DIFFERENCE = "B is brought to the brightness of A first. Orange: A is brighter. Blue: B is."
_ABOUT_RESIDUAL = (
    "The view minus the volume as the view would see it, in units of the noise that is expected: noise alone stays within "
    "±3. Orange: the view is brighter than explained."
)
_RESIDUAL_TIP = (
    "<qt>What is not in the model, as a wrong PSF or angle, shows up besides errors of the result. Attenuation is that of "
    "the run which made the volume, or fitted.</qt>"
)


class DifferenceTab(ComparePart):
    """Adds layers with the difference of two volumes, the residual of a view, or light without support."""

    def __init__(self, viewer: ViewerModel, compared: ComparedLayers, status: Status) -> None:
        super().__init__(viewer, compared, status)
        self._pair = PairChoice(compared)
        self._task = Latest(self)
        self._bar = TaskBar(self._task)
        self._place: dict[str, Any] = {}
        self._subtract = push_button("Add A − B as a layer", "subtract")
        self._explain = push_button("Add the residual as a layer", "explain")
        self._fused, self._view = LayerChoice(), LayerChoice()
        form = Form(
            [
                Field(self._fused, name="fused", label="Volume", tooltip="The volume that should explain the view"),
                Field(self._view, name="view", label="View", tooltip="The view, which needs a PSF"),
            ]
        )
        layout = QVBoxLayout(self)
        for title, parts in {
            "Difference of A and B": (self._pair, text_label("", _ABOUT_DIFFERENCE), self._subtract),
            "Residual of a view": (form, text_label("", _ABOUT_RESIDUAL), self._explain),
        }.items():
            box = QGroupBox(title)
            inner = QVBoxLayout(box)
            for part in parts:
                inner.addWidget(part)
            layout.addWidget(box)
        # Before the tallest: it is in sight in a small window too.
        layout.insertWidget(1, UnsupportedBox(viewer, compared, status))
        layout.addWidget(self._bar)
        layout.addStretch()
        compared.changed.connect(self._follow)
        self._pair.changed.connect(self._describe)
        self._subtract.clicked.connect(self._start_difference)
        self._explain.clicked.connect(self._start_residual)
        self._task.reported.connect(self._add)
        self._task.failed.connect(status.fail)
        self._task.ended.connect(self._describe)
        self._follow()

    def _follow(self) -> None:
        """The layers are others."""
        listed = self._compared.listed()
        results = [layer for layer in listed if role_of(layer) != ROLES["view"]]
        self._fused.offer(results, next(iter([*reversed(with_role(results, "fused")), *results]), None))
        views = view_layers_with_psfs(listed)
        self._view.offer(views, next(iter(views), None))
        self._describe()

    def _describe(self) -> None:
        busy = "Something is being computed: cancel it, or wait" if self._task.running else ""
        pair = busy or ("" if self._pair.both else "Two layers are needed: choose A and B")
        self._subtract.setEnabled(not pair)
        self._subtract.setToolTip(pair or "The layer is computed where you look at it, whatever its size")
        missing = "" if self._fused.count() else "No result is open: fuse the views first"
        missing = busy or missing or ("" if self._view.count() else "No view with a PSF is open")
        self._explain.setEnabled(not missing)
        self._explain.setToolTip(missing or _RESIDUAL_TIP)

    def _start_difference(self) -> None:
        both = self._pair.both
        assert both is not None
        a, b = both
        with self._told():
            volumes = self._volume(a), self._volume(b)
            self._place = place_of_volume(a) | {"name": f"{a.name} − {b.name}"}
            self._start("Fitting brightness", partial(difference, *volumes))

    def _start_residual(self) -> None:
        fused, view = self._fused.value(), self._view.value()
        assert fused is not None
        assert view is not None
        with self._told():
            volume = self._volume(fused)
            point, listed = self._viewer.dims.point, self._compared.listed()
            one = views_of(volume, [view], point)
            # How much light a view lost is told from all of them.
            views = one if volume.recipe is None else views_of(volume, listed, point)
            views = views if one.names[0] in views.names else one
            self._place = place_of_volume(fused) | {"name": f"Residual of {fused.name} in {view.name}"}
            self._start(
                "Blurring", partial(residual, volume, views, one.names[0], partial(attenuation_of_run, volume.recipe))
            )

    def _start(self, words: str, work: Any) -> None:
        self._bar.begin(words)
        self._task.start(lambda check: work(check.report))
        self._describe()

    def _add(self, found: Difference | ResidualVolume) -> None:
        """Show what was computed."""
        layer = self._viewer.add_image(
            found.data,
            colormap=_DIVERGING,
            contrast_limits=(-found.limit, found.limit),
            blending="translucent_no_depth",
            metadata={KEY: {"role": "difference" if isinstance(found, Difference) else "residual"}},
            **self._place,
        )
        layer.contrast_limits_range = (-3 * found.limit, 3 * found.limit)
        self._status.say("done", f"Added '{layer.name}': {found.words}", [layer])
