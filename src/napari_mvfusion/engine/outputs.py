"""Where tiles of the fused volume go: an array, or a file or folder of any format that can be written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from napari_mvfusion.data.geometry import Box, Grid, Triple, triple
from napari_mvfusion.data.views import VolumeLike
from napari_mvfusion.engine.finishing import Finishing, scratch_in
from napari_mvfusion.engine.workspace import Workspace
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.atomic import writing
from napari_mvfusion.io.formats import growing_format, place_of, writer_of
from napari_mvfusion.io.opening import open_volume
from napari_mvfusion.system.journal import digest

_CHUNK = 64
_ARRAY_CHUNK = 16


class Output(Protocol):
    """A place for the fused volume."""

    chunk: Triple

    def write(self, box: Box, values: torch.Tensor) -> str | None:
        """Store the values of a box, and return the digest of what a file holds now; None where there is no file."""

    def holds(self, box: Box, wanted: str | None) -> bool:
        """Whether the voxels of a box are those of this digest; where not, they can be written anew afterwards."""

    def finish(self, recipe: Mapping[str, Any], changes: list[float]) -> VolumeLike:
        """Complete the output with its recipe and return the fused volume."""


class TileSink(Protocol):
    """A place for tiles of the fused volume."""

    def write(self, box: Box, values: torch.Tensor) -> str | None:
        """Store the values of a box; see `Output`."""


class CheckedOutput:
    """Brings values to the units of the views, lets none through that is no finite number, and holds 0 where no view saw.

    Parameters
    ----------
    output : where they go
    unit : of the values
    seen : where at least one view has data and counts, as `RegisteredViews.seen`; None where that is everywhere
    """

    def __init__(
        self, output: Output, unit: float = 1.0, seen: Callable[[Box], np.ndarray | None] | None = None
    ) -> None:
        self._output = output
        self._unit = unit
        self._seen = seen
        self.chunk = output.chunk

    def write(self, box: Box, values: torch.Tensor) -> str | None:
        """Store the values of a box; see `Output`.

        Raises
        ------
        InputError
            If one of them is NaN or infinite.
        """
        return self._output.write(box, checked_values(box, values, self._unit, self._seen))

    def holds(self, box: Box, wanted: str | None) -> bool:
        """See `Output`."""
        return self._output.holds(box, wanted)

    def finish(self, recipe: Mapping[str, Any], changes: list[float]) -> VolumeLike:
        """See `Output`."""
        return self._output.finish(recipe, changes)


class JoinedOutput:
    """The tiles of a volume that another process has begun in the folder of its run; see `CheckedOutput`.

    Parameters
    ----------
    folder : of the run
    known : description of the volume, as `FileOutput` has it
    aside : see `Workspace.begin_sharing`
    unit, seen : as for `CheckedOutput`
    """

    def __init__(
        self, folder: Path, known: str, aside: Path, unit: float, seen: Callable[[Box], np.ndarray | None] | None
    ) -> None:
        self._place = scratch_in(folder)
        with writing(self._place):
            self._tiles = growing_format().join(self._place, known, aside)
        self._unit, self._seen = unit, seen

    def write(self, box: Box, values: torch.Tensor) -> str:
        """Store the values of a box; see `CheckedOutput`."""
        pixels = checked_values(box, values, self._unit, self._seen).cpu().numpy()
        with writing(self._place):
            self._tiles.write(box, pixels)
        return digest(pixels)


def checked_values(
    box: Box, values: torch.Tensor, unit: float, seen: Callable[[Box], np.ndarray | None] | None
) -> torch.Tensor:
    """What is written of the values of a box; see `CheckedOutput`.

    Raises
    ------
    InputError
        If one of them is NaN or infinite.
    """
    if unit != 1:
        values = values * unit
    if not bool(values.isfinite().all()):
        place = torch.nonzero(~values.isfinite())[0].tolist()
        raise InputError(not_finite(triple(a + i for a, i in zip(box.start, place, strict=True))))
    return values if seen is None else without_unseen(values, seen(box))


def without_unseen(values: torch.Tensor, seen: np.ndarray | None) -> torch.Tensor:
    """Fused values (z, y, x), 0 where no view saw; `seen` is bool of the same shape, or None for everywhere."""
    return values if seen is None else values.masked_fill(~torch.from_numpy(seen).to(values.device), 0)


def not_finite(place: Triple | None = None) -> str:
    """What to say of a result that is no number, at (z, y, x) or somewhere."""
    where = "" if place is None else f" at (z, y, x) = {place}"
    return (
        f"the result is not a finite number{where}, so the run ends here: look for extreme values in the views there, "
        "have hot pixels removed, or choose another method"
    )


def chunk_of(grid: Grid, *, to_file: bool) -> Triple:
    """What tiles are whole multiples of, voxels (z, y, x): the chunks of a file, or what an array takes in one go."""
    return triple(min(_CHUNK if to_file else _ARRAY_CHUNK, n) for n in grid.shape)


class ArrayOutput:
    """An array in memory: the caller's, or a new one."""

    def __init__(self, grid: Grid, into: np.ndarray | None) -> None:
        if into is not None and (into.shape != grid.shape or into.dtype != np.float32 or not into.flags.writeable):
            raise InputError(
                f"the array to fill has shape {into.shape} and type {into.dtype}: "
                f"it must be a writable float32 array of {grid.shape}"
            )
        self.chunk = chunk_of(grid, to_file=False)
        self._grid = grid
        self._values = into

    def write(self, box: Box, values: torch.Tensor) -> None:
        if self._values is None:
            if box == self._grid.box:
                self._values = values.cpu().numpy()
                return
            self._values = np.empty(self._grid.shape, np.float32)
        self._values[box.slices] = values.cpu().numpy()

    def holds(self, box: Box, wanted: str | None) -> bool:
        del box, wanted
        return False

    def finish(self, recipe: Mapping[str, Any], changes: list[float]) -> np.ndarray:
        del recipe, changes
        assert self._values is not None
        return self._values


class FileOutput:
    """A volume in a file or folder that is made aside, in the workspace of the run, and takes its place when complete.

    Tiles go to a format that grows box by box, so that a run can go on where it stopped: to that of the output, or to
    another one, from which the output is written at the end.

    Parameters
    ----------
    named : the output, which may name a place inside a file
    grid : of the fused volume
    workspace : of the run
    overwrite : replace what is there

    Attributes
    ----------
    described : what is written about the tiles beside their pixels, see `napari_mvfusion.io.base.Growing`
    """

    def __init__(self, named: Path, grid: Grid, workspace: Workspace, *, overwrite: bool) -> None:
        self.chunk = chunk_of(grid, to_file=True)
        self._named = named
        self._grid = grid
        self._workspace = workspace
        self._overwrite = overwrite
        self._scratch = workspace.finishing.scratch
        self._result = workspace.finishing.result
        with writing(self._scratch):
            if writer_of(named).grows and self._result.exists() and not self._scratch.exists():
                # A kill came after the tiles had become the result, and before that had its place.
                self._result.rename(self._scratch)
            known = workspace.last("array")
            self._tiles = growing_format().grow(self._scratch, grid, self.chunk, name=workspace.out.name, known=known)
            self.described: str = self._tiles.description
            if self.described != known:
                workspace.log({"array": self.described})

    def write(self, box: Box, values: torch.Tensor) -> str:
        pixels = values.cpu().numpy()
        with writing(self._scratch):
            self._tiles.write(box, pixels)
        return digest(pixels)

    def holds(self, box: Box, wanted: str | None) -> bool:
        try:
            found = digest(self._tiles.read(box))
        except Exception:  # a damaged chunk raises whatever its codec does, and is computed again
            found = ""
        if found == wanted:
            return True
        with writing(self._scratch):
            self._tiles.forget(box)
        return False

    def finish(self, recipe: Mapping[str, Any], changes: list[float]) -> VolumeLike:
        known = writer_of(self._named)
        if known.grows:
            with writing(self._workspace.out):
                self._tiles.finish(self._result, recipe)
        else:
            inner = known.elsewhere(self._named, self._result)
            known.write(inner, self._tiles.volume, self._grid, recipe=dict(recipe), overwrite=True)
        self._workspace.place(recipe, changes, overwrite=self._overwrite)
        return open_output(self._named)


def open_output(out: Path) -> VolumeLike:
    """A finished output; its voxels are read when they are asked for.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        return open_volume(out)[0]
    except InputError as error:
        raise InputError(
            f"{out} is damaged: its voxels cannot be read ({error}): fuse again with --overwrite"
        ) from error


def open_unfinished(out: Path) -> VolumeLike:
    """The voxels that a run has written so far, wherever they will go; the others are 0.

    Raises
    ------
    InputError
        If there is no unfinished run of this output.
    """
    return open_volume(Finishing(place_of(out)).scratch)[0]
