"""How many bytes a compressed chunk unpacks to, found in bounded memory and without unpacking more than is allowed."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_BLOCK = 2**17
_RAW, _RLE = 0, 1
_PIECE = 2**20
# Dictionaries that any encoder makes are below that.
_LZMA_MEMORY = 2**28
# zlib and gzip headers alike, and the largest window.
_EITHER = 32 + 15
# What zstd may take beyond a stated bound where its frames do not say how much they hold.
_LOOSE = 2**28


def unpacked_bytes(codec: str, stored: np.ndarray, most: int) -> int | None:
    """How many bytes a chunk unpacks to, as far as that has to be known.

    Parameters
    ----------
    codec : name of the compressor, in lower case
    stored : uint8 (n,)
    most : bytes that it may unpack to

    Returns
    -------
    A number above `most` where it unpacks to more, else any other; None where the chunk is damaged or the codec is another.
    """
    data = stored.tobytes() if len(stored) else b""
    if "blosc" in codec:
        return int.from_bytes(data[4:8], "little") if len(data) >= 16 else None
    if "lz4" in codec:
        return int.from_bytes(data[:4], "little") if len(data) >= 4 else None
    if "zstd" in codec:
        return _of_zstd(data, most)
    for name, make in _COUNTED.items():
        if name in codec:
            return _counted(make, data, most)
    return None


def _counted(make: Callable[[], Any], data: bytes, most: int) -> int | None:
    """Unpack piece by piece, forgetting the pieces, until it is too much."""
    total = 0
    try:
        while data:
            unpacker = make()
            rest = data
            while not unpacker.eof and total <= most:
                got = unpacker.decompress(rest, _PIECE)
                # zlib gives back what it has not read yet, the others keep it.
                rest = getattr(unpacker, "unconsumed_tail", b"")
                total += len(got)
                if not got and not rest:
                    return None
            if total > most:
                return total
            # gzip lets zeros lie between its members.
            data = unpacker.unused_data.lstrip(b"\0")
    except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError):
        return None
    return total or None


_COUNTED: dict[str, Callable[[], Any]] = {
    "zlib": lambda: zlib.decompressobj(_EITHER),
    "gzip": lambda: zlib.decompressobj(_EITHER),
    "bz2": bz2.BZ2Decompressor,
    "lzma": lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY),
}


def _of_zstd(data: bytes, most: int) -> int | None:
    """The content sizes in the headers of its frames (RFC 8878), or bounds from the sizes of their blocks."""
    at, total = 0, 0
    while data.startswith(_ZSTD, at) and len(data) > at + 5 and total <= most:
        flags = data[at + 4]
        single, kind = bool(flags & 0x20), flags >> 6
        length = (1 if single else 0, 2, 4, 8)[kind]
        start = at + 5 + (0 if single else 1) + (0, 1, 2, 4)[flags & 3]
        if length:
            return total + int.from_bytes(data[start : start + length], "little") + (256 if length == 2 else 0)
        sure, possible, at = _of_blocks(data, start)
        total += possible if possible > max(most, _LOOSE) else sure
        at += 4 if flags & 4 else 0
    return total or None


def _of_blocks(data: bytes, at: int) -> tuple[int, int, int]:
    """What the blocks of a zstd frame hold at least and at most, and where they end."""
    sure = possible = 0
    while at + 3 <= len(data):
        header = int.from_bytes(data[at : at + 3], "little")
        last, kind, size = header & 1, (header >> 1) & 3, header >> 3
        known = kind in (_RAW, _RLE)
        sure += size if known else 0
        possible += size if known else _ZSTD_BLOCK
        at += 3 + (1 if kind == _RLE else size)
        if last:
            break
    return sure, possible, at
