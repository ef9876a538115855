"""What is found once for all time points of a channel, so that they do not flicker: lost light, and the iterations.

Both are found on the first, the middle and the last time point. What else a run measures on its volume, its brightness and
its noise, changes a still specimen by less than these two when a cell lights up or the specimen bleaches (see
docs/benchmarks.md), and stays that of each volume.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low

import torch

from napari_mvfusion.data.checks import check_image
from napari_mvfusion.data.events import Event, Noted
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.fusion import budget_for, until
from napari_mvfusion.engine.iteration_choice import IterationChoice, choice_of, choose_iterations
from napari_mvfusion.engine.series_choice import SeriesChoice
from napari_mvfusion.engine.shared_light import SharedLight, shared_light, shared_light_again
from napari_mvfusion.errors import InputError
from napari_mvfusion.methods.base import Method

Index = tuple[int, ...]
_Sample = tuple[Index, RegisteredViews]


@dataclass(frozen=True, eq=False)
class Findings:
    """What the volumes of a channel have in common; None where each finds its own.

    Attributes
    ----------
    iterations : how many each takes
    light : from which the lost light of each is found
    """

    iterations: IterationChoice | None = None
    light: SharedLight | None = None


class SeriesFindings:
    """Finds them when the first volume of a channel has its turn.

    Parameters
    ----------
    choice : which volumes
    method : with its parameters
    device : where it computes
    memory_bytes : see `fuse_events`
    cancel : polled; `Stop` is raised when it returns True
    """

    def __init__(
        self,
        choice: SeriesChoice,
        method: Method,
        device: torch.device,
        memory_bytes: int | None,
        cancel: Callable[[], bool],
    ) -> None:
        self._choice, self._method, self._device = choice, method, device
        self._memory_bytes, self._cancel = memory_bytes, cancel
        self._found: dict[int | None, Findings] = {}

    def of(self, index: Index, kept: Mapping[Index, str]) -> Generator[Event, None, Findings]:
        """What holds for a volume.

        Parameters
        ----------
        index : of the volume
        kept : the recipes of the volumes that are finished, as JSON, by their index: what these say goes on to hold

        Raises
        ------
        InputError
            If an earlier run found it on volumes that are not what they were.
        """
        channel = self._choice.channel_at(index)
        if channel not in self._found:
            volumes = self._choice.volumes_of(channel)
            made = next((kept[each] for each in volumes if each in kept), None)
            self._found[channel] = yield from (self._measured(volumes) if made is None else self._as_before(made))
        return self._found[channel]

    def _as_before(self, made: str) -> Generator[Event, None, Findings]:
        recipe = json.loads(made)
        found_on = recipe["run"].get("lost_light_from")
        light = None
        if found_on is not None:
            inputs = self._choice.inputs
            again = shared_light_again(found_on, lambda place: inputs.model_copy(update=dict(place)).open())
            light = yield from until(again, self._cancel)
        return Findings(choice_of(recipe), light)

    def _measured(self, volumes: Sequence[Index]) -> Generator[Event, None, Findings]:
        estimates = getattr(self._method, "attenuation", "none") == "estimated"
        if len(volumes) == 1 or not (estimates or self._method.trial is not None):
            return Findings()
        few = dict.fromkeys((volumes[0], volumes[len(volumes) // 2], volumes[-1]))
        samples: list[_Sample] = []
        for index in few:
            try:
                views = yield from self._scanned(index)
            except InputError:
                continue  # it is told when its turn comes
            if not samples or _alike(views, samples[0][1]):
                samples.append((index, views))
        if not samples:
            return Findings()
        light = shared_light([(self._choice.place_at(index), views) for index, views in samples]) if estimates else None
        if light is not None:
            said = self._choice.times_in_words([index for index, _ in samples])
            yield Noted(
                f"lost light is looked for in what {said} have in common, once for all (--per-timepoint: in each)"
            )
        iterations = None if self._method.trial is None else (yield from self._iterations(samples, light))
        return Findings(iterations, light)

    def _scanned(self, index: Index) -> Generator[Event, None, RegisteredViews]:
        views = self._choice.inputs_at(index).open()
        self._method.check(views)
        for view, numbers in zip(views.views, (yield from until(views.scan(), self._cancel)), strict=True):
            check_image(view, numbers)
        return views

    def _iterations(
        self, samples: Sequence[_Sample], light: SharedLight | None
    ) -> Generator[Event, None, IterationChoice | None]:
        """The middle one of what a few volumes bear; the lower of two."""
        found: list[tuple[Index, IterationChoice]] = []
        for index, views in samples:
            ready = views if light is None else light.given_to(views)
            ready = (ready.without_hot() if self._method.removes_hot else ready).in_safe_unit()[0]
            budget = budget_for(self._device, self._memory_bytes)
            try:
                self._method.look_through(ready)
                finding = choose_iterations(ready, self._method, self._device, budget=budget, cancel=self._cancel)
                found.append((index, (yield from until(finding, self._cancel))))
            except InputError:
                continue  # likewise
        if not found:
            return None
        numbers = [choice.number for _, choice in found]
        said = self._choice.times_in_words([index for index, _ in found])
        because = f"the middle of what {said} bear: {', '.join(map(str, numbers))}"
        return IterationChoice(median_low(numbers), because, max(choice.memory_bytes for _, choice in found))


def _alike(views: RegisteredViews, others: RegisteredViews) -> bool:
    return views.names == others.names and views.grid.shape == others.grid.shape
