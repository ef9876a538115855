"""The Fuse panel: choose views, methods and output, look at a preview, start, watch, cancel."""

from __future__ import annotations

from collections import deque
from functools import partial

import napari.viewer
from qtpy.QtCore import QTimer
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import (
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_mvfusion.cli.script import as_command, as_python
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.errors import InputError, MVFusionError, OutputError
from napari_mvfusion.gui.entrances import open_beads_form
from napari_mvfusion.gui.jobs.failures import Failed
from napari_mvfusion.gui.jobs.result import ResultLayer
from napari_mvfusion.gui.jobs.status import Status, sentence
from napari_mvfusion.gui.jobs.worker import FuseJob, FuseRun, Report
from napari_mvfusion.gui.layers.conversion import notes, open_layers, same_place
from napari_mvfusion.gui.layers.fresh_names import names_for
from napari_mvfusion.gui.layers.view_list import NO_VIEWS, ViewList
from napari_mvfusion.gui.panels.fuse.forecast_line import ForecastLine
from napari_mvfusion.gui.panels.fuse.jobs import called, describe, describe_views, jobs_of, outermost, suffixes
from napari_mvfusion.gui.panels.fuse.method_form import MethodForm
from napari_mvfusion.gui.panels.fuse.output_form import OutputForm
from napari_mvfusion.gui.panels.fuse.preview.form import PreviewForm
from napari_mvfusion.gui.panels.fuse.preview.live import LivePreview, Source
from napari_mvfusion.gui.panels.fuse.psf_flaws import PSFFlaws
from napari_mvfusion.gui.panels.fuse.save_result import SaveResult
from napari_mvfusion.gui.panels.fuse.ways_out import WaysOut
from napari_mvfusion.gui.settings import keep, last_used, preferences
from napari_mvfusion.gui.widgets.panel import Panel
from napari_mvfusion.gui.widgets.scrolled import scrolled
from napari_mvfusion.methods.base import Method

_CHECK_MS = 50
# Enough for one drawing of the window.
_LAUNCH_MS = 20
_NAME = "fuse"
_MEND_FIRST = "The PSF in the red box has to be mended first"
_LOOKING = "The PSFs are being looked at"


class FusePanel(Panel):
    """Fuses the ticked layers in the background and adds each result as a layer that fills while it is computed.

    Parameters
    ----------
    viewer : the viewer whose layers are fused
    """

    title = "Fuse"

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._run: FuseRun | None = None
        self._waiting: deque[FuseJob] = deque()
        self._views = ViewList(viewer.layers)
        self._psfs = PSFFlaws(viewer)
        self._method = MethodForm()
        self._preview = PreviewForm()
        self._live = LivePreview(viewer, self._source, self)
        self._output = OutputForm()
        self._status = Status()
        self._volume = QLabel()
        self._volume.setObjectName("volume")
        self._volume.setWordWrap(True)
        self._hint = QLabel()
        self._hint.setObjectName("hint")
        self._hint.setWordWrap(True)
        self._ways_out = WaysOut()
        self._fuse = QPushButton("Fuse")
        self._fuse.setObjectName("fuse")
        self._cancel = QPushButton("Cancel")
        self._cancel.setObjectName("cancel")
        self._copy = self._copy_button()
        self._save = SaveResult(viewer)
        self._forecast = ForecastLine()
        self._lay_out()
        self._due = QTimer(self)
        self._due.setSingleShot(True)
        self._due.setInterval(_CHECK_MS)
        self._due.timeout.connect(self._check)
        self._launch = QTimer(self)
        self._launch.setSingleShot(True)
        self._launch.setInterval(_LAUNCH_MS)
        self._launch.timeout.connect(self._add_result)
        self._restore()
        for part in (self._views, self._method, self._output):
            part.changed.connect(self._due.start)
        self._method.changed.connect(self._live.refresh)
        self._preview.changed.connect(self._switch_preview)
        self._live.told.connect(self._preview.say)
        self._live.ended.connect(self._preview.turn_off)
        self._views.psf_wanted.connect(self._psfs.choose)
        self._psfs.changed.connect(self._due.start)
        self._ways_out.average.connect(partial(self._method.tick_only, "average"))
        self._ways_out.choose.connect(self._psfs.choose)
        self._ways_out.beads.connect(lambda: open_beads_form(viewer.window))
        self._psfs.said.connect(self._say_anew)
        self._psfs.failed.connect(self._status.fail)
        self._save.pressed.connect(self._status.clear)
        self._save.saver.said.connect(self._status.say)
        self._save.saver.failed.connect(self._status.fail)
        self._fuse.clicked.connect(self._start)
        self._cancel.clicked.connect(self._stop)
        self._check()

    @property
    def going_on(self) -> str:
        """The run, or what is being saved, while there is one."""
        if self._run is not None:
            return f"The fusion by {self._job.method.title}"
        return "Saving the result" if self._save.saver.running else ""

    def _lay_out(self) -> None:
        groups = {
            "Views": (self._views, self._psfs, self._volume),
            "Methods": (self._method, self._preview),
            "Output": (self._output,),
        }
        self._inputs = QWidget()
        column = QVBoxLayout(self._inputs)
        column.setContentsMargins(0, 0, 0, 0)
        for title, parts in groups.items():
            box = QGroupBox(title)
            inner = QVBoxLayout(box)
            for part in parts:
                inner.addWidget(part)
            column.addWidget(box)
        column.addStretch()
        self._scroll = scrolled(self._inputs)
        buttons = QHBoxLayout()
        buttons.addWidget(self._fuse, 2)
        buttons.addWidget(self._cancel, 1)
        buttons.addWidget(self._copy, 1)
        buttons.addWidget(self._save, 1)
        layout = QVBoxLayout(self)
        layout.addWidget(self._scroll, 1)
        layout.addWidget(self._hint)
        layout.addWidget(self._ways_out)
        layout.addWidget(self._forecast)
        layout.addLayout(buttons)
        layout.addWidget(self._save.saver)
        layout.addWidget(self._status)

    def _copy_button(self) -> QPushButton:
        button = QPushButton("Copy as…")
        button.setObjectName("copy")
        button.setToolTip("<qt>Copies this run to the clipboard, to repeat it in a terminal or a notebook</qt>")
        menu = QMenu(button)
        menu.addAction("Command", lambda: self._copy_text("command"))
        menu.addAction("Python", lambda: self._copy_text("Python"))
        button.setMenu(menu)
        return button

    def _restore(self) -> None:
        """Begin with what was used last; what was never used begins with the preferences."""
        state = last_used(_NAME)
        self._output.restore({"device": preferences().device})
        if "methods" in state:
            self._method.restore(state["methods"])
            self._output.restore(state.get("output", {}))

    def _check(self) -> None:
        """Tell what would be fused, or why it cannot be, before anybody presses the button."""
        running = self._run is not None
        self._inputs.setEnabled(not running)
        self._cancel.setEnabled(running)
        self._cancel.setToolTip("Stops within a second; what is finished is kept" if running else "Nothing is running")
        none = self._views.topLevelItemCount() == 0
        problem, volume, remarks, checked = "", NO_VIEWS if none else "", [], False
        if not running and not none:
            try:
                opened = open_layers(self._views.chosen())
                volume = describe(opened)
                methods = self._chosen_methods()
                self._output.suggest(*names_for(opened, notes(self._views.chosen()[0]).get("sample")))
                self._output.expect(suffixes(methods, opened))
                # What is odd from here on may be about PSFs.
                checked = True
                remarks = list(dict.fromkeys(remark for method in methods for remark in method.check(opened.views)))
                target = self._output.target(opened.views.grid)
                on_disk = target.outs is not None
                self._forecast.show_for(self._views.chosen(), opened, methods, target.device, on_disk=on_disk)
            except OutputError as error:
                problem = str(error)
                self._scroll.ensureWidgetVisible(self._output)
            except MVFusionError as error:
                problem = str(error)
        if not running:
            self._views.setVisible(not none)
            self._volume.setText(volume)
            self._volume.setVisible(bool(volume))
            self._psfs.show_layers(self._views.chosen())
            problem = self._ways_out.offer(self._views.chosen(), problem)
            if problem and self._psfs.blocking:
                problem = _MEND_FIRST
            elif (problem or remarks) and checked and self._psfs.looking:
                # Most of it is mended in a moment, and nothing shall be fused before.
                problem = _LOOKING
            self._live.refresh()
        if problem or running or none:
            self._forecast.clear_away()
        text = problem or " ".join(remarks)
        self._hint.setText(sentence(text))
        self._hint.setVisible(bool(text))
        obstacle = "A run is going on" if running else NO_VIEWS if none else problem
        self._fuse.setEnabled(not obstacle)
        self._fuse.setToolTip(obstacle or "Fuse the ticked views with the ticked methods")
        self._copy.setEnabled(not running and not none)
        self._save.show_state()

    def _chosen_methods(self) -> list[Method]:
        methods = self._method.methods()
        if not methods:
            raise InputError("no method is ticked: tick one or more")
        return methods

    def _start(self) -> None:
        try:
            layers = self._views.chosen()
            opened = open_layers(layers)
            methods = self._chosen_methods()
            self._output.expect(suffixes(methods, opened))
            target = self._output.target(opened.views.grid)
        except MVFusionError as error:
            self._status.clear()
            self._status.say("error", str(error))
            return
        keep(_NAME, {"methods": self._method.state(), "output": self._output.state()})
        self._live.pause()
        self._jobs = len(methods)
        self._waiting.extend(jobs_of(opened, methods, target))
        self._sample = notes(layers[0]).get("sample") or ""
        self._place = same_place(layers[0])
        self._limits: tuple[float, float] = tuple(layers[0].contrast_limits)
        self._next(first=True)

    def _next(self, *, first: bool = False) -> None:
        """Start the run that waits longest."""
        job = self._waiting.popleft()
        self._run = FuseRun(job, outermost(self))
        self._job = job
        title = job.method.title if self._jobs > 1 else ""
        self._status.begin(title, f"{job.method.title}\n{describe_views(job.views)}", first=first)
        self._check()
        self._launch.start()

    def _add_result(self) -> None:
        """Add the layer of the run, which takes napari a while: after the panel has shown that it begins."""
        assert self._run is not None
        name = f"{self._sample} {called(self._job.method)}".strip()
        self._result = ResultLayer(self._viewer, self._job, name, self._place, self._limits, self._run)
        self._result.removed.connect(self._run.cancel)
        self._run.reported.connect(self._result.follow)
        self._run.reported.connect(self._show)
        self._run.ended.connect(self._end)
        self._run.start()

    def _show(self, event: Report) -> None:
        self._status.follow(event, shown=self._result.filled, deleted=self._result.deleted)
        self._forecast.learn(self._job, event)
        if isinstance(event, Failed) and self._waiting:
            self._waiting.clear()
            self._status.say("warning", "The methods after it were not started.")

    def _say_anew(self, kind: str, text: str) -> None:
        self._status.clear()
        self._status.say(kind, text)

    def _stop(self) -> None:
        self._waiting.clear()
        if self._run is not None:
            self._run.cancel()
            self._cancel.setEnabled(False)
            self._status.cancelling()

    def _end(self) -> None:
        self._run = None
        if self._waiting:
            self._next()
            return
        self._output.refresh()
        self._check()

    def _source(self) -> Source:
        """What the live preview shows."""
        if self._run is not None:
            raise InputError("the preview goes on when the run has ended")
        layers = self._views.chosen()
        opened = open_layers(layers)
        method = self._method.current()
        method.check(opened.views)
        return Source(layers, opened, method, self._output.device)

    def _switch_preview(self) -> None:
        if not self._preview.on:
            self._live.end()
            return
        try:
            self._live.begin(with_box=self._preview.with_box)
        except MVFusionError as error:
            self._preview.turn_off()
            self._live.end()
            self._status.say("error", str(error))

    def _copy_text(self, kind: str) -> None:
        try:
            opened = open_layers(self._views.chosen())
            if opened.inputs is None:
                raise InputError(
                    "the views, as they are now, cannot be opened from files elsewhere: press Save views… in Views & PSFs, "
                    "which writes them with their PSFs"
                )
            inputs = Inputs(**opened.inputs)
            methods = self._chosen_methods()
            self._output.expect(suffixes(methods, opened))
            outs = self._output.target(opened.views.grid).outs or [f"fused{s}.zarr" for s in suffixes(methods, opened)]
        except MVFusionError as error:
            self._status.say("error", str(error))
            return
        write = as_command if kind == "command" else as_python
        device = self._output.device
        texts = [write(inputs, m, str(out), device=device) for m, out in zip(methods, outs, strict=True)]
        QGuiApplication.clipboard().setText("\n".join(texts))
        self._status.say("done", f"Copied as {kind}.")

    def close_down(self) -> None:
        """End what is going on; the run then marks its layer by itself."""
        self._due.stop()
        self._waiting.clear()
        self._live.close()
        self._views.detach()
        self._psfs.close_down()
        self._save.detach()
        self._forecast.close_down()
        if self._run is not None and self._launch.isActive():
            self._launch.stop()
            self._run.deleteLater()
        elif self._run is not None:
            self._run.cancel()
            self._run.reported.disconnect(self._show)
            self._run.ended.disconnect(self._end)
        super().close_down()
