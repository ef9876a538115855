"""Pixels in OME-Zarr images, one a view, as BigStitcher writes them; their own scale and unit do not count."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import zarr

from napari_mvfusion.data.geometry import float_triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.base import Absent, LazyVolume, parts_of
from napari_mvfusion.io.bdv.pixels import PixelLoader, ViewLevel, called
from napari_mvfusion.io.bdv.project import ViewId, stored_path
from napari_mvfusion.io.ome_zarr.checked_store import PlainFiles, absent_chunks, weigh
from napari_mvfusion.system.file_checks import check_there, parsing

_DAMAGED = "copy it again"
_MOST_LEVELS = 64


@dataclass(frozen=True)
class _Entry:
    """The image of a view: its path in the container, and its place along the axes before z, c first."""

    path: str
    index: tuple[int, ...] | None


class ZarrLoader(PixelLoader):
    """`bdv.multimg.zarr`."""

    kept: ClassVar[str] = "OME-Zarr"

    @cached_property
    def _root(self) -> Path:
        element = self.element.find("zarr")
        if element is None or self.element.find("s3bucket") is not None:
            raise InputError(
                f"{self.project} names no OME-Zarr on a disk: copy its pixels from the network, and name the copy in it"
            )
        root = self.places.find(stored_path(element))
        check_there(root, f"it holds the pixels of {self.project}; put it where the project names it")
        return root

    @cached_property
    def _entries(self) -> dict[ViewId, _Entry]:
        """By view. Version 1.0 has other names for the same; only 3.0 and later say where on the axes before z a view is."""
        found: dict[ViewId, _Entry] = {}
        for element in self.element.iterfind("zgroups/zgroup"):
            timepoint = element.get("tp", element.get("timepoint", ""))
            setup = element.get("setup", "")
            path = element.get("path", element.findtext("path", ""))
            words = element.get("indicies", "[]").replace("[", " ").replace("]", " ").replace(",", " ").split()
            numbers = [timepoint, setup, *words]
            if not path or not all(word.isdecimal() and len(word) <= 10 for word in numbers):
                raise InputError(
                    f"{self.project} is damaged: its image '{path[:60]}' (setup '{setup[:20]}', time point "
                    f"'{timepoint[:20]}') has no place; save it again"
                )
            found[int(timepoint), int(setup)] = _Entry(path, tuple(map(int, words)) or None)
        return found

    def open(self, view: ViewId, level: int) -> ViewLevel:
        """A view at a level; see `PixelLoader.open`."""
        entry = self._entries.get(view)
        if entry is None:
            raise InputError(
                f"{self.project} names no pixels for {called(view)}, and does not list it as missing: save it again"
            )
        folder = self.places.below(self._root, entry.path)
        check_there(folder, f"it holds the pixels of {called(view)}; {_DAMAGED}, or list it as missing in the project")
        damaged = f"{folder} is no readable OME-Zarr image"
        with parsing(damaged, _DAMAGED), warnings.catch_warnings():
            # Whoever reads a file cannot choose its codecs.
            warnings.filterwarnings("ignore", message="Numcodecs codecs are not in")
            group = zarr.open_group(PlainFiles(folder), mode="r")
            attributes = dict(group.attrs)
            datasets = attributes.get("ome", attributes)["multiscales"][0]["datasets"]
            count = min(len(datasets), _MOST_LEVELS)
            self.check_level(view, level, count)
            full, array = (self._array(group, folder, str(datasets[n]["path"])) for n in (0, level))
            factors, shift = _placement(datasets, level, full.shape, array.shape)
        volume = _ZarrView(self._root, folder, array, self._leading(array, entry, view))
        return ViewLevel(volume, factors, shift, count)

    def _array(self, group: Any, folder: Path, path: str) -> Any:
        self.places.below(folder, path)
        array = group[path]
        if not isinstance(array, zarr.Array) or array.ndim < 3:
            raise InputError(f"{folder}/{path} is damaged: it holds no volume; {_DAMAGED}")
        weigh(folder / path, array)
        return array

    def _leading(self, array: Any, entry: _Entry, view: ViewId) -> tuple[int, ...]:
        """The place of a view on the axes before z: the project counts from the last of them on."""
        sizes = array.shape[:-3]
        index = (0,) * len(sizes) if entry.index is None else entry.index[::-1]
        if entry.index is None and any(n > 1 for n in sizes):
            raise InputError(
                f"{self.project} does not say which of {' x '.join(map(str, sizes))} volumes of {entry.path} is "
                f"{called(view)}: save it again with a current BigStitcher"
            )
        if len(index) != len(sizes) or any(i >= n for i, n in zip(index, sizes, strict=True)):
            raise InputError(
                f"{self.project} wants volume {index} of {entry.path} for {called(view)}, which has {tuple(sizes)}: save it "
                "again"
            )
        return index


class _ZarrView(LazyVolume):
    """One (z, y, x) volume of an array with more axes before z."""

    def __init__(self, root: Path, folder: Path, array: Any, leading: tuple[int, ...]) -> None:
        self._root, self._folder, self._array, self._leading = root, folder, array, leading
        self.shape: tuple[int, ...] = tuple(int(n) for n in array.shape[-3:])
        self.dtype = array.dtype

    @property
    def files(self) -> tuple[Path, ...]:
        """The container: other views of the project lie in it, too."""
        return (self._root,)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Chunk sizes along (z, y, x)."""
        return tuple(int(n) for n in self._array.chunks[-3:])

    def absent(self, most: int) -> Absent | None:
        """Chunks that have no file in the container; see `LazyVolume.absent`."""
        return absent_chunks(self._array, (*self._leading, None, None, None), most)

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """Pixels of a box.

        Raises
        ------
        InputError
            If a chunk is damaged.
        """
        with parsing(f"{self._folder} is damaged: a chunk cannot be read", _DAMAGED):
            return np.asarray(self._array[(*self._leading, *parts_of(index))])


def _placement(datasets: Any, level: int, full: tuple[int, ...], own: tuple[int, ...]) -> tuple[Any, Any]:
    """Factors of a level and the place of its first voxel, (z, y, x): as its metadata relates it to the full resolution.

    Where that says nothing, voxels are means of blocks, whose factor follows from the sizes.
    """
    if level == 0:
        return (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)
    first, this = (_said(datasets[n]) for n in (0, level))
    if first["scale"] is None or this["scale"] is None:
        factors = np.rint(np.divide(full[-3:], own[-3:]))
        return float_triple(factors), float_triple((factors - 1) / 2)
    factors = this["scale"] / first["scale"]
    if not np.isfinite(factors).all() or (factors <= 0).any():
        raise ValueError("its scales are no positive numbers")
    shift = (factors - 1) / 2
    if first["translation"] is not None and this["translation"] is not None:
        shift = (this["translation"] - first["translation"]) / first["scale"]
    return float_triple(factors), float_triple(shift)


def _said(dataset: Mapping[str, Any]) -> dict[str, np.ndarray | None]:
    """Scale and translation along (z, y, x) of a level, None for what is not said."""
    found: dict[str, np.ndarray | None] = {"scale": None, "translation": None}
    for each in dataset.get("coordinateTransformations", []):
        if each["type"] in found:
            found[each["type"]] = np.asarray(each[each["type"]], float)[-3:]
    return found
