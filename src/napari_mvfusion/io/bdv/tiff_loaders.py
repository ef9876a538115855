"""Pixels in TIFF files: a file for each view, listed one by one or found by a pattern of names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from napari_mvfusion.errors import InputError
from napari_mvfusion.io.bdv.pixels import RESAVE, PixelLoader, ViewLevel, called
from napari_mvfusion.io.bdv.project import StoredPath, ViewId, stored_path
from napari_mvfusion.io.tiff.planes import MOST_PLANES, stack_of
from napari_mvfusion.io.tiff.reader import open_stack
from napari_mvfusion.system.file_checks import is_there

_ENDINGS = (".tif", ".tiff")
_FIELD = re.compile(r"\{(t+|c+|i+|a+|x+)\}")
_KINDS = {"c": "channel", "i": "illumination", "a": "angle", "x": "tile"}
_LAYOUTS = {
    "c": "layoutChannels",
    "i": "layoutIlluminations",
    "a": "layoutAngles",
    "x": "layoutTiles",
    "t": "layoutTimepoints",
}
_IN_ONE_FILE = "2"
_GROUP = re.compile(r"<([^<>]*)>")
_RANGE = re.compile(r"([0-9]{1,9})-([0-9]{1,9})(?::([0-9]{1,9}))?")


@dataclass(frozen=True)
class _Mapped:
    """The file of a view, and which of its images and channels it is."""

    path: StoredPath
    series: int
    channel: int


class _TiffLoader(PixelLoader):
    kept: ClassVar[str] = "TIFF"

    def opened(self, file: Path, view: ViewId, timepoint: int, channel: int, series: int = 0) -> ViewLevel:
        """A volume of a file.

        Raises
        ------
        InputError
            If it is no TIFF file, or has no such volume.
        """
        if not file.name.lower().endswith(_ENDINGS):
            raise InputError(f"{self.project} keeps {called(view)} in {file}, which only Bio-Formats reads: {RESAVE}")
        if not is_there(file):
            raise InputError(
                f"{file} does not exist, and holds the pixels of {called(view)}: put it where the project names it, or list "
                "it as missing there"
            )
        stored = open_stack(Path(f"{file}:{series}"))
        at = {axis: n for axis, n in (("t", timepoint), ("c", channel)) if axis in stored.leading}
        lacking = [n for axis, n in (("t", timepoint), ("c", channel)) if n >= stored.leading.get(axis, 1)]
        if lacking:
            raise InputError(
                f"{file} has no channel {channel} at time point {timepoint}, where {self.project} looks for {called(view)}: "
                f"check the file, or {RESAVE}"
            )
        volume = stored.volume(at.get("t"), at.get("c"))
        return ViewLevel(volume, kept_in=(file, series, at.get("t", 0), at.get("c", 0)))


class FileMapLoader(_TiffLoader):
    """`spimreconstruction.filemap2` and `.filelist`: each view has a file of its own, or a channel in one."""

    @cached_property
    def _files(self) -> dict[ViewId, _Mapped]:
        found: dict[ViewId, _Mapped] = {}
        for element in self.element.iterfind("files/FileMapping"):
            names = ("timepoint", "view_setup", "series", "channel")
            numbers = [element.get(name, "0") for name in names]
            path = element.find("file")
            if path is None or not all(n.isdecimal() and len(n) <= 10 for n in numbers):
                raise InputError(f"{self.project} is damaged: a FileMapping lacks its file or numbers; save it again")
            timepoint, setup, series, channel = map(int, numbers)
            found[timepoint, setup] = _Mapped(stored_path(path), series, channel)
        return found

    @property
    def files(self) -> frozenset[Path]:
        """The files that it names, whether they are there or not."""
        return frozenset(self.places.find(each.path) for each in self._files.values())

    @cached_property
    def _is_series(self) -> bool:
        """Whether a file holds several of the project's time points: only then is that a number of its own."""
        seen: dict[StoredPath, int] = {}
        return any(seen.setdefault(each.path, view[0]) != view[0] for view, each in self._files.items())

    def open(self, view: ViewId, level: int) -> ViewLevel:
        """A view; see `PixelLoader.open`."""
        each = self._files.get(view)
        if each is None:
            raise InputError(
                f"{self.project} names no file for {called(view)}, and does not list it as missing: save it again"
            )
        self.check_level(view, level, 1)
        file = self.places.find(each.path)
        if self._is_grouped and _GROUP.search(file.name):
            planes = [self.places.checked(plane) for plane in _planes(file, called(view))]
            if lacking := next((plane for plane in planes if not is_there(plane)), None):
                raise InputError(f"{lacking} does not exist, and is a plane of {called(view)}: put it where it was")
            return ViewLevel(stack_of(file, planes).volume(), kept_in=tuple(planes))
        timepoint = view[0] if self._is_series else 0
        return self.opened(file, view, timepoint, each.channel, each.series)

    @cached_property
    def _is_grouped(self) -> bool:
        """Whether names stand for the planes of a view, each a file of its own."""
        return (self.element.findtext("ZGrouped") or "").strip().lower() == "true"


def _planes(file: Path, view: str) -> list[Path]:
    """The files that a name such as "z<00,01,02>.tif" or "z<0-19:2>.tif" stands for, in its order."""
    before, group, behind, *more = _GROUP.split(file.name)
    if more:
        raise InputError(f"{file} names files of more than planes alone, and holds the pixels of {view}: {RESAVE}")
    numbers: list[str] = []
    for part in group.split(","):
        limits = _RANGE.fullmatch(part)
        if limits is None:
            numbers.append(part)
            continue
        first, last, step = int(limits[1]), int(limits[2]), int(limits[3] or 1)
        if not 0 <= last - first < MOST_PLANES * max(step, 1) or step < 1:
            raise InputError(f"{file} names no planes that could be counted, and holds the pixels of {view}: {RESAVE}")
        numbers += [f"{number:0{len(limits[1])}d}" for number in range(first, last + 1, step)]
    return [file.with_name(f"{before}{number}{behind}") for number in numbers]


class StackLoader(_TiffLoader):
    """`spimreconstruction.stack.ij` and `.loci`: names of files follow from those of time point, channel and angle."""

    def open(self, view: ViewId, level: int) -> ViewLevel:
        """A view; see `PixelLoader.open`."""
        self.check_level(view, level, 1)
        folder = self.element.find("imagedirectory")
        pattern = (self.element.findtext("filePattern") or "").strip()
        if folder is None or not pattern:
            raise InputError(f"{self.project} is damaged: it names no folder or pattern of files; save it again")
        names = self._names(view)
        index = {}
        for field, tag in _LAYOUTS.items():
            if (self.element.findtext(tag) or "").strip() != _IN_ONE_FILE:
                continue
            if field in "ai" or not names[field].isdecimal():
                what = _KINDS.get(field, "time point")
                raise InputError(f"{self.project} keeps every {what} in one file, in an unknown order: {RESAVE}")
            index[field] = int(names[field])
        below = self.places.find(stored_path(folder))
        files = [self.places.below(below, text) for text in _file_names(pattern, names)]
        file = next((file for file in files if is_there(file)), files[0])
        return self.opened(file, view, index.get("t", 0), index.get("c", 0), index.get("x", 0))

    def _names(self, view: ViewId) -> dict[str, str]:
        """What stands for the fields of the pattern."""
        project = self.places.project
        setup = project.setups[view[1]]
        parts = {field: project.part(kind, setup) for field, kind in _KINDS.items()}
        return {"t": project.timepoints[view[0]]} | {f: "0" if part is None else part.name for f, part in parts.items()}


def _file_names(pattern: str, names: dict[str, str]) -> Iterator[str]:
    """Names that a pattern may stand for: numbers are padded to its digits, or stand as they are."""

    def padded(match: re.Match[str]) -> str:
        name = names[match[1][0]]
        return name.zfill(len(match[1])) if name.isdecimal() else name

    yield _FIELD.sub(padded, pattern)
    yield _FIELD.sub(lambda match: names[match[1][0]], pattern)
