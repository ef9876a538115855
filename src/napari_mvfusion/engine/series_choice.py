"""Which volumes of an input are fused as one series: time points and channels, in words as on the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from napari_mvfusion.engine.finishing import volume_suffix
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.contents import one_of
from napari_mvfusion.io.formats import format_of, is_folder_of_files, is_project, open_stored
from napari_mvfusion.io.name_table import NameTable, choose_files, read_names
from napari_mvfusion.io.opening import list_tags, pattern_in
from napari_mvfusion.io.streaming import LeadingAxis
from napari_mvfusion.io.volume_choice import WORDS, VolumeChoice

_SHOWN = 8
_RANGE = re.compile(r"(-?\d*):(-?\d*)(?::(-?\d*))?")
_ALL = "all"


@dataclass(frozen=True)
class SeriesAxes:
    """What volumes an input has.

    Attributes
    ----------
    source : of the input, for messages
    numbers : of its time points "t" and channels "c", as they are chosen by; an axis with one volume may be missing
    channel_names : number of each channel, by its name, where channels have names
    time_step : seconds from one time point to the next; 1 where the input does not say
    tags : of the samples that are its time points, in their order; () where they are none
    """

    source: str
    numbers: Mapping[str, tuple[int, ...]]
    channel_names: Mapping[str, int] = field(default_factory=dict)
    time_step: float = 1.0
    tags: tuple[str, ...] = ()

    @property
    def first(self) -> VolumeChoice:
        """The first volume."""
        there = {axis: numbers[0] for axis, numbers in self.numbers.items() if numbers}
        return VolumeChoice(None if self.tags else there.get("t"), there.get("c"))


class SeriesChoice(BaseModel):
    """The volumes of a series, all of the same input; an index is a position along the axes of which there are several.

    Attributes
    ----------
    inputs : how the first volume is opened, and so all others but for time point, channel or tag
    timepoints, channels : that are chosen, as `Inputs` has them; None where the input has one
    tags : of the samples that are the time points; () where they are none
    channel_names : of the channels that are chosen; () where they have none
    time_step : seconds from one of the time points to the next, where that is known and always the same, else 1
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: Inputs
    timepoints: tuple[int | None, ...]
    channels: tuple[int | None, ...]
    tags: tuple[str, ...] = ()
    channel_names: tuple[str, ...] = ()
    time_step: float = 1.0

    @property
    def axes(self) -> tuple[LeadingAxis, ...]:
        """The axes before z along which there are several volumes."""
        time = LeadingAxis("t", len(self.timepoints), self.time_step)
        channel = LeadingAxis("c", len(self.channels))
        return tuple(axis for axis in (time, channel) if axis.size > 1)

    @property
    def gathered_names(self) -> tuple[str, ...]:
        """Names of the channels of a file that has all volumes, () where it has one channel."""
        return self.channel_names if len(self.channels) > 1 else ()

    @property
    def indices(self) -> list[tuple[int, ...]]:
        """All volumes in their order, the last axis fastest."""
        return list(product(*(range(axis.size) for axis in self.axes)))

    def inputs_at(self, index: tuple[int, ...]) -> Inputs:
        """How the views of a volume are opened."""
        t, c = self._places(index)
        if self.tags:
            return self.inputs.model_copy(update={"tag": self.tags[t], "channel": self.channels[c]})
        return self.inputs.model_copy(update={"timepoint": self.timepoints[t], "channel": self.channels[c]})

    def words_at(self, index: tuple[int, ...]) -> str:
        """What a volume is called, as "time point 3, channel 1 (GFP)"."""
        t, c = self._places(index)
        words = []
        if len(self.timepoints) > 1:
            words.append(f"tag {self.tags[t]}" if self.tags else f"time point {self.timepoints[t]}")
        if len(self.channels) > 1:
            name = self.channel_names[c] if self.channel_names else ""
            words.append(f"channel {self.channels[c]}" + (f" ({name})" if name else ""))
        return ", ".join(words)

    @property
    def summary(self) -> str:
        """How many volumes there are, and which, as "6 volumes: time points 0, 2, 4; channels 0 (GFP), 1 (RFP)"."""
        named = zip(self.channels, self.channel_names, strict=True) if self.channel_names else ()
        names = {number: f" ({name})" for number, name in named if name}
        times = [self.tags[t] if self.tags else str(number) for t, number in enumerate(self.timepoints)]
        channels = [f"{number}{names.get(number, '')}" for number in self.channels]
        words = (
            [f"{'tags' if self.tags else 'time points'} {_ends(times, count=not self.tags)}"] if len(times) > 1 else []
        )
        words += [f"channels {_ends(channels, count=not names)}"] if len(channels) > 1 else []
        return f"{len(self.indices)} volumes: {'; '.join(words)}"

    def place_at(self, index: tuple[int, ...]) -> dict[str, int | str | None]:
        """Which volume of the input it is, as `Inputs` says it: timepoint, channel and tag."""
        inputs = self.inputs_at(index)
        return {"timepoint": inputs.timepoint, "channel": inputs.channel, "tag": inputs.tag}

    def channel_at(self, index: tuple[int, ...]) -> int | None:
        """The channel of a volume, as `channels` has it."""
        return self.channels[self._places(index)[1]]

    def volumes_of(self, channel: int | None) -> list[tuple[int, ...]]:
        """All volumes of a channel, in the order of time."""
        return [index for index in self.indices if self.channel_at(index) == channel]

    def times_in_words(self, indices: Sequence[tuple[int, ...]]) -> str:
        """What the time points of some volumes are called together, as "time points 0, 2 and 4"."""
        times = [self._places(index)[0] for index in indices]
        named = [self.tags[t] if self.tags else str(self.timepoints[t]) for t in times]
        what = "tag" if self.tags else "time point"
        return f"{what} {named[0]}" if len(named) == 1 else f"{what}s {', '.join(named[:-1])} and {named[-1]}"

    def suffix_at(self, index: tuple[int, ...]) -> str:
        """What follows the name in the file of a volume, by the numbers of time point and channel."""
        places = dict(zip((axis.name for axis in self.axes), index, strict=True))
        numbers = {"t": self.timepoints, "c": self.channels}
        return volume_suffix(numbers[axis][place] or 0 for axis, place in places.items())

    def _places(self, index: tuple[int, ...]) -> tuple[int, int]:
        places = dict(zip((axis.name for axis in self.axes), index, strict=True))
        return places.get("t", 0), places.get("c", 0)


def choose_series(said: Inputs, timepoints: str | None, channels: str | None) -> tuple[SeriesChoice, str]:
    """The volumes that are asked for, of those that the input has, and what was guessed, in one line.

    Parameters
    ----------
    said : how views are opened, as the user says it
    timepoints, channels : "all", a number, the name of a channel, a slice as those of Python, "0:100:2", or several of these
        with commas between; None for the one in `said`, or the only one

    Raises
    ------
    InputError
        If a text is none of that, says nothing that is there, or goes beyond it; tells what there is. If there are several
        and nothing is chosen, or the input cannot be used.
    """
    axes = series_axes(said)
    choice = picked_volumes(axes, said, timepoints, channels)
    resolved, guessed = choice.inputs.resolved()
    notes = [guessed] if guessed else []
    if choice.tags:
        notes.insert(0, f"the tags are the time points: {_some([f'{n} is {tag}' for n, tag in enumerate(axes.tags)])}")
    return choice.model_copy(update={"inputs": resolved}), "; ".join(notes)


def picked_volumes(axes: SeriesAxes, said: Inputs, timepoints: str | None, channels: str | None) -> SeriesChoice:
    """The volumes that are asked for, of those that are known to be there; nothing is read, and no file name resolved.

    See `choose_series` for the other parameters and what is raised.

    Parameters
    ----------
    axes : of the same input
    """
    times = _chosen(axes, "t", timepoints, said.timepoint)
    colours = _chosen(axes, "c", channels, said.channel)
    names = {number: name for name, number in axes.channel_names.items()}
    called = tuple(names.get(number, "") for number in colours if number is not None)
    first: dict[str, int | str | None] = {"timepoint": times[0], "channel": colours[0]}
    if axes.tags:
        first |= {"timepoint": None, "tag": axes.tags[times[0] or 0]}
    return SeriesChoice(
        inputs=said.model_copy(update=first),
        timepoints=times,
        channels=colours,
        tags=tuple(axes.tags[number or 0] for number in times) if axes.tags else (),
        channel_names=called if any(called) else (),
        time_step=even_step(times) * axes.time_step,
    )


def series_axes(said: Inputs) -> SeriesAxes:
    """The time points and channels of an input; no pixel is read.

    Parameters
    ----------
    said : how views are opened; time point and channel do not matter

    Raises
    ------
    InputError
        If it cannot be used.
    """
    said = said.model_copy(update={"timepoint": None, "channel": None})
    source = said.source
    if isinstance(source, str) and is_project(source):
        return _of_project(source)
    pattern = said.pattern
    if pattern is None and isinstance(source, str):
        pattern = pattern_in(source)
    if pattern is not None and not isinstance(source, dict):
        return _of_names(said, pattern)
    if isinstance(source, str) and said.tag is None and is_folder_of_files(source):
        tags = sorted(list_tags(source), key=_natural)
        if len(tags) > 1:
            inner = _of_files(said.model_copy(update={"tag": tags[0]}))
            if len(inner.numbers.get("t", ())) > 1:
                raise InputError(
                    f"{source} holds the samples {_some(tags)}, each of several time points: choose one by --tag"
                )
            return SeriesAxes(
                source, {**inner.numbers, "t": tuple(range(len(tags)))}, inner.channel_names, tags=tuple(tags)
            )
    return _of_files(said)


def chosen_numbers(text: str, axes: SeriesAxes, axis: str) -> tuple[int, ...]:
    """The numbers along "t" or "c" that a text asks for, in its order, each once.

    Parameters
    ----------
    text : see `choose_series`
    axes : what there is
    axis : which

    Raises
    ------
    InputError
        See `choose_series`.
    """
    there = axes.numbers.get(axis) or (0,)
    words, option = f"{WORDS[axis][0]}", f"--{WORDS[axis][1]}s"
    said = f"{axes.source} has {_there(axes, axis)}"
    found: list[int] = []
    for part in (each.strip() for each in text.split(",")):
        if part == _ALL:
            found += there
        elif re.fullmatch(r"-?\d+", part) and (number := _counted(int(part), there)) in there:
            found.append(number)
        elif axis == "c" and part in axes.channel_names:
            found.append(axes.channel_names[part])
        elif (bounds := _RANGE.fullmatch(part)) is not None:
            inside = _range(bounds, there)
            if inside is None:
                raise InputError(f"{said}, and {option} {part} goes beyond: leave its end open to go to the last one")
            if not inside:
                raise InputError(f"{option} {part} chooses none of the {words}: {said}")
            found += inside
        else:
            raise InputError(
                f"{said}, and {option} '{part}' is none of them: give numbers, ranges as 0:100:2, or all, with "
                "commas between"
            )
    return tuple(dict.fromkeys(found))


def _counted(number: int, there: Sequence[int]) -> int:
    """A number, from the end where it is negative."""
    return number if number >= 0 else max(there) + 1 + number


def _range(bounds: re.Match[str], there: Sequence[int]) -> list[int] | None:
    """What a slice takes of the numbers that there are; None where it goes beyond them."""
    start, stop, step = (int(text) if text not in (None, "", "-") else None for text in bounds.groups())
    end = max(there) + 1
    if step == 0:
        return []
    if any(edge is not None and not -end <= edge <= end for edge in (start, stop)):
        return None
    if start is None and (step or 1) > 0:
        start = min(there)
    taken = range(*slice(start, stop, step).indices(end))
    known = set(there)
    return [number for number in taken if number in known]


def _chosen(axes: SeriesAxes, axis: str, text: str | None, one: int | None) -> tuple[int | None, ...]:
    """The numbers that are asked for along an axis; None for the only volume of an input that has no such axis."""
    there = axes.numbers.get(axis, ())
    if text is not None:
        numbers = chosen_numbers(text, axes, axis)
        return numbers if there else (None,)
    words, option = WORDS[axis]
    if one is None and len(there) > 1:
        raise InputError(
            f"{axes.source} has {_there(axes, axis)}: choose with --{option}s (all takes them all), or one with --{option}"
        )
    if one is not None and axes.tags and axis == "t":
        raise InputError(f"the {words} of {axes.source} are its tags: choose with --timepoints, or one with --tag")
    return (one if one is not None else there[0] if there else None,)


def _there(axes: SeriesAxes, axis: str) -> str:
    """What there is along an axis, in words."""
    words = WORDS[axis][0]
    numbers = axes.numbers.get(axis, ())
    if len(numbers) < 2:
        return f"one of the {words} only"
    names = {number: name for name, number in axes.channel_names.items()} if axis == "c" else {}
    if any(names.values()):
        return f"{len(numbers)} {words}, {_some([f'{n} ({names[n]})' if names.get(n) else str(n) for n in numbers])}"
    return f"{len(numbers)} {words}, {numbers[0]} to {numbers[-1]}"


def _some(words: Sequence[str]) -> str:
    return ", ".join(words[:_SHOWN]) + (", …" if len(words) > _SHOWN else "")


def _ends(words: Sequence[str], *, count: bool) -> str:
    """Words with commas between; of many, the first and the last ones, and of those that count up these alone."""
    if count and len(words) > 2 and list(words) == [str(int(words[0]) + n) for n in range(len(words))]:
        return f"{words[0]} to {words[-1]}"
    return ", ".join(words) if len(words) <= _SHOWN else f"{', '.join(words[:3])} … {words[-1]}"


def even_step(numbers: Sequence[int | None]) -> float:
    """How far it is from each of some numbers of time points to the next; 1 where that changes, or goes back."""
    known = [number for number in numbers if number is not None]
    steps = {after - before for before, after in pairwise(known)}
    return float(steps.pop()) if len(steps) == 1 and min(steps) > 0 else 1.0


def _natural(text: str) -> list[tuple[int, str]]:
    """A key by which t2 comes before t10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text) if part]


def _of_project(source: str) -> SeriesAxes:
    path = Path(source)
    contents = format_of(path).describe(path)
    # One that has a name is called "0 (GFP)".
    parts = zip(contents.channels, contents.channel_numbers, strict=False)
    named = {part[len(f"{n} (") : -1]: n for part, n in parts if part.startswith(f"{n} (")}
    return SeriesAxes(source, {"t": contents.timepoints, "c": contents.channel_numbers}, named)


def _of_names(said: Inputs, pattern: str) -> SeriesAxes:
    """What the names of files say, and of what they do not say what the first file has."""
    assert not isinstance(said.source, dict)
    table = read_names(said.source, pattern)
    views = [found for _, found in table.views if said.tag is None or found.tag == said.tag]
    times = sorted({found.timepoint for found in views if found.timepoint is not None})
    channels = sorted({number for found in views if (number := table.channel_of(found)) is not None})
    numbers = {"t": tuple(times), "c": tuple(channels)}
    names = {name: number for name, number in table.channels.items() if not name.isdigit()}
    if times and channels:
        return SeriesAxes(str(table.folder), numbers, names)
    inner = _of_first_readable(table, times or [None], channels[0] if channels else None, said.tag)
    inside = {axis: numbers[axis] or inner.numbers.get(axis, ()) for axis in numbers}
    return SeriesAxes(str(table.folder), inside, names or inner.channel_names, 1.0 if times else inner.time_step)


def _of_first_readable(
    table: NameTable, times: Sequence[int | None], channel: int | None, tag: str | None
) -> SeriesAxes:
    """What the first file has that can be opened: one that cannot is told when its turn comes."""
    errors: list[InputError] = []
    for timepoint in times:
        try:
            return _of_file(choose_files(table, VolumeChoice(timepoint, channel), tag).views[0].file)
        except InputError as error:
            errors.append(error)
    raise errors[0]


def _of_files(said: Inputs) -> SeriesAxes:
    """What the files of views have; those whose channels are views have time points only."""

    def look(at: VolumeChoice) -> list[str]:
        opened = said.model_copy(update={"timepoint": at.timepoint, "channel": at.channel}).open()
        return [view.source for view in opened.views]

    sources, at, _ = one_of(look, VolumeChoice())
    there = _of_file(Path(sources[0]))
    asked = {"t": at.timepoint, "c": at.channel}
    numbers = {axis: found for axis, found in there.numbers.items() if asked[axis] is not None}
    names = there.channel_names if "c" in numbers else {}
    return SeriesAxes(there.source, numbers, names, there.time_step)


def _of_file(file: Path) -> SeriesAxes:
    stored = open_stored(file)
    numbers = {axis: tuple(range(count)) for axis, count in stored.leading.items() if axis in WORDS}
    names = {name: number for number, name in enumerate(stored.channel_names) if name}
    return SeriesAxes(str(file), numbers, names, stored.time_step)
