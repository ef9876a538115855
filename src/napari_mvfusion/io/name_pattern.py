"""A pattern of file names with fields, as `spim_TL{timepoint}_Angle{angle}.tif`: parse it, and read names by it.

A field stands for what varies and says what that means. `*` stands for anything, and `|` lies between patterns of which a
name needs to fit one. A `/` lies between folders, as in `angle_{angle}/TL{timepoint}.tif`, and nothing else stands for it;
a pattern with fewer folders than a name fits the end of it. The ending may be left out; upper and lower case are the same.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from napari_mvfusion.errors import InputError
from napari_mvfusion.io.roles import role_in

NameRole = Literal["view", "psf", "truth", "mask", "beads", "ignore"]
NAME_ROLES: tuple[NameRole, ...] = get_args(NameRole)
ANYTHING, OR = "*", "|"
FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "angle": "degrees",
        "view": "what a view is called, where that is no angle",
        "timepoint": "number of the time point",
        "channel": "number or name of the channel",
        "illumination": "number or name of the illumination",
        "tile": "number, name or place of the tile",
        "z": "number of the plane, where each is a file",
        "tag": "which sample",
        "role": "view, psf, truth or mask",
    }
)
"""The fields of a pattern, and what each stands for."""

PLACE = (
    r"(?<![A-Za-z])[Xx][ _-]?\d+[ _-]?[Yy][ _-]?\d+(?:[ _-]?[Zz][ _-]?\d+)?(?!\d)"
    r"|(?<!\d)\d+x_\d+y(?:_\d+z)?(?![A-Za-z])|(?<=\[)\d+ x \d+(?=\])"
)
"""How programs write the place of a tile: x_0001_y_0000, x00-y00, 000x_003y_000z and [00 x 01]."""

_ROLES: Mapping[str, NameRole] = {
    "view": "view",
    "psf": "psf",
    "psfs": "psf",
    "truth": "truth",
    "gt": "truth",
    "groundtruth": "truth",
    "mask": "mask",
    "beads": "beads",
    "bead": "beads",
}
_STRONGEST: tuple[NameRole, ...] = ("psf", "truth", "mask", "beads", "view")
_COUNT = re.compile(r"[0-9]{1,9}")
_WHOLE, _FRACTION = re.compile(r"[+-]?[0-9]{1,6}"), re.compile(r"\.[0-9]{1,6}")
_PLACE = re.compile(PLACE)
_LETTER = re.compile(r"[^\W\d_]")
_ROLE = re.compile("|".join(sorted(_ROLES, key=len, reverse=True)), re.IGNORECASE)
_PIECE = re.compile(r"\{([^{}]*)\}|([{}])|(\*)|([^{}*]+)")
_LONGEST = 1000
_FOLDER = "/"
DEEPEST = 3
"""Folders in a pattern."""
_ANY_TEXT = ("view", "channel", "illumination", "tile", "tag")
_MOST_OPEN = 8


@dataclass(frozen=True)
class FoundName:
    """What a pattern finds in a name; "" and None where it has no such field.

    Attributes
    ----------
    role : as the field or the words of the pattern say it, else a word of the name; "view" where none does
    angle : degrees
    view : what the view is called
    timepoint : its number
    channel, illumination, tile : a number without leading zeros, or a name
    z : number of the plane
    tag : which sample
    planes : the name in its folder with {z} in the place of the plane's number; "" without one
    """

    role: NameRole = "view"
    angle: float | None = None
    view: str = ""
    timepoint: int | None = None
    channel: str = ""
    illumination: str = ""
    tile: str = ""
    z: int | None = None
    tag: str = ""
    planes: str = ""


Stops: TypeAlias = Callable[[str, int], Iterator[int]]
"""Where a piece of a pattern may end in a name in which it begins at an index, the likeliest first."""


@dataclass(frozen=True)
class _Piece:
    """A field by its name, or "*" or the "" of a text, and where it may end."""

    field: str
    stops: Stops


@dataclass(frozen=True)
class _Alternative:
    fields: tuple[str, ...]
    said: NameRole | None
    pieces: tuple[_Piece, ...]
    depth: int

    def match(self, name: str) -> FoundName | None:
        parts = name.split(_FOLDER)
        if len(parts) <= self.depth:
            return None
        name = _FOLDER.join(parts[-self.depth - 1 :])
        spans = _divided(name, self.pieces)
        if spans is None:
            return None
        found = [(piece.field, slice(*span)) for piece, span in zip(self.pieces, spans, strict=True)]
        value = {field: name[span] for field, span in found if field in self.fields}
        anything = " ".join(name[span] for field, span in found if field == ANYTHING)
        role = _ROLES[value["role"].lower()] if "role" in value else self._role(name, anything)
        plane = dict(found).get("z")
        return FoundName(
            role,
            float(value["angle"]) if "angle" in value else None,
            value.get("view", ""),
            int(value["timepoint"]) if "timepoint" in value else None,
            _plain(value.get("channel", "")),
            _plain(value.get("illumination", "")),
            _plain(value.get("tile", "")),
            int(value["z"]) if "z" in value else None,
            value.get("tag", ""),
            "" if plane is None else f"{name[name.rfind(_FOLDER) + 1 : plane.start]}{{z}}{name[plane.stop :]}",
        )

    def _role(self, name: str, anything: str) -> NameRole:
        """The words of the pattern say it; where these say nothing or "view", what stands for * may say something else."""
        if self.said is not None and self.said != "view":
            return self.said
        by_name = role_in(name if self.said is None else anything)
        return "view" if by_name is None else "mask" if by_name[1] == "mask" else by_name[0]


class NamePattern:
    """A pattern, ready to read names by.

    Attributes
    ----------
    text : as it was written
    fields : that it has, in the order of `FIELDS`
    depth : how many folders the deepest of its alternatives has

    Parameters
    ----------
    text : of the pattern
    endings : of files, in lower case, that a name may have where the pattern has none

    Raises
    ------
    InputError
        If a field is not known, stands twice or right behind another one, a brace is lacking, or folders are none.
    """

    def __init__(self, text: str, endings: Sequence[str]) -> None:
        # As Windows writes folders.
        self.text = text.strip().replace("\\", _FOLDER)
        if not self.text:
            raise InputError(f"the pattern is empty: write one such as spim_TL{{timepoint}}_Angle{{angle}}{endings[0]}")
        if len(self.text) > _LONGEST:
            raise InputError(f"the pattern has more than {_LONGEST} characters: put * for what does not matter")
        self._alternatives = [_parsed(part.strip(), self.text, endings) for part in self.text.split(OR)]
        found = {field for each in self._alternatives for field in each.fields}
        self.fields = tuple(field for field in FIELDS if field in found)
        self.depth = max(each.depth for each in self._alternatives)

    def match(self, name: str) -> FoundName | None:
        """What the first of the alternatives that a name fits finds in it; None where it fits none.

        Parameters
        ----------
        name : of a file, with the folders that it lies in before it, as "angle_0/TL1.tif"
        """
        name = unicodedata.normalize("NFC", name)
        for each in self._alternatives:
            if (found := each.match(name)) is not None:
                return found
        return None

    def __repr__(self) -> str:
        return f"NamePattern({self.text!r})"


def _parsed(text: str, whole: str, endings: Sequence[str]) -> _Alternative:
    fields: list[str] = []
    words: list[str] = []
    pieces: list[_Piece] = []
    before = ""
    _check_folders(text, whole)
    for field, brace, anything, literal in _PIECE.findall(unicodedata.normalize("NFC", text)):
        if brace:
            raise InputError(
                f"the pattern {whole} has a '{brace}' alone: write a field as {{angle}}, and * for a brace"
            )
        if anything:
            pieces.append(_Piece(ANYTHING, partial(_any_text, least=0)))
        elif literal:
            pieces.append(_Piece("", partial(_one_match, re.compile(re.escape(literal), re.IGNORECASE))))
            words.append(literal)
        else:
            _check_field(field, before, fields, whole)
            fields.append(field)
            pieces.append(_Piece(field, _STOPS[field]))
        before = field
    if sum(field in _ANY_TEXT for field in fields) + text.count(ANYTHING) > _MOST_OPEN:
        raise InputError(
            f"the pattern {whole} has more than {_MOST_OPEN} fields of any text and *: write what stands there"
        )
    if not pieces:
        raise InputError(f"the pattern {whole} has nothing on one side of {OR}: write a pattern there, or leave it out")
    if not text.lower().endswith(tuple(endings)):
        ending = re.compile(rf"(?:\.ome)?(?:{'|'.join(map(re.escape, endings))})\Z", re.IGNORECASE)
        pieces.append(_Piece("", partial(_one_match, ending)))
    return _Alternative(tuple(fields), _role_of(words), tuple(pieces), text.count(_FOLDER))


def _check_folders(text: str, whole: str) -> None:
    *folders, _ = text.split(_FOLDER)
    if len(folders) > DEEPEST:
        raise InputError(f"the pattern {whole} has more than {DEEPEST} folders: name a folder further down")
    if any(folder.strip() in ("", ".", "..") or folder.endswith(":") for folder in folders):
        raise InputError(
            f"the pattern {whole} names folders that do not lie in the one that is named: write those in it alone, as "
            "angle_{angle}/TL{timepoint}"
        )
    if any("{z}" in folder for folder in folders):
        raise InputError(
            f"{{z}} stands for a folder in the pattern {whole}: planes of one volume lie in one folder; save them there, or "
            "as one file"
        )


def _divided(name: str, pieces: Sequence[_Piece]) -> list[tuple[int, int]] | None:
    """Start and stop of each piece in a name, None where the pieces do not fit it.

    They are those that a regular expression would find. It tries to fit the same rest of a name by the same pieces again
    for every way in which what stands before was divided, which may take for ever; here each rest is tried once.
    """
    tried: set[tuple[int, int]] = set()

    def rest(number: int, start: int) -> list[tuple[int, int]] | None:
        if number == len(pieces):
            return [] if start == len(name) else None
        if (number, start) in tried:
            return None
        tried.add((number, start))
        for stop in pieces[number].stops(name, start):
            if (found := rest(number + 1, stop)) is not None:
                return [(start, stop), *found]
        return None

    return rest(0, 0)


def _one_match(expression: re.Pattern[str], name: str, start: int) -> Iterator[int]:
    if (found := expression.match(name, start)) is not None:
        yield found.end()


def _digits(name: str, start: int) -> Iterator[int]:
    if (found := _COUNT.match(name, start)) is not None:
        yield from range(found.end(), start, -1)


def _any_text(name: str, start: int, least: int = 1) -> Iterator[int]:
    stop = name.find(_FOLDER, start)
    yield from range(start + least, (len(name) if stop < 0 else stop) + 1)


def _number_or_name(name: str, start: int) -> Iterator[int]:
    yield from _digits(name, start)
    if _LETTER.match(name, start) is not None:
        yield from _any_text(name, start)


def _place_or_name(name: str, start: int) -> Iterator[int]:
    yield from _one_match(_PLACE, name, start)
    yield from _number_or_name(name, start)


def _degrees(name: str, start: int) -> Iterator[int]:
    if (found := _WHOLE.match(name, start)) is not None:
        whole = found.end()
        if (found := _FRACTION.match(name, whole)) is not None:
            yield from range(found.end(), whole + 1, -1)
        yield from range(whole, start + name.startswith(("+", "-"), start), -1)


def _role_word(name: str, start: int) -> Iterator[int]:
    # One of the words may be the beginning of another.
    if (found := _ROLE.match(name, start)) is not None:
        word = found[0].lower()
        yield from (start + len(each) for each in sorted(_ROLES, key=len, reverse=True) if word.startswith(each))


_STOPS: Mapping[str, Stops] = {
    "angle": _degrees,
    "view": _any_text,
    "timepoint": _digits,
    "channel": _number_or_name,
    "illumination": _number_or_name,
    "tile": _place_or_name,
    "z": _digits,
    "tag": _any_text,
    "role": _role_word,
}


def _check_field(field: str, before: str, fields: Sequence[str], whole: str) -> None:
    if field not in FIELDS:
        close = get_close_matches(field.lower(), FIELDS, 1)
        known = f"write {{{close[0]}}}" if close else f"the fields are {', '.join(f'{{{name}}}' for name in FIELDS)}"
        raise InputError(f"{{{field}}} in the pattern {whole} is no field: {known}")
    if field in fields:
        raise InputError(f"{{{field}}} stands twice in the pattern {whole}: put * for one of them")
    if before:
        raise InputError(
            f"{{{before}}} and {{{field}}} touch in the pattern {whole}, so nothing says where one ends: write what stands "
            "between them"
        )


def _role_of(words: Sequence[str]) -> NameRole | None:
    """The role that the words of a pattern say: a PSF of a view is a PSF."""
    said = {_ROLES[word] for literal in words for word in re.findall(r"[a-z]+", literal.lower()) if word in _ROLES}
    return next((role for role in _STRONGEST if role in said), None)


def _plain(text: str) -> str:
    return str(int(text)) if text.isdigit() else text
