"""Segments of CZI files (ZISRAW): where planes of pixels lie, how they are kept, and the XML that describes them.

The layout is that of "ZEISS CZI File Format" (ZISRAW), as libCZI and Bio-Formats read it too: every segment begins with its
name and two lengths, all numbers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from napari_mvfusion.errors import InputError
from napari_mvfusion.system.file_checks import check_file

_SEGMENT = struct.Struct("<16sqq")
_HEADER = struct.Struct("<iiii16s16siqqiq")
_ENTRY = np.dtype(
    [
        ("schema", "S2"), ("pixel_type", "<i4"), ("place", "<i8"), ("part", "<i4"), ("compression", "<i4"),
        ("pyramid", "u1"), ("spare", "V5"), ("count", "<i4"),
    ]
)  # fmt: skip
_DIMENSION = np.dtype([("name", "S4"), ("start", "<i4"), ("size", "<i4"), ("coordinate", "<f4"), ("stored", "<i4")])
_SAID_OF_DIMENSIONS = (("start", 0), ("size", 1), ("stored", 1))
_SUBBLOCK = struct.Struct("<iiq")
_DIRECTORY_SPARE = 124
_METADATA_SPARE = 248
# Of a segment of pixels, before its own metadata: the copy of its entry, with room to spare.
_LEAST_ENTRY = 240
_MOST_XML_BYTES = 2**27
_MOST_DIMENSIONS = 32
_AGAIN = "copy or export it again"


@dataclass(frozen=True)
class CZIHeader:
    """The first segment: where the directory and the metadata begin, 0 for none, and which part of a set the file is."""

    directory: int
    metadata: int
    part: int
    set_id: bytes


@dataclass(frozen=True)
class CZIBlocks:
    """The pieces of pixels of a file, one a row: where each lies, and which piece it is.

    Attributes
    ----------
    place : of their segments in the file
    entry_bytes : length of their entries in the directory
    pixel_type, compression : numbers of the format
    start, size, stored : along each dimension, by letter; 0, 1 and 1 where a piece does not have it. `stored` differs from
        `size` in coarser copies
    """

    place: np.ndarray
    entry_bytes: np.ndarray
    pixel_type: np.ndarray
    compression: np.ndarray
    start: Mapping[str, np.ndarray]
    size: Mapping[str, np.ndarray]
    stored: Mapping[str, np.ndarray]


def read_header(opened: BinaryIO, file: Path) -> CZIHeader:
    """The first segment of a file.

    Raises
    ------
    InputError
        If it is no CZI file.
    """
    name, content = opened.read(_SEGMENT.size)[:16].rstrip(b"\0"), opened.read(_HEADER.size)
    if name != b"ZISRAWFILE" or len(content) < _HEADER.size:
        check_file(file)  # says that it is empty
        raise InputError(f"{file} is no CZI file: it does not begin as one; check its name, or {_AGAIN}")
    _, _, _, _, set_id, _, part, directory, metadata, _, _ = _HEADER.unpack(content)
    return CZIHeader(directory, metadata, part, set_id)


def read_blocks(opened: BinaryIO, file: Path, header: CZIHeader) -> CZIBlocks:
    """The directory of the pixels that lie in this file; coarser copies too.

    Raises
    ------
    InputError
        If there is none, or it is damaged.
    """
    if not header.directory:
        raise InputError(
            f"{file} has no directory of its pixels, as a recording that broke off: open and save it in ZEN"
        )
    length = check_file(file).st_size
    _enter(opened, file, header.directory, b"ZISRAWDIRECTORY")
    (count,) = struct.unpack("<i", _read(opened, file, 4))
    if not 0 <= count <= length // _ENTRY.itemsize:
        raise InputError(f"{file} is damaged: its directory speaks of {count:,} pieces; {_AGAIN}")
    _read(opened, file, _DIRECTORY_SPARE)
    groups = [_group(entries, names) for entries, names in _entries(opened, file, count)]
    letters = sorted({letter for _, dimensions in groups for letter in dimensions})
    if not groups:
        none = np.zeros(0, np.int64)
        return CZIBlocks(none, none, none, none, {}, {}, {})

    def column(name: str) -> np.ndarray:
        return np.concatenate([entries[name].astype(np.int64) for entries, _ in groups])

    def along(letter: str, name: str, otherwise: int) -> np.ndarray:
        return np.concatenate(
            [
                dimensions[letter][name].astype(np.int64) if letter in dimensions else np.full(len(entries), otherwise)
                for entries, dimensions in groups
            ]
        )

    start, size, stored = ({each: along(each, name, n) for each in letters} for name, n in _SAID_OF_DIMENSIONS)
    stored = {letter: np.where(stored[letter] == 0, size[letter], stored[letter]) for letter in letters}
    place = column("place")
    if any((each <= 0).any() for each in (*size.values(), *stored.values(), place)) or (place >= length).any():
        raise InputError(f"{file} is damaged: a piece of its pixels lies nowhere; {_AGAIN}")
    bytes_of = np.concatenate([np.full(len(entries), entries.dtype.itemsize) for entries, _ in groups])
    # Files of a set may list each other's pixels.
    own = column("part") == header.part
    return CZIBlocks(
        place[own],
        bytes_of[own],
        column("pixel_type")[own],
        column("compression")[own],
        *({letter: values[own] for letter, values in each.items()} for each in (start, size, stored)),
    )


def _entries(opened: BinaryIO, file: Path, count: int) -> list[tuple[np.ndarray, list[bytes]]]:
    """Entries of a directory that have the same dimensions, with the names of these."""
    content = opened.read(
        min(count * (_ENTRY.itemsize + _MOST_DIMENSIONS * _DIMENSION.itemsize), check_file(file).st_size)
    )
    places: dict[int, list[int]] = {}
    position = 0
    for _ in range(count):
        if position + _ENTRY.itemsize > len(content):
            raise InputError(f"{file} is truncated: it ends in the middle of its directory; {_AGAIN}")
        (dimensions,) = struct.unpack_from("<i", content, position + _ENTRY.itemsize - 4)
        if content[position : position + 2] != b"DV" or not 0 < dimensions <= _MOST_DIMENSIONS:
            raise InputError(f"{file} is damaged: its directory holds what is no entry; {_AGAIN}")
        places.setdefault(dimensions, []).append(position)
        position += _ENTRY.itemsize + dimensions * _DIMENSION.itemsize
    if position > len(content):
        raise InputError(f"{file} is truncated: it ends in the middle of its directory; {_AGAIN}")
    plain = np.frombuffer(content, np.uint8)
    found = []
    for dimensions, at in places.items():
        layout = np.dtype([*_ENTRY.descr, ("dimensions", _DIMENSION, (dimensions,))])
        entries = plain[np.array(at)[:, None] + np.arange(layout.itemsize)].view(layout)[:, 0]
        names = entries["dimensions"]["name"]
        left = np.ones(len(entries), bool)
        # Nearly always there is one kind.
        while left.any():
            kind = names[left.argmax()]
            alike = left & (names == kind).all(1)
            found.append((entries[alike], kind.tolist()))
            left &= ~alike
    return found


def _group(entries: np.ndarray, names: list[bytes]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Entries of the same dimensions, and what they say of each, by letter."""
    letters = [name.rstrip(b"\0").decode("latin-1") for name in names]
    return entries, {letter: entries["dimensions"][:, number] for number, letter in enumerate(letters)}


def read_metadata(opened: BinaryIO, file: Path, header: CZIHeader) -> bytes:
    """The XML that describes a file; b"" where it has none.

    Raises
    ------
    InputError
        If it is damaged, or far too long.
    """
    if not header.metadata:
        return b""
    _enter(opened, file, header.metadata, b"ZISRAWMETADATA")
    length, _ = struct.unpack("<ii", _read(opened, file, 8))
    if not 0 <= length <= _MOST_XML_BYTES:
        raise InputError(f"{file} is damaged: its metadata should have {length:,} bytes; {_AGAIN}")
    _read(opened, file, _METADATA_SPARE)
    return _read(opened, file, length)


def enter_pixels(opened: BinaryIO, file: Path, place: int, entry_bytes: int) -> int:
    """Go to where the pixels of a piece begin, and tell how many bytes they have.

    Parameters
    ----------
    opened, file : the file
    place : of the segment of the piece
    entry_bytes : length of its entry in the directory, of which the segment has a copy

    Raises
    ------
    InputError
        If they are not there.
    """
    _enter(opened, file, place, b"ZISRAWSUBBLOCK")
    described, _, length = _SUBBLOCK.unpack(_read(opened, file, _SUBBLOCK.size))
    if described < 0 or length < 0:
        raise InputError(f"{file} is damaged: a piece of its pixels has no length; {_AGAIN}")
    opened.seek(max(_LEAST_ENTRY, entry_bytes) + described, 1)
    return int(length)


def _enter(opened: BinaryIO, file: Path, place: int, name: bytes) -> None:
    """Go into a segment."""
    opened.seek(min(max(place, 0), check_file(file).st_size))
    if opened.read(_SEGMENT.size)[:16].rstrip(b"\0") != name:
        raise InputError(f"{file} is damaged: it has no {name.decode()} where it should; {_AGAIN}")


def _read(opened: BinaryIO, file: Path, count: int) -> bytes:
    content = opened.read(count)
    if len(content) < count:
        raise InputError(f"{file} is truncated: it ends in the middle of what describes it; {_AGAIN}")
    return content
