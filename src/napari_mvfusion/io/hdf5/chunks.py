"""Chunks of HDF5 datasets: weighed before they are decoded, and large ones kept, which would be decoded for every box."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, TypeAlias

import numpy as np

from napari_mvfusion.data.recent_blocks import KEPT_BYTES, RECENT
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.absent_pieces import pieces_in
from napari_mvfusion.io.base import Absent

# A chunk is decoded whole, whatever is asked of it.
LARGEST_CHUNK = 2**27
# The library itself keeps none; smaller ones are soon decoded again.
_LARGE = 2**20
# What does not get smaller may get a little larger.
_OVERHEAD = 2**16
# Streams of zlib hold at most so many times their length; a chunk that holds less than this is not counted first.
_MOST_GAIN = 1032
_UNCOUNTED = 2**29
# All that are stored are gone through, also those of other time points and channels.
_MOST_LISTED = 2**16
_PIECE = 2**16
_DEFLATE = 1
_SCALE_OFFSET = 6
# Filters that only reorder or check; of all others a chunk has one.
_NO_COMPRESSION = frozenset((2, 3))

Part: TypeAlias = slice | int


def read_part(dataset: Any, index: tuple[Part, ...], key: Any, named: str) -> np.ndarray:
    """A part of a dataset; of large chunks whole ones are read and kept, where they are not too many.

    Parameters
    ----------
    dataset : of h5py, opened
    index : slices with positive steps, and numbers that are not negative
    key : tells datasets and versions of files apart
    named : what to call the dataset in a message

    Raises
    ------
    InputError
        If a stored chunk is longer than it can be, or unpacks to more than its pixels.
    """
    if dataset.chunks is None or math.prod(dataset.shape) == 0:
        return np.asarray(dataset[index])
    spans = [_span(part, n, chunk) for part, n, chunk in zip(index, dataset.shape, dataset.chunks, strict=True)]
    if any(start >= stop for start, stop in spans):
        return np.asarray(dataset[index])
    weigh_stored(dataset, spans, named)
    size = math.prod(stop - start for start, stop in spans) * dataset.dtype.itemsize
    if math.prod(dataset.chunks) * dataset.dtype.itemsize <= _LARGE or size > KEPT_BYTES:
        return np.asarray(dataset[index])
    block = RECENT.get((key, tuple(spans)), lambda: np.asarray(dataset[tuple(slice(*span) for span in spans)]))
    inner = tuple(_moved(part, start) for part, (start, _) in zip(index, spans, strict=True))
    # The block is kept for others, who must not see what is done with this part.
    return np.array(block[inner])


def weigh_stored(dataset: Any, spans: list[tuple[int, int]], named: str) -> None:
    """Refuse stored chunks that would take more memory than their pixels."""
    most = math.prod(dataset.chunks) * dataset.dtype.itemsize
    filters = _filters(dataset)
    for corner in _corners(spans, dataset.chunks):
        found = dataset.id.get_chunk_info_by_coord(corner)
        if found.byte_offset is None:
            continue
        where = f"{named} is damaged: its chunk at {corner}"
        if found.size > most + most // 2 + _OVERHEAD:
            raise InputError(f"{where} is stored in {found.size:,} bytes, and its pixels are {most:,}: copy it again")
        if (
            _DEFLATE in filters
            and max(most, _UNCOUNTED) < _MOST_GAIN * found.size
            and _unpacks_to_more(dataset, corner, most + _OVERHEAD)
        ):
            raise InputError(f"{where} unpacks to more than its {most:,} bytes of pixels: copy it again")


def absent_chunks(dataset: Any, sizes: Sequence[int], fixed: Sequence[int | None], most: int) -> Absent | None:
    """Chunks of a part of a dataset that were never written.

    Parameters
    ----------
    dataset : opened
    sizes : of what is used of it along each axis; padding beyond does not count
    fixed : the place along each axis, None along those that are taken whole
    most : chunks that may be looked for

    Returns
    -------
    None where it has more, or all of the dataset has far more. Pixels that are not in chunks are one piece.
    """
    value = float(dataset.fillvalue)
    if dataset.chunks is None:
        return Absent(int(dataset.id.get_storage_size() == 0), 1, value)
    places = pieces_in(sizes, dataset.chunks)
    for axis, (at, size) in enumerate(zip(fixed, dataset.chunks, strict=True)):
        if at is not None:
            places[axis] = range(at // size, at // size + 1)
    count = math.prod(map(len, places))
    if count > most or math.prod(map(len, pieces_in(dataset.shape, dataset.chunks))) > _MOST_LISTED:
        return None
    found: list[bool] = []

    def note(chunk: Any) -> None:
        at = zip(places, chunk.chunk_offset, dataset.chunks, strict=True)
        found.append(all(offset // size in place for place, offset, size in at))

    # One pass; to ask for each by its corner takes as long as to read it.
    dataset.id.chunk_iter(note)
    there = sum(found)
    return Absent(count - there, count, value)


def refuse_filters(dataset: Any, named: str) -> None:
    """Refuse pixels that are compressed twice over, which unpack to anything.

    Raises
    ------
    InputError
        If they are.
    """
    compressing = [each for each in _filters(dataset) if each not in _NO_COMPRESSION and not _is_bounded(dataset, each)]
    if len(compressing) > 1:
        raise InputError(f"{named} is compressed twice over: save it compressed once")


def _filters(dataset: Any) -> list[int]:
    made = dataset.id.get_create_plist()
    return [int(made.get_filter(number)[0]) for number in range(made.get_nfilters())]


def _is_bounded(dataset: Any, code: int) -> bool:
    """Whether a filter is the scale-offset one, as BigDataViewer has before deflate, and gives back just one chunk."""
    if code != _SCALE_OFFSET:
        return False
    made = dataset.id.get_create_plist()
    settings = next(f[2] for n in range(made.get_nfilters()) if (f := made.get_filter(n))[0] == code)
    pixels, item = settings[2], settings[4]
    return bool(pixels == math.prod(dataset.chunks) and item == dataset.dtype.itemsize)


def _unpacks_to_more(dataset: Any, corner: tuple[int, ...], most: int) -> bool:
    """Whether a stream of zlib holds more than so many bytes, counted in bounded memory."""
    _, stored = dataset.id.read_direct_chunk(corner)
    stream, count = zlib.decompressobj(), 0
    try:
        for start in range(0, len(stored), _PIECE):
            left = stored[start : start + _PIECE]
            while left and count <= most:
                count += len(stream.decompress(left, _LARGE))
                left = stream.unconsumed_tail
    except zlib.error:  # whoever decodes it says so
        return False
    return count > most


def _span(part: Part, size: int, chunk: int) -> tuple[int, int]:
    """Where the whole chunks begin and end that a part needs along an axis."""
    start, stop = (part, part + 1) if isinstance(part, int) else (part.start, part.stop)
    return start // chunk * chunk, min(-(-stop // chunk) * chunk, size)


def _moved(part: Part, start: int) -> Part:
    return part - start if isinstance(part, int) else slice(part.start - start, part.stop - start, part.step)


def _corners(spans: list[tuple[int, int]], chunks: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    return product(*(range(start, stop, chunk) for (start, stop), chunk in zip(spans, chunks, strict=True)))
