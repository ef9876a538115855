"""What can be done where a ticked view has no PSF that can be used and something needs one, as words and buttons."""

from __future__ import annotations

from collections.abc import Sequence

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QWidget

from napari_mvfusion.gui.layers.notes import notes, said_of_psf
from napari_mvfusion.gui.widgets.inputs import push_button


class WaysOut(QWidget):
    """Buttons, shown only where a PSF is missing.

    Signals
    -------
    average : fuse with Average instead, which needs no PSF
    choose : choose a PSF for this layer
    beads : measure PSFs from beads

    Parameters
    ----------
    averages : whether Average is a way out
    """

    average = Signal()
    choose = Signal(object)
    beads = Signal()

    def __init__(self, parent: QWidget | None = None, *, averages: bool = True) -> None:
        super().__init__(parent)
        self._layer: Image | None = None
        self._averages = averages
        self._average = push_button("Use Average", "use average", "Tick only Average, which needs no PSFs")
        self._choose = push_button("Choose PSF…", "choose psf", "")
        self._beads = push_button(
            "Measure from beads…", "measure from beads", "Open the form in Views & PSFs that measures PSFs from beads"
        )
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._average)
        layout.addWidget(self._choose)
        layout.addWidget(self._beads)
        layout.addStretch()
        self._average.setVisible(averages)
        self._average.clicked.connect(self.average)
        self._choose.clicked.connect(lambda: self.choose.emit(self._layer))
        self._beads.clicked.connect(self.beads)
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
