"""What is said of the PSFs of the ticked views, in the words of Views & PSFs, with buttons for what helps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget
from superqt import QElidingLabel

from napari_mvfusion.gui.jobs.status import Status
from napari_mvfusion.gui.jobs.tasks import Tasks
from napari_mvfusion.gui.layers.notes import notes, said_of_psf
from napari_mvfusion.gui.panels.views.caches import CachedPSF, PSFCache
from napari_mvfusion.gui.panels.views.grids import fused_grid
from napari_mvfusion.gui.panels.views.psf_fixes import PSFFixes
from napari_mvfusion.gui.panels.views.row import Notices
from napari_mvfusion.gui.widgets.inputs import push_button
from napari_mvfusion.gui.widgets.layout import column, row
from napari_mvfusion.measures.psf_problems import CHOOSE
from napari_mvfusion.measures.view_problems import Fix, Kind, Problem
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
    status : says what was mended, and what went wrong
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel, status: Status, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.blocking = self.looking = False
        self._included: list[Image] = []
        self._layers: dict[Fix, Image] = {}
        self._tasks = Tasks(self)
        self._psfs = PSFCache(self._tasks, self)
        self._fixes = PSFFixes(viewer, self._tasks, status.say_instead, self)
        self._notices = Notices()
        self._all = push_button("Fix all PSFs", "fix_all", "<qt>Mend everything that is said above about PSFs</qt>")
        self._done = QElidingLabel()
        self._done.setObjectName("psf_notes")
        column(self, self._notices, self._all, self._done)
        self._psfs.changed.connect(self.changed)
        self._tasks.failed.connect(status.fail)
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


class WaysOut(QWidget):
    """Buttons, shown only where something needs a PSF and a ticked view has none that can be used.

    Parameters
    ----------
    choose : lets the user choose a PSF for a layer
    beads : opens the form that measures PSFs from beads
    average : has the views fused with Average instead, which needs no PSF; None where that is no way out
    """

    def __init__(
        self,
        choose: Callable[[Any], None],
        beads: Callable[[], None],
        average: Callable[[], None] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._layer: Image | None = None
        self._averages = average is not None
        instead = push_button("Use Average", "use average", "Tick only Average, which needs no PSFs")
        self._choose = push_button("Choose PSF…", "choose psf", "")
        measure = push_button(
            "Measure from beads…", "measure from beads", "Open the form in Views & PSFs that measures PSFs from beads"
        )
        column(self, row(instead, self._choose, measure, None))
        instead.setVisible(self._averages)
        if average is not None:
            instead.clicked.connect(lambda: average())
        self._choose.clicked.connect(lambda: choose(self._layer))
        measure.clicked.connect(lambda: beads())
        self.hide()

    def offer(self, included: Sequence[Image], problem: str) -> str:
        """Show the buttons where a PSF is missing or refused, and say everything that can be done where one is missing.

        Parameters
        ----------
        included : the layers that are fused
        problem : why they cannot be; empty where they can. Unless it is about missing PSFs it is given back as it is
        """
        refused = [layer for layer in included if said_of_psf(layer).flaw]
        missing = [layer for layer in included if notes(layer).get("psf") is None and layer not in refused]
        lacking = bool(missing) and "has no PSF" in problem
        stuck = lacking or (bool(refused) and any(said_of_psf(layer).flaw in problem for layer in refused))
        self.setVisible(stuck)
        self._layer = (missing if lacking else refused)[0] if stuck else None
        if self._layer is not None:
            self._choose.setToolTip(f"Choose the PSF of {self._layer.name} from a TIFF file")
        if not lacking:
            return problem
        names = f"'{missing[0].name}'" if len(missing) == 1 else f"{len(missing)} of {len(included)} views"
        verb = "has" if len(missing) == 1 else "have"
        needed, average = "is needed here", ""
        if self._averages:
            needed, average = "a ticked method needs", "fuse with Average, which needs none, "
        return f"{names} {verb} no PSF, which {needed}: {average}choose a PSF file, or measure PSFs from beads"


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
