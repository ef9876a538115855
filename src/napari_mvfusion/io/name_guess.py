"""Propose a pattern for names of files: what varies is a field, and the word beside it tells which."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from napari_mvfusion.io.formats import suffixes
from napari_mvfusion.io.name_pattern import ANYTHING, FIELDS, OR, PLACE

_NUMBER = r"(?:(?<![0-9A-Za-z])[+-])?[0-9]+(?:\.[0-9]+)?"
# "spimTL" and "SPIMA" are two words, "mCherry" and "Cy5" are one.
_WORD = (
    r"(?:SPIM|CAM|VIEW)(?=[A-D](?![A-Za-z]))|[Cc][Yy][357](?![0-9A-Za-z])|(?<![A-Za-z])[em][A-Z]+[a-z]*"
    r"|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_]+"
)
_TOKEN = re.compile(rf"{PLACE}|{_NUMBER}|{_WORD}|[\W_]", re.DOTALL)
_WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "angle": ("angle", "ang", "a", "view", "v", "rotation", "rot"),
        "timepoint": ("timepoint", "time", "tl", "tp", "tm", "t", "frame", "point"),
        "channel": ("channel", "chn", "ch", "c"),
        "illumination": ("illumination", "illum", "ill", "light", "shutter", "sh"),
        "tile": ("tile", "position", "pos"),
        "z": ("z", "slice", "plane"),
        "tag": ("specimen", "spc", "sample"),
        "view": ("camera", "cam", "cm"),
    }
)
_FIELD_OF = {word: field for field, words in _WORDS.items() for word in words}
# What is seen through each of several, which letters and sides tell apart.
_ARMS = ("camera", "cam", "cm", "spim", "objective", "obj")
_DEGREES = ("deg", "degree", "degrees", "°")
_KINDS = ("psf", "psfs", "bead", "beads")
_UNITS = ("nm", "um", "µm", "mm", "px", "x", "ms", "msec", "s", "sec")
_ROLES = ("view", "psf", "psfs", "truth", "gt", "groundtruth", "mask")
_SIDES = ("left", "right")
_DYES = re.compile(r"[a-z]*(?:fp|cherry|tomato|alexa)|dapi|gfp|hoechst|fitc|cy[357]|red|green|blue|bf|brightfield")
_SHORT, _LETTERS = 4, 2
_FULL_TURN = 360.0
_MOST_BETWEEN = 2
# Wavelengths of lasers and filters, nm.
_SHORTEST_NM, _LONGEST_NM = 300, 1100
# Of lasers that microscopes have, where nothing says that a number is one: no angle, and rarely a count.
_LASERS_NM, _MOST_LASERS = (400, 800), 6
_PADDED, _LONG = 3, 5
_MOST_PATTERNS = 6
_NO_NAME = frozenset("{}*|")


@dataclass(frozen=True)
class _Group:
    """Names of one form: the tokens of each, as many in all."""

    names: tuple[tuple[str, ...], ...]

    def values(self, slot: int) -> list[str]:
        return [name[slot] for name in self.names]

    def varies(self, slot: int) -> bool:
        return len({value.lower() for value in self.values(slot)}) > 1


def guess_pattern(names: Iterable[str], *, planes: bool = False) -> str:
    """A pattern that names fit, as far as they have a form in common.

    Numbers behind words such as angle, TL, t, Ch and z become fields, whether they vary or not; other numbers do where they
    vary. Numbers that only count views, as 1, 2 and 3, are no angles.

    Parameters
    ----------
    names : of files, with the folders that they lie in before them where these say something
    planes : each file holds one plane

    Returns
    -------
    The pattern; "{view}" where there are no names, or so many forms that a pattern would tell nothing.
    """
    split = [_without_ending(name) for name in dict.fromkeys(names)]
    if not split:
        return "{view}"
    endings = {ending.lower() for _, ending in split}
    ending = split[0][1] if len(endings) == 1 else ""
    groups = _merged(_grouped(stem for stem, _ in split))
    if len(groups) > _MOST_PATTERNS:
        return f"{{view}}{ending}"
    patterns = dict.fromkeys(_pattern_of(group, planes=planes) + ending for group in groups)
    # The more a pattern says, the earlier it is tried.
    return f" {OR} ".join(sorted(patterns, key=_vagueness))


def _without_ending(name: str) -> tuple[str, str]:
    for ending in sorted((f"{before}{each}" for each in suffixes() for before in (".ome", "")), key=len, reverse=True):
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)], name[-len(ending) :]
    return name, ""


def _grouped(stems: Iterable[str]) -> list[_Group]:
    """Names that differ in numbers alone, together."""
    found: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for stem in stems:
        tokens = tuple(_TOKEN.findall(stem))
        form = tuple("#" if _is_number(token) else "@" if _is_place(token) else token.lower() for token in tokens)
        found.setdefault(form, []).append(tokens)
    return [_Group(tuple(group)) for group in found.values()]


def _merged(groups: list[_Group]) -> list[_Group]:
    """Groups that differ in one word, which may stand in folders too, and in the same as others do, together."""
    merged: list[_Group] = []
    for group in groups:
        for number, other in enumerate(merged):
            both = _Group((*other.names, *group.names))
            if len(other.names[0]) == len(group.names[0]) and _one_word(both):
                merged[number] = both
                break
        else:
            merged.append(group)
    return merged


def _one_word(group: _Group) -> bool:
    """Whether names differ in numbers and one word, which is the role in all of them or in none."""
    slots = [i for i in range(len(group.names[0])) if group.varies(i)]
    others = {
        tuple(word.lower() for word in group.values(i))
        for i in slots
        if not all(_is_number(value) or _is_place(value) for value in group.values(i))
    }
    if len(others) != 1:
        return False
    (words,) = others
    roles = [word in _ROLES for word in words]
    if any(word in _FIELD_OF and word not in _ROLES and len(word) > _LETTERS for word in words):
        return False
    return all(word[0].isalpha() for word in words) and (all(roles) or not any(roles))


def _pattern_of(group: _Group, *, planes: bool) -> str:
    tokens = group.names[0]
    fields: dict[int, str] = {}
    varying = [i for i in range(len(tokens)) if group.varies(i)]
    arms = False
    for slot, token in enumerate(tokens):
        if _is_place(token):
            field = "tile" if slot in varying else ""
        elif _is_number(token):
            field = _by_words(group, slot)
        elif slot in varying and token[0].isalpha():
            named = _beside(tokens, slot)[0] in _ARMS
            arms = arms or named
            field = "view" if named else _of_words(group.values(slot))
        else:
            continue
        if field == "z" and "/" in tokens[slot:]:
            # Planes of one volume lie in one folder.
            field = ANYTHING if slot in varying else ""
        before = next((other for other, known in fields.items() if known == field), None)
        if before is not None and before not in varying:
            # What never varies says nothing, as the cameras of what was fused: "CM00_CM01".
            del fields[before]
            before = None if slot in varying else before
        if field and before is None:
            fields[slot] = field
    # Of numbers without a word, planes count fastest.
    for slot in reversed(varying):
        if slot not in fields:
            fields[slot] = _by_numbers(group, slot, set(fields.values()), planes=planes, arms=arms)
    if planes or not {"angle", "view"} & set(fields.values()):
        unsaid = "channel" if planes else "view"
        fields = {slot: unsaid if field in ("tag", "illumination") else field for slot, field in fields.items()}
    return "".join(
        f"{{{fields[slot]}}}" if fields.get(slot) in FIELDS else fields.get(slot) or _literal(token)
        for slot, token in enumerate(_apart(tokens, fields))
    )


def _apart(tokens: Sequence[str], fields: dict[int, str]) -> Sequence[str]:
    """Leave out fields that would touch others."""
    for slot in sorted(fields):
        if slot - 1 in fields:
            fields[slot - 1] = ANYTHING
    return tokens


def _by_words(group: _Group, slot: int) -> str:
    """What the words beside a number say that it is; "" where they say nothing."""
    before, glued, after = _beside(group.names[0], slot)
    if after in _DEGREES:
        return "angle"
    if after == "nm" and before not in _FIELD_OF and before not in _KINDS and group.varies(slot):
        light = all(_SHORTEST_NM <= abs(float(value)) <= _LONGEST_NM for value in group.values(slot))
        return "channel" if light else ""
    if before in _KINDS and after not in _UNITS:
        turned = all(abs(float(value)) <= _FULL_TURN for value in group.values(slot))
        return (
            "" if not turned else "angle" if not _counts(group.values(slot)) else "view" if group.varies(slot) else ""
        )
    field = _FIELD_OF.get(before, "") if glued or len(before) > 1 else ""
    if not field and len(before) > _SHORT:
        field = next((own for word, own in _FIELD_OF.items() if len(word) >= _SHORT and before.endswith(word)), "")
    if before == "stack" and not field:
        # Folders of stacks are places; behind a name they are what is recorded one after the other.
        padded = len(group.names[0][slot]) > _PADDED
        field = "tile" if "/" in group.names[0][slot:] else "timepoint" if padded else ""
    if field not in ("angle", "view") and not all(value.isdigit() for value in group.values(slot)):
        return ""
    if not field and _are_lasers(group, slot):
        return "channel"
    return "view" if field == "angle" and _counts(group.values(slot)) else field


def _are_lasers(group: _Group, slot: int) -> bool:
    """Whether numbers that stand alone are wavelengths: "t0001_488_View1"."""
    tokens, values = group.names[0], set(group.values(slot))
    alone = not any(token[0].isalnum() for token in tokens[max(slot - 1, 0) : slot + 2 : 2])
    least, most = _LASERS_NM
    return alone and 1 < len(values) <= _MOST_LASERS and all(least <= int(value) <= most for value in values)


def _beside(tokens: Sequence[str], slot: int) -> tuple[str, bool, str]:
    """The words before and behind a number, and whether the first touches it."""
    glued = slot > 0 and tokens[slot - 1][0].isalpha()
    place = slot - 1
    while slot - place <= _MOST_BETWEEN and place > 0 and not tokens[place][0].isalnum():
        place -= 1
    before = tokens[place].lower() if place >= 0 and tokens[place][0].isalpha() else ""
    behind = [token.lower() for token in tokens[slot + 1 : slot + 3] if token not in (" ", "_", "-")]
    return before, glued, behind[0] if behind else ""


def _of_words(values: Sequence[str]) -> str:
    """What a word is that varies."""
    words = {value.lower() for value in values}
    rules: tuple[tuple[str, Callable[[str], bool]], ...] = (
        ("role", lambda word: word in _ROLES),
        ("illumination", lambda word: word in _SIDES),
        ("channel", lambda word: _DYES.fullmatch(word) is not None),
    )
    return next((field for field, fits in rules if all(map(fits, words))), "tag")


def _by_numbers(group: _Group, slot: int, taken: set[str], *, planes: bool, arms: bool) -> str:
    """What a number is that varies without a word beside it.

    Parameters
    ----------
    group, slot : where it stands
    taken : the fields that there are already
    planes : each file holds one plane
    arms : views are called by letters and sides, as cameras are
    """
    values = group.values(slot)
    if not all(map(_is_number, values)):
        return ANYTHING
    free = [field for field in ("z", "timepoint") if field not in taken]
    if planes and free and all(value.isdigit() for value in values):
        return free[0]
    if taken and "".join(group.names[0][slot + 1 : slot + 2]).lower() in _UNITS:
        return ANYTHING
    shortest = min(len(value) if value.isdigit() else 0 for value in values)
    if "timepoint" not in taken and shortest >= _LONG and all(value[0] == "0" for value in values):
        return "timepoint"
    counts = _counts(values) and (shortest >= _PADDED or (arms and shortest > 0))
    if counts and "view" in taken and not taken & {"angle", "timepoint"}:
        return "timepoint"
    if taken & {"angle", "view"}:
        return ANYTHING
    return "view" if _counts(values) or any(abs(float(value)) > _FULL_TURN for value in values) else "angle"


def _counts(values: Sequence[str]) -> bool:
    """Whether numbers only count: 0, 1, 2 or 1, 2, 3; one alone does, unless it is 0."""
    numbers = sorted({float(value) for value in values})
    from_one, from_zero = ([float(n + first) for n in range(len(numbers))] for first in (1, 0))
    return numbers in (from_one, from_zero) and numbers != [0.0]


def _literal(token: str) -> str:
    return ANYTHING if token in _NO_NAME else token


def _is_place(token: str) -> bool:
    """Whether a token is the place of a tile, which no other token with an x holds several numbers of."""
    return "x" in token.lower() and len(re.findall(r"\d+", token)) > 1


def _is_number(token: str) -> bool:
    return (token[0].isdigit() and not _is_place(token)) or (len(token) > 1 and token[1].isdigit() and token[0] in "+-")


def _vagueness(pattern: str) -> tuple[int, int]:
    """How much a pattern leaves open: those with fields of any text come last, and short ones behind long ones."""
    open_fields = sum(pattern.count(text) for text in ("{tag}", "{view}", ANYTHING))
    return open_fields, -len(re.sub(r"\{\w+\}", "", pattern))
