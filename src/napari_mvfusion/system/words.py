"""What people read: times, sentences, and how fast work goes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence


def times(values: Iterable[float], form: str = "") -> str:
    """Sizes along the axes: "64 × 64 × 256".

    Parameters
    ----------
    values : along z, y and x
    form : of each, as `format` takes it
    """
    return " × ".join(format(value, form) for value in values)


def size_words(stated: Sequence[float | None]) -> str:
    """A voxel size in um, as far as it is known: "2 × 0.5 × 0.5 µm", "not known"."""
    if all(size is None for size in stated):
        return "not known"
    return " × ".join("?" if size is None else f"{size:g}" for size in stated) + " µm"


def bytes_words(count: float) -> str:
    """An amount of memory as a person says it: "850 bytes", "402 kB", "1.5 GB"; a kB is 1000 bytes."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"


def duration(seconds: float) -> str:
    """A time as a person says it: "8 s", "3 min", "2 h 10 min"."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s" if seconds < 3 else f"{seconds:.0f} s"
    if seconds < 90:
        return f"{round(seconds / 5) * 5} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"


def sentence(text: str) -> str:
    """The text with a capital first letter, unless it begins with the name of a file."""
    first = text.split(maxsplit=1)[0] if text.strip() else ""
    return text[:1].upper() + text[1:] if first.isalpha() else text


class TimeLeft:
    """Tells the time that is left from the share that is done, as soon as that can be told."""

    _SOONEST_S = 1.0
    _LEAST_SHARE = 0.01

    def __init__(self) -> None:
        self._begun: tuple[float, float] | None = None

    def __call__(self, fraction: float, now: float | None = None) -> str:
        """Say for example "about 20 s left", or nothing while it is too early to tell.

        Parameters
        ----------
        fraction : share that is done, 0 to 1; what was done before the first call took no time
        now : seconds of a clock, the system's when None
        """
        now = time.monotonic() if now is None else now
        if self._begun is None:
            self._begun = (now, fraction)
        seconds, share = now - self._begun[0], fraction - self._begun[1]
        if seconds < self._SOONEST_S or share < self._LEAST_SHARE:
            return ""
        return f"about {duration(seconds / share * (1 - fraction))} left"


class Pace:
    """Tells how much is done in a second, as a mean over the last few seconds.

    Parameters
    ----------
    window_s : seconds that count
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._done: deque[tuple[float, float]] = deque()

    def __call__(self, total: float, now: float) -> float | None:
        """How much a second, once there is more than one number.

        Parameters
        ----------
        total : all that is done by now
        now : seconds of a clock
        """
        self._done.append((now, total))
        while len(self._done) > 2 and now - self._done[0][0] > self._window_s:
            self._done.popleft()
        begun, before = self._done[0]
        return (total - before) / (now - begun) if now > begun else None


class Rate:
    """Tells how many voxels are updated in a second, as a mean over the last few seconds."""

    _WINDOW_S = 5.0

    def __init__(self) -> None:
        self._voxels = 0
        self._pace = Pace(self._WINDOW_S)
        self._pace(0, time.monotonic())

    def __call__(self, voxels: int, now: float | None = None) -> str:
        """Say for example "14 megavoxels a second" after some more voxels are done."""
        self._voxels += voxels
        rate = self._pace(self._voxels / 1e6, time.monotonic() if now is None else now)
        if rate is None:
            return ""
        return f"{rate:.0f} megavoxels/s" if rate >= 10 else f"{rate:.1f} megavoxels/s"
