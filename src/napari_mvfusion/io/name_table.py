"""What a pattern finds in the names of files before any is opened: a table, what is odd there, and the files of views."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from napari_mvfusion.data.geometry import same_direction
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.atomic import recipe_path
from napari_mvfusion.io.folder import FUSED
from napari_mvfusion.io.formats import has_file_suffix, is_folder_of_files, split_ending, suffixes
from napari_mvfusion.io.name_guess import guess_pattern
from napari_mvfusion.io.name_pattern import DEEPEST, FoundName, NamePattern
from napari_mvfusion.io.view_files import ViewFile
from napari_mvfusion.io.volume_choice import WORDS, NotChosenError, VolumeChoice
from napari_mvfusion.system.file_checks import check_there, is_folder, is_there

_SHOWN = 4
_PARTS = ("illumination", "tile")


@dataclass(frozen=True)
class NameRow:
    """A file, and what its name says; or why it says nothing."""

    path: Path
    found: FoundName | None
    why: str = ""


@dataclass(frozen=True)
class NameTable:
    """What a pattern finds in the names of some files.

    Attributes
    ----------
    pattern : that was applied
    rows : one a file, in the order of their names
    folder : that names count from
    channels : number of each channel, by what names call it
    """

    pattern: str
    rows: tuple[NameRow, ...]
    folder: Path
    channels: Mapping[str, int] = field(default_factory=dict)

    @property
    def matched(self) -> tuple[tuple[Path, FoundName], ...]:
        """The files whose names say something."""
        return tuple((row.path, row.found) for row in self.rows if row.found is not None)

    @property
    def views(self) -> tuple[tuple[Path, FoundName], ...]:
        """Those of views."""
        return tuple((path, found) for path, found in self.matched if found.role == "view")

    @property
    def timepoints(self) -> tuple[int, ...]:
        """Numbers of the time points that views have."""
        return tuple(sorted({found.timepoint for _, found in self.views if found.timepoint is not None}))

    @property
    def tags(self) -> tuple[str, ...]:
        """The samples that views are of; "" for views without a tag."""
        return tuple(dict.fromkeys(found.tag for _, found in self.views))

    def called(self, path: Path) -> str:
        """The name of a file, with the folders that lie between it and the one that names count from."""
        return path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else path.name

    def channel_of(self, found: FoundName) -> int | None:
        """The number of the channel of a file, None where its name says none."""
        return self.channels.get(found.channel) if found.channel else None

    def problems(self) -> list[str]:
        """What is odd: files that fit nowhere, two for one view, views that some time points or channels lack; in words."""
        unread = [self.called(row.path) for row in self.rows if row.found is None and not row.why]
        said = [f"{self.called(row.path)} is left out, as {row.why}" for row in self.rows if row.why]
        if unread:
            said.append(f"{_some(unread)} {'fits' if len(unread) == 1 else 'fit'} no pattern")
        return [*said, *self.doubles(), *self._gaps()]

    def doubles(self) -> list[str]:
        """Files of which two or more are the same, in words."""
        seen: dict[tuple[object, ...], list[str]] = {}
        for path, found in self.matched:
            if found.role != "ignore":
                at = found.timepoint, found.channel, found.illumination, found.tile, found.z, found.tag
                seen.setdefault((found.role, _turn(found.angle), found.view, *at), []).append(self.called(path))
        twice = [names for names in seen.values() if len(names) > 1]
        more = f" (so are {len(twice) - 1} others)" if len(twice) > 1 else ""
        return (
            [f"{_some(twice[0])} are the same by this pattern{more}: give what tells them apart a field"]
            if twice
            else []
        )

    def _gaps(self) -> Iterable[str]:
        """Views that are there at some time points and channels, and not at others."""
        places: dict[tuple[int | None, str, str], set[str]] = {}
        for _, found in self.views:
            places.setdefault((found.timepoint, found.channel, found.tag), set()).add(view_name(found))
        every: dict[str, set[str]] = {}
        for (_, _, tag), names in places.items():
            every.setdefault(tag, set()).update(names)
        lacking = [
            f"view {name} at {_place(timepoint, channel, tag)}"
            for (timepoint, channel, tag), names in sorted(places.items(), key=str)
            for name in sorted(every[tag] - names)
            if timepoint is not None or channel
        ]
        if lacking:
            yield f"there is no file of {_some(lacking)}"


@dataclass(frozen=True)
class NamedFiles:
    """The files that a pattern and a choice name.

    Attributes
    ----------
    views : with their PSFs, in the order of their angles
    truth : None where there is none
    masks : file of each mask, by the name of the view
    rest : what is left to be chosen inside the files
    said : what was found, in one line
    problems : what is odd about the names, and PSFs that no view takes, in words
    """

    views: tuple[ViewFile, ...]
    truth: Path | None
    masks: Mapping[str, Path]
    rest: VolumeChoice
    said: str
    problems: tuple[str, ...]


def read_names(source: str | Path | Sequence[str | Path], pattern: str) -> NameTable:
    """Read the names of the volumes in a folder, or of files, by a pattern; none is opened.

    A pattern with folders looks as deep into those of a folder; of files it reads the end of their paths.

    Parameters
    ----------
    source : a folder, or files
    pattern : see `napari_mvfusion.io.name_pattern`

    Raises
    ------
    InputError
        If the folder is not there, or the pattern is none.
    """
    rule = NamePattern(pattern, suffixes())
    if isinstance(source, (str, Path)):
        folder = Path(source)
        check_there(folder, "name a folder of views")
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder: a pattern is for the files of a folder, or for several files")
        # What was fused lies beside the views; whoever names it means it.
        rows = tuple(
            NameRow(path, None, FUSED)
            if is_there(recipe_path(path))
            else _row(path, path.relative_to(folder).as_posix(), rule)
            for path in files_to_name(folder, rule.depth)
        )
    else:
        files = sorted(map(Path, source))
        folder = folder_of_all(files)
        rows = tuple(_row(path, path.as_posix(), rule) for path in files)
    named = {row.found.channel for row in rows if row.found is not None and row.found.channel}
    if all(name.isdigit() for name in named):
        return NameTable(rule.text, rows, folder, {name: int(name) for name in sorted(named, key=int)})
    return NameTable(rule.text, rows, folder, {name: number for number, name in enumerate(sorted(named))})


def folder_of_all(files: Iterable[Path]) -> Path:
    """The deepest folder that files lie in together; that of the first where they lie on several drives."""
    folders = list(dict.fromkeys(file.parent for file in files))
    try:
        return Path(os.path.commonpath(folders)) if folders else Path()
    except ValueError:
        return folders[0]


def files_to_name(folder: Path, depth: int = 0) -> list[Path]:
    """What a folder holds that is called like a volume; names that begin with a dot are those of the system.

    Parameters
    ----------
    folder : in question
    depth : how far down to look into folders in it that are no volumes
    """
    try:
        inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be read: {error.strerror or error}") from error
    found = [path for path in inside if path.name.lower().endswith(suffixes())]
    if depth:
        deeper = [path for path in inside if path not in set(found) and is_folder_of_files(path)]
        found = sorted([*found, *(file for path in deeper for file in files_to_name(path, depth - 1))])
    return found


def _row(path: Path, name: str, rule: NamePattern) -> NameRow:
    found = rule.match(name)
    if found is not None and found.role == "psf" and not has_file_suffix(path):
        return NameRow(path, None, "a PSF is a file")
    return NameRow(path, found)


def choose_files(table: NameTable, at: VolumeChoice, tag: str | None = None) -> NamedFiles:
    """The files of one time point, channel and sample.

    Parameters
    ----------
    table : what names say
    at : by the numbers in the names; where these say none, it is left for the files
    tag : which sample

    Raises
    ------
    InputError
        If no view is found, several time points, channels or samples are and none is chosen, what is chosen is not there,
        or two files are the same view.
    """
    views = [(path, found) for path, found in table.views]
    if not views:
        raise _no_views(table)
    views = _of_sample(views, table, tag)
    first = str(table.folder)
    timepoint = _chosen(first, "t", {found.timepoint for _, found in views}, at.timepoint)
    views = [each for each in views if timepoint is None or each[1].timepoint == timepoint]
    channels = {table.channel_of(found) for _, found in views}
    channel = _chosen(first, "c", channels, at.channel, table.channels)
    views = [each for each in views if channel is None or table.channel_of(each[1]) == channel]
    several = {part for part in _PARTS if len({getattr(found, part) for _, found in views}) > 1}
    stacks = _stacks(views, table)
    names = {path: view_name(found, several) or called_by(path) for path, found in stacks}
    others = [
        (path, found)
        for path, found in table.matched
        if found.role not in ("view", "ignore", "beads")
        and (found.timepoint in (None, timepoint) or timepoint is None)
        and (not found.channel or channel is None or table.channel_of(found) == channel)
        and (not found.tag or found.tag == views[0][1].tag)
    ]
    psfs = _stacks([each for each in others if each[1].role == "psf"], table)
    files = [ViewFile(path, names[path], found.angle, _best(psfs, found, "PSF", table)) for path, found in stacks]
    masks = _stacks([each for each in others if each[1].role == "mask"], table)
    of_views = {names[path]: _best(masks, found, "mask", table) for path, found in stacks}
    truths = [path for path, _ in _stacks([each for each in others if each[1].role == "truth"], table)]
    truth = truths[0] if len(truths) == 1 else None
    unused = [table.called(path) for path, _ in psfs if path not in {each.psf for each in files}]
    files.sort(key=lambda each: (each.angle is None, each.angle or 0.0, each.name))
    rest = replace(
        at,
        timepoint=None if table.timepoints else at.timepoint,
        channel=None if table.channels else at.channel,
        in_names=frozenset(axis for axis, said in (("t", table.timepoints), ("c", table.channels)) if said),
    )
    problems = (*table.problems(), *([f"no view takes the PSF {_some(unused)}"] if unused else []))
    said = _said(table, files, truth, timepoint, channel, problems)
    own_masks = {name: path for name, path in of_views.items() if path is not None}
    return NamedFiles(tuple(files), truth, own_masks, rest, said, problems)


def view_name(found: FoundName, parts: Iterable[str] = ()) -> str:
    """What a view is called: its angle or its name, and what else tells it from others; "" where that is nothing.

    Parameters
    ----------
    found : in its file's name
    parts : of "illumination" and "tile", those that differ between views
    """
    words = [] if found.angle is None else [f"{found.angle:g}"]
    words += [found.view] if found.view else []
    words += [f"{part} {getattr(found, part)}" for part in _PARTS if part in parts and getattr(found, part)]
    return " ".join(words) or found.tag


def called_by(path: Path) -> str:
    """What a file, or the planes of a volume, are called without their ending."""
    name = split_ending(path.name.replace("{z}", ""))[0]
    # Files that are only read have other endings.
    name = Path(name).stem if has_file_suffix(name) else name
    return name.rstrip("_-. ") or path.stem


def _of_sample(views: list[tuple[Path, FoundName]], table: NameTable, tag: str | None) -> list[tuple[Path, FoundName]]:
    tags = ", ".join(f"'{name}'" for name in table.tags)
    if tag is None and len(table.tags) > 1:
        raise InputError(f"the names of {table.folder} hold several samples: name one of the tags {tags}")
    if tag is not None and tag not in table.tags:
        raise InputError(f"the names of {table.folder} hold no sample '{tag}': the tags are {tags}")
    return [each for each in views if tag is None or each[1].tag == tag]


def _chosen(
    folder: str, axis: str, there: set[int | None], wanted: int | None, names: Mapping[str, int] | None = None
) -> int | None:
    """The number of a time point or channel among those that names say; None where they say none."""
    numbers = sorted(number for number in there if number is not None)
    words, option = WORDS[axis]
    if not numbers:
        return None
    called = {number: f"{number} ({name})" for name, number in (names or {}).items() if not name.isdigit()}
    listed = [called.get(number, str(number)) for number in numbers]
    shown = ", ".join(listed) if len(listed) <= _SHOWN else f"{listed[0]} to {listed[-1]}"
    if wanted is None:
        if len(numbers) > 1:
            said = f"the names of {folder} say {len(numbers)} {words}: choose one with --{option} {shown} ({option}=)"
            raise NotChosenError(said, axis, numbers[0])
        return numbers[0]
    if wanted not in numbers:
        raise InputError(f"the names of {folder} say the {words} {shown}: --{option} {wanted} is not there")
    return wanted


def _stacks(files: Sequence[tuple[Path, FoundName]], table: NameTable) -> list[tuple[Path, FoundName]]:
    """Files, with planes of one volume as one name that stands for all of them: "img_z{z}.tif".

    Raises
    ------
    InputError
        If two are the same view, or planes of one volume are called in several ways.
    """
    stacks: dict[tuple[object, ...], tuple[Path, FoundName]] = {}
    for path, found in files:
        whole = path.parent / found.planes if found.planes else path
        at = found.timepoint, found.channel, found.illumination, found.tile, found.tag
        key = (_turn(found.angle), found.view, *at)
        known = stacks.setdefault(key, (whole, found))
        if known[0] != whole:
            what = {"psf": "the PSF of view", "mask": "the mask of view", "truth": "the ground truth of"}
            raise InputError(
                f"{table.called(known[0])} and {table.called(whole)} in {table.folder} are both "
                f"{what.get(found.role, 'view')} {view_name(found)} by this pattern: give what tells them apart a field, as "
                "{tag}, {tile} or {view}"
            )
    return list(stacks.values())


def planes_apart(files: Iterable[tuple[Path, FoundName | None]]) -> dict[Path, list[Path]]:
    """Files by what they are opened as: themselves, or for planes of one volume a name that stands for all of them."""
    found: dict[Path, list[Path]] = {}
    for path, name in files:
        found.setdefault(path if name is None or not name.planes else path.parent / name.planes, []).append(path)
    return found


def _best(files: Sequence[tuple[Path, FoundName]], view: FoundName, what: str, table: NameTable) -> Path | None:
    """The file that is of a view: what both say agrees, and of several the one that says most.

    Raises
    ------
    InputError
        If two say as much.
    """
    scored = [(score, path) for path, found in files if (score := _agreement(found, view)) is not None]
    best = [path for score, path in scored if score == max(scored)[0]]
    if len(best) > 1:
        raise InputError(
            f"{table.called(best[0])} and {table.called(best[1])} in {table.folder} are both the {what} of view "
            f"{view_name(view)} by this pattern: give what tells them apart a field"
        )
    return best[0] if best else None


def _agreement(found: FoundName, view: FoundName) -> int | None:
    """How much a file says of the view that it is of; None where it is of another one."""
    if found.angle is not None and (view.angle is None or not same_direction(found.angle, view.angle)):
        return None
    said = [name for name in ("view", "channel", "tag", *_PARTS) if getattr(found, name)]
    if any(getattr(found, name) != getattr(view, name) for name in said):
        return None
    return len(said) + (found.angle is not None) + (found.timepoint is not None)


def _turn(angle: float | None) -> float | None:
    return None if angle is None else angle % 360.0


def _no_views(table: NameTable) -> InputError:
    names = [table.called(row.path) for row in table.rows]
    where = table.folder
    if not names:
        depths = range(1, DEEPEST + 1) if is_folder(where) else ()
        deeper: list[Path] = next((files for depth in depths if (files := files_to_name(where, depth))), [])
        if not deeper:
            return InputError("there are no files that the pattern could fit: name a folder of volumes")
        fits = guess_pattern([table.called(path) for path in deeper])
        return InputError(
            f"{where} holds volumes deeper down alone, as {table.called(deeper[0])}, than the pattern {table.pattern} says: "
            f"{fits} would fit"
        )
    if table.matched:
        path, found = table.matched[0]
        return InputError(
            f"no name in {where} is that of a view by the pattern {table.pattern}: {table.called(path)} is taken as "
            f"'{found.role}'; write the names of the views too, behind |"
        )
    return InputError(
        f"no name in {where} fits the pattern {table.pattern}: found {_some(names)}; {guess_pattern(names)} would fit"
    )


def _said(
    table: NameTable,
    views: Sequence[ViewFile],
    truth: Path | None,
    timepoint: int | None,
    channel: int | None,
    problems: Sequence[str],
) -> str:
    """What was found, in one line."""
    at = [f"time point {timepoint}"] if timepoint is not None else []
    at += [f"channel {channel}"] if channel is not None else []
    parts = [
        f"{table.called(each.file)} is view {each.name}, "
        + ("without a PSF" if each.psf is None else f"its PSF {table.called(each.psf)}")
        for each in views
    ]
    parts += [] if truth is None else [f"{table.called(truth)} is the ground truth"]
    where = f" at {' and '.join(at)}" if at else ""
    return f"by the pattern {table.pattern}{where}: {'; '.join([*parts, *problems])}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    shown = list(names[:_SHOWN])
    return ", ".join(shown) + more if more or len(shown) < 2 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _place(timepoint: int | None, channel: str, tag: str) -> str:
    parts = [] if timepoint is None else [f"time point {timepoint}"]
    parts += [f"channel {channel}"] if channel else []
    parts += [f"sample '{tag}'"] if tag else []
    return " ".join(parts)
