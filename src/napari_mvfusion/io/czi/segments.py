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

from napari_mvfusion.errors import InputError
from napari_mvfusion.system.file_checks import check_file

_SEGMENT = struct.Struct("<16sqq")
_HEADER = struct.Struct("<iiii16s16siqqiq")
_ENTRY = struct.Struct("<2siqiiB5xi")
_DIMENSION = struct.Struct("<4siifi")
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
class CZIBlock:
    """A piece of pixels: where it lies in the file, and which piece it is.

    Attributes
    ----------
    place : of its segment in the file
    pixel_type, compression : numbers of the format
    start, size, stored : of the dimensions that it has, by letter; `stored` differs from `size` in coarser copies
    entry_bytes : length of its entry in the directory
    """

    place: int
    pixel_type: int
    compression: int
    start: Mapping[str, int]
    size: Mapping[str, int]
    stored: Mapping[str, int]
    entry_bytes: int

    @property
    def is_full(self) -> bool:
        """Whether it is no coarser copy of others."""
        return self.size == self.stored


def read_header(opened: BinaryIO, file: Path) -> CZIHeader:
    """The first segment of a file.

    Raises
    ------
    InputError
        If it is no CZI file.
    """
    name, content = opened.read(_SEGMENT.size)[:16].rstrip(b"\0"), opened.read(_HEADER.size)
    if name != b"ZISRAWFILE" or len(content) < _HEADER.size:
        raise InputError(f"{file} is no CZI file: it does not begin as one; check its name, or {_AGAIN}")
    _, _, _, _, set_id, _, part, directory, metadata, _, _ = _HEADER.unpack(content)
    return CZIHeader(directory, metadata, part, set_id)


def read_blocks(opened: BinaryIO, file: Path, header: CZIHeader) -> list[CZIBlock]:
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
    if not 0 <= count <= length // _ENTRY.size:
        raise InputError(f"{file} is damaged: its directory speaks of {count:,} pieces; {_AGAIN}")
    _read(opened, file, _DIRECTORY_SPARE)
    found = []
    for _ in range(count):
        schema, pixel_type, place, part, compression, _, dimensions = _ENTRY.unpack(_read(opened, file, _ENTRY.size))
        if schema != b"DV" or not 0 < dimensions <= _MOST_DIMENSIONS:
            raise InputError(f"{file} is damaged: its directory holds what is no entry; {_AGAIN}")
        content = _read(opened, file, dimensions * _DIMENSION.size)
        # Files of a set may list each other's pixels.
        if part != header.part:
            continue
        start, size, stored = {}, {}, {}
        for name, first, extent, _, kept in _DIMENSION.iter_unpack(content):
            letter = name.rstrip(b"\0").decode("latin-1")
            start[letter], size[letter], stored[letter] = first, extent, kept or extent
        if not all(n > 0 for n in (*size.values(), *stored.values())) or not 0 < place < length:
            raise InputError(f"{file} is damaged: a piece of its pixels lies nowhere; {_AGAIN}")
        found.append(CZIBlock(place, pixel_type, compression, start, size, stored, _ENTRY.size + len(content)))
    return found


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


def enter_pixels(opened: BinaryIO, file: Path, block: CZIBlock) -> int:
    """Go to where the pixels of a block begin, and tell how many bytes they have.

    Raises
    ------
    InputError
        If they are not there.
    """
    _enter(opened, file, block.place, b"ZISRAWSUBBLOCK")
    described, _, length = _SUBBLOCK.unpack(_read(opened, file, _SUBBLOCK.size))
    if described < 0 or length < 0:
        raise InputError(f"{file} is damaged: a piece of its pixels has no length; {_AGAIN}")
    opened.seek(max(_LEAST_ENTRY, block.entry_bytes) + described, 1)
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
