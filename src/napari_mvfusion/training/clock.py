"""The time that a run has worked."""

from __future__ import annotations

import time


class Clock:
    """Counts seconds once it is told to go on, those of pauses left out.

    Parameters
    ----------
    seconds : that were counted before
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self._before = seconds
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """All that was counted."""
        return self._before + (0.0 if self._since is None else time.monotonic() - self._since)

    @property
    def runs(self) -> bool:
        """Whether it counts."""
        return self._since is not None

    def pause(self) -> None:
        """Stop counting."""
        self._before, self._since = self.seconds, None

    def go_on(self) -> None:
        """Count again."""
        self._before, self._since = self.seconds, time.monotonic()
