"""What is asked when a project is opened: which of its views, at which size, and what that takes."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialogButtonBox, QHBoxLayout, QVBoxLayout, QWidget

from napari_mvfusion.engine.project_plan import ProjectPlan, ProjectPlanner
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.gui.jobs.tasks import Checkpoint, Failed, Latest, once
from napari_mvfusion.gui.panels.views.dialogs import Question
from napari_mvfusion.gui.panels.views.project_options import ProjectOptions
from napari_mvfusion.gui.panels.views.project_views import ProjectViews
from napari_mvfusion.gui.settings import preferences
from napari_mvfusion.gui.widgets.inputs import text_label
from napari_mvfusion.gui.widgets.layout import fill, scrolled
from napari_mvfusion.gui.widgets.waiting import Later
from napari_mvfusion.io.base import ProjectContents
from napari_mvfusion.system.words import sentence

_WIDTH, _HEIGHT = 960, 580
_OPTIONS_WIDTH = 330
# While somebody is still ticking, nothing is worked out.
_SETTLE_MS = 150
_NEEDS_LINES = 5


class ProjectDialog(Question):
    """Asks what of a project is opened. Below, it says what that takes, worked out in a thread; no pixel is read.

    Enter opens what is proposed: all views of the first time point and channel, at full resolution.

    Parameters
    ----------
    planner : of the project
    parent : the panel
    """

    def __init__(self, planner: ProjectPlanner, parent: QWidget | None = None) -> None:
        title = f"Open project {planner.path.name}"
        super().__init__("project", title, QDialogButtonBox.StandardButton.Open, parent)
        self.resize(_WIDTH, _HEIGHT)
        self._planner = planner
        self._plan: ProjectPlan | None = None
        self._wanted = False
        self._options = ProjectOptions(planner.project)
        self._options.propose(planner.proposed)
        self._views = ProjectViews()
        self._needs = text_label("needs")
        self._needs.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self._needs.setMinimumHeight(_NEEDS_LINES * self.fontMetrics().lineSpacing())
        self._latest = Latest(self, in_turn=True)
        self._latest.succeeded.connect(self._show_plan)
        self._latest.failed.connect(self._show_failure)
        self._due = Later(_SETTLE_MS, self._work_out, self)
        for part in (self._options, self._views):
            part.changed.connect(self._ask_again)
        self._lay_out()
        self._work_out()

    def given(self) -> Inputs:
        """How the views that are chosen are opened."""
        assert self._plan is not None
        return self._plan.inputs

    @property
    def busy(self) -> bool:
        """Whether it is still working out what is chosen."""
        return self._due.due or self._latest.running

    def accept(self) -> None:
        """Open, once it is known that this can be done."""
        if self.busy:
            self._wanted = True
            self._needs.setText("Opening…")
        elif self._plan is not None and not self._plan.lacking:
            super().accept()

    def done(self, result: int) -> None:
        """Close, and work nothing out any more."""
        self._due.cancel()
        self._latest.cancel()
        super().done(result)

    def _lay_out(self) -> None:
        options = scrolled(self._options)
        options.setFixedWidth(_OPTIONS_WIDTH)
        middle = QHBoxLayout()
        fill(middle, (options, (self._views, 1)))
        entered = QVBoxLayout()
        fill(entered, ((middle, 1), self._needs))
        self._ask(_about(self._planner.project), (entered, 1))

    def _ask_again(self) -> None:
        self._wanted = False
        self._plan = None
        self._due.ask()

    def _work_out(self) -> None:
        if self._options.lacking:
            self._latest.cancel()
            self._tell_lacking(self._options.lacking)
            return
        self._needs.setText("Working out what this takes…")
        plan = partial(self._planner.plan, self._options.inputs(self._planner.proposed), self._views.left_out)

        def steps(check: Checkpoint) -> Generator[None, None, ProjectPlan]:
            share = preferences().memory_share
            return once(check, partial(plan, memory_share=share, cancel=check.stopped))

        self._latest.start(steps)

    def _tell_lacking(self, lacking: str) -> None:
        self._wanted = False
        self._let_answer(lacking)
        self._needs.setText(f"{sentence(lacking).rstrip('.')}.")

    def _show_plan(self, plan: ProjectPlan | None) -> None:
        if plan is None:
            return
        self._plan = plan
        self._views.show_views(plan.views)
        self._options.show_plan(plan)
        if self.busy:
            # A level that was chosen is not there any more.
            return
        if plan.lacking:
            self._tell_lacking(plan.lacking)
            return
        self._let_answer("")
        self._needs.setText("" if plan.needs is None else "\n".join(plan.needs.lines))
        if self._wanted:
            self._wanted = False
            self.accept()

    def _show_failure(self, failed: Failed) -> None:
        self._plan = None
        self._views.show_views(())
        self._tell_lacking(failed.message)


def _about(project: ProjectContents) -> str:
    """A project in one line."""
    parts = [
        (project.views, "view"),
        (len(project.timepoints), "time point"),
        (len(project.channels), "channel"),
        (len(project.angles), "angle"),
    ]
    counts = [f"{count} {word}{'' if count == 1 else 's'}" for count, word in parts if count]
    unit = f" {sentence(project.world_unit)}." if project.unit == "clear" else ""
    return f"{', '.join(counts)}, kept as {project.kept}.{unit}"
