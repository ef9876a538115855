"""How many iterations the views bear: a trial on a part of the volume, with the views and with their noise once more.

What an iteration changes is structure that it finds, and noise that it makes more of. The trial runs the iterations twice
on the part of the volume with most structure: on the views, and on the views with as much noise again added to them. By
how much the two changes of an iteration differ is what noise does to it, and the rest is structure. Once that is no more
than about a half, further iterations would fit noise.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch

from napari_mvfusion.data.events import Event, Preparing
from napari_mvfusion.data.geometry import Box, triple
from napari_mvfusion.data.noise_density import coarse_noise
from napari_mvfusion.data.views import RegisteredViews, drain
from napari_mvfusion.engine.estimate import volumes_needed
from napari_mvfusion.engine.one_tile import stage_results
from napari_mvfusion.engine.planning import LIBRARY_BYTES, input_bytes
from napari_mvfusion.engine.structured_part import structured_box
from napari_mvfusion.engine.view_reader import ViewReader
from napari_mvfusion.errors import MemoryShortage
from napari_mvfusion.methods.base import BoundMethod, Method
from napari_mvfusion.system.devices import free_bytes, release_cached_memory

TRIAL_SIDE = 64
"""Voxels along a side of the part of a volume that the trial runs on."""
LEAST_ITERATIONS = 4
"""Fewer are never taken: the first ones find the coarse structure, of which noise is no part."""
LEAST_SHARE = 0.55
"""Of the energy of what an iteration changes, the share that has to be structure for it to count."""
# What is compared is this share of a side away from the faces of the trial that are not those of the volume.
_MARGIN = 1 / 8
_SEED = 0
_FITS_NOISE = "more would fit noise"
_MOST_TAKEN = "the most that it may take, and even the last of them finds more structure than noise"
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class IterationChoice:
    """How many iterations a run takes whose number was left to it.

    Attributes
    ----------
    number : of iterations
    because : why it ends there, in words
    memory_bytes : an upper bound of what finding it took; 0 where it was known
    """

    number: int
    because: str
    memory_bytes: int = 0

    @property
    def words(self) -> str:
        """Where the run will stop and why, in one line."""
        return f"stops after {self.number} iterations: {self.because}"


def choice_of(recipe: Mapping[str, Any]) -> IterationChoice | None:
    """What the run of a recipe has found; None where it was told how many iterations to take, or takes none."""
    if "iterations_asked" not in recipe["run"]:
        return None
    return IterationChoice(recipe["method"]["parameters"]["iterations"], recipe["run"]["iterations_because"])


class Trial:
    """The iterations of a method on the part of the views with most structure, with as much noise again and without.

    Parameters
    ----------
    views : the views, scanned
    method : one with a `trial`
    device : where it computes

    Attributes
    ----------
    box : the part of the views
    compared : what of it is compared, in its own voxels: not what lies next to its faces inside the volume
    most : iterations
    """

    def __init__(self, views: RegisteredViews, method: Method, device: torch.device) -> None:
        assert method.trial is not None
        known = views.statistics()
        self.box = structured_box(views, TRIAL_SIDE, known)
        self._views = views
        self._device = device
        self._region = views.region(self.box, known, rough_border=True)
        self._bound: BoundMethod = drain(method.trial.prepare(self._region, device))
        self.compared = _compared(self.box, views.grid.shape)
        self.most = max(stage.iteration for stage in self._bound.stages)

    @property
    def memory_bytes(self) -> int:
        """An upper bound of the memory that it takes."""
        shape = self._region.grid.shape
        volumes = 2 * (volumes_needed(self._bound.extrapolation_floor) + 1)
        work = self._bound.working_bytes(shape) + 2 * input_bytes(self._region, self._bound, shape)
        # The views once more with their noise, and the changes in double precision.
        kept = (volumes + 3 * len(self._region) + 10) * _FLOAT_BYTES * prod(shape)
        return LIBRARY_BYTES + work + kept

    def check_fits(self, budget: int) -> None:
        """Refuse to take more than so many bytes.

        Raises
        ------
        MemoryShortage
            If it would.
        """
        if self.memory_bytes > budget:
            raise MemoryShortage(
                f"finding how many iterations the views bear takes {self.memory_bytes / 2**30:.2f} GiB of memory, and the "
                f"run may take {budget / 2**30:.2f} GiB: say how many (iterations), allow more memory, or crop the PSFs"
            )

    def structure_shares(self, cancel: Callable[[], bool] = lambda: False) -> Generator[float, None, None]:
        """For every iteration, which share of the energy of what it changes is structure: 1 where all of it is.

        With d the change by an iteration from the views, and d' that from the views with noise added, the share is
        `(<d, d'> - |d' - d|^2) / |d|^2`: the noise that was added makes them differ by as much as the noise that was
        there before makes of d. It may fall below 0.

        Parameters
        ----------
        cancel : polled; `Interrupted` is raised when it returns True
        """
        plain = ViewReader(self._region, self._device, keep=True, whole=True)
        noisy = _WithNoise(plain, _noise_per_light(self._views))
        both = (stage_results(self._bound, self._region, reader, cancel) for reader in (plain, noisy))
        before: tuple[torch.Tensor, torch.Tensor] | None = None
        for one, other in zip(*both, strict=True):
            if before is not None and not one.iteration:
                continue
            now = one.values[self.compared.slices], other.values[self.compared.slices]
            if before is not None:
                own, noised = (new.sub(old).double() for new, old in zip(now, before, strict=True))
                energy = float(own.square().sum())
                structure = float((own * noised).sum()) - float(noised.sub_(own).square_().sum())
                yield structure / energy if energy else 0.0
            before = now

    def verdicts(self, cancel: Callable[[], bool] = lambda: False) -> Generator[bool, None, None]:
        """For every iteration up to the last one, whether there should be another after it; False ends it.

        There is another up to `LEAST_ITERATIONS`, and as long as at least `LEAST_SHARE` of its change is structure.

        Parameters
        ----------
        cancel : see `structure_shares`
        """
        for number, share in enumerate(self.structure_shares(cancel), 1):
            more = number <= LEAST_ITERATIONS or share >= LEAST_SHARE
            if number > 1:
                yield more
            if not more:
                return
        yield False


def choose_iterations(
    views: RegisteredViews,
    method: Method,
    device: torch.device,
    *,
    budget: int,
    cancel: Callable[[], bool] = lambda: False,
) -> Generator[Event, None, IterationChoice]:
    """Find how many iterations the views bear; the same views and parameters give the same number.

    Parameters
    ----------
    views : the views, scanned
    method : one with a `trial`
    device : where it computes
    budget : bytes that it may take
    cancel : polled; `Interrupted` is raised when it returns True

    Raises
    ------
    MemoryShortage
        If it takes more memory.
    """
    trial = Trial(views, method, device)
    trial.check_fits(budget)
    number = 0
    for number, more in enumerate(trial.verdicts(cancel), 1):
        yield Preparing("finding how many iterations the views bear", number / trial.most)
        if not more:
            break
    release_cached_memory(device)
    because = _FITS_NOISE if number < trial.most else _MOST_TAKEN
    return IterationChoice(number, because, trial.memory_bytes)


def as_the_views_bear(
    views: RegisteredViews, method: Method, device: torch.device, cancel: Callable[[], bool] = lambda: False
) -> Method:
    """The method with as many iterations as the views bear; of large views, whose numbers are not known, planes are sampled.

    Parameters
    ----------
    views, method, device, cancel : see `choose_iterations`
    """
    drain(views.detect_no_data())
    sampled = views.region(views.grid.box, views.without_hot().sample()).in_safe_unit()[0]
    choice = drain(choose_iterations(sampled, method, device, budget=free_bytes(device), cancel=cancel))
    return method.with_iterations(choice.number)


class _WithNoise:
    """Reads views of one box with as much noise added as they have: that of light, whose variance follows it.

    Parameters
    ----------
    reader : of the views
    noise_per_light : variance of the noise of each view over its brightness
    """

    def __init__(self, reader: ViewReader, noise_per_light: list[float]) -> None:
        self._reader = reader
        self._factors = np.sqrt(noise_per_light).astype(np.float32)
        self._kept: dict[int, torch.Tensor] = {}

    def read(self, box: Box, which: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """See `ViewReader.read`; the same box each time."""
        pixels, coverage = self._reader.read(box, which)
        for place, index in enumerate(which):
            if index not in self._kept:
                # Drawn on the host, so that all devices add the same.
                drawn = np.random.default_rng((_SEED, index)).standard_normal(box.shape, np.float32)
                noise = torch.from_numpy(drawn * self._factors[index]).to(pixels.device)
                light = pixels[place].clamp(min=0)
                # Light is not negative, and methods refuse what is.
                self._kept[index] = noise.mul_(light.sqrt()).add_(light).clamp_(min=0)
        return torch.stack([self._kept[index] for index in which]), coverage


def _noise_per_light(views: RegisteredViews) -> list[float]:
    # The blur leaves coarse patterns alone, so what counts of the noise is its density there.
    return [
        numbers.noise * share / numbers.mean if numbers.mean > 0 else 0.0
        for numbers, share in zip(views.statistics(), coarse_noise(views), strict=True)
    ]


def _compared(box: Box, shape: tuple[int, int, int]) -> Box:
    """The part of the trial, in its own voxels, away from its faces inside the volume, where the outside is lacking."""
    margins = [round(_MARGIN * n) for n in box.shape]
    start = triple(m if a > 0 else 0 for m, a in zip(margins, box.start, strict=True))
    stop = triple(n - m if b < whole else n for n, m, b, whole in zip(box.shape, margins, box.stop, shape, strict=True))
    return Box(start, stop)
