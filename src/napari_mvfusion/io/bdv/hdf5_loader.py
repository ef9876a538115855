"""Pixels in HDF5 files of BigDataViewer, one file or several that the project or links in the file lead to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np

from napari_mvfusion.errors import InputError
from napari_mvfusion.io.base import LazyVolume
from napari_mvfusion.io.bdv.pixels import NotRecordedError, PixelLoader, Reinterpreted, ViewLevel, called
from napari_mvfusion.io.bdv.project import ViewId, stored_path
from napari_mvfusion.io.hdf5.reader import open_dataset, opened_file
from napari_mvfusion.system.file_checks import check_file, check_there, parsing

_DAMAGED = "copy or export it again"
_MOST_LINKS = 8
_MOST_LEVELS = 32


@dataclass(frozen=True)
class _Partition:
    """One of the files of a project that is split: its numbers of time points and setups by those of the project."""

    file: Path
    timepoints: Mapping[int, int]
    setups: Mapping[int, int]


class Hdf5Loader(PixelLoader):
    """`bdv.hdf5`."""

    kept: ClassVar[str] = "HDF5"

    @cached_property
    def _main(self) -> Path:
        element = self.element.find("hdf5")
        if element is None:
            raise InputError(f"{self.project} is damaged: it names no HDF5 file; save it again")
        return self.places.find(stored_path(element))

    @cached_property
    def _partitions(self) -> list[_Partition]:
        found = []
        for element in self.element.iterfind("partition"):
            path = element.find("path")
            if path is None:
                raise InputError(f"{self.project} is damaged: one of its partitions names no file; save it again")
            ids = {}
            for kind in ("timepoints", "setups"):
                own = _ids(element.findtext(kind), self.project)
                there = element.findtext(f"{kind}Mapped")
                mapped = own if there is None else _ids(there, self.project)
                if len(own) != len(mapped):
                    raise InputError(
                        f"{self.project} is damaged: a partition has {kind} without a number; save it again"
                    )
                ids[kind] = dict(zip(own, mapped, strict=True))
            found.append(_Partition(self.places.find(stored_path(path)), ids["timepoints"], ids["setups"]))
        return found

    def open(self, view: ViewId, level: int) -> ViewLevel:
        """A view at a level; see `PixelLoader.open`."""
        timepoint, setup = view
        file, inner = self._main, view
        for part in self._partitions:
            if timepoint in part.timepoints and setup in part.setups:
                file, inner = part.file, (part.timepoints[timepoint], part.setups[setup])
                break
        factors, is_stated = self._levels(file, inner[1], view)
        self.check_level(view, level, len(factors))
        name = f"/t{inner[0]:05d}/s{inner[1]:02d}/{level}/cells"
        file, name = self._follow(file, name, view)
        stored = open_dataset(Path(f"{file}:{name}"))
        data = stored.volume()
        if stored.dtype == np.int16 and not is_stated and isinstance(data, LazyVolume):
            data = Reinterpreted(data, np.dtype(np.uint16))
        return ViewLevel.averaged(data, factors, level)

    def _levels(self, file: Path, setup: int, view: ViewId) -> tuple[np.ndarray, bool]:
        """Downsampling factors of all levels, (level, z y x); and whether pixels are of the type that they look like."""
        _check(file, view)
        with (
            parsing(f"{file} cannot be read as an HDF5 file of BigDataViewer", _DAMAGED),
            opened_file(file) as opened,
        ):
            place, name = self._follow(file, f"/s{setup:02d}/resolutions", view)
            if place != file:
                with opened_file(place) as other:
                    return _factors(other, name)
            return _factors(opened, name)

    def _follow(self, file: Path, name: str, view: ViewId) -> tuple[Path, str]:
        """The file and name that a name stands for after links into other files of the project."""
        for _ in range(_MOST_LINKS):
            _check(file, view)
            with parsing(f"{file} cannot be read as an HDF5 file", _DAMAGED), opened_file(file) as opened:
                link, rest = _first_link(opened, name)
                if link is None:
                    if name not in opened:
                        raise NotRecordedError(
                            f"{file} holds no '{name}', the pixels of {called(view)}: {_DAMAGED}, or list it as missing"
                        )
                    return file, name
            target = Path(link.filename)
            file = self.places.checked(target if target.is_absolute() else file.parent / target)
            name = f"/{link.path.strip('/')}{rest}"
        raise InputError(f"{file} leads from one file to another without end ('{name}'): {_DAMAGED}")


def _check(file: Path, view: ViewId) -> None:
    """Look at a file of pixels before it is opened."""
    check_there(file, f"it holds the pixels of {called(view)}; put it where the project names it")
    check_file(file)


def _first_link(opened: Any, name: str) -> tuple[Any, str]:
    """The first link into another file on the way to a name, None where there is none; and what comes after it."""
    parts = name.strip("/").split("/")
    group = opened
    for number, part in enumerate(parts):
        link = group.get(part, getlink=True) if isinstance(group, h5py.Group) and part in group else None
        if isinstance(link, h5py.ExternalLink):
            rest = "/".join(parts[number + 1 :])
            return link, f"/{rest}" if rest else ""
        if link is None:
            return None, ""
        group = group[part]
    return None, ""


def _factors(opened: Any, name: str) -> tuple[np.ndarray, bool]:
    resolutions = opened[name]
    if resolutions.ndim != 2 or resolutions.shape[1] != 3 or not 1 <= resolutions.shape[0] <= _MOST_LEVELS:
        raise InputError(f"{opened.filename} is damaged: '{name}' has the shape {resolutions.shape}; {_DAMAGED}")
    factors = np.asarray(resolutions[:], float)[:, ::-1]
    if not np.isfinite(factors).all() or (factors < 1).any():
        raise InputError(f"{opened.filename} is damaged: '{name}' holds numbers that are no factors; {_DAMAGED}")
    stated = resolutions.parent.attrs.get("dataType")
    text = stated.decode() if isinstance(stated, bytes) else stated
    return factors, text is not None and str(text) != "uint16"


def _ids(text: str | None, project: str) -> list[int]:
    words = (text or "").replace(",", " ").split()
    if not all(word.isdecimal() and len(word) <= 10 for word in words):
        raise InputError(f"{project} is damaged: a partition has the numbers '{(text or '')[:60]}'; save it again")
    return [int(word) for word in words]
