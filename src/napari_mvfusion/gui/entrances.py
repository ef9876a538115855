"""Where napari comes in: the panels of the manifest, whose libraries take seconds to load, off the GUI thread."""

from __future__ import annotations

import importlib
from typing import Any

import napari
from qtpy.QtWidgets import QWidget

from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.busy import while_busy


def views() -> QWidget:
    """The Views & PSFs panel of the current viewer."""
    return _opened("views.panel", "ViewsPanel", "Views & PSFs")


def fuse() -> QWidget:
    """The Fuse panel of the current viewer."""
    return _opened("fuse_panel", "FusePanel", "Fuse")


def compare() -> QWidget:
    """The Compare panel of the current viewer."""
    return _opened("compare.panel", "ComparePanel", "Compare")


def finetune() -> QWidget:
    """The Fine-tune panel of the current viewer."""
    return _opened("finetune.panel", "FineTunePanel", "Fine-tune")


def _opened(module: str, panel: str, title: str) -> QWidget:
    viewer = napari.current_viewer()
    if viewer is None:
        raise InputError(f"there is no window of napari to open {title} in: open one first")
    loaded: Any = while_busy(
        f"Opening {title}: loading libraries…", lambda: importlib.import_module(f"napari_mvfusion.gui.{module}")
    )
    made: QWidget = getattr(loaded, panel)(viewer)
    return made
