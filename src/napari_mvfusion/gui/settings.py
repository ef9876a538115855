"""What the user prefers: napari's preferences of this plugin, and what was used last in a panel."""

from __future__ import annotations

import atexit
import json
import threading
from dataclasses import dataclass
from typing import Any

from napari.settings import get_plugin_settings
from qtpy.QtCore import QCoreApplication, QSettings

from napari_mvfusion.gui.jobs.tasks import Task, once

_PLUGIN = "napari-mvfusion"
_UNWRITTEN: dict[str, str] = {}
_LOOK, _WRITE = threading.Lock(), threading.Lock()


@dataclass(frozen=True)
class Preferences:
    """The preferences, as the manifest declares them.

    Attributes
    ----------
    device : "auto", "cpu", "cuda" or "mps"
    threads : of the CPU, 0 for all
    memory_share : of the memory that is free, what a run may take
    output_folder : where the names of results are looked for; empty for the working folder
    """

    device: str = "auto"
    threads: int = 0
    memory_share: float = 0.5
    output_folder: str = ""


def preferences() -> Preferences:
    """What stands in napari's preferences now."""
    found = get_plugin_settings().get(_PLUGIN)
    if found is None:
        return Preferences()
    run = found.run
    return Preferences(run.device, run.threads, run.memory_share, run.output_folder)


def last_used(panel: str) -> dict[str, Any]:
    """What `keep` was given for this panel in this or an earlier session, or an empty dict."""
    text = _UNWRITTEN.get(panel) or QSettings(_PLUGIN, _PLUGIN).value(panel, "")
    try:
        values = json.loads(str(text))
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def keep(panel: str, values: dict[str, Any]) -> None:
    """Remember JSON types for `last_used`. They are written in a thread, as the window must not wait for a disk."""
    with _LOOK:
        _UNWRITTEN[panel] = json.dumps(values)
    Task(once, _write, panel, parent=QCoreApplication.instance()).start()


def _write(panel: str) -> None:
    """Write the latest values of a panel."""
    with _WRITE:
        text = _UNWRITTEN.get(panel)
        if text is None:
            return  # another thread wrote them
        settings = QSettings(_PLUGIN, _PLUGIN)
        settings.setValue(panel, text)
        settings.sync()
        with _LOOK:
            if _UNWRITTEN[panel] is text:
                del _UNWRITTEN[panel]


@atexit.register
def _write_rest() -> None:
    """Write what no thread has come to, or will as Python ends; those that have begun are waited for."""
    for panel in list(_UNWRITTEN):
        _write(panel)
