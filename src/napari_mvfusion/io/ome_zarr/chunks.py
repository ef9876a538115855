"""What the stored chunks of a zarr say that they unpack to, before they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_mvfusion.errors import InputError

# What cannot be compressed grows by far less, and an index of a shard is far shorter.
_MOST_GROWTH = 2
_OVERHEAD = 2**16
_ZSTD = b"\x28\xb5\x2f\xfd"
_GZIP = b"\x1f\x8b"
_HEAD = 18
_TAIL = 4


@dataclass(frozen=True)
class ChunkBound:
    """What the chunks of an array may hold.

    Attributes
    ----------
    folder : of the array in its store, "" for the store itself
    file_bytes : of a file that is not compressed: a chunk, or a shard of several
    piece_bytes : of a chunk
    codec : name of the outermost compressor, in lower case; "" where chunks lie in shards, or as they are
    """

    folder: str
    file_bytes: int
    piece_bytes: int
    codec: str

    def covers(self, key: str) -> bool:
        """Whether a file of the store belongs to the array."""
        return not self.folder or key.startswith(f"{self.folder}/")

    def check_file(self, path: Path, size: int) -> None:
        """Refuse a file that is larger than its pixels can be, before it is read.

        Raises
        ------
        InputError
            If it is; names the file.
        """
        if size > _MOST_GROWTH * self.file_bytes + _OVERHEAD:
            raise InputError(
                f"{path} is damaged: it has {size:,} bytes, and its pixels {self.file_bytes:,}; copy it again"
            )

    def check_content(self, path: Path, stored: np.ndarray) -> None:
        """Refuse a chunk that says that it unpacks to more than its pixels, before it is unpacked.

        Parameters
        ----------
        path : of the chunk, for the message
        stored : uint8 (n,), the bytes of its file

        Raises
        ------
        InputError
            If it does.
        """
        stated = stated_bytes(self.codec, stored)
        # A codec below the outermost one may add a little, a checksum for example.
        if stated is not None and stated > _MOST_GROWTH * self.piece_bytes + _OVERHEAD:
            raise InputError(
                f"{path} is damaged: it says that it unpacks to {stated:,} bytes, and its pixels have "
                f"{self.piece_bytes:,}; copy it again"
            )


def bound_of(array: Any) -> ChunkBound:
    """What the chunks of an opened zarr array may hold."""
    item = np.dtype(array.dtype).itemsize
    shards = getattr(array, "shards", None)
    compressors = tuple(getattr(array, "compressors", ()))
    codec = type(compressors[-1]).__name__.lower() if compressors and shards is None else ""
    return ChunkBound(
        str(array.store_path.path).strip("/"),
        math.prod(shards or array.chunks) * item,
        math.prod(array.chunks) * item,
        codec,
    )


def stated_bytes(codec: str, stored: np.ndarray) -> int | None:
    """How many bytes a compressed chunk says that it unpacks to; None where it does not say.

    Parameters
    ----------
    codec : name of the compressor, in lower case
    stored : uint8 (n,)
    """
    head, tail = stored[:_HEAD].tobytes(), stored[-_TAIL:].tobytes()
    if "blosc" in codec and len(head) >= 16:
        return int.from_bytes(head[4:8], "little")
    if "zstd" in codec and head.startswith(_ZSTD) and len(head) > 5:
        return _of_zstd(head)
    if "gzip" in codec and head.startswith(_GZIP) and len(stored) >= _HEAD:
        return int.from_bytes(tail, "little")
    return None


def _of_zstd(head: bytes) -> int | None:
    """The content size in the header of a frame (RFC 8878)."""
    flags = head[4]
    single, kind = bool(flags & 0x20), flags >> 6
    length = (1 if single else 0, 2, 4, 8)[kind]
    start = 5 + (0 if single else 1) + (0, 1, 2, 4)[flags & 3]
    if length == 0 or len(head) < start + length:
        return None
    return int.from_bytes(head[start : start + length], "little") + (256 if length == 2 else 0)
