"""Makers of malformed files and texts, each from a seed: what copying, editing and bad luck do to good ones."""

from __future__ import annotations

import copy
import random
from typing import Any

_ODD_PIECES = (
    b"[",
    b"{",
    b"}",
    b"]",
    b":",
    b'"',
    b"- ",
    b"&a ",
    b"*a",
    b"\n",
    b"\t",
    b"\x00",
    b"\xff\xfe",
    b"nan",
    b".inf",
    b"-1",
    b"0",
    b"1e309",
    b"9" * 5000,
    b"2024-13-45",
    b"null",
    b"!!python/none",
    b"[" * 20_000,
    "µ".encode(),
)


def mutated_text(text: str, rng: random.Random) -> bytes:
    """A text with one to four places cut out, doubled, swapped, or replaced by what a parser may stumble over."""
    content = text.encode()
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(content) + 1)
        end = min(len(content), start + rng.choice((0, 1, 3, 10, 100)))
        middle = rng.choice((b"", content[start:end] * 2, content[start:end][::-1], rng.choice(_ODD_PIECES)))
        content = content[:start] + middle + content[end:]
    return content


def mutated_bytes(content: bytes, rng: random.Random, *, within: int | None = None) -> bytes:
    """A file that was cut off, has bytes flipped, zeroed, swapped or shifted, or numbers replaced by extreme ones.

    Parameters
    ----------
    content : of the good file
    rng : says what happens
    within : only the first so many bytes are changed, as those of a header; the whole file when None
    """
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5))):
        most = max(1, min(len(damaged), within or len(damaged)))
        place = rng.randrange(most)
        match rng.randrange(7):
            case 0:
                del damaged[place:]
            case 1:
                damaged[place] ^= 1 << rng.randrange(8)
            case 2:
                damaged[place] = rng.randrange(256)
            case 3:
                damaged[place : place + rng.choice((2, 4, 8, 64))] = bytes(rng.choice((2, 4, 8, 64)))
            case 4:
                number = rng.choice((0, 1, 2**16 - 1, 2**31 - 1, 2**32 - 1, 10**9, len(content)))
                damaged[place : place + 4] = number.to_bytes(4, "little")
            case 5:
                other = rng.randrange(most)
                damaged[place], damaged[other] = damaged[other], damaged[place]
            case 6:
                damaged[place:place] = bytes(rng.randrange(256) for _ in range(rng.choice((1, 2, 12))))
        if not damaged:
            damaged = bytearray(b"\0")
    return bytes(damaged)


_ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1.5,
    10**9,
    10**30,
    float("nan"),
    float("inf"),
    "",
    "x",
    "../..",
    "0" * 5000,
    [],
    {},
    [[]],
    [10**9, 10**9, 10**9],
    {"a": {"b": []}},
)


def mutated_json(values: Any, rng: random.Random) -> Any:
    """Plain values with one to three places deleted, doubled, or replaced by values of another kind or size."""
    damaged = copy.deepcopy(values)
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = list(_places(damaged))
        if not places:
            return rng.choice(_ODD_VALUES)
        holder, key = rng.choice(places)
        match rng.randrange(4):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, list):
                holder.append(copy.deepcopy(holder[key]))
            case 2 if isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
                holder[key] = rng.choice((-holder[key], holder[key] * 10**9, holder[key] + 0.5, str(holder[key])))
            case _:
                holder[key] = copy.deepcopy(rng.choice(_ODD_VALUES))
    return damaged


def _places(values: Any) -> Any:
    """Every place in nested dictionaries and lists, as its holder and its key."""
    keys = list(values) if isinstance(values, dict) else range(len(values)) if isinstance(values, list) else ()
    for key in keys:
        yield values, key
        yield from _places(values[key])
