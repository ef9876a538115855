"""Where tiles of the fused volume go: an array, an OME-Zarr, or an OME-TIFF."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import zarr

from napari_mvfusion.data.geometry import Box, Grid, Triple, triple
from napari_mvfusion.data.views import VolumeLike
from napari_mvfusion.engine.workspace import Workspace
from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.io.atomic import writing
from napari_mvfusion.io.ome_zarr.writer import create_zarr, finish_zarr, restore_group
from napari_mvfusion.io.opening import open_volume
from napari_mvfusion.io.tiff.writer import write_tiff
from napari_mvfusion.system.files import parsing
from napari_mvfusion.system.journal import digest

_CHUNK = 64
_ARRAY_CHUNK = 16
_SUFFIXES = (".zarr", ".tif", ".tiff")


def check_suffix(out: Path) -> None:
    """Raise `OutputError` unless the name of an output says which format it is."""
    if out.suffix.lower() not in _SUFFIXES:
        raise OutputError(f"{out} has no known ending: name it .zarr for OME-Zarr, or .tif for OME-TIFF")


class Output(Protocol):
    """A place for the fused volume."""

    chunk: Triple

    def write(self, box: Box, values: torch.Tensor) -> str | None:
        """Store the values of a box, and return the digest of what a file holds now; None where there is no file."""

    def holds(self, box: Box, wanted: str | None) -> bool:
        """Whether the voxels of a box are those of this digest; where not, they can be written anew afterwards."""

    def finish(self, recipe: Mapping[str, Any], changes: list[float]) -> VolumeLike:
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

    def write(self, box: Box, values: torch.Tensor) -> str | None:
        """Store the values of a box; see `Output`.

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
        return self._output.write(box, values)

    def holds(self, box: Box, wanted: str | None) -> bool:
        """See `Output`."""
        return self._output.holds(box, wanted)

    def finish(self, recipe: Mapping[str, Any], changes: list[float]) -> VolumeLike:
        """See `Output`."""
        return self._output.finish(recipe, changes)


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
    """An OME-Zarr or OME-TIFF that is made aside, in the workspace of the run, and takes its place when it is complete.

    Tiles of both go to a chunked zarr first, so that a run can go on where it stopped; a TIFF is written from it.
    """

    def __init__(self, grid: Grid, workspace: Workspace, *, overwrite: bool) -> None:
        self.chunk = chunk_of(grid, to_file=True)
        self._grid = grid
        self._workspace = workspace
        self._overwrite = overwrite
        self._scratch = workspace.folder / "fused.zarr"
        self._level = self._scratch / "0"
        with writing(self._scratch):
            if not self._as_it_was():
                if self._scratch.exists():
                    shutil.rmtree(self._scratch)
                create_zarr(self._scratch, grid, chunks=self.chunk, name=workspace.out.name)
                workspace.log({"array": self._description()})
            restore_group(self._scratch, grid, name=workspace.out.name)
            self._array: Any = zarr.open_array(self._level, mode="r+")

    def write(self, box: Box, values: torch.Tensor) -> str:
        pixels = values.cpu().numpy()
        with writing(self._scratch):
            self._array[box.slices] = pixels
        return digest(pixels)

    def holds(self, box: Box, wanted: str | None) -> bool:
        try:
            found = digest(np.asarray(self._array[box.slices]))
        except Exception:  # a damaged chunk raises whatever its codec does, and is computed again
            found = ""
        if found == wanted:
            return True
        for number in product(
            *(range(a // c, -(-b // c)) for a, b, c in zip(box.start, box.stop, self.chunk, strict=True))
        ):
            # zarr would first read a chunk that the border of the volume cuts.
            with writing(self._scratch):
                self._level.joinpath("c", *map(str, number)).unlink(missing_ok=True)
        return False

    def finish(self, recipe: Mapping[str, Any], changes: list[float]) -> VolumeLike:
        out = self._workspace.out
        if out.suffix.lower() == ".zarr":
            with writing(out):
                for rest in self._scratch.rglob("*.partial"):
                    rest.unlink()
                finish_zarr(self._scratch, recipe=dict(recipe), name=out.name)
        else:
            result = self._workspace.finishing.result
            write_tiff(result, self._array, self._grid, recipe=dict(recipe), overwrite=True)
        self._workspace.place(recipe, changes, overwrite=self._overwrite)
        return open_output(out)

    def _as_it_was(self) -> bool:
        """Whether there is the array that an unfinished run has made, as it has made it."""
        wanted = self._workspace.last("array")
        return wanted is not None and wanted == self._description()

    def _description(self) -> str | None:
        """Digest of what zarr has written about the array."""
        path = self._level / "zarr.json"
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def open_output(out: Path) -> VolumeLike:
    """A finished output; its voxels are read when they are asked for.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    if out.suffix.lower() == ".zarr":
        with parsing(f"{out} is damaged: its voxels cannot be read", "fuse again with --overwrite"):
            fused: VolumeLike = zarr.open_array(out / "0", mode="r")
        return fused
    return open_volume(out)[0]
