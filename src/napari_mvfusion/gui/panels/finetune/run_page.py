"""While a fine-tune goes on, and after it: what is seen of it, and the buttons that act on it."""

from __future__ import annotations

from pathlib import Path

from napari.components import ViewerModel
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.jobs.status import Status
from napari_mvfusion.gui.panels.finetune.bridge import TrainingRun
from napari_mvfusion.gui.panels.finetune.model_actions import file_of
from napari_mvfusion.gui.panels.finetune.outcome_view import OutcomeView
from napari_mvfusion.gui.panels.finetune.prompt import Prompt
from napari_mvfusion.gui.panels.finetune.run_view import RunView
from napari_mvfusion.gui.widgets.inputs import push_button, text_label
from napari_mvfusion.gui.widgets.layout import scrolled
from napari_mvfusion.system.words import sentence
from napari_mvfusion.training.process import TrainingOutcome
from napari_mvfusion.training.training_events import Stopped, Trained, TrainEvent
from napari_mvfusion.training.verdict import Verdict, judge

_KINDS = {"better": "done", "no better": "warning", "overfitted": "warning"}
_PAUSE_TIP = "Waits after this step; what is learned is safe on disk"
_RESUME_TIP = "Goes on with the next step, where it waits now"
_NOTHING_KEPT = "No model was kept, as nothing better than the start was measured yet."


class RunPage(QWidget):
    """Shows one run. `over` tells that it ended, `discarded` that all of it is to be forgotten.

    Parameters
    ----------
    viewer : whose theme the plots take
    """

    over = Signal(object)
    discarded = Signal()

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._run: TrainingRun | None = None
        self._discarding = False
        self.verdict: Verdict | None = None
        self.had_model = False
        self.view = RunView()
        self.outcome = OutcomeView()
        self.prompt = Prompt()
        self.messages = Status()
        self._title = text_label("run_title")
        self._pause = push_button("Pause", "pause")
        self._stop = push_button("Stop and keep the best", "stop")
        self._discard = push_button("Discard…", "discard")
        self._buttons = QWidget()
        row = QHBoxLayout(self._buttons)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._pause)
        row.addWidget(self._stop, 1)
        row.addWidget(self._discard)
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._title)
        column.addWidget(self.view, 1)
        scroll = scrolled(inner)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(scroll, 1)
        layout.addWidget(self._buttons)
        layout.addWidget(self.outcome)
        layout.addWidget(self.prompt)
        layout.addWidget(self.messages)
        self._pause.clicked.connect(self._pause_or_go_on)
        self._stop.clicked.connect(self.stop)
        self._discard.clicked.connect(self._ask_to_discard)
        viewer.events.theme.connect(self._paint)
        self._paint()

    def begin(self, run: TrainingRun, *, going_on: bool) -> None:
        """Follow a run that starts."""
        self._run = run
        self._discarding = False
        self.had_model = file_of(run.job.out).is_file()
        self._last: Stopped | Trained | None = None
        self.verdict = None
        start = run.job.start_from or "random weights"
        self._title.setText(f"<b>{run.job.out}</b>, from {start}")
        self.view.begin(run.job.config, going_on=going_on)
        self.messages.clear()
        self.prompt.hide()
        self.outcome.hide()
        self._buttons.show()
        self._enable(True)
        run.happened.connect(self._follow)
        run.ended.connect(self._end)

    def rename(self, name: str) -> None:
        """The model has another name now."""
        self._title.setText(f"<b>{name}</b>")

    def stop(self) -> None:
        """Keep the best weights and end."""
        if self._run is not None:
            self._run.stop()
            self._enable(False)
            self._stop.setText("Stopping…")

    def close_down(self) -> None:
        """The panel is closed: the run stops and keeps the best by itself."""
        self._viewer.events.theme.disconnect(self._paint)
        if self._run is not None:
            self._run.happened.disconnect(self._follow)
            self._run.ended.disconnect(self._end)
            self._run.stop()
            self._run = None

    def _paint(self) -> None:
        self.view.set_theme(self._viewer.theme)

    def _enable(self, on: bool) -> None:
        for button, tip in (
            (self._pause, _PAUSE_TIP),
            (self._stop, "Ends within two seconds, and keeps the weights that were best on tiles never trained on"),
            (self._discard, "Ends and forgets what was learned; asks first"),
        ):
            button.setEnabled(on)
            button.setToolTip(f"<qt>{tip}</qt>" if on else "The run is ending")
        self._pause.setText("Pause")
        self._stop.setText("Stop and keep the best")

    def _follow(self, event: TrainEvent) -> None:
        if isinstance(event, (Stopped, Trained)):
            self._last = event
        words = self.view.follow(event)
        if words:
            self.messages.say("warning", words)

    def _pause_or_go_on(self) -> None:
        assert self._run is not None
        if self._run.paused:
            self._run.go_on()
            self._pause.setText("Pause")
            self._pause.setToolTip(f"<qt>{_PAUSE_TIP}</qt>")
        else:
            self._run.pause()
            self._pause.setText("Resume")
            self._pause.setToolTip(f"<qt>{_RESUME_TIP}</qt>")

    def _ask_to_discard(self) -> None:
        assert self._run is not None
        name = self._run.job.out
        stays = f" The model '{name}' stays as it was before." if self.had_model else ""
        self.prompt.ask(
            f"End the training and forget all that '{name}' has learned? This cannot be undone.{stays}",
            "Discard",
            self._discard_now,
        )

    def _discard_now(self) -> None:
        if self._run is not None:
            self._discarding = True
            self._enable(False)
            self._run.kill()

    def _end(self, ended: TrainingOutcome) -> None:
        self._run = None
        self._buttons.hide()
        self.prompt.hide()
        self.view.end("")
        if self._discarding:
            self.discarded.emit()
            return
        self.outcome.show()
        if ended.how in ("failed", "crashed"):
            self.outcome.say("error", sentence(ended.words))
            if ended.details:
                self.messages.note(ended.details)
        else:
            self._tell(ended.path)
            if ended.words:
                self.messages.say("warning", f"{ended.words}.")
            if ended.details:
                self.messages.note(ended.details)
        self.over.emit(ended)

    def _tell(self, path: Path | None) -> None:
        """Say whether it helped."""
        if self._last is not None:
            try:
                self.verdict = judge(self._last.before, self._last.after)
            except InputError:
                self.verdict = None  # stopped before the first measurement
        if path is None:
            words = "" if self.verdict is None else f"{self.verdict.sentence} "
            self.outcome.say("warning", f"{words}{_NOTHING_KEPT}")
            return
        kept = f" The model '{path.stem}' is in the lists now."
        if isinstance(self._last, Trained) and self._last.best_step == 0:
            kept = f" The model '{path.stem}' has the weights of the start."
        if self.verdict is None:
            self.outcome.say("done", f"Done.{kept}")
        else:
            self.outcome.say(_KINDS[self.verdict.kind], f"{self.verdict.sentence}{kept}")
