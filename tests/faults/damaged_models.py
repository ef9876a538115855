"""Damaged models, cards, published checkpoints and training states, each from a seed."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterator
from pathlib import Path

from faults.malformed import mutated_bytes, mutated_text

_LENGTH = struct.Struct("<Q")
# Stands for a number that Python does not read.
_MANY_DIGITS = "many digits"
# Values that no field of a card expects.
_ODD_VALUES: tuple[object, ...] = (
    None,
    -1,
    0,
    10**400,
    _MANY_DIGITS,
    1e308,
    float("nan"),
    float("inf"),
    True,
    "",
    "\ud800",
    "x" * 100_000,
    "[bold]\x1b[31m",
    [],
    [[]] * 3,
    {},
    {"kind": "paper"},
    "../../etc",
)


def header_of(content: bytes) -> dict[str, object]:
    """The header of a safetensors file."""
    (length,) = _LENGTH.unpack_from(content)
    header: dict[str, object] = json.loads(content[_LENGTH.size : _LENGTH.size + length])
    return header


def with_header(content: bytes, header: bytes) -> bytes:
    """A safetensors file with another header."""
    (length,) = _LENGTH.unpack_from(content)
    return _LENGTH.pack(len(header)) + header + content[_LENGTH.size + length :]


def with_entry(content: bytes, key: str, text: str) -> bytes:
    """A safetensors file with other text in its metadata, as the card of a model."""
    header = header_of(content)
    metadata = dict(header["__metadata__"]) | {key: text}  # type: ignore[call-overload]
    return with_header(content, json.dumps(header | {"__metadata__": metadata}).encode("utf-8", "surrogatepass"))


def odd_cards(card: str, rng: random.Random) -> Iterator[str]:
    """Cards in which one value, also within others, is replaced by one that nobody expects, or the text is damaged."""
    while True:
        if rng.random() < 0.4:
            yield mutated_text(card, rng).decode("utf-8", "replace")
            continue
        values = json.loads(card)
        place = values
        while True:
            key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
            if isinstance(place[key], (dict, list)) and place[key] and rng.random() < 0.6:
                place = place[key]
                continue
            place[key] = rng.choice(_ODD_VALUES)
            break
        yield json.dumps(values).replace(json.dumps(_MANY_DIGITS), "9" * 5000)


def damaged_safetensors(path: Path, key: str, count: int, seed: int) -> Iterator[bytes]:
    """A model or state in which bytes, the header, or the text in it is damaged.

    Parameters
    ----------
    path : of the good file
    key : of the text in its header
    count : how many
    seed : the same seed gives the same files
    """
    content = path.read_bytes()
    metadata = header_of(content)["__metadata__"]
    assert isinstance(metadata, dict)
    rng = random.Random(seed)
    cards = odd_cards(str(metadata[key]), rng)
    (length,) = _LENGTH.unpack_from(content)
    for _ in range(count):
        match rng.randrange(4):
            case 0:
                yield mutated_bytes(content, rng)
            case 1:
                yield mutated_bytes(content, rng, within=_LENGTH.size + length)
            case 2:
                yield with_header(content, mutated_text(content[_LENGTH.size : _LENGTH.size + length].decode(), rng))
            case _:
                yield with_entry(content, key, next(cards))


def damaged_checkpoints(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """A published checkpoint with damaged bytes, most of them in the pickles at its beginning."""
    rng = random.Random(seed)
    for _ in range(count):
        yield mutated_bytes(content, rng, within=rng.choice((64, 600, 6000, len(content))))
