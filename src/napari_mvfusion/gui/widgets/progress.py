"""A progress bar that is drawn with the rest of the window."""

from __future__ import annotations

from qtpy.QtWidgets import QProgressBar, QWidget

_STEPS = 1000


class ProgressBar(QProgressBar):
    """Shows a share of 0 to 1 without a number."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("progress")
        self.setRange(0, _STEPS)
        self.setTextVisible(False)

    def show_share(self, share: float) -> None:
        """Show this share the next time that the window is drawn.

        A bar of Qt draws the window, canvas and all, each time before `setValue` returns, unless its updates are off.
        """
        value = round(_STEPS * share)
        if value == self.value():
            return
        self.setUpdatesEnabled(False)
        self.setValue(value)
        self.setUpdatesEnabled(True)
