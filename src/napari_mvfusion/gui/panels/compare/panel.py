"""The Compare panel: which volumes, and the tabs to look at them, to measure and to save."""

from __future__ import annotations

from functools import partial

import napari.viewer
from qtpy.QtWidgets import QTabWidget, QVBoxLayout, QWidget

from napari_mvfusion.gui.jobs.status import Status
from napari_mvfusion.gui.panels.compare.difference_tab import DifferenceTab
from napari_mvfusion.gui.panels.compare.layer_list import ComparedLayers
from napari_mvfusion.gui.panels.compare.look_tab import LookTab
from napari_mvfusion.gui.panels.compare.metrics_tab import MetricsTab
from napari_mvfusion.gui.panels.compare.profile_tab import ProfileTab
from napari_mvfusion.gui.panels.fuse.save_result import SaveResult
from napari_mvfusion.gui.widgets.panel import Panel
from napari_mvfusion.gui.widgets.scrolled import scrolled


class ComparePanel(Panel):
    """Compares views, results and ground truth: by eye, along a line, by their difference, and by number.

    Parameters
    ----------
    viewer : the viewer whose layers are compared
    """

    title = "Compare"

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._compared = ComparedLayers(viewer.layers)
        self._look = LookTab(viewer, self._compared)
        self._profile = ProfileTab(viewer, self._compared)
        self._difference = DifferenceTab(viewer, self._compared)
        self._metrics = MetricsTab(viewer, self._compared, self._look)
        self._save = SaveResult(viewer)
        self._status = Status()
        self._lay_out()
        for tab in (self._look, self._profile, self._difference, self._metrics):
            tab.begun.connect(self._status.clear)
            tab.failed.connect(self._status.fail)
        for tab in (self._look, self._difference, self._metrics):
            tab.warned.connect(partial(self._status.say, "warning"))
        for tab in (self._profile, self._difference, self._metrics):
            tab.said.connect(partial(self._status.say, "done"))
        # In the grid the line would get a cell of its own.
        self._profile.about_to_draw.connect(self._leave_the_grid)
        self._compared.changed.connect(self._describe)
        self._save.pressed.connect(self._status.clear)
        self._save.saver.said.connect(self._status.say)
        self._save.saver.failed.connect(self._status.fail)
        self._describe()

    @property
    def going_on(self) -> str:
        """What is being saved, while something is."""
        return "Saving the result" if self._save.saver.running else ""

    def _lay_out(self) -> None:
        self._tabs = QTabWidget()
        self._tabs.setObjectName("tabs")
        self._tabs.addTab(scrolled(self._look), "Look")
        self._tabs.addTab(scrolled(self._profile), "Profile")
        self._tabs.addTab(scrolled(self._difference), "Difference")
        self._tabs.addTab(scrolled(self._metrics), "Metrics")
        layout = QVBoxLayout(self)
        layout.addWidget(self._compared)
        layout.addWidget(self._tabs, 1)
        layout.addStretch()
        layout.addWidget(self._save)
        layout.addWidget(self._save.saver)
        layout.addWidget(self._status)

    def _describe(self) -> None:
        self._tabs.setVisible(bool(self._compared.listed()))
        self._save.setVisible(bool(self._compared.listed()))
        self._save.show_state()

    def _leave_the_grid(self) -> None:
        if self._look.mode == "grid":
            self._look.set_mode("")

    def close_down(self) -> None:
        """Stop what is being computed, and leave the viewer as it was."""
        self._compared.detach()
        self._save.detach()
        self._profile.close_down()
        self._difference.close_down()
        self._metrics.close_down()
        self._look.close_down()
        super().close_down()
