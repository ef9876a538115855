"""Tiles of a run that others compute: which of them can be begun, and who does it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from napari_mvfusion.data.events import Event
from napari_mvfusion.data.tiles import TilePlan
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.estimate import Turn
from napari_mvfusion.engine.planning import RunPlan
from napari_mvfusion.methods.base import BoundMethod, Method, Stage

# The number of a stage and that of a tile. After the last stage comes the one in which the estimate is handed over.
TileKey = tuple[int, int]


class OpenTiles:
    """Tiles of stages that follow each other without anything that is found from whole stages.

    A tile can be begun once those are done which its stage reads of the stage before: its neighbours, not all.

    Parameters
    ----------
    tiles : of the volume
    stages : of the method
    span : the numbers of the stages that are open; all before are done
    done : what of them is done
    """

    def __init__(self, tiles: TilePlan, stages: Sequence[Stage], span: range, done: Collection[TileKey]) -> None:
        self._tiles, self._stages, self._span = tiles, stages, span
        self._needs: dict[TileKey, set[TileKey]] = {}
        for index in span:
            for number in range(len(tiles.boxes)):
                if (index, number) not in done:
                    near = self._near(index, number) if index > span.start else ()
                    self._needs[index, number] = {(index - 1, other) for other in near} - set(done)

    @property
    def left(self) -> int:
        """How many are not done."""
        return len(self._needs)

    @property
    def count(self) -> int:
        """How many tiles the volume has."""
        return len(self._tiles.boxes)

    def ready(self) -> list[TileKey]:
        """Those that can be begun, or are, in order."""
        return [key for key, needs in self._needs.items() if not needs]

    def close(self, key: TileKey) -> None:
        """A tile is done."""
        del self._needs[key]
        following = key[0] + 1
        if following in self._span:
            for other in self._near(following, key[1]):
                self._needs.get((following, other), set()).discard(key)

    def _near(self, index: int, number: int) -> Iterable[int]:
        """The tiles that a tile reads of the stage before: those that also read it, as halos are alike on both sides."""
        halo = self._stages[index].estimate_halo
        if halo is None:
            return ()
        return self._tiles.meeting(self._tiles.boxes[number].grow(halo).clip(self._tiles.shape))


@dataclass(frozen=True)
class MadeTile:
    """A tile is computed, and what the journal says of it."""

    key: TileKey
    entry: dict[str, Any]


@dataclass(frozen=True, eq=False)
class SharedRun:
    """What others need to know of a run to compute its tiles.

    Attributes
    ----------
    opened : the views as they were opened, before anything was found
    inputs : how, arguments of `open_views`
    views : as they are fused, scanned
    method, bound : with its parameters, and ready to run
    plan : its tiles
    folder : of the unfinished run
    aside : see `Workspace.begin_sharing`
    described : of the volume that is filled there, see `napari_mvfusion.io.base.Format.grow`
    unit : of its values
    unseen : whether no view saw some of it
    """

    opened: Sequence[View]
    inputs: Mapping[str, Any]
    views: RegisteredViews
    method: Method
    bound: BoundMethod
    plan: RunPlan
    folder: Path
    aside: Path
    described: str
    unit: float
    unseen: bool


class TileRunner(Protocol):
    """Who computes the tiles of a volume.

    Attributes
    ----------
    count : how many can at once
    memory_bytes : what each of them may take at most
    threads : with which each computes
    words : what they are, as a person says it
    """

    count: int
    memory_bytes: int
    threads: int
    words: str

    def begin(self, device: str, paths: Iterable[Path]) -> Generator[Event, None, tuple[str, torch.device]]:
        """Look whether all is there that it takes, before anything is read or written.

        Parameters
        ----------
        device : as for `fuse_events`
        paths : files and folders that are read

        Returns
        -------
        The kind of device that computes; and that on which is found here what tiles have in common.

        Raises
        ------
        InputError, DeviceError
            If something is missing.
        """

    def check_place(self, place: Path) -> Generator[Event, None, None]:
        """Look whether all can write to an output, whose lock is held.

        Raises
        ------
        OutputError
            If one cannot.
        """

    def take(self, run: SharedRun) -> None:
        """Learn which run the next tiles are of."""

    def compute(
        self, tiles: OpenTiles, turns: Mapping[int, Turn], cancel: Callable[[], bool]
    ) -> Generator[Event | MadeTile, None, None]:
        """Compute and write tiles until none is left.

        Parameters
        ----------
        tiles : which
        turns : which volumes each stage reads; of methods with one stage none
        cancel : polled; what is computed by then is yielded

        Raises
        ------
        Stop
            If it was cancelled.
        MVFusionError
            What ends the run.
        """

    def end(self) -> None:
        """Let go of the run."""
