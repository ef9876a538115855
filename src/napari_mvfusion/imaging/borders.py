"""What a convolution sees beyond the border of a volume, as coordinates: no arrays of pixels.

A convolution by FFT is circular. The samples it needs are therefore laid out on a circle of `size` samples: output
sample 0 at place 0, the samples before it at the end of the circle, and unused places (zeros) in between. Along one
axis, the layout is a few segments of samples that are copied forwards or, where a mirror turns them round, backwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from napari_mvfusion.data.geometry import Box, Triple, triple

Border = Literal["mirror", "zero"]


@dataclass(frozen=True)
class Segment:
    """Samples that lie next to each other on the circle and in the source.

    Attributes
    ----------
    place : where the segment starts on the circle
    start : index into the source of its first sample
    length : number of samples
    step : 1 where the source is read forwards, -1 backwards
    """

    place: int
    start: int
    length: int
    step: int

    @property
    def on_circle(self) -> slice:
        """The segment's places on the circle."""
        return slice(self.place, self.place + self.length)

    @property
    def in_source(self) -> slice:
        """The segment's samples in the source, in the order of the circle."""
        if self.step == 1:
            return slice(self.start, self.start + self.length)
        stop = self.start - self.length
        return slice(self.start, None if stop < 0 else stop, -1)

    @property
    def span(self) -> tuple[int, int]:
        """First sample in the source, in rising order, and the number of samples."""
        return (self.start if self.step == 1 else self.start - self.length + 1), self.length


@dataclass(frozen=True)
class Axis:
    """One axis of a convolution.

    Attributes
    ----------
    size : length of the FFT
    source : number of samples that go in
    target : number of samples that come out, the first ones on the circle
    segments : where the source lies on the circle; places in no segment are zero
    """

    size: int
    source: int
    target: int
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Layout:
    """The three axes (z, y, x) of a convolution from one box of a volume to another."""

    axes: tuple[Axis, Axis, Axis]

    @property
    def sizes(self) -> Triple:
        """Lengths of the FFT along (z, y, x)."""
        return triple(axis.size for axis in self.axes)

    @property
    def source(self) -> Triple:
        """Shape of what goes in."""
        return triple(axis.source for axis in self.axes)

    @property
    def target(self) -> Triple:
        """Shape of what comes out."""
        return triple(axis.target for axis in self.axes)


@lru_cache(maxsize=256)
def lay_out(
    volume: Triple, source: Box, target: Box, radius: Triple, border: Border, sizes: Triple | None = None
) -> Layout:
    """Plan the convolution of a box of a volume with a kernel of `2 radius + 1` voxels.

    Parameters
    ----------
    volume : shape of the whole volume, at whose border the rule applies
    source : box of the volume whose voxels are given; contains all that `target` needs
    target : box of the volume to compute
    radius : voxels that the kernel reaches along (z, y, x)
    border : "mirror" reflects the volume about its edge voxels, which are not repeated, as often as the kernel needs;
        "zero" takes voxels outside for 0
    sizes : lengths of the FFT, or None for the smallest good ones

    Raises
    ------
    ValueError
        If the source does not hold all voxels that the target needs, or a length is too short.
    """
    if sizes is None:
        sizes = triple(good_size(n + 2 * r) for n, r in zip(target.shape, radius, strict=True))
    inputs = tuple(zip(source.start, source.stop, strict=True))
    outputs = tuple(zip(target.start, target.stop, strict=True))
    z, y, x = (_axis(volume[i], inputs[i], outputs[i], radius[i], border, sizes[i]) for i in range(3))
    return Layout((z, y, x))


@lru_cache(maxsize=1024)
def good_size(least: int) -> int:
    """The smallest good FFT length of at least `least`: a multiple of 4 with no prime factor above 5.

    Measured with MKL, a plane of 150 or 162 squared takes longer than one of 160 or 180, and factors of 7 do not help.
    """
    size = -(-least // 4) * 4
    while not _smooth(size):
        size += 4
    return size


def _smooth(size: int) -> bool:
    for factor in (2, 3, 5):
        while size % factor == 0:
            size //= factor
    return size == 1


def _axis(n: int, source: tuple[int, int], target: tuple[int, int], radius: int, border: Border, size: int) -> Axis:
    first, last = target[0] - radius, target[1] + radius
    if size < last - first:
        raise ValueError(f"an FFT of {size} samples is too short for {last - first}")
    segments = []
    for low, high, start, step in _mirrored(n, first, last) if border == "mirror" else _inside(n, first, last):
        # The circle begins with the target: a segment that crosses its first voxel is two segments.
        for a, b in ((low, min(high, target[0])), (max(low, target[0]), high)):
            if a < b:
                here = start + step * (a - low) - source[0]
                there = here + step * (b - a - 1)
                if min(here, there) < 0 or max(here, there) >= source[1] - source[0]:
                    raise ValueError(f"voxels {source} do not hold what {target} needs with a radius of {radius}")
                segments.append(Segment((a - target[0]) % size, here, b - a, step))
    return Axis(
        size, source[1] - source[0], target[1] - target[0], tuple(sorted(segments, key=lambda each: each.place))
    )


def _mirrored(n: int, first: int, last: int) -> Iterator[tuple[int, int, int, int]]:
    """Cut [first, last) where the mirrored volume turns round: (low, high, voxel at low, direction)."""
    if n == 1:
        yield from ((i, i + 1, 0, 1) for i in range(first, last))
        return
    turn = n - 1
    for bounce in range(first // turn, (last - 1) // turn + 1):
        low, high = max(first, bounce * turn), min(last, (bounce + 1) * turn)
        if bounce % 2 == 0:
            yield low, high, low - bounce * turn, 1
        else:
            yield low, high, (bounce + 1) * turn - low, -1


def _inside(n: int, first: int, last: int) -> Iterator[tuple[int, int, int, int]]:
    low, high = max(first, 0), min(last, n)
    if low < high:
        yield low, high, low, 1
