"""Names cut to their place, so that what tells them from the others of a list stays in sight."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from os.path import commonpath

Parts = tuple[tuple[int, int], ...]
"""Where the parts of a name begin and end that tell it from others, in order."""

_WORD = re.compile(r"\d+|[^\W\d_]+")
_DOTS = "…"
# What stands behind a telling part, or at either end, says half as much as what leads to the part: 'Angle' to '090'.
_BEHIND = 2
# The share of a name that telling parts may be for the rest to be seen beside them.
_SHORT = 0.5


def telling_parts(names: Sequence[str]) -> Mapping[str, Parts]:
    """The words and numbers of each name that not all of a list have.

    Where these are most of a name, as beside names of another kind, they are those that half of the list have at most; where
    they are alike in two names, what lies between the beginning and the end that all share.

    Parameters
    ----------
    names : one that stands there twice counts once
    """
    different = list(dict.fromkeys(names))
    found = {name: list(_WORD.finditer(name)) for name in different}
    having = Counter(word for words in found.values() for word in {match.group() for match in words})
    for most, share in ((len(different) - 1, _SHORT), (len(different) / 2, 1.0)):
        parts = {
            name: tuple(match.span() for match in words if having[match.group()] <= most)
            for name, words in found.items()
        }
        told = {tuple(name[low:high] for low, high in spans) for name, spans in parts.items()}
        if len(told) == len(different) and all(_length(parts[name]) <= share * len(name) for name in different):
            return parts
    before = len(commonpath(different))
    behind = len(commonpath([name[before:][::-1] for name in different]))
    return {name: ((before, len(name) - behind),) for name in different}


def _length(parts: Parts) -> int:
    return sum(high - low for low, high in parts)


def shortened(name: str, parts: Parts, fits: Callable[[str], bool]) -> str:
    """A name with dots in place of what is far from its telling parts and from its ends.

    Parameters
    ----------
    parts : of `telling_parts`; of none the ends are kept
    fits : whether a text has room; where the telling parts alone have none, they come back all the same
    """
    if fits(name):
        return name
    away = [_away(name, parts, place) for place in range(len(name))]
    # The farthest that is kept: the first is too little, the last too much.
    low, high = 0, max(away)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(_kept(name, away, middle)) else (low, middle)
    return _kept(name, away, low)


def _away(name: str, parts: Parts, place: int) -> int:
    """How far a letter is from what is to be seen of a name."""
    found = [_BEHIND * (place + 1), _BEHIND * (len(name) - place)]
    for low, high in parts:
        found.append(0 if low <= place < high else low - place if place < low else _BEHIND * (place - high + 1))
    return min(found)


def _kept(name: str, away: Sequence[int], most: int) -> str:
    """The letters that are near enough; dots take the place of others, where these are more than one."""
    texts, place = [], 0
    while place < len(name):
        end = place
        while end < len(name) and (away[end] <= most) == (away[place] <= most):
            end += 1
        texts.append(name[place:end] if away[place] <= most or end - place == 1 else _DOTS)
        place = end
    return "".join(texts)
