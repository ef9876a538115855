"""What the stored chunks of a zarr unpack to, before they are."""

from __future__ import annotations

import lzma
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_mvfusion.errors import InputError
from napari_mvfusion.io.ome_zarr.unpacking import unpacked_bytes

# What cannot be compressed grows by far less, and an index of a shard is far shorter.
_MOST_GROWTH = 2
_OVERHEAD = 2**16
_COMPRESSORS = ("blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd")
_CHECKSUM = 4
_ENTRY = 16


@dataclass(frozen=True)
class Shards:
    """How the chunks in a shard are found: their number, the bytes of the index, and whether it stands first."""

    chunks: int
    index_bytes: int
    index_first: bool


@dataclass(frozen=True)
class ChunkBound:
    """What the chunks of an array may hold.

    Attributes
    ----------
    folder : of the array in its store, "" for the store itself
    file_bytes : of a file that is not compressed: a chunk, or a shard of several
    piece_bytes : of a chunk
    codec : name of the compressor, in lower case; "" where there is none
    before, after : bytes of checksums around what is compressed
    shards : where chunks lie in shards
    """

    folder: str
    file_bytes: int
    piece_bytes: int
    codec: str
    before: int = 0
    after: int = 0
    shards: Shards | None = None

    def covers(self, key: str) -> bool:
        """Whether a file of the store belongs to the array."""
        return not self.folder or key.startswith(f"{self.folder}/")

    @property
    def most_bytes(self) -> int:
        """What a file may have at most."""
        return _MOST_GROWTH * self.file_bytes + _OVERHEAD

    def check_file(self, path: Path, size: int) -> None:
        """Refuse a file that is larger than its pixels can be, before it is read.

        Raises
        ------
        InputError
            If it is; names the file.
        """
        if size > self.most_bytes:
            raise InputError(
                f"{path} is damaged: it has {size:,} bytes, and its pixels {self.file_bytes:,}; copy it again"
            )

    def check_content(self, path: Path, stored: np.ndarray, *, whole: bool = True) -> None:
        """Refuse a chunk that unpacks to more than its pixels, before it is unpacked.

        Parameters
        ----------
        path : of the chunk, for the message
        stored : uint8 (n,), the bytes of its file, or of a chunk in it
        whole : whether it is all of the file

        Raises
        ------
        InputError
            If it does.
        """
        if not self.codec:
            return
        # A codec below may add a little, a checksum for example.
        most = _MOST_GROWTH * self.piece_bytes + _OVERHEAD
        for piece in self._pieces(stored) if whole else (stored,):
            size = unpacked_bytes(self.codec, piece[self.before : len(piece) - self.after], most)
            if size is not None and size > most:
                raise InputError(
                    f"{path} is damaged: it unpacks to {size:,} bytes or more, and its pixels have "
                    f"{self.piece_bytes:,}; copy it again"
                )

    def is_index(self, start: int | None) -> bool:
        """Whether a part of a file that begins there, None for one at its end, is the index of a shard."""
        return self.shards is not None and (start is None or (start == 0 and self.shards.index_first))

    def _pieces(self, stored: np.ndarray) -> Iterator[np.ndarray]:
        """The chunks in a file."""
        if self.shards is None:
            yield stored
            return
        entries = _ENTRY * self.shards.chunks
        index = stored[: self.shards.index_bytes] if self.shards.index_first else stored[-self.shards.index_bytes :]
        if len(index) < entries:
            return
        for offset, length in index[:entries].view("<u8").reshape(-1, 2).tolist():
            # An absent chunk has impossible numbers.
            if offset + length <= len(stored):
                yield stored[offset : offset + length]


def bound_of(path: Path, array: Any) -> ChunkBound:
    """What the chunks of an opened zarr array may hold.

    Parameters
    ----------
    path : of the array, for messages
    array : opened, of `zarr`

    Raises
    ------
    InputError
        If chunks are compressed twice over, or shards lie in shards, so that nothing can be told before they are unpacked.
    """
    item = np.dtype(array.dtype).itemsize
    shards = getattr(array, "shards", None)
    filters = [_name(codec) for codec in getattr(array, "filters", None) or ()]
    names = [_name(codec) for codec in getattr(array, "compressors", None) or ()]
    used = [name for name in (*filters, *names) if _compresses(name)]
    if len(used) > 1 or any(map(_compresses, filters)) or "sharding" in "".join(names):
        raise InputError(
            f"{path} is compressed twice over ({', '.join(used) or 'shards in shards'}): save it again, once"
        )
    if any(_is_raw_lzma(each) for each in getattr(array, "compressors", None) or ()):
        raise InputError(f"{path} is compressed as raw LZMA, which does not tell its size: save it with another codec")
    codec = used[0] if used else ""
    outer = names[names.index(codec) + 1 :] if codec else []
    suffixes = sum(name.startswith(("crc32c", "fletcher")) for name in outer)
    checksums = sum("crc" in name or "adler" in name or "jenkins" in name or "fletcher" in name for name in outer)
    return ChunkBound(
        str(array.store_path.path).strip("/"),
        math.prod(shards or array.chunks) * item,
        math.prod(array.chunks) * item,
        codec,
        before=_CHECKSUM * (checksums - suffixes),
        after=_CHECKSUM * suffixes,
        shards=None if shards is None else _shards_of(path, array, shards),
    )


def _shards_of(path: Path, array: Any, shards: Sequence[int]) -> Shards:
    codec = next(each for each in array.metadata.codecs if "sharding" in _name(each))
    kinds = [_name(each) for each in codec.index_codecs]
    if any(not name.startswith(("bytes", "crc32c")) for name in kinds):
        raise InputError(f"{path} has a compressed index of its shards, which is not read: save it again")
    chunks = math.prod(n // c for n, c in zip(shards, array.chunks, strict=True))
    size = _ENTRY * chunks + _CHECKSUM * sum(name.startswith("crc32c") for name in kinds)
    return Shards(chunks, size, "start" in str(codec.index_location).lower())


def _is_raw_lzma(codec: Any) -> bool:
    said = getattr(codec, "codec_config", None) or vars(codec)
    return "lzma" in _name(codec) and said.get("format") == lzma.FORMAT_RAW


def _name(codec: Any) -> str:
    return type(codec).__name__.lower()


def _compresses(name: str) -> bool:
    return any(known in name for known in _COMPRESSORS)
