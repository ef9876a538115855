"""Several chunks of a zarr in one file, a shard: when, how large, and put together without unpacking the chunks.

A volume is filled in chunks, each a file, so that two tiles never write to the same file, and a kill loses no finished one.
Only when it is complete do many chunks become few files.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from napari_mvfusion.data.geometry import Triple, triple

# A volume of 512^3 voxels has that many: its files are few, and all readers know them.
_FEW_CHUNKS = 512
# 256^3 voxels where chunks have 64^3.
_CHUNKS_PER_SIDE = 4
_ABSENT = 2**64 - 1
_CASTAGNOLI = 0x82F63B78


def is_sharded(shape: Triple, chunks: Triple) -> bool:
    """Whether a volume (z, y, x) of so many chunks is written in shards."""
    return prod(_counts(shape, chunks)) > _FEW_CHUNKS


def shard_shape(shape: Sequence[int], chunks: Triple) -> Triple | None:
    """The shape (z, y, x) of the shards of a level of a volume in shards; None where one chunk is all of it."""
    counts = _counts(shape, chunks)
    if prod(counts) == 1:
        return None
    sides = zip(chunks, shape[-3:], counts, strict=True)
    return triple(min(c, n) * min(_CHUNKS_PER_SIDE, count) for c, n, count in sides)


def pack(chunks: Path, level: Any) -> None:
    """Write the shards of a level from the files of its chunks; in memory is one chunk at a time.

    Parameters
    ----------
    chunks : the folder of an array (z, y, x) of the same shape, chunks and codecs, each chunk a file; of those that are all
        0 there is none
    level : zarr array with shards, which is empty and lies in a folder
    """
    inner, shard = triple(level.chunks), triple(level.shards)
    per_shard = _counts(shard, inner)
    folder = Path(level.store.root) / level.path
    for number in product(*map(range, _counts(level.shape, shard))):
        first = [n * count for n, count in zip(number, per_shard, strict=True)]
        places = (map(sum, zip(first, at, strict=True)) for at in np.ndindex(per_shard))
        files = [chunks.joinpath("c", *map(str, place)) for place in places]
        if any(file.exists() for file in files):
            _write_shard(folder.joinpath("c", *map(str, number)), files)


def _write_shard(path: Path, files: Sequence[Path]) -> None:
    """A file of all chunks, one after the other, and their index: offset and length of each, with a checksum."""
    path.parent.mkdir(parents=True, exist_ok=True)
    index = np.full((len(files), 2), _ABSENT, "<u8")
    with path.open("wb") as shard:
        for number, file in enumerate(files):
            if file.exists():
                stored = file.read_bytes()
                index[number] = shard.tell(), len(stored)
                shard.write(stored)
        shard.write(index.tobytes() + crc32c(index.tobytes()).to_bytes(4, "little"))


def crc32c(data: bytes) -> int:
    """CRC-32 of Castagnoli (RFC 3720, B.4), bit by bit as it is for short data; Python has only the other one."""
    found = 0xFFFFFFFF
    for byte in data:
        found ^= byte
        for _ in range(8):
            found = (found >> 1) ^ (_CASTAGNOLI if found & 1 else 0)
    return found ^ 0xFFFFFFFF


def _counts(shape: Sequence[int], chunks: Sequence[int]) -> Triple:
    """How many chunks lie along each side (z, y, x)."""
    return triple(-(-n // c) for n, c in zip(shape[-3:], chunks[-3:], strict=True))
