"""The Views & PSFs panel: what is fused, with which PSFs, and what is wrong with it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import napari.viewer
from napari.layers import Image, Points
from qtpy.QtCore import QEvent, QTimer
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QGridLayout, QMenu, QWidget

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.gui.jobs.tasks import Failed, Tasks
from napari_mvfusion.gui.layers.follower import LayerFollower
from napari_mvfusion.gui.layers.fused_frame import chosen_frame
from napari_mvfusion.gui.layers.notes import annotate, can_be_view, decide, notes, why_no_views
from napari_mvfusion.gui.panels.base import Panel
from napari_mvfusion.gui.panels.views.beads_form import BeadsForm
from napari_mvfusion.gui.panels.views.caches import PixelCache, PSFCache, ViewCache
from napari_mvfusion.gui.panels.views.file_opener import FileOpener, wanted_of
from napari_mvfusion.gui.panels.views.grids import fused_grid, known_size_um, own_matrix
from napari_mvfusion.gui.panels.views.light_layers import LightLayers
from napari_mvfusion.gui.panels.views.light_menu import light_choices
from napari_mvfusion.gui.panels.views.menus import field_choices, fill_menu, psf_choices
from napari_mvfusion.gui.panels.views.psf_fixes import PSFFixes
from napari_mvfusion.gui.panels.views.row import ViewRow, ViewTable
from napari_mvfusion.gui.panels.views.save_views import SaveViews
from napari_mvfusion.gui.panels.views.states import row_state
from napari_mvfusion.gui.panels.views.trust_choice import TrustChoice
from napari_mvfusion.gui.panels.views.trust_menu import trust_choices
from napari_mvfusion.gui.widgets.inputs import push_button, text_label
from napari_mvfusion.gui.widgets.layout import Fold, column
from napari_mvfusion.gui.widgets.names import tell_apart
from napari_mvfusion.gui.widgets.waiting import Later
from napari_mvfusion.io.bead_files import MeasuredPSF
from napari_mvfusion.measures.view_problems import Fix
from napari_mvfusion.psf.frames import is_same_frame
from napari_mvfusion.system.words import size_words, times

_CHECK_MS = 50
# From this width on a view takes one line.
_WIDE = 700
_NO_VIEWS = "No views yet. Drop their folder here, press Add folder…, or use File > Open Sample > Multi-view fusion."


class ViewsPanel(Panel):
    """Shows the layers that can be views and lets the user choose, match, measure and mend their PSFs.

    All that is said here about a view goes into its layer's notes, where the Fuse panel finds it.

    Parameters
    ----------
    viewer : the viewer whose layers are the views
    """

    title = "Views & PSFs"

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(viewer, parent)
        self._included: list[Image] = []
        self._grid: Grid | None = None
        self._tasks = Tasks(self)
        self._layers = LayerFollower(viewer.layers, self)
        self._psfs = PSFCache(self._tasks, self)
        self._pixels = PixelCache(self._tasks, self)
        self._compared = ViewCache(self._tasks, self)
        self._fixes = PSFFixes(viewer, self._tasks, self.status.say, self)
        self._trust = TrustChoice(viewer, self.status.say, self)
        self._light = LightLayers(viewer, self._tasks, self.status.say, self)
        self.files = FileOpener(viewer, self._tasks, self.status, self)
        self._table = ViewTable()
        self._beads = BeadsForm(self._tasks, self.status)
        self._empty, self._summary = text_label("empty", _NO_VIEWS), text_label("summary")
        self._make_buttons()
        self._lay_out()
        self.setAcceptDrops(True)
        self._due = Later(_CHECK_MS, self._check, self)
        self._layers.listed.connect(self._due.ask)
        for source in (self._layers, self._psfs, self._pixels, self._compared, self._fixes):
            source.changed.connect(self._due.ask)
        self._table.added.connect(self._connect_row)
        self._trust.chosen.connect(self._fix)
        self._beads.accepted.connect(self._use_measured)
        self._tasks.failed.connect(self._show_failure)
        self._check()

    @property
    def busy(self) -> bool:
        """Whether something is being found out or computed."""
        return self._due.due or self._tasks.busy or self._save.saver.running

    @property
    def going_on(self) -> str:
        """What is being saved, while something is."""
        return "Saving the views" if self._save.saver.running else ""

    def _make_buttons(self) -> None:
        self._add_files = push_button("Add files…", "add_files", "Open files, one a view, as layers")
        self._add_folder = push_button("Add folder…", "add_folder", "Open a folder of views and PSFs, or an OME-Zarr")
        self._match = push_button(
            "Match PSFs…", "match", "Give each view the PSF file that has its name or angle in its name"
        )
        menu = QMenu(self._match)
        self._match.setMenu(menu)
        self._orientation = push_button("Check orientation", "orientation")
        self._fix_all = push_button("Fix all PSFs", "fix_all", "Mend everything that is said below about PSFs")
        self._save = SaveViews(self.status)
        self._fold = Fold("Measure PSFs from beads", "fold", self._beads)
        for pressed, answer in (
            (self._add_files.clicked, self.files.ask_files),
            (self._add_folder.clicked, self.files.ask_folder),
            (menu.addAction("From a folder…").triggered, self.files.ask_psf_folder),
            (menu.addAction("From files…").triggered, self.files.ask_psf_files),
            (self._orientation.clicked, self._check_orientation),
            (self._fix_all.clicked, self._mend_all),
        ):
            # What was said before goes first.
            pressed.connect(self.status.clear)
            pressed.connect(answer)
        self._save.pressed.connect(self.status.clear)
        self._fold.toggled.connect(self._unfold)

    def _lay_out(self) -> None:
        self._buttons = QGridLayout()
        inner = QWidget()
        column(inner, self._empty, self._table, self._fold, None)
        actions = (self._beads.progress, self._save.saver, self._summary)
        self._scroll = self.lay_out(inner, *actions, above=(self._buttons,))
        self._arrange()

    def _arrange(self) -> None:
        """Use the width there is."""
        wide = self.width() >= _WIDE
        self._table.arrange(wide=wide)
        buttons = [self._add_files, self._add_folder, self._match, self._orientation, self._save, self._fix_all]
        columns = len(buttons) if wide else 2
        for number, button in enumerate(buttons):
            self._buttons.removeWidget(button)
            self._buttons.addWidget(button, number // columns, number % columns)

    def _unfold(self, on: bool) -> None:
        if on:
            # Once the form has its place.
            QTimer.singleShot(0, lambda: self._scroll.ensureWidgetVisible(self._beads))

    def unfold_beads(self) -> None:
        """Show the form that measures PSFs from beads."""
        self._fold.expand()

    def _connect_row(self, layer: Image, row: ViewRow) -> None:
        row.ticked.connect(lambda on: annotate(layer, included=on, unticked=""))
        row.angle_entered.connect(lambda angle: annotate(layer, angle=angle))
        row.weight_entered.connect(lambda weight: annotate(layer, weight=weight))
        row.fix_pressed.connect(partial(self._fix, layer))
        row.menu.aboutToShow.connect(partial(self._fill_menu, layer, row.menu))
        row.field_menu.aboutToShow.connect(partial(self._fill_field_menu, layer, row.field_menu))

    def _check(self) -> None:
        """Show what is there now, and find out what is not known yet."""
        layers = self._views()
        self._fixes.forget_others(layers)
        self._included = decide(layers)
        self._grid = fused_grid(self._included)
        self._table.show_layers(layers)
        known = self._psfs, self._pixels, self._compared
        for layer, row in self._table.rows.items():
            row.show_state(row_state(layer, self._included, self._grid, *known, self._fixes.verdict(layer)))
        for names in zip(*(row.names for row in self._table.rows.values()), strict=True):
            tell_apart(names)
        self._empty.setText(f"{_NO_VIEWS} {why_no_views(self.viewer.layers)}".strip())
        self._empty.setVisible(not layers)
        self._table.setVisible(bool(layers))
        self._fold.setVisible(bool(self._included))
        self._summary.setText(self._sum_up(len(layers)))
        self._summary.setVisible(bool(layers))
        self._offer_beads(layers)
        self._psfs.find_out(layers, self._included, self._grid)
        self._pixels.find_out(layers)
        self._compared.find_out(self._included)
        self._enable()

    def _views(self) -> list[Image]:
        return [layer for layer in self.viewer.layers if can_be_view(layer)]

    def _enable(self) -> None:
        self._match.setEnabled(bool(self._included))
        self._save.layers = list(self._included)
        self._save.show_state()
        checking = self._tasks.runs("orientation")
        with_psf = [layer for layer in self._included if notes(layer).get("psf") is not None]
        reason = "Being checked…" if checking else ""
        if len(with_psf) < max(2, len(self._included)):
            reason = "Needs two or more views, each with a PSF"
        self._orientation.setEnabled(not reason)
        self._orientation.setText("Checking…" if checking else "Check orientation")
        self._orientation.setToolTip(
            f"<qt>{reason or 'Find out from the views whether a PSF was saved upside down. Takes some seconds'}</qt>"
        )
        flawed = [layer for layer in self._included if self._psf_fix(layer) is not None]
        self._fix_all.setVisible(len(flawed) > 1)

    def _psf_fix(self, layer: Image) -> Fix | None:
        """What mends most about a layer's PSF."""
        about = self._psfs.about(layer, self._grid)
        return None if about is None else about.remedy

    def _sum_up(self, count: int) -> str:
        if not self._included or self._grid is None:
            return "No view is ticked: tick the views to fuse."
        ticked = len(self._included)
        of = f" of {count}" if ticked < count else ""
        views = f"{ticked}{of} view{'' if ticked == count == 1 else 's'} {'is' if ticked == 1 else 'are'}"
        known = any(self._grid.known)
        size = f" of {size_words(self._grid.stated_size_um)} (z, y, x)" if known else ", whose size is not known"
        grid = f"{times(self._grid.shape)} voxels{size}"
        if chosen_frame(self._included).on_first:
            grid = f"the grid of {self._included[0].name}:\n{grid}"
        return f"{views} fused on {grid}"

    def _offer_beads(self, layers: list[Image]) -> None:
        points = [layer for layer in self.viewer.layers if isinstance(layer, Points) and layer.ndim >= 3]
        others = [layer for layer in layers if layer not in self._included and layer.ndim == 3]
        wanted = {layer: wanted_of(layer) for layer in self._included}
        self.files.wanted = wanted
        self.files.grid_size_um = known_size_um(self._grid)
        self._beads.offer(wanted, others, points, self._grid)

    def _fill_menu(self, layer: Image, menu: QMenu) -> None:
        others = [(other.name, notes(other)) for other in self._views() if other is not layer]
        matrix = own_matrix(layer, self._included)
        choices = psf_choices(
            notes(layer),
            others,
            (1.0, 1.0, 1.0) if self._grid is None else self._grid.voxel_size_um,
            own_frame=matrix is not None and not is_same_frame(matrix),
            undo=self._fixes.undoable(layer),
        )
        fill_menu(menu, choices, partial(self._fix, layer))

    def _fill_field_menu(self, layer: Image, menu: QMenu) -> None:
        choices = field_choices(layer, self.viewer.layers) + trust_choices(layer, self.viewer.layers)
        choices += light_choices(layer, self.viewer.layers, self._grid)
        fill_menu(menu, choices, partial(self._fix, layer))

    def _fix(self, layer: Image, fix: Fix) -> None:
        self.status.clear()
        if fix.request in ("box", "fade"):
            self._trust.ask(layer, fix.request, self._included)
            return
        if fix.request == "light":
            self._light.show_for(layer, self._included)
            return
        self._fixes.do(layer, fix, self._included)

    def _mend_all(self) -> None:
        for layer in self._included:
            if (fix := self._psf_fix(layer)) is not None:
                self._fixes.do(layer, fix, self._included)

    def _check_orientation(self) -> None:
        self._fixes.check_orientation(self._included)
        self._enable()

    def _use_measured(self, measured: list[MeasuredPSF]) -> None:
        self.status.clear()
        self._fixes.use_measured(measured, own_frame=self._beads.own_frame)
        self._fold.collapse()

    def _show_failure(self, failed: Failed) -> None:
        self.status.fail(failed)
        self._due.ask()

    def resizeEvent(self, event: QEvent) -> None:
        """Use the room there is."""
        super().resizeEvent(event)
        self._arrange()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Files are welcome."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open views, match PSFs."""
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        event.acceptProposedAction()
        self.status.clear()
        self.files.open(paths)
