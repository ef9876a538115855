"""Work that tells how far it is, as a part of larger work; see also `napari_mvfusion.data.views.drain`."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")
U = TypeVar("U")


def map_steps(work: Generator[S, None, T], change: Callable[[S], U]) -> Generator[U, None, T]:
    """The same work with other steps, for example as a part of a larger one."""
    while True:
        try:
            step = next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        yield change(step)
