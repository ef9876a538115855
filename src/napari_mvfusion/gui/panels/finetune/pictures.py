"""One slice of a tile that is never trained on: the views, what the start gives, and what the model gives now."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QImage, QPainter, QPaintEvent
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_mvfusion.gui.widgets.inputs import WordList, describe
from napari_mvfusion.training.training_events import Previewed

_PLANES = [("xy", "0"), ("xz", "1"), ("yz", "2")]
_LOW, _HIGH = 1.0, 99.8
_LEAST_PIXELS = 90


class BeforeAfter(QWidget):
    """Three pictures with one contrast, and the residual of two of them."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shown: Previewed | None = None
        self._plane = WordList(_PLANES)
        describe(self._plane, "plane", "Plane of the tile", "<qt>Which way the tile is cut, where it is brightest</qt>")
        self._plane.currentIndexChanged.connect(self._draw)
        self._pictures = [_Picture() for _ in range(3)]
        self._words = [QLabel() for _ in range(3)]
        names = ("Views", "Before", "Now")
        tips = (
            "The mean of the views",
            "What the starting weights make of the views",
            "What the weights make of them that would be kept now",
        )
        grid = QGridLayout()
        grid.setSpacing(4)
        for column, (picture, words, name, tip) in enumerate(
            zip(self._pictures, self._words, names, tips, strict=True)
        ):
            picture.setToolTip(f"<qt>{tip}</qt>")
            picture.setObjectName(f"picture_{name.lower()}")
            words.setObjectName(f"words_{name.lower()}")
            words.setAlignment(Qt.AlignmentFlag.AlignHCenter)
            words.setText(name)
            words.setToolTip(f"<qt>{tip}</qt>")
            grid.addWidget(picture, 0, column)
            grid.addWidget(words, 1, column)
            grid.setColumnStretch(column, 1)
        label = QLabel("A tile never trained on")
        label.setWordWrap(True)
        row = QHBoxLayout()
        row.addWidget(label, 1)
        row.addWidget(self._plane)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addLayout(grid)

    def clear(self) -> None:
        """Show nothing: a new run begins."""
        self._shown = None
        self.hide()
        for picture in self._pictures:
            picture.show_image(None)
        for words, name in zip(self._words, ("Views", "Before", "Now"), strict=True):
            words.setText(name)

    def show_preview(self, event: Previewed) -> None:
        """Show what a run sent."""
        self._shown = event
        self.show()
        self._draw()

    def _draw(self) -> None:
        event = self._shown
        if event is None:
            return
        axis = int(self._plane.currentData())
        # Where the views are brightest, and one contrast for all: nothing else may make one look better.
        others = tuple(a for a in range(3) if a != axis)
        index = int(np.argmax(event.view.mean(axis=others)))
        low, high = np.percentile(event.before, [_LOW, _HIGH])
        for picture, volume in zip(self._pictures, (event.view, event.before, event.after), strict=True):
            picture.show_image(_gray(np.take(volume, index, axis=axis), float(low), float(high)))
        self._words[1].setText(f"Before: {event.residual_before:.2f}")
        self._words[2].setText(f"Now: {event.residual_after:.2f}")
        tip = "<qt>Residual on this tile, in units of the noise; 1 is the noise alone</qt>"
        for words in self._words[1:]:
            words.setToolTip(tip)


class _Picture(QWidget):
    """A picture, as large as its place allows, voxels square."""

    def __init__(self) -> None:
        super().__init__()
        self._image: QImage | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)

    def sizeHint(self) -> QSize:
        return QSize(_LEAST_PIXELS, _LEAST_PIXELS)

    def minimumSizeHint(self) -> QSize:
        return QSize(60, 60)

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        return min(width, 200)

    def show_image(self, image: QImage | None) -> None:
        """Show another picture, or none."""
        self._image = image
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter = QPainter(self)
        if self._image is None:
            painter.fillRect(self.rect(), Qt.GlobalColor.black)
            return
        scale = min(self.width() / self._image.width(), self.height() / self._image.height())
        width, height = self._image.width() * scale, self._image.height() * scale
        painter.drawImage(QRectF((self.width() - width) / 2, (self.height() - height) / 2, width, height), self._image)


def _gray(plane: np.ndarray, low: float, high: float) -> QImage:
    """A plane as gray levels."""
    values = np.clip((plane - low) / max(high - low, 1e-9), 0, 1)
    pixels = np.ascontiguousarray(np.round(255 * values), np.uint8)
    height, width = pixels.shape
    # A copy, because a QImage only borrows its pixels.
    return QImage(pixels.tobytes(), width, height, width, QImage.Format.Format_Grayscale8).copy()
