"""What is wrong with the PSFs of the ticked views, in the words of Views & PSFs, with a button that mends it."""

from __future__ import annotations

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_mvfusion.gui.tasks import Tasks
from napari_mvfusion.gui.views.grids import fused_grid
from napari_mvfusion.gui.views.knowledge import PSFKnowledge, PSFKnown
from napari_mvfusion.gui.views.mending import Mending
from napari_mvfusion.gui.views.notices import Notices
from napari_mvfusion.gui.views.problems import CHOOSE, Fix, Kind, Problem


class PSFFlaws(QWidget):
    """Shows one box for each view whose PSF has flaws; hidden where there is none.

    Attributes
    ----------
    blocking : whether a PSF is shown with which nothing can be deconvolved

    Parameters
    ----------
    viewer : of the layers
    """

    changed = Signal()
    said = Signal(str, str)
    failed = Signal(object)

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.blocking = False
        self._included: list[Image] = []
        self._layers: dict[Fix, Image] = {}
        self._tasks = Tasks(self)
        self._psfs = PSFKnowledge(self._tasks, self)
        self._mending = Mending(viewer, self._tasks, self)
        self._notices = Notices()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._notices)
        self._psfs.changed.connect(self.changed)
        self._mending.said.connect(self.said)
        self._tasks.failed.connect(self.failed)
        self._notices.pressed.connect(self._mend)
        self.hide()

    def show_layers(self, included: list[Image]) -> None:
        """Show the flaws of these layers' PSFs. Those not known yet are looked at; `changed` tells when that is done."""
        self._included = included
        self._mending.forget_others(included)
        grid = fused_grid(included)
        self._psfs.find_out(included, included, grid)
        known = [(layer, self._psfs.about(layer, grid)) for layer in included]
        flawed = [
            (layer, about)
            for layer, about in known
            # What is fine as it is stands in Views & PSFs, and needs no box here.
            if about is not None and any(problem.kind != "note" for problem in about.problems)
        ]
        problems = [_summed_up(layer, about) for layer, about in flawed]
        self._layers = {
            fix: layer for (layer, _), problem in zip(flawed, problems, strict=True) for fix in problem.fixes
        }
        self.blocking = any(problem.kind == "error" for problem in problems)
        self._notices.show_problems(problems)
        self.setVisible(bool(problems))

    def choose(self, layer: Image) -> None:
        """Let the user choose a file for the PSF of a layer."""
        self._mending.do(layer, CHOOSE, self._included)

    def close_down(self) -> None:
        """Stop what is going on: the panel is closed."""
        self._tasks.stop_all()

    def _mend(self, fix: Fix) -> None:
        self._mending.do(self._layers[fix], fix, self._included)


def _summed_up(layer: Image, about: PSFKnown) -> Problem:
    """All flaws of a PSF as one problem with one button."""
    kind: Kind = "error" if any(problem.kind == "error" for problem in about.problems) else "warning"
    words = " ".join(problem.text for problem in about.problems if problem.kind != "note")
    # A fix of its own for each layer, by which the layer is found again.
    fix = about.remedy or CHOOSE
    return Problem(kind, f"{layer.name}: {words}", (Fix(fix.label, fix.tip, fix.mend, fix.request),))
