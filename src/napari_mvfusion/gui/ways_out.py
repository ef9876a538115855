"""What can be done where a ticked view has no PSF and a ticked method needs one, as words and buttons."""

from __future__ import annotations

from collections.abc import Sequence

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from napari_mvfusion.gui.layers import notes


class WaysOut(QWidget):
    """Two buttons, shown only where a PSF is missing.

    Signals
    -------
    average : fuse with Average instead, which needs no PSF
    choose : choose a PSF for this layer
    """

    average = Signal()
    choose = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layer: Image | None = None
        self._average = QPushButton("Use Average")
        self._average.setObjectName("use average")
        self._average.setToolTip("Tick only Average, which needs no PSFs")
        self._choose = QPushButton("Choose PSF…")
        self._choose.setObjectName("choose psf")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._average)
        layout.addWidget(self._choose)
        layout.addStretch()
        self._average.clicked.connect(self.average)
        self._choose.clicked.connect(lambda: self.choose.emit(self._layer))
        self.hide()

    def offer(self, included: Sequence[Image], problem: str) -> str:
        """Show the buttons where a PSF is missing, and say everything that can be done; else give the problem back.

        Parameters
        ----------
        included : the layers that are fused
        problem : why they cannot be; empty where they can
        """
        missing = [layer for layer in included if notes(layer).get("psf") is None]
        stuck = bool(problem and missing and "has no PSF" in problem)
        self.setVisible(stuck)
        if not stuck:
            self._layer = None
            return problem
        self._layer = missing[0]
        self._choose.setToolTip(f"Choose the PSF of {missing[0].name} from a TIFF file")
        names = f"'{missing[0].name}'" if len(missing) == 1 else f"{len(missing)} of {len(included)} views"
        verb = "has" if len(missing) == 1 else "have"
        return (
            f"{names} {verb} no PSF, which a ticked method needs: fuse with Average, which needs none, choose a PSF file, "
            "or measure PSFs from beads in Views & PSFs"
        )
