"""The Fuse panel: choose views, method and output, start, watch, cancel."""

from __future__ import annotations

from functools import partial

import napari.viewer
import numpy as np
from qtpy.QtCore import QEvent, QSize, QTimer
from qtpy.QtWidgets import QFrame, QGroupBox, QHBoxLayout, QLabel, QPushButton, QScrollArea, QVBoxLayout, QWidget

from napari_mvfusion.errors import MVFusionError, OutputError
from napari_mvfusion.events import Event
from napari_mvfusion.gui.layers import notes, open_layers
from napari_mvfusion.gui.method_form import MethodForm
from napari_mvfusion.gui.output_form import OutputForm
from napari_mvfusion.gui.result import ResultLayer
from napari_mvfusion.gui.status import Status, sentence
from napari_mvfusion.gui.view_list import ViewList
from napari_mvfusion.gui.worker import Failed, FuseJob, FuseRun
from napari_mvfusion.views import RegisteredViews

_CHECK_MS = 50
_WIDTH = 390
_NO_VIEWS = "No views yet. Drop their folder on the window, or use File > Open Sample > Multi-view fusion."


class FusePanel(QWidget):
    """Fuses the ticked layers in the background and adds the result as a layer that fills while it is computed.

    Parameters
    ----------
    viewer : the viewer whose layers are fused
    """

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._run: FuseRun | None = None
        self._views = ViewList(viewer.layers)
        self._method = MethodForm()
        self._output = OutputForm()
        self._status = Status()
        self._volume = QLabel()
        self._volume.setObjectName("volume")
        self._volume.setWordWrap(True)
        self._hint = QLabel()
        self._hint.setObjectName("hint")
        self._hint.setWordWrap(True)
        self._fuse = QPushButton("Fuse")
        self._fuse.setObjectName("fuse")
        self._cancel = QPushButton("Cancel")
        self._cancel.setObjectName("cancel")
        self._lay_out()
        self._due = QTimer(self)
        self._due.setSingleShot(True)
        self._due.setInterval(_CHECK_MS)
        self._due.timeout.connect(self._check)
        for part in (self._views, self._method, self._output):
            part.changed.connect(self._due.start)
        self._views.said.connect(partial(self._status.say, "done"))
        self._views.failed.connect(partial(self._status.say, "error"))
        self._fuse.clicked.connect(self._start)
        self._cancel.clicked.connect(self._stop)
        self._check()

    def sizeHint(self) -> QSize:
        """Wide enough for what the lists say."""
        return QSize(_WIDTH, super().sizeHint().height())

    def _lay_out(self) -> None:
        views, method, output = QGroupBox("Views"), QGroupBox("Method"), QGroupBox("Output")
        for box, parts in ((views, (self._views, self._volume)), (method, (self._method,)), (output, (self._output,))):
            inner = QVBoxLayout(box)
            for part in parts:
                inner.addWidget(part)
        self._inputs = QWidget()
        column = QVBoxLayout(self._inputs)
        column.setContentsMargins(0, 0, 0, 0)
        for box in (views, method, output):
            column.addWidget(box)
        column.addStretch()
        self._scroll = QScrollArea()
        self._scroll.setWidget(self._inputs)
        self._scroll.setWidgetResizable(True)
        self._scroll.setFrameShape(QFrame.Shape.NoFrame)
        buttons = QHBoxLayout()
        buttons.addWidget(self._fuse, 2)
        buttons.addWidget(self._cancel, 1)
        layout = QVBoxLayout(self)
        layout.addWidget(self._scroll, 1)
        layout.addWidget(self._hint)
        layout.addLayout(buttons)
        layout.addWidget(self._status)

    def _check(self) -> None:
        """Tell what would be fused, or why it cannot be, before anybody presses the button."""
        running = self._run is not None
        self._inputs.setEnabled(not running)
        self._cancel.setEnabled(running)
        self._cancel.setToolTip("" if running else "Nothing is running")
        none = self._views.topLevelItemCount() == 0
        problem, volume, remarks = "", _NO_VIEWS if none else "", []
        if not running and not none:
            try:
                views = open_layers(self._views.chosen()).views
                volume = _describe(views)
                self._output.target(views.grid)
                remarks = self._method.method().check(views)
            except OutputError as error:
                problem = str(error)
                self._scroll.ensureWidgetVisible(self._output)
            except MVFusionError as error:
                problem = str(error)
        if not running:
            self._views.setVisible(not none)
            self._volume.setText(volume)
            self._volume.setVisible(bool(volume))
        text = problem or " ".join(remarks)
        self._hint.setText(sentence(text))
        self._hint.setVisible(bool(text))
        obstacle = "A run is going on" if running else _NO_VIEWS if none else problem
        self._fuse.setEnabled(not obstacle)
        self._fuse.setToolTip(obstacle or "Fuse the ticked views")

    def _start(self) -> None:
        try:
            layers = self._views.chosen()
            opened = open_layers(layers)
            method = self._method.method()
            target = self._output.target(opened.views.grid)
        except MVFusionError as error:
            self._status.clear()
            self._status.say("error", str(error))
            return
        into = np.full(opened.views.grid.shape, np.nan, np.float32) if target.out is None else None
        job = FuseJob(
            opened.views,
            method,
            target.device,
            out=target.out,
            into=into,
            resume=target.resume,
            overwrite=target.overwrite,
            inputs=opened.inputs,
        )
        self._run = FuseRun(job, _outermost(self))
        sample = notes(layers[0]).get("sample", "")
        name = f"{sample} {method.name}".strip()
        self._result = ResultLayer(self._viewer, job, name, tuple(layers[0].contrast_limits), self._run)
        self._result.removed.connect(self._run.cancel)
        self._run.reported.connect(self._result.follow)
        self._run.reported.connect(self._show)
        self._run.ended.connect(self._end)
        self._status.begin(f"{method.title}\n{_describe(opened.views)}")
        self._check()
        self._run.start()

    def _show(self, event: Event | Failed) -> None:
        self._status.follow(event, shown=self._result.filled)

    def _stop(self) -> None:
        if self._run is not None:
            self._run.cancel()
            self._cancel.setEnabled(False)
            self._status.cancelling()

    def _end(self) -> None:
        self._run = None
        self._output.refresh()
        self._check()

    def event(self, event: QEvent) -> bool:
        """Notice that napari closes the panel: it takes it out of its dock."""
        if event.type() == QEvent.Type.ParentChange and self.parentWidget() is None:
            self._close()
        return bool(super().event(event))

    def _close(self) -> None:
        """End what is going on; the run then marks its layer by itself."""
        self._due.stop()
        self._views.detach()
        if self._run is not None:
            self._run.cancel()
            self._run.reported.disconnect(self._show)
            self._run.ended.disconnect(self._end)
        self.deleteLater()


def _describe(views: RegisteredViews) -> str:
    """Number of views, and size of the fused volume."""
    count = "1 view" if len(views) == 1 else f"{len(views)} views"
    voxels = " × ".join(str(n) for n in views.grid.shape)
    size = " × ".join(f"{s:g}" for s in views.grid.voxel_size_um)
    return f"{count}, {voxels} voxels\nvoxel size {size} µm (z, y, x)"


def _outermost(widget: QWidget) -> QWidget:
    """The window that a widget is in, also when it floats: a run lives as long as that."""
    while (parent := widget.parentWidget()) is not None:
        widget = parent
    return widget
