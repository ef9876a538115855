"""Fields of the form of the output: the name of a file, the address of a cluster, and the formats that are offered."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QLineEdit, QPushButton, QWidget

from napari_mvfusion.gui.widgets.inputs import describe
from napari_mvfusion.gui.widgets.layout import column, row
from napari_mvfusion.io.base import Format
from napari_mvfusion.io.formats import is_written, place_of, writer_of, writers, writing_filter


class AddressField(QLineEdit):
    """The address of a cluster."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.value, self.set_value = self.text, self.setText
        self.setPlaceholderText("tcp://HOST:PORT")
        self.textChanged.connect(lambda _: self.changed.emit())


class FileField(QWidget):
    """The name of a new file or folder, and a button to look for a place."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.line = QLineEdit()
        describe(self.line, "path", "File of the result")
        self.line.setPlaceholderText("name of a new file")
        self.value, self.set_value = self.line.text, self.line.setText
        browse = QPushButton("Browse…")
        describe(browse, "browse", "Browse…", "Choose a folder and a name")
        column(self, row(self.line, browse))
        self.line.textChanged.connect(lambda _: self.changed.emit())
        browse.clicked.connect(self._browse)

    def _browse(self) -> None:
        # An OME-Zarr is a folder: Qt would step into it rather than choose it, so a file dialog that asks nothing.
        options = QFileDialog.Option.DontConfirmOverwrite
        proposed = self.line.text() or f"fused{offered_formats()[0].new_suffix}"
        kinds = sorted(offered_formats(), key=lambda known: not (is_written(proposed) and known is writer_of(proposed)))
        filters = ";;".join(map(writing_filter, kinds))
        there = str(place_of(proposed))
        name, _ = QFileDialog.getSaveFileName(self, "Write the fused volume to", there, filters, options=options)
        if name:
            self.line.setText(name)


def offered_formats() -> list[Format]:
    """The formats, those first whose files are written once: others are gathered elsewhere while a run lasts."""
    return sorted(writers(), key=lambda known: not known.grows)


def offered_places(*, series: bool) -> list[tuple[str, str]]:
    """Where results can go, in words, and the ending that means it; "" for memory."""
    if not series:
        return [("Memory", ""), *((f"{known.written} on disk", known.new_suffix) for known in offered_formats())]
    return [
        (f"{known.written}, {'one for all' if known.grows else 'a file each'}", known.new_suffix)
        for known in offered_formats()
    ]
