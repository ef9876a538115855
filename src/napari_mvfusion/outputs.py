"""Where tiles of the fused volume go: an array, an OME-Zarr, or an OME-TIFF."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import zarr

from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.geometry import Box, Grid, Triple, triple
from napari_mvfusion.views import VolumeLike
from napari_mvfusion.workspace import Workspace, writing
from napari_mvfusion.writers import create_zarr, finish_zarr, write_tiff

_CHUNK = 64
_SUFFIXES = (".zarr", ".tif", ".tiff")


def check_suffix(out: Path) -> None:
    """Raise `OutputError` unless the name of an output says which format it is."""
    if out.suffix.lower() not in _SUFFIXES:
        raise OutputError(f"{out} has no known ending: name it .zarr for OME-Zarr, or .tif for OME-TIFF")


class Output(Protocol):
    """A place for the fused volume."""

    chunk: Triple

    def write(self, box: Box, values: torch.Tensor) -> None:
        """Store the values of a box."""

    def finish(self, recipe: Mapping[str, Any]) -> VolumeLike:
        """Complete the output with its recipe and return the fused volume."""


class CheckedOutput:
    """Brings values to the units of the views, and lets none through that is no finite number.

    Parameters
    ----------
    output : where they go
    unit : of the values
    """

    def __init__(self, output: Output, unit: float = 1.0) -> None:
        self._output = output
        self._unit = unit
        self.chunk = output.chunk

    def write(self, box: Box, values: torch.Tensor) -> None:
        """Store the values of a box.

        Raises
        ------
        InputError
            If one of them is NaN or infinite.
        """
        if self._unit != 1:
            values = values * self._unit
        if not bool(values.isfinite().all()):
            place = torch.nonzero(~values.isfinite())[0].tolist()
            raise InputError(not_finite(triple(a + i for a, i in zip(box.start, place, strict=True))))
        self._output.write(box, values)

    def finish(self, recipe: Mapping[str, Any]) -> VolumeLike:
        """See `Output`."""
        return self._output.finish(recipe)


def not_finite(place: Triple | None = None) -> str:
    """What to say of a result that is no number, at (z, y, x) or somewhere."""
    where = "" if place is None else f" at (z, y, x) = {place}"
    return (
        f"the result is not a finite number{where}, so the run ends here: look for extreme values in the views there, "
        "have hot pixels removed, or choose another method"
    )


class ArrayOutput:
    """An array in memory: the caller's, or a new one."""

    def __init__(self, grid: Grid, into: np.ndarray | None) -> None:
        if into is not None and (into.shape != grid.shape or into.dtype != np.float32 or not into.flags.writeable):
            raise InputError(
                f"the array to fill has shape {into.shape} and type {into.dtype}: "
                f"it must be a writable float32 array of {grid.shape}"
            )
        self.chunk = triple(min(16, n) for n in grid.shape)
        self._grid = grid
        self._values = into

    def write(self, box: Box, values: torch.Tensor) -> None:
        if self._values is None:
            if box == self._grid.box:
                self._values = values.cpu().numpy()
                return
            self._values = np.empty(self._grid.shape, np.float32)
        self._values[box.slices] = values.cpu().numpy()

    def finish(self, recipe: Mapping[str, Any]) -> np.ndarray:
        del recipe
        assert self._values is not None
        return self._values


class FileOutput:
    """An OME-Zarr or OME-TIFF that is made aside, in the workspace of the run, and renamed when it is complete.

    Tiles of both go to a chunked zarr first, so that a run can go on where it stopped; a TIFF is written from it.
    """

    def __init__(self, grid: Grid, workspace: Workspace, *, overwrite: bool) -> None:
        self.chunk = triple(min(_CHUNK, n) for n in grid.shape)
        self._grid = grid
        self._workspace = workspace
        self._overwrite = overwrite
        self._scratch = workspace.folder / "fused.zarr"
        with writing(self._scratch):
            if workspace.plan is not None:
                self._array: Any = zarr.open_array(self._scratch / "0", mode="r+")
            else:
                if self._scratch.exists():
                    shutil.rmtree(self._scratch)
                self._array = create_zarr(self._scratch, grid, chunks=self.chunk)

    def write(self, box: Box, values: torch.Tensor) -> None:
        with writing(self._scratch):
            self._array[box.slices] = values.cpu().numpy()

    def finish(self, recipe: Mapping[str, Any]) -> VolumeLike:
        out = self._workspace.out
        if out.suffix.lower() == ".zarr":
            with writing(out):
                for rest in self._scratch.rglob("*.partial"):
                    rest.unlink()
                finish_zarr(self._scratch, recipe=dict(recipe))
                replace_aside(self._scratch, out, aside=self._workspace.folder / "replaced", overwrite=self._overwrite)
            fused: VolumeLike = zarr.open_array(out / "0", mode="r")
        else:
            write_tiff(out, self._array, self._grid, recipe=dict(recipe), overwrite=self._overwrite)
            fused = self._array[:]
        self._workspace.discard()
        return fused


def replace_aside(new: Path, out: Path, *, aside: Path, overwrite: bool) -> None:
    """Move a finished folder to its place; what stood there leaves only when the new one is complete."""
    if out.exists():
        if not overwrite:
            raise OutputError(f"{out} was made by something else meanwhile: the result is kept in {new}")
        out.rename(aside)
    new.rename(out)
    if aside.is_dir():
        shutil.rmtree(aside)
    elif aside.exists():
        aside.unlink()
