"""The views of a project as a list in which those that are opened are ticked."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QHeaderView, QTreeWidget, QTreeWidgetItem, QWidget
from superqt.utils import signals_blocked

from napari_mvfusion.engine.project_plan import PARTS, ViewChoice
from napari_mvfusion.gui.widgets.inputs import describe, push_button, text_label
from napari_mvfusion.gui.widgets.layout import column, row
from napari_mvfusion.gui.widgets.names import NameDelegate

_NAME = 0
_SIZE = 1 + len(PARTS)
_PSF = _SIZE + 1
_LIST = [*(part.capitalize() for part in PARTS), "Size (z, y, x)", "PSF"]
_TICKED, _UNTICKED = Qt.CheckState.Checked, Qt.CheckState.Unchecked


class ProjectViews(QWidget):
    """A row a view, ticked or not; one that cannot be opened is grey, with the reason.

    Attributes
    ----------
    left_out : names of views whose tick was taken away, also while they are not listed
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.left_out: frozenset[str] = frozenset()
        self._shown: tuple[ViewChoice, ...] | None = None
        self._list = QTreeWidget()
        describe(self._list, "project_views", "Views to open")
        self._list.setHeaderLabels(["View", *_LIST])
        self._list.setRootIsDecorated(False)
        self._list.setUniformRowHeights(True)
        for number in range(_SIZE):
            NameDelegate(self._list, number)
        self._list.setSelectionMode(QTreeWidget.SelectionMode.NoSelection)
        header = self._list.header()
        header.setStretchLastSection(False)
        header.setSectionsMovable(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
        for number in range(1, _SIZE):
            header.setSectionResizeMode(number, QHeaderView.ResizeMode.Interactive)
        self._list.itemChanged.connect(self._note)
        self._all = push_button("All", "all_views", "Tick every view that can be opened")
        self._none = push_button("None", "no_views", "Take all ticks away")
        self._all.setAutoDefault(False)
        self._none.setAutoDefault(False)
        self._all.clicked.connect(lambda: self._tick(frozenset()))
        self._none.clicked.connect(self._tick_none)
        self._count, self._reason = text_label("views_count"), text_label("views_reason")
        column(self, (self._list, 1), row((self._count, 1), self._all, self._none), self._reason)

    def show_views(self, views: Sequence[ViewChoice]) -> None:
        """List views; ticks stay."""
        told = tuple(views)
        if self._shown is None or [vars(view) for view in told] != [vars(view) for view in self._shown]:
            self._shown = told
            with signals_blocked(self._list):
                self._list.clear()
                for view in told:
                    self._add(view)
            for number, part in enumerate(PARTS, 1):
                # The names of views hold no commas.
                named = [(view.parts.get(part, "").replace(",", " "), view.name) for view in told]
                self._list.setColumnHidden(number, all(text in name for text, name in named))
            self._share_out()
        self._sum_up()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Share the width out again."""
        super().resizeEvent(event)
        self._share_out()

    def _share_out(self) -> None:
        """Columns as wide as their texts where there is room, else the name of the view up to half of it."""
        shown, header = self._list, self._list.header()
        wanted = [max(shown.sizeHintForColumn(n), header.sectionSizeHint(n)) for n in range(_PSF + 1)]
        room = header.viewport().width() - wanted[_SIZE] - wanted[_PSF]
        parts = [number for number in range(1, _SIZE) if not shown.isColumnHidden(number)]
        left = room - min(wanted[_NAME], room // 2)
        for done, number in enumerate(sorted(parts, key=wanted.__getitem__)):
            width = min(wanted[number], left // (len(parts) - done))
            shown.setColumnWidth(number, width)
            left -= width

    def _add(self, view: ViewChoice) -> None:
        size = view.size if not view.unusable else "not recorded" if not view.recorded else "cannot be opened"
        parts = [view.parts.get(part, "") for part in PARTS]
        item = QTreeWidgetItem(self._list, [view.name, *parts, size, view.psf])
        for number, text in enumerate((view.name, *parts)):
            item.setToolTip(number, text)
        if view.unusable:
            item.setFlags(Qt.ItemFlag.NoItemFlags)
            item.setCheckState(_NAME, _UNTICKED)
            for number in range(_PSF + 1):
                item.setToolTip(number, f"<qt>{view.unusable}</qt>")
            return
        item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
        item.setCheckState(_NAME, _UNTICKED if view.name in self.left_out else _TICKED)

    def _items(self) -> list[QTreeWidgetItem]:
        return [self._list.topLevelItem(number) for number in range(self._list.topLevelItemCount())]

    def _note(self, item: QTreeWidgetItem) -> None:
        name = {item.text(_NAME)}
        self.left_out = self.left_out - name if item.checkState(_NAME) == _TICKED else self.left_out | name
        self._sum_up()
        self.changed.emit()

    def _tick(self, left_out: frozenset[str]) -> None:
        self.left_out = left_out
        with signals_blocked(self._list):
            for item in self._items():
                if item.flags() & Qt.ItemFlag.ItemIsEnabled:
                    item.setCheckState(_NAME, _UNTICKED if item.text(_NAME) in left_out else _TICKED)
        self._sum_up()
        self.changed.emit()

    def _tick_none(self) -> None:
        self._tick(frozenset(view.name for view in self._shown or ()))

    def _sum_up(self) -> None:
        views = self._shown or ()
        usable = [view for view in views if not view.unusable]
        ticked = [view for view in usable if view.name not in self.left_out]
        absent = sum(not view.recorded for view in views)
        broken = [view for view in views if view.unusable and view.recorded]
        said = f"{len(ticked)} of {len(usable)} ticked"
        self._count.setText(said + (f", {absent} not recorded here" if absent else ""))
        self._reason.setVisible(bool(broken))
        if broken:
            first = "" if len(broken) == 1 else " The first:"
            self._reason.setText(f"{len(broken)} cannot be opened.{first} {broken[0].unusable}")
