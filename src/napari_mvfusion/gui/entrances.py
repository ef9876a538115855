"""Where napari comes in: panels, reader and samples of the manifest, whose libraries take seconds to load.

They are loaded off the GUI thread, and the window says so.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakSet

import napari
from napari.utils.notifications import show_warning
from qtpy.QtWidgets import QApplication, QMainWindow, QWidget

from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.binding import about_binding, built
from napari_mvfusion.gui.widgets.waiting import while_busy

# Viewers of whose binding it was said that panels are made for another.
_told: WeakSet[Any] = WeakSet()


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[Any]] | None:
    """What opens this path, or None where it is nothing that this plugin can read; see the reader."""
    name = Path(path if isinstance(path, str) else path[0]).name
    reader: Callable[[str | list[str]], list[Any]] | None
    reader = _loaded("napari_mvfusion.gui.reader", f"Opening {name}").get_reader(path)
    return reader


def embryo() -> list[Any]:
    """An embryo, recorded from four sides, as layers."""
    return _sample("embryo")


def nuclei() -> list[Any]:
    """Nuclei, recorded from two sides, as layers."""
    return _sample("nuclei")


def _sample(name: str) -> list[Any]:
    layers: list[Any] = _loaded("napari_mvfusion.gui.samples", "Opening a sample").sample_layers(name)
    return layers


def views() -> QWidget:
    """The Views & PSFs panel of the current viewer."""
    return _opened("napari_mvfusion.gui.panels.views.panel", "ViewsPanel", "Views & PSFs")


def fuse() -> QWidget:
    """The Fuse panel of the current viewer."""
    return _opened("napari_mvfusion.gui.panels.fuse.panel", "FusePanel", "Fuse")


def compare() -> QWidget:
    """The Compare panel of the current viewer."""
    return _opened("napari_mvfusion.gui.panels.compare.panel", "ComparePanel", "Compare")


def finetune() -> QWidget:
    """The Fine-tune panel of the current viewer."""
    return _opened("napari_mvfusion.gui.panels.finetune.panel", "FineTunePanel", "Fine-tune")


def save_result() -> None:
    """Save the selected result, or the latest one, with its place and recipe."""
    viewer = napari.current_viewer()
    if viewer is None:
        raise InputError("there is no window of napari, and so no result: open one first")
    _loaded("napari_mvfusion.gui.jobs.saving", "Saving").save_from_menu(viewer)


def open_views_panel(window: Any) -> Any:
    """The Views & PSFs panel of a window, in front: the one that is open, however it was opened, or else a new one.

    Parameters
    ----------
    window : napari's
    """
    return _in_front(window, "ViewsPanel", "Views & PSFs", views)


def open_fuse_panel(window: Any) -> Any:
    """The Fuse panel of a window, in front, as `open_views_panel` gives the other one.

    Parameters
    ----------
    window : napari's
    """
    return _in_front(window, "FusePanel", "Fuse", fuse)


def is_seen() -> bool:
    """Whether there is a window on the screen in which something can be asked; a script may keep its window hidden."""
    application = QApplication.instance()
    windows = application.topLevelWidgets() if isinstance(application, QApplication) else []
    return any(isinstance(window, QMainWindow) and window.isVisible() for window in windows)


def open_beads_form(window: Any) -> None:
    """The Views & PSFs panel of a window, in front, with the form that measures PSFs from beads.

    Parameters
    ----------
    window : napari's
    """
    open_views_panel(window).unfold_beads()


def _in_front(window: Any, kind: str, title: str, make: Callable[[], QWidget]) -> Any:
    panel = _panel_in(window, kind)
    if panel is None:
        panel = make()
        window.add_dock_widget(panel, name=f"{title} (Multi-view fusion)")
    dock = panel.parent()
    dock.show()
    dock.raise_()
    return panel


def _loaded(module: str, what: str) -> Any:
    """A module; the window answers, and says what it waits for, while it is loaded for the first time."""
    if module in sys.modules or not is_seen():
        return importlib.import_module(module)
    return while_busy(f"{what}: loading libraries…", lambda: importlib.import_module(module))


def _opened(module: str, panel: str, title: str) -> QWidget:
    viewer = napari.current_viewer()
    if viewer is None:
        raise InputError(f"there is no window of napari to open {title} in: open one first")
    opened = _panel_in(viewer.window, panel)
    if opened is not None:
        # napari names what its menu opens by the title of the plugin, and what a script opens by the name of the package:
        # it asks for a second panel where it has one under the other name.
        opened.leave_dock()
        return opened
    if (binding := about_binding()) and viewer not in _told:
        _told.add(viewer)
        show_warning(f"If something is missing or odd in {title}: {binding}")

    def build() -> QWidget:
        made: QWidget = getattr(_loaded(module, f"Opening {title}"), panel)(viewer)
        return made

    return built(title, build)


def _panel_in(window: Any, kind: str) -> Any:
    """The panel of this class in a dock of a window, None where there is none."""
    docked = [window.dock_widgets[name] for name in window.dock_widgets]
    return next((widget for widget in docked if type(widget).__name__ == kind), None)
