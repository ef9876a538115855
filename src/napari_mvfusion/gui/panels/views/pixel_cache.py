"""What is known of the pixels of views, found out in a thread, one view after the other, and kept."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_mvfusion.gui.jobs.tasks import Checkpoint, Tasks
from napari_mvfusion.gui.layers.conversion import stack_of
from napari_mvfusion.measures.pixel_facts import PixelFacts, look_at


class PixelCache(QObject):
    """Finds out what is not known yet about pixels, and tells when there is something new.

    Parameters
    ----------
    tasks : run the threads
    """

    changed = Signal()

    def __init__(self, tasks: Tasks, parent: QObject) -> None:
        super().__init__(parent)
        self._tasks = tasks
        self._known: dict[Image, tuple[Any, PixelFacts]] = {}

    def about(self, layer: Image) -> PixelFacts | None:
        """About the layer's pixels as they are now, or None where that is not known yet."""
        data, facts = self._known.get(layer, (None, None))
        return facts if facts is not None and data is _data_of(layer) else None

    def find_out(self, layers: Sequence[Image]) -> None:
        """Look at what is new; forget layers that are gone."""
        self._known = {layer: known for layer, known in self._known.items() if layer in layers}
        unseen = next((layer for layer in layers if self.about(layer) is None), None)
        if unseen is not None and not self._tasks.runs("pixels"):
            self._tasks.start("pixels", _look_at, unseen, _data_of(unseen), stack_of(unseen), done=self._keep)

    def _keep(self, found: tuple[Image, Any, PixelFacts]) -> None:
        layer, data, facts = found
        self._known[layer] = (data, facts)
        self.changed.emit()


def _data_of(layer: Image) -> Any:
    """What tells whether a layer got other pixels."""
    return layer.data[0] if layer.multiscale else layer.data


def _look_at(
    check: Checkpoint, layer: Image, data: Any, stack: Any
) -> Generator[float, None, tuple[Image, Any, PixelFacts]]:
    """Runs in a thread: the layer only goes through, as a name of what is handed back."""
    try:
        facts = yield from look_at(stack)
    except (OSError, RuntimeError, ValueError) as error:
        facts = PixelFacts(0, None, 0.0, 0.0, whole=False, unreadable=str(error))
    check()
    return layer, data, facts
