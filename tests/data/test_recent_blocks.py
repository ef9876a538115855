"""Blocks of volumes that are kept once they were decoded: the same pixels, each block read once, memory bounded."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from napari_mvfusion.data.recent_blocks import BlockwiseVolume, RecentBlocks

CHUNKS = ((40, 40, 17), (33, 50), (64,))


@pytest.fixture
def volume(rng):
    return rng.integers(0, 1000, tuple(map(sum, CHUNKS)), np.uint16)


@pytest.mark.parametrize(
    "index",
    [
        (slice(None),) * 3,
        (slice(39, 41), slice(30, 70), slice(5, 6)),
        (slice(80, 80), slice(None), slice(None)),
        (50, slice(None, None, -2), -1),
        (slice(90, 20, -7), 3, slice(1, 60, 5)),
    ],
    ids=str,
)
def test_boxes_are_those_of_the_volume(volume, index):
    blockwise = BlockwiseVolume(volume.__getitem__, CHUNKS, volume.dtype)
    assert (blockwise.shape, blockwise.dtype) == (volume.shape, volume.dtype)
    np.testing.assert_array_equal(blockwise[index], volume[index])


def test_what_is_done_with_a_box_is_not_seen_by_others(volume):
    blockwise = BlockwiseVolume(volume.__getitem__, CHUNKS, volume.dtype)
    before = volume.copy()
    blockwise[(slice(None),) * 3][:] = 0
    np.testing.assert_array_equal(blockwise[(slice(None),) * 3], before)


def test_each_chunk_is_read_once_and_alone(volume):
    read = Counter()

    def counted(part):
        read[tuple((each.start, each.stop) for each in part)] += 1
        return volume[part]

    blockwise = BlockwiseVolume(counted, CHUNKS, volume.dtype)
    for z in range(0, 97, 8):
        np.asarray(blockwise[z, slice(2, 9), slice(None)])
    assert set(read) == {((0, 40), (0, 33), (0, 64)), ((40, 80), (0, 33), (0, 64)), ((80, 97), (0, 33), (0, 64))}
    assert set(read.values()) == {1}


def test_small_chunks_are_read_together_and_large_ones_are_not():
    """Planes of a large image are no blocks of 64 planes; chunks of 16 voxels a side are."""
    sizes = []

    def counted(part):
        sizes.append(tuple(each.stop - each.start for each in part))
        return np.zeros(sizes[-1], np.uint16)

    planes = BlockwiseVolume(counted, ((1,) * 40, (1024,), (1024,)), np.dtype(np.uint16))
    planes[slice(0, 1), slice(0, 5), slice(0, 5)]
    cubes = BlockwiseVolume(counted, ((16,) * 9,) * 3, np.dtype(np.uint16))
    cubes[slice(0, 1), slice(0, 5), slice(0, 5)]
    assert sizes == [(2, 1024, 1024), (64, 64, 64)]


def test_no_more_is_kept_than_is_allowed():
    recent, read = RecentBlocks(3000), Counter()

    def block(name, size=1000):
        def counted():
            read[name] += 1
            return np.zeros(size, np.uint8)

        assert recent.get(name, counted).size == size

    for name in "abcab":
        block(name)
    block("d")  # c was asked for longest ago
    for name in "abd":
        block(name)
    assert read == Counter("abcd")
    block("c")
    assert read["c"] == 2
    block("large", 5000)
    block("large", 5000)
    assert read["large"] == 1, "a block that is larger than all is allowed to be stays until the next"
    block("a")
    block("large", 5000)
    assert read["large"] == 2


def test_threads_that_want_one_block_wait_for_whoever_reads_it():
    recent, read = RecentBlocks(3000), Counter()

    def slow():
        read["a"] += 1
        threading.Event().wait(0.05)
        return np.arange(3)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: recent.get("a", slow), range(4)))
    assert read["a"] == 1
    assert all(each is found[0] for each in found)


def test_a_block_that_cannot_be_read_is_tried_again():
    recent = RecentBlocks(3000)

    def damaged():
        raise OSError("cut off")

    with pytest.raises(OSError, match="cut off"):
        recent.get("a", damaged)
    assert recent.get("a", lambda: np.arange(3)).tolist() == [0, 1, 2]
