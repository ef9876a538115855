"""The series that views which are open belong to, also where they were opened from files of one time point alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from napari_mvfusion.addresses import absolute
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.engine.series_choice import SeriesAxes, SeriesChoice, picked_volumes, series_axes
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.name_table import NameTable, choose_files, read_names
from napari_mvfusion.io.opening import list_tags
from napari_mvfusion.io.volume_choice import VolumeChoice

# What says where the volumes are, and not how their views are used.
_WHERE = ("source", "tag", "pattern", "level", "registration", "world_unit_um", "outside", "apart", "grid", "stage")
_NUMBERED = re.compile(r"(.*?)(\d+)(\D*)")


@dataclass(frozen=True)
class SeriesSource:
    """The volumes that views which are open are one of.

    Attributes
    ----------
    axes : which there are
    where : what of `Inputs` opens them, in place of what the views were opened with
    names : of the views, by the names with which they were opened, where these differ
    psfs : that are found for the views by themselves, by their names
    """

    axes: SeriesAxes
    where: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    psfs: Mapping[str, str] = field(default_factory=dict)

    @property
    def several(self) -> tuple[str, ...]:
        """Those of the axes "t" and "c" along which there are several volumes."""
        return tuple(axis for axis in "tc" if len(self.axes.numbers.get(axis, ())) > 1)

    def inputs(self, said: Inputs) -> Inputs:
        """How the views are opened as those of the series, by how they are opened alone."""
        known = said.renamed(self.names)
        found_alike = isinstance(known.psfs, dict) and all(self.psfs.get(n) == file for n, file in known.psfs.items())
        # Other channels may have others.
        found = {"psfs": None} if self.where and found_alike else {}
        return known.model_copy(update={**self.where, **found})

    def picked(self, said: Inputs, texts: Mapping[str, str]) -> SeriesChoice:
        """The volumes that are asked for, see `choose_series`.

        Parameters
        ----------
        said : how the views are opened alone
        texts : for "t" and "c"; one that is missing is taken from `said`

        Raises
        ------
        InputError
            As `choose_series`.
        """
        return picked_volumes(self.axes, self.inputs(said), texts.get("t"), texts.get("c"))

    def words_of(self, said: Inputs) -> str:
        """What the volume is called that is opened so, among the others."""
        inputs = self.inputs(said)
        every = self.picked(said, dict.fromkeys(self.several, "all"))
        time = self.axes.tags.index(said.tag) if said.tag in self.axes.tags else inputs.timepoint
        there = {"t": (every.timepoints, time), "c": (every.channels, inputs.channel)}
        places = [there[axis] for axis in self.several]
        return every.words_at(tuple(known.index(one) if one in known else 0 for known, one in places))


def place_in_series(said: Inputs) -> Inputs:
    """What of how views are opened says which series they belong to: equal ones belong to the same."""
    return Inputs(**{name: getattr(said, name) for name in _WHERE})


def series_source(said: Inputs, files: Mapping[str, str], table: NameTable | None = None) -> SeriesSource:
    """Find the series that views belong to; no pixel is read.

    Parameters
    ----------
    said : how the views are opened, see `place_in_series`
    files : of the views, by their names
    table : what the names of more files say, where the views were chosen by these

    Raises
    ------
    InputError
        If the files cannot be used.
    """
    by_names = None if table is None or not isinstance(said.source, list) else _by_names(said, files, table)
    if by_names is not None:
        return by_names
    alone = SeriesSource(series_axes(said))
    if said.tag is None or not isinstance(said.source, str) or "t" in alone.several:
        return alone
    if not _are_numbered(list_tags(said.source)):
        return alone
    return SeriesSource(series_axes(said.model_copy(update={"tag": None})), {"tag": None})


def _by_names(said: Inputs, files: Mapping[str, str], table: NameTable) -> SeriesSource | None:
    """The series whose files are told by their names; None of views that were chosen otherwise."""
    found = {absolute(path): name for path, name in table.views}
    places = {
        (known.timepoint, table.channel_of(known), known.tag) if (known := found.get(file)) is not None else None
        for file in files.values()
    }
    if len(places) != 1 or (place := places.pop()) is None:
        return None
    timepoint, channel, tag = place
    at = VolumeChoice(timepoint, channel)
    named = {absolute(view.file): view for view in choose_files(table, at, tag or None).views}
    if not all(file in named for file in files.values()):
        return None
    where = {"source": _folder_or_files(table), "pattern": table.pattern, "tag": tag or None}
    axes = series_axes(said.model_copy(update=where))
    said_at = {key: number for key, number in (("timepoint", timepoint), ("channel", channel)) if number is not None}
    names = {before: named[file].name for before, file in files.items()}
    psfs = {view.name: absolute(view.psf) for view in named.values() if view.psf is not None}
    return SeriesSource(axes, where | said_at, names, psfs)


def _folder_or_files(table: NameTable) -> str | list[str]:
    """The folder of a table where that has no other files, which is said in fewer words."""
    try:
        whole = read_names(table.folder, table.pattern)
    except InputError:
        return [absolute(path) for path, _ in table.matched]
    same = dict(whole.matched) == dict(table.matched)
    return absolute(table.folder) if same else [absolute(path) for path, _ in table.matched]


def _are_numbered(tags: Sequence[str]) -> bool:
    """Whether tags are one word with several numbers, as those of time points are: a and b are two specimens."""
    parts = [_NUMBERED.fullmatch(tag) for tag in tags]
    words = {None if part is None else (part[1], part[3]) for part in parts}
    return len(tags) > 1 and len(words) == 1 and None not in words
