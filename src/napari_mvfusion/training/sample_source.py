"""Where samples come from, and how getting them ready is stopped."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Protocol, TypeVar

from napari_mvfusion.data.geometry import Triple
from napari_mvfusion.imaging.threads import Interrupted, interruptible
from napari_mvfusion.training.training_events import TrainEvent, Waiting
from napari_mvfusion.training.training_samples import TrainingSample, TrainingVolume

T = TypeVar("T")


class SampleSource(Protocol):
    """Where samples come from. What it gives for a step depends on the step, and on `shrink`, alone."""

    def identity(self) -> Sequence[str]:
        """What the samples depend on beside the configuration, for example hashes of files; a resumed run has the same."""

    def begin(self, step: int) -> Generator[Waiting, None, None]:
        """Get ready for the steps from `step` on."""

    def draw(self, step: int) -> Sequence[TrainingSample]:
        """The samples of a step."""

    def least_tile(self) -> Triple:
        """The smallest tile that can be learned from."""

    def shrink(self, tile: Triple, batch: int) -> None:
        """From now on draw smaller tiles, at the places where the larger ones were, and so many a step.

        What is held out stays as it is.
        """

    def validation(self) -> Sequence[TrainingVolume]:
        """What is never trained on."""

    def close(self) -> None:
        """Give back what it holds."""


def stoppable(events: Generator[TrainEvent, None, T], cancel: Callable[[], bool]) -> Generator[TrainEvent, None, T]:
    """The same events, interrupted once `cancel` says so; it is polled inside the work too.

    Raises
    ------
    Interrupted
        When that happens.
    """
    while True:
        try:
            with interruptible(cancel):
                event = next(events)
        except StopIteration as end:
            result: T = end.value
            return result
        yield event
        if cancel():
            raise Interrupted
