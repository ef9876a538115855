"""What is known of views beside each other: where each has data, and whether one is brighter everywhere."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.no_data import detect_no_data_of
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.errors import MVFusionError
from napari_mvfusion.gui.jobs.tasks import Checkpoint, Tasks
from napari_mvfusion.gui.layers.conversion import open_layers, stack_of, to_world_um
from napari_mvfusion.gui.layers.notes import notes
from napari_mvfusion.measures.camera_offset import DarkLevel, find_dark_levels, light_of_nothing
from napari_mvfusion.measures.gains import compare_brightness

Key = tuple[Any, ...]


@dataclass(frozen=True)
class ViewFacts:
    """What was found about a view.

    Attributes
    ----------
    left_out : what is no data, in words; "" where that is nothing
    gain : how many times as bright as the others it is everywhere, 1 where it is not
    added : what it has more than the others everywhere, as with a camera offset that was subtracted from them alone
    dark : what it has where no view shows light, None where that is not known
    """

    left_out: str = ""
    gain: float = 1.0
    added: float = 0.0
    dark: DarkLevel | None = None


class ViewCache(QObject):
    """Compares the views that are fused whenever they changed, and tells when there is something new.

    Parameters
    ----------
    tasks : run the threads
    """

    changed = Signal()

    def __init__(self, tasks: Tasks, parent: QObject) -> None:
        super().__init__(parent)
        self._tasks = tasks
        self._of: list[tuple[Image, Key]] = []
        self._facts: dict[Image, ViewFacts] = {}
        self._asked: list[tuple[Image, Key]] = []

    def about(self, layer: Image, included: Sequence[Image]) -> ViewFacts | None:
        """About a layer among those that are fused, as they are now, or None where that is not known yet."""
        return self._facts.get(layer) if _same(self._of, included) else None

    def find_out(self, included: Sequence[Image]) -> None:
        """Compare these views, unless that is done or under way."""
        if _same(self._of, included) or (_same(self._asked, included) and self._tasks.runs("views")):
            return
        try:
            opened = open_layers(included)
        except MVFusionError:
            # The row of the view that cannot be opened says so.
            self._tasks.stop("views")
            return
        self._asked = [(layer, _key(layer)) for layer in included]
        views = opened.views
        # Their gains and hot pixels as they are in the files: a gain that was set must not hide itself.
        plain = [replace(view, gain=1.0, remove_hot=True) for view in views.views]
        self._tasks.start("views", _compare, list(self._asked), plain, views.grid, done=self._keep)

    def _keep(self, found: tuple[list[tuple[Image, Key]], list[ViewFacts]]) -> None:
        self._of, facts = found
        self._facts = {layer: about for (layer, _), about in zip(self._of, facts, strict=True)}
        self.changed.emit()


def _key(layer: Image) -> Key:
    """What tells whether a comparison is still about the same."""
    known = notes(layer)
    data = layer.data[0] if layer.multiscale else layer.data
    said = (known.get("no_data", "auto"), known.get("offset", 0.0), layer.name)
    return (data, known.get("mask"), stack_of(layer).shape, to_world_um(layer).tobytes(), said)


def _same(before: Sequence[tuple[Image, Key]], layers: Sequence[Image]) -> bool:
    if len(before) != len(layers) or any(a is not b for (a, _), b in zip(before, layers, strict=True)):
        return False
    try:
        now = [_key(layer) for layer in layers]
    except MVFusionError:
        return False
    return all(a[0] is b[0] and a[1] is b[1] and a[2:] == b[2:] for (_, a), b in zip(before, now, strict=True))


def _compare(
    check: Checkpoint, layers: list[tuple[Image, Key]], views: list[View], grid: Grid
) -> Generator[None, None, tuple[list[tuple[Image, Key]], list[ViewFacts]]]:
    """Runs in a thread: the layers only go through, as names of what is handed back."""
    settling = detect_no_data_of(views, grid)
    while True:
        try:
            next(settling)
        except StopIteration as end:
            settled, left_out = end.value
            break
        except (MVFusionError, OSError, RuntimeError, ValueError):
            # What cannot be read is said where pixels are looked at one by one.
            return layers, [ViewFacts() for _ in layers]
        yield
        check()
    found = _brightness(RegisteredViews(settled, grid))
    check()
    return layers, [
        ViewFacts(left_out.get(view.name, ""), *numbers) for view, numbers in zip(views, found, strict=True)
    ]


def _brightness(views: RegisteredViews) -> list[tuple[float, float, DarkLevel | None]]:
    """Gain, addition and dark level of each view."""
    try:
        dark = find_dark_levels(views)
        sample = views.region(views.grid.box, views.sample())
        gains, additions = compare_brightness(sample, light_of_nothing(views, dark))
    except (MVFusionError, OSError, RuntimeError, ValueError):
        return [(1.0, 0.0, None)] * len(views)
    return list(zip(gains, additions, dark, strict=True))
