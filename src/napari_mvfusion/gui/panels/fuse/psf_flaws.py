"""What is said of the PSFs of the ticked views, in the words of Views & PSFs: flaws with buttons, and what was done."""

from __future__ import annotations

from html import escape

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget
from superqt import QElidingLabel

from napari_mvfusion.gui.jobs.tasks import Tasks
from napari_mvfusion.gui.layers.notes import notes, said_of_psf
from napari_mvfusion.gui.panels.views.caches import CachedPSF, PSFCache
from napari_mvfusion.gui.panels.views.grids import fused_grid
from napari_mvfusion.gui.panels.views.psf_fixes import PSFFixes
from napari_mvfusion.gui.panels.views.row import Notices
from napari_mvfusion.gui.widgets.inputs import push_button
from napari_mvfusion.measures.view_problems import CHOOSE, Fix, Kind, Problem
from napari_mvfusion.system.words import sentence


class PSFFlaws(QWidget):
    """Shows one box for each view whose PSF has flaws, and a quiet line of what was done to the others.

    Attributes
    ----------
    blocking : whether a PSF is shown with which nothing can be deconvolved
    looking : whether a PSF has not been looked at yet

    Parameters
    ----------
    viewer : of the layers
    """

    changed = Signal()
    said = Signal(str, str)
    failed = Signal(object)

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.blocking = self.looking = False
        self._included: list[Image] = []
        self._layers: dict[Fix, Image] = {}
        self._tasks = Tasks(self)
        self._psfs = PSFCache(self._tasks, self)
        self._fixes = PSFFixes(viewer, self._tasks, self)
        self._notices = Notices()
        self._all = push_button("Fix all PSFs", "fix_all", "<qt>Mend everything that is said above about PSFs</qt>")
        self._done = QElidingLabel()
        self._done.setObjectName("psf_notes")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._notices)
        layout.addWidget(self._all)
        layout.addWidget(self._done)
        self._psfs.changed.connect(self.changed)
        self._fixes.said.connect(self.said)
        self._tasks.failed.connect(self.failed)
        self._notices.pressed.connect(self._mend)
        self._all.clicked.connect(self._mend_all)
        self.hide()

    def show_layers(self, included: list[Image]) -> None:
        """Show what is said of these layers' PSFs. Those not known yet are looked at; `changed` tells when that is done."""
        self._included = included
        self._fixes.forget_others(included)
        grid = fused_grid(included)
        self._psfs.find_out(included, included, grid)
        known = [(layer, self._psfs.about(layer, grid)) for layer in included]
        self.looking = any(about is None and notes(layer).get("psf") is not None for layer, about in known)
        found = [(layer, problem) for layer, about in known if (problem := _summed_up(layer, about)) is not None]
        self._layers = {fix: layer for layer, problem in found for fix in problem.fixes}
        self.blocking = any(problem.kind == "error" for _, problem in found)
        self._notices.show_problems([problem for _, problem in found])
        self._all.setVisible(sum(fix.mend is not None for fix in self._layers) > 1)
        self._show_done([layer for layer in included if said_of_psf(layer).notes])
        self.setVisible(bool(found) or self._done.isVisibleTo(self))

    def choose(self, layer: Image) -> None:
        """Let the user choose a file for the PSF of a layer."""
        self._fixes.do(layer, CHOOSE, self._included)

    def _show_done(self, layers: list[Image]) -> None:
        """One line, which is read in full where the mouse rests on it; Views & PSFs has a line for each."""
        texts = [f"{layer.name}: {'; '.join(said_of_psf(layer).notes)}" for layer in layers]
        head = "PSF" if len(texts) == 1 else f"{len(texts)} PSFs"
        self._done.setText(f"{head} made ready: {' · '.join(texts)}")
        self._done.setToolTip(f"<qt>{'<br>'.join(map(escape, texts))}</qt>")
        self._done.setVisible(bool(texts))

    def _mend(self, fix: Fix) -> None:
        self._fixes.do(self._layers[fix], fix, self._included)

    def _mend_all(self) -> None:
        for fix, layer in self._layers.items():
            if fix.mend is not None:
                self._fixes.do(layer, fix, self._included)


def _summed_up(layer: Image, about: CachedPSF | None) -> Problem | None:
    """All flaws of a PSF as one problem with one button; None where it has none."""
    if about is None:
        flaw = said_of_psf(layer).flaw if notes(layer).get("psf") is None else ""
        problems: tuple[Problem, ...] = (Problem("error", sentence(f"{flaw}.")),) if flaw else ()
    else:
        # What is fine as it is stands in Views & PSFs, and needs no box here.
        problems = tuple(problem for problem in about.problems if problem.kind != "note")
    if not problems:
        return None
    kind: Kind = "error" if any(problem.kind == "error" for problem in problems) else "warning"
    fix = (about.remedy if about is not None else None) or CHOOSE
    # A fix of its own for each layer, by which the layer is found again.
    own = Fix(fix.label, fix.tip, fix.mend, fix.request)
    text = " ".join(problem.text for problem in problems)
    return Problem(kind, text if f"'{layer.name}'" in text else f"{layer.name}: {text}", (own,))
