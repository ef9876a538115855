"""A fine-tune that goes on: its process, what is seen of it, and the buttons that act on it."""

from __future__ import annotations

from napari.components import ViewerModel
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_mvfusion.gui.jobs.status import Status
from napari_mvfusion.gui.panels.finetune.after_run import GO_ON, AfterRun
from napari_mvfusion.gui.panels.finetune.data_form import DataForm
from napari_mvfusion.gui.panels.finetune.model_actions import Prompt
from napari_mvfusion.gui.panels.finetune.run_view import RunView
from napari_mvfusion.gui.widgets.inputs import push_button, text_label, wrapped
from napari_mvfusion.gui.widgets.layout import column, row, scrolled
from napari_mvfusion.system.words import sentence
from napari_mvfusion.training.job import TrainJob
from napari_mvfusion.training.process import TrainingOutcome, TrainingProcess
from napari_mvfusion.training.runs import model_file
from napari_mvfusion.training.training_events import Stopped, Trained, TrainEvent
from napari_mvfusion.training.verdict import verdict_of

_POLL_MS = 60
_PAUSE = ("Pause", "Waits after this step; what is learned is safe on disk")
_RESUME = ("Resume", "Goes on with the next step, where it waits now")
_STOP_TIP = "Ends within two seconds, and keeps the weights that were best on tiles never trained on"


class TrainingRun(QObject):
    """A training process as the window sees it: polled by a timer, its events as signals on the GUI thread.

    It stops, and keeps what it has, when its parent is destroyed.

    Attributes
    ----------
    process : can be paused, stopped and killed

    Parameters
    ----------
    job : what to train
    parent : lives longer than the panel, so that a run that stops with the panel is followed to its end
    """

    happened = Signal(object)
    ended = Signal(object)

    def __init__(self, job: TrainJob, parent: QObject) -> None:
        super().__init__(parent)
        self.job = job
        self.process = TrainingProcess(job)
        self._timer = QTimer(self)
        self._timer.setInterval(_POLL_MS)
        self._timer.timeout.connect(self._poll)
        # A slot that knows the process only: the run is gone when it is called.
        self.destroyed.connect(self.process.stop)

    def start(self) -> None:
        """Start the process."""
        self.process.start()
        self._timer.start()

    def _poll(self) -> None:
        for event in self.process.events():
            if isinstance(event, TrainingOutcome):
                self._timer.stop()
                self.ended.emit(event)
                self.deleteLater()
            else:
                self.happened.emit(event)


class RunPage(QWidget):
    """Shows one run. `over` tells that it ended, `discarded` that all of it is to be forgotten.

    Attributes
    ----------
    view : progress, curves and pictures
    after : what can be done when it is over
    had_model : whether there was a model of its name before

    Parameters
    ----------
    viewer : whose theme the plots take
    data : knows which layers are ticked
    """

    over = Signal()
    discarded = Signal()

    def __init__(self, viewer: ViewerModel, data: DataForm, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._run: TrainingRun | None = None
        self._discarding = False
        self.had_model = False
        self.view = RunView()
        self._prompt = Prompt()
        self._messages = Status()
        self._messages.go_on = GO_ON
        self.after = AfterRun(viewer, data, self._prompt, self._messages)
        self._lay_out()
        self._pause.clicked.connect(self._pause_or_go_on)
        self._stop.clicked.connect(self._stop_now)
        self._discard.clicked.connect(self._ask_to_discard)
        self.after.renamed.connect(self._take_name)
        viewer.events.theme.connect(self._paint)
        self._paint()

    def begin(self, run: TrainingRun, *, going_on: bool) -> None:
        """Follow a run that starts."""
        self._run = run
        self._discarding = False
        self.had_model = model_file(run.job.out).is_file()
        self._last: Stopped | Trained | None = None
        self._title.setText(f"<b>{run.job.out}</b>, from {run.job.start_from or 'random weights'}")
        self.view.begin(run.job.config, going_on=going_on)
        self._messages.clear()
        self._prompt.hide()
        self._buttons.show()
        self._enable(True)
        run.happened.connect(self._follow)
        run.ended.connect(self._end)

    def close_down(self) -> None:
        """The panel is closed: the run stops and keeps the best by itself."""
        self._viewer.events.theme.disconnect(self._paint)
        if self._run is not None:
            self._run.happened.disconnect(self._follow)
            self._run.ended.disconnect(self._end)
            self._run.process.stop()
            self._run = None

    def _lay_out(self) -> None:
        self._title = text_label("run_title")
        self._pause = push_button("Pause", "pause")
        self._stop = push_button("Stop and keep the best", "stop")
        self._discard = push_button("Discard…", "discard")
        self._buttons = QWidget()
        column(self._buttons, row(self._pause, (self._stop, 1), self._discard))
        inner = QWidget()
        column(inner, self._title, (self.view, 1))
        parts = (self._buttons, self.after, self._prompt, self._messages, self.after.below)
        column(self, (scrolled(inner), 1), *parts)

    def _take_name(self, name: str) -> None:
        self._title.setText(f"<b>{name}</b>")

    def _paint(self) -> None:
        self.view.set_theme(self._viewer.theme)

    def _enable(self, on: bool) -> None:
        for button, text, tip in (
            (self._pause, *_PAUSE),
            (self._stop, "Stop and keep the best", _STOP_TIP),
            (self._discard, "Discard…", "Ends and forgets what was learned; asks first"),
        ):
            button.setEnabled(on)
            button.setText(text)
            button.setToolTip(wrapped(tip) if on else "The run is ending")

    def _follow(self, event: TrainEvent) -> None:
        if isinstance(event, (Stopped, Trained)):
            self._last = event
        words = self.view.follow(event)
        if words:
            self._messages.say("warning", words)

    def _pause_or_go_on(self) -> None:
        assert self._run is not None
        process = self._run.process
        waits = process.paused
        (process.go_on if waits else process.pause)()
        text, tip = _PAUSE if waits else _RESUME
        self._pause.setText(text)
        self._pause.setToolTip(wrapped(tip))

    def _stop_now(self) -> None:
        assert self._run is not None
        self._run.process.stop()
        self._enable(False)
        self._stop.setText("Stopping…")

    def _ask_to_discard(self) -> None:
        assert self._run is not None
        name = self._run.job.out
        stays = f" The model '{name}' stays as it was before." if self.had_model else ""
        question = f"End the training and forget all that '{name}' has learned? This cannot be undone.{stays}"
        self._prompt.ask(question, "Discard", self._discard_now)

    def _discard_now(self) -> None:
        if self._run is not None:
            self._discarding = True
            self._enable(False)
            self._run.process.kill()

    def _end(self, ended: TrainingOutcome) -> None:
        assert self._run is not None
        job, self._run = self._run.job, None
        self._buttons.hide()
        self._prompt.hide()
        self.view.end()
        if self._discarding:
            self.discarded.emit()
            return
        if ended.how in ("failed", "crashed"):
            self.after.say("error", sentence(ended.words))
        else:
            self.after.say(*verdict_of(self._last, ended.path))
            if ended.words:
                self._messages.say("warning", f"{ended.words}.")
        if ended.details:
            self._messages.note(ended.details)
        self.over.emit()
        self.after.show_job(job)
