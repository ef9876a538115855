"""Something that is done once, a moment after it was last asked for."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QObject
from superqt.utils import QSignalDebouncer


class Later(QSignalDebouncer):
    """superqt's debouncer of one call, which tells whether that is still to come.

    Attributes
    ----------
    due : whether it is

    Parameters
    ----------
    milliseconds : after it was asked for
    call : what is done
    parent : it is done no more once this is destroyed
    """

    def __init__(self, milliseconds: int, call: Callable[[], object], parent: QObject) -> None:
        super().__init__(parent=parent)
        self.setTimeout(milliseconds)
        self.due = False
        self.triggered.connect(self.cancel)
        self.triggered.connect(call)

    def ask(self, *_: object) -> None:
        """Do it in a moment; whatever a signal says with it."""
        self.due = True
        self.throttle()

    def cancel(self) -> None:
        """Do not do it."""
        self.due = False
        super().cancel()

    close_down = cancel
