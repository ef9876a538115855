"""The menu of a row's PSF button, filled when it opens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qtpy.QtWidgets import QMenu

from napari_mvfusion.gui.panels.views.problems import Fix
from napari_mvfusion.gui.panels.views.psf_entries import MenuEntry


def fill_menu(menu: QMenu, choices: Sequence[MenuEntry], chosen: Callable[[Fix], None]) -> None:
    """Put these entries into a menu instead of what it held."""
    menu.clear()
    menu.setToolTipsVisible(True)
    groups: dict[str, QMenu] = {}
    for choice in choices:
        into = menu
        if choice.group:
            if choice.group not in groups:
                groups[choice.group] = menu.addMenu(choice.group)
                groups[choice.group].setToolTipsVisible(True)
            into = groups[choice.group]
        action = into.addAction(choice.fix.label)
        action.setToolTip(f"<qt>{choice.fix.tip}</qt>")
        action.setEnabled(choice.possible)
        if choice.checked is not None:
            action.setCheckable(True)
            action.setChecked(choice.checked)
        action.triggered.connect(lambda _=False, fix=choice.fix: chosen(fix))
