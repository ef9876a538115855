"""The interface of a fusion method: parameters that can be saved, and a bound form that fuses tiles.

A method works in stages. Each stage goes once over all tiles of the volume; most methods have one. An iterative
method has one stage for every update of its estimate: the engine keeps the estimate of the whole volume, gives
each tile the estimate of the stage before with the halo it asks for, and so tiles never show.

Adding a method is one file and one line in `napari_mvfusion.methods`. A method of one stage derives from `OneStage`:
it is its parameters and its formula. Others derive from `FusionMethod`, and bind themselves in `prepare`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import torch
from pydantic import BaseModel, ConfigDict

from napari_mvfusion.data.events import Event
from napari_mvfusion.data.geometry import Box, Triple
from napari_mvfusion.data.views import RegisteredViews, drain


@dataclass(frozen=True)
class Stage:
    """One pass over all tiles.

    Attributes
    ----------
    label : what the user reads while it runs, for example "iteration 3 of 48, view 90"
    views : indices of the views whose pixels it reads
    view_halo : voxels of those views it needs around a tile; cut off at the border of the volume
    estimate_halo : voxels of the estimate it needs around a tile, likewise, or None when it reads no estimate
    iteration : k > 0 when this stage completes iteration k, else 0
    cost : time of this stage relative to the others of the method
    """

    label: str
    views: tuple[int, ...]
    view_halo: Triple = (0, 0, 0)
    estimate_halo: Triple | None = None
    iteration: int = 0
    cost: float = 1.0


@dataclass(frozen=True)
class TileInput:
    """What a stage reads for one tile. All tensors lie on the method's device, float32.

    Attributes
    ----------
    tile : the box to compute
    view_box : `tile` with `view_halo`, clipped to the volume
    values : (view, z, y, x), pixels of the stage's views over `view_box`
    coverage : the same shape, 1 where a view has data and 0 where not; None when all have data everywhere
    estimate_box : `tile` with `estimate_halo`, clipped to the volume; None without an estimate
    estimate : (z, y, x) over `estimate_box`, the estimate that the stage before left. Must not be written to.
    """

    tile: Box
    view_box: Box
    values: torch.Tensor
    coverage: torch.Tensor | None
    estimate_box: Box | None
    estimate: torch.Tensor | None


@dataclass(frozen=True)
class Step:
    """A part of the work on one tile is done.

    Attributes
    ----------
    label : what comes next, as the user reads it
    share : of the work on this tile that is done by now, 0 to 1
    """

    label: str
    share: float


Steps = Generator[Step, None, torch.Tensor]


def iterates(stages: Sequence[Stage]) -> bool:
    """Whether stages are iterations, whose estimates are all pictures, and not steps of other kinds."""
    return any(stage.iteration for stage in stages)


def finished(tile: torch.Tensor | Steps) -> torch.Tensor:
    """The tile that `BoundMethod.run` makes, where nobody asks how far it is."""
    return tile if isinstance(tile, torch.Tensor) else drain(tile)


class BoundMethod(Protocol):
    """A method with its views and device, after whole-volume statistics are known."""

    stages: Sequence[Stage]
    extrapolation_floor: float | None
    """Where iterations are accelerated, the least value of what they begin with; None where they are not."""
    taken: set[int]
    """After how many updates parts of the volume ended, where that is left to them: what `outcome` tells of."""

    def working_bytes(self, tile_shape: Triple) -> int:
        """An upper bound of the device memory in use while a tile of this shape runs in any stage.

        Counts its output, temporary arrays and cached transfer functions; not its inputs, which the engine counts.
        """

    def run(self, stage: Stage, tile: TileInput) -> torch.Tensor | Steps:
        """Compute one tile of one stage: float32 (z, y, x) of the shape of `tile.tile`, on the device.

        A method that works on a tile for seconds is a generator that yields a `Step` now and then.

        The result may not depend on how the volume was cut into tiles, beyond the method's stated tolerance.
        """

    def converged(self, change: float) -> bool:
        """Whether to stop after an iteration whose relative change was `change`."""

    def outcome(self) -> str | None:
        """What is to be said of how it went, once all tiles are done: a line, or None."""

    def release(self) -> None:
        """Drop cached transfer functions and work buffers: memory ran out, smaller tiles come next."""


@runtime_checkable
class Method(Protocol):
    """Parameters of a method: an immutable pydantic model, so that a recipe can hold them.

    Attributes
    ----------
    name : what a recipe and the command line call it
    title : what the user reads
    summary : what it does to the picture, in a line
    coarse_first : whether it takes so long that a preview begins with a picture of half the resolution
    removes_hot : whether it takes hot pixels out of what it reads, chosen or not: it would spread them
    presets : named sets of parameters that differ from the defaults, best picture first; empty where one is enough
    unsaid : what recipes that do not say a parameter mean by that, as they were made before there was one
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    coarse_first: ClassVar[bool]
    removes_hot: ClassVar[bool]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]]
    unsaid: ClassVar[Mapping[str, Any]]

    def model_dump(self, *, mode: str, by_alias: bool) -> dict[str, Any]:
        """The parameters as JSON types; pydantic gives this."""

    @property
    def trial(self) -> Method | None:
        """The method with the most iterations that it may take, where the views tell how many; None where that is given.

        It is tried on a part of the views, see `napari_mvfusion.engine.iteration_choice`.
        """

    @property
    def uncertain(self) -> Method | None:
        """The method that shows how far the result of this one may be off; None where it cannot say."""

    def with_iterations(self, number: int) -> Method:
        """The same method with a number of iterations, where `trial` is not None."""

    def check(self, views: RegisteredViews) -> list[str]:
        """Look at views and PSFs before any long work.

        Returns
        -------
        Warnings for the user, one line each.

        Raises
        ------
        InputError
            If the method cannot run on these views.
        """

    def look_through(self, views: RegisteredViews) -> None:
        """Look at all that comes with the views and that a trial on a part of them would see no more of than that part.

        Raises
        ------
        InputError
            If it cannot be used.
        """

    def context(self, views: RegisteredViews) -> Triple:
        """Voxels round a small region beyond which nothing visibly changes the picture inside; for previews."""

    def prepare(self, views: RegisteredViews, device: torch.device) -> Generator[Event, None, BoundMethod]:
        """Compute what depends on the whole volume, yielding progress, and return the bound method."""


class FusionMethod(BaseModel):
    """What methods have in common: immutable parameters, and what most of them answer alike. See `Method`."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    coarse_first: ClassVar[bool] = False
    removes_hot: ClassVar[bool] = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    unsaid: ClassVar[Mapping[str, Any]] = {}
    without: ClassVar[Mapping[str, str]] = {}
    """What it does in the place of parameters that other methods have, in words that go on from these."""

    @property
    def trial(self) -> Self | None:
        """None: nothing is left to be found."""
        return None

    @property
    def uncertain(self) -> Self | None:
        """None: it does not say how far it may be off."""
        return None

    def with_iterations(self, number: int) -> Self:
        """The same method with another number of iterations."""
        return self.model_copy(update={"iterations": number})

    def check(self, views: RegisteredViews) -> list[str]:
        """Warn about a single view, or very many."""
        return warn_few(views)

    def look_through(self, views: RegisteredViews) -> None:
        """There is no trial."""

    def context(self, views: RegisteredViews) -> Triple:
        """None: every voxel stands for itself."""
        return (0, 0, 0)

    @abstractmethod
    def prepare(self, views: RegisteredViews, device: torch.device) -> Generator[Event, None, BoundMethod]:
        """Bind the method to its views; every method has its own way."""


class OneStage(FusionMethod):
    """A method that goes over the tiles once: beside its parameters it is a formula, `fuse_tile`.

    Attributes
    ----------
    stage : what the user reads while it runs
    copies : how many arrays of a tile with its halo the formula holds at once, beside the pixels of the views
    """

    stage: ClassVar[str] = "fusing"
    copies: ClassVar[int] = 4

    def precompute(self, views: RegisteredViews, device: torch.device) -> Generator[Event, None, Any]:
        """Find what depends on the whole volume; handed to all that follow as `precomputed`."""
        yield from ()

    def halo(self, views: RegisteredViews, precomputed: Any) -> Triple:
        """Voxels of the views that the formula needs around a tile."""
        return (0, 0, 0)

    @abstractmethod
    def fuse_tile(self, tile: TileInput, views: RegisteredViews, precomputed: Any) -> torch.Tensor | Steps:
        """The formula: float32 (z, y, x) of the tile, on the device."""

    def tile_bytes(self, tile_shape: Triple, views: RegisteredViews, precomputed: Any) -> int:
        """An upper bound of what the formula takes, see `BoundMethod.working_bytes`."""
        wide = prod(n + 2 * h for n, h in zip(tile_shape, self.halo(views, precomputed), strict=True))
        return 4 * wide * (2 * len(views) + self.copies)

    def taken(self, precomputed: Any) -> set[int]:
        """What `outcome` tells of, see `BoundMethod.taken`: nothing."""
        return set()

    def outcome(self, precomputed: Any) -> str | None:
        """What is to be said of how it went, see `BoundMethod.outcome`: nothing."""
        return None

    def release(self, precomputed: Any) -> None:
        """Drop what the formula keeps from tile to tile, see `BoundMethod.release`: nothing."""

    def prepare(self, views: RegisteredViews, device: torch.device) -> Generator[Event, None, BoundMethod]:
        """Compute what depends on the whole volume."""
        precomputed = yield from self.precompute(views, device)
        return BoundOneStage(self, views, precomputed)


class BoundOneStage:
    """A method of one stage, ready to run."""

    def __init__(self, method: OneStage, views: RegisteredViews, precomputed: Any) -> None:
        self.stages: Sequence[Stage] = [Stage(method.stage, tuple(range(len(views))), method.halo(views, precomputed))]
        self.extrapolation_floor: float | None = None
        self.taken = method.taken(precomputed)
        self._method = method
        self._views = views
        self._precomputed = precomputed

    def working_bytes(self, tile_shape: Triple) -> int:
        """What the method says."""
        return self._method.tile_bytes(tile_shape, self._views, self._precomputed)

    def run(self, stage: Stage, tile: TileInput) -> torch.Tensor | Steps:
        """Apply the formula to one tile."""
        return self._method.fuse_tile(tile, self._views, self._precomputed)

    def converged(self, change: float) -> bool:
        """Never asked: there are no iterations."""
        return True

    def outcome(self) -> str | None:
        """What the method says."""
        return self._method.outcome(self._precomputed)

    def release(self) -> None:
        """What the method says."""
        self._method.release(self._precomputed)


def warn_few(views: RegisteredViews) -> list[str]:
    """What to say about one view, or about very many."""
    if len(views) == 1:
        return [f"there is only {views.views[0].label}: the result is that view; fusion needs two or more"]
    if len(views) > 8:
        return [f"{len(views)} views are more than the usual 2 to 8: check that they all belong to one specimen"]
    return []
