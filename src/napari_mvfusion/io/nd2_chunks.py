"""Chunks of ND2 files: where frames lie, and a look at what describes them before others parse it.

The last 40 bytes of a file say where the list of its chunks begins: names that end with "!", each with its place. A chunk
begins with a number that all have, the length of its name and that of its data.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from napari_mvfusion.errors import InputError
from napari_mvfusion.system.file_checks import check_file

_CHUNK = struct.Struct("<IIQ")
_ENTRY = struct.Struct("<QQ")
_MAGIC, _OLD_MAGIC = 0x0ABECEDA, 0x0C000000
_END = b"ND2 CHUNK MAP SIGNATURE 0000001!"
_LIST = b"ND2 FILEMAP SIGNATURE NAME 0001!"
_FRAME = b"ImageDataSeq|"
_TIMESTAMP_BYTES = 8
_MOST_LIST_BYTES = 2**28
_MOST_TEXT_BYTES = 2**26
_MOST_NAME_BYTES = 2**16
# Of what describes a file: a stream of zlib follows after so many bytes.
_COMPRESSED, _BEFORE_STREAM = 76, 12
_AGAIN = "copy or export it again"


@dataclass(frozen=True)
class Frame:
    """A frame: where its pixels begin in the file, and how many bytes they have."""

    place: int
    length: int


def read_frames(file: Path) -> Mapping[int, int]:
    """Where the chunks of frames begin, by the numbers of the frames; what describes them is looked at.

    Raises
    ------
    InputError
        If it is no ND2 file, one of before 2010, damaged, or what describes it defines entities or grows without end.
    """
    length = check_file(file).st_size
    with file.open("rb") as opened:
        start = opened.read(4)
        if start == _OLD_MAGIC.to_bytes(4, "little"):
            raise InputError(f"{file} is an ND2 file of the old kind (JPEG 2000): save it again in NIS-Elements")
        if start != _MAGIC.to_bytes(4, "little"):
            raise InputError(f"{file} is no ND2 file: it does not begin as one; check its name, or {_AGAIN}")
        if length < _CHUNK.size + len(_END) + 8:
            raise InputError(f"{file} is truncated: {_AGAIN}")
        opened.seek(length - len(_END) - 8)
        signature, place = opened.read(len(_END)), int.from_bytes(opened.read(8), "little")
        if signature != _END:
            raise InputError(f"{file} is truncated: it does not end with the list of what it holds; {_AGAIN}")
        chunks = _listed(_data(opened, file, place, _MOST_LIST_BYTES, _LIST), file)
        for name, where in chunks.items():
            # All else is parsed only where somebody asks for it.
            if name.startswith(b"Image") and not name.startswith(_FRAME):
                _look_at(_data(opened, file, where, _MOST_TEXT_BYTES), file)
    return {
        int(name[len(_FRAME) : -1]): where
        for name, where in chunks.items()
        if name.startswith(_FRAME) and name[len(_FRAME) : -1].isdigit() and len(name) < 2 * len(_FRAME)
    }


def enter_frame(opened: BinaryIO, file: Path, place: int) -> Frame:
    """Where the pixels of a frame lie, whose chunk begins at a place.

    Raises
    ------
    InputError
        If no chunk begins there.
    """
    name, length = _header(opened, file, place)
    if length < _TIMESTAMP_BYTES:
        raise InputError(f"{file} is damaged: one of its frames is empty; {_AGAIN}")
    return Frame(place + _CHUNK.size + name + _TIMESTAMP_BYTES, length - _TIMESTAMP_BYTES)


def unpacked(stored: bytes, most: int) -> bytes:
    """What a stream of zlib holds, in bounded memory.

    Raises
    ------
    ValueError
        If it is more than that, or damaged.
    """
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(stored, most)
        rest = stream.decompress(stream.unconsumed_tail, 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if rest:
        raise ValueError(f"it unpacks to more than {most:,} bytes")
    return content


def _look_at(data: bytes, file: Path) -> None:
    if data[:1] == b"<" and (b"<!DOCTYPE" in data or b"<!ENTITY" in data):
        raise InputError(f"{file} defines a document type, in which XML entities could hide: save it again without")
    if data[:1] == bytes([_COMPRESSED]):
        unpacked(data[_BEFORE_STREAM:], _MOST_TEXT_BYTES)


def _listed(data: bytes, file: Path) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    position = 0
    while True:
        end = data.find(b"!", position) + 1
        name = data[position:end]
        if name == _END:
            return found
        if not end or end + _ENTRY.size > len(data):
            raise InputError(f"{file} is damaged: the list of what it holds breaks off; {_AGAIN}")
        found[name] = _ENTRY.unpack_from(data, end)[0]
        position = end + _ENTRY.size


def _header(opened: BinaryIO, file: Path, place: int) -> tuple[int, int]:
    """Lengths of the name and data of a chunk; the file is then at its name."""
    length = check_file(file).st_size
    opened.seek(min(place, length))
    content = opened.read(_CHUNK.size)
    magic, name, data = _CHUNK.unpack(content) if len(content) == _CHUNK.size else (0, 0, 0)
    if magic != _MAGIC or name > _MOST_NAME_BYTES or place + _CHUNK.size + name + data > length:
        raise InputError(f"{file} is damaged: at byte {place:,} there should be a chunk, and is none; {_AGAIN}")
    return name, data


def _data(opened: BinaryIO, file: Path, place: int, most: int, called: bytes = b"") -> bytes:
    name, length = _header(opened, file, place)
    if not opened.read(name).startswith(called) or length > most:
        raise InputError(f"{file} is damaged: a chunk of it has {length:,} bytes, or another name; {_AGAIN}")
    return opened.read(length)
