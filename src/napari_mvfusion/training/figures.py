"""Figures of a network on what is never trained on, by name; names of earlier versions are still understood."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

_RENAMED = {"unexplained": "structure_residual"}


class Figures(dict[str, float]):
    """Numbers by name. A name of an earlier version gives the same number, with a warning."""

    def __missing__(self, name: str) -> float:
        now = _RENAMED.get(name, name)
        if now not in self:
            raise KeyError(name)
        warnings.warn(f"the figure '{name}' is called {now} now", DeprecationWarning, stacklevel=2)
        return self[now]


def current(figures: Mapping[str, float]) -> Figures:
    """The same figures by the names of today, for those that were saved earlier."""
    return Figures((_RENAMED.get(name, name), value) for name, value in figures.items())


def with_old_names(figures: Mapping[str, float]) -> dict[str, float]:
    """The figures by both names, for what scripts read."""
    return dict(figures) | {old: figures[now] for old, now in _RENAMED.items() if now in figures}
