"""The thumbnail of a PSF: three orthogonal cuts side by side, drawn to one scale."""

from __future__ import annotations

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_mvfusion.psf.cuts import Cut, PSFLook

_SIDE = 54
_GAP = 3
_TICK = 4
_LABEL = QColor(255, 255, 255, 170)
_MIDDLE = QColor(90, 170, 255, 220)


class PSFPicture(QWidget):
    """Shows cuts through a PSF's peak in white on black, in dark and in light themes; blue marks show its middle voxel."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._cuts: tuple[Cut, ...] = ()
        self._images: list[QImage] = []
        self.setObjectName("picture")
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setFixedSize(QSize(3 * _SIDE + 2 * _GAP, _SIDE))

    def show_look(self, look: PSFLook | None) -> None:
        """Show another PSF, or none."""
        self._cuts = () if look is None else look.cuts
        self._images = []
        for cut in self._cuts:
            rows, columns = cut.picture.shape
            image = QImage(cut.picture.data, columns, rows, columns, QImage.Format.Format_Grayscale8)
            # The copy owns its pixels.
            self._images.append(image.copy())
        self.update()

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """What is shown."""
        return self._cuts

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the cuts, their axes, and where the middle is."""
        del event
        if not self._cuts:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        font = painter.font()
        font.setPixelSize(9)
        painter.setFont(font)
        longest = max(length for cut in self._cuts for length in cut.size_um)
        for number, (cut, image) in enumerate(zip(self._cuts, self._images, strict=True)):
            frame = QRectF(number * (_SIDE + _GAP), 0, _SIDE, _SIDE)
            painter.fillRect(frame, Qt.GlobalColor.black)
            height, width = (_SIDE * length / longest for length in cut.size_um)
            painter.drawImage(
                QRectF(frame.center().x() - width / 2, frame.center().y() - height / 2, width, height), image
            )
            painter.setPen(QPen(_MIDDLE))
            for start, step in _marks(frame):
                painter.drawLine(start, start + step)
            painter.setPen(QPen(_LABEL))
            painter.drawText(
                frame.adjusted(2, 1, -2, -1), Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop, cut.axes
            )
        painter.end()


def _marks(frame: QRectF) -> list[tuple[QPointF, QPointF]]:
    """Short lines at the four sides that point to the middle: where they start, and how they go on."""
    x, y = frame.center().x(), frame.center().y()
    right, bottom = frame.right() - 1, frame.bottom() - 1
    return [
        (QPointF(frame.left(), y), QPointF(_TICK, 0)),
        (QPointF(right, y), QPointF(-_TICK, 0)),
        (QPointF(x, frame.top()), QPointF(0, _TICK)),
        (QPointF(x, bottom), QPointF(0, -_TICK)),
    ]


def numbers_of(look: PSFLook) -> str:
    """Sides and widths as a small table."""
    lines = [
        ("", ("z", "y", "x")),
        ("voxels", tuple(str(n) for n in look.shape)),
        ("FWHM µm", tuple(map(_short, look.fwhm_um))),
        ("in voxels", tuple(map(_short, look.fwhm_voxels))),
    ]
    rows = "".join(f"<tr><td>{head}</td>{_cells(cells)}</tr>" for head, cells in lines)
    return f"<table cellspacing=0 cellpadding=0 style='font-size: 11px'>{rows}</table>"


def _short(width: float | None) -> str:
    if width is None:
        return "?"
    return f"{width:.2f}" if width < 10 else f"{width:.1f}"


def _cells(texts: tuple[str, ...]) -> str:
    return "".join(f"<td align=right>&nbsp;&nbsp;{text}</td>" for text in texts)
