"""What the benchmarks of the window share: to let it live, and to see how long it does not answer."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from qtpy.QtCore import QEventLoop, QTimer

# Seldom, because each poll takes the interpreter from the work.
_POLL_MS = 20
TOO_LONG_MS = 50


class Gaps:
    """Times between the ticks of a timer on this thread.

    Parameters
    ----------
    tick_ms : from one tick to the next; what is longer is time in which the thread did not answer
    """

    def __init__(self, tick_ms: int) -> None:
        self._tick_ms = tick_ms
        self._ticks: list[tuple[float, float]] = []
        self._timer = QTimer()
        self._timer.timeout.connect(self._tick)

    def start(self) -> None:
        """Begin to tick. Latencies are measured without: each tick takes the interpreter from the work."""
        self._ticks.clear()
        self._tick()
        self._timer.start(self._tick_ms)

    def stop(self) -> dict[str, float]:
        """The gaps since `start`, milliseconds."""
        self._timer.stop()
        gaps, computing = 1000 * np.diff(self._ticks, axis=0).T
        return {
            "longest_ms": round(float(gaps.max()), 1),
            "99_percent_ms": round(float(np.percentile(gaps, 99)), 1),
            "longer_than_50_ms": int((gaps > TOO_LONG_MS).sum()),
            # What the thread computed itself; the rest of a gap it waited for the interpreter or a processor.
            "longest_computing_ms": round(float(computing.max()), 1),
            "computing_longer_than_50_ms": int((computing > TOO_LONG_MS).sum()),
            "gaps": len(gaps),
        }

    def _tick(self) -> None:
        self._ticks.append((time.perf_counter(), time.thread_time()))


def live(seconds: float, until: Callable[[], bool] = lambda: False) -> None:
    """Let the window live for a while, or until something is true."""
    loop = QEventLoop()
    end = time.monotonic() + seconds
    poll = QTimer()
    poll.timeout.connect(lambda: (until() or time.monotonic() > end) and loop.quit())
    poll.start(_POLL_MS)
    loop.exec()
    poll.stop()
