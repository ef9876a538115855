"""The Compare panel: which volumes, and the tabs to look at them, to measure and to save."""

from __future__ import annotations

import napari.viewer
from qtpy.QtWidgets import QTabWidget, QWidget

from napari_mvfusion.gui.jobs.saving import SaveResult
from napari_mvfusion.gui.panels.base import Panel
from napari_mvfusion.gui.panels.compare.difference_tab import DifferenceTab
from napari_mvfusion.gui.panels.compare.layer_list import ComparedLayers
from napari_mvfusion.gui.panels.compare.look_tab import LookTab
from napari_mvfusion.gui.panels.compare.metrics_tab import MetricsTab
from napari_mvfusion.gui.panels.compare.profile_tab import ProfileTab
from napari_mvfusion.gui.panels.compare.resolution_tab import ResolutionTab
from napari_mvfusion.gui.widgets.layout import scrolled


class ComparePanel(Panel):
    """Compares views, results and ground truth: by eye, along a line, by their difference, and by number.

    Parameters
    ----------
    viewer : the viewer whose layers are compared
    """

    title = "Compare"

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(viewer, parent)
        self._compared = ComparedLayers(viewer)
        shared = (viewer, self._compared, self.status)
        look = LookTab(*shared)
        self._tabs = QTabWidget()
        self._tabs.setObjectName("tabs")
        self._tabs.addTab(scrolled(look), "Look")
        self._tabs.addTab(scrolled(ProfileTab(*shared, look)), "Profile")
        self._tabs.addTab(scrolled(DifferenceTab(*shared)), "Difference")
        self._tabs.addTab(scrolled(MetricsTab(*shared, look)), "Metrics")
        self._tabs.addTab(scrolled(ResolutionTab(*shared)), "Resolution")
        self._save = SaveResult(viewer, self.status)
        self.lay_out(self._tabs, self._save, self._save.saver, above=(self._compared,), scrolls=False)
        self._compared.changed.connect(self._describe)
        self._describe()

    @property
    def going_on(self) -> str:
        """What is being saved, while something is."""
        return "Saving the result" if self._save.saver.running else ""

    def _describe(self) -> None:
        self._tabs.setVisible(bool(self._compared.listed()))
        self._save.setVisible(bool(self._compared.listed()))
        self._save.show_state()
