"""Images of a CZI file: its planes, sorted by scene, view, illumination and tile; no pixel is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from napari_mvfusion.data.geometry import Triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.czi.decoding import COMPRESSIONS, GREY, LARGEST_PLANE, CZIPlanes, CZIVolume
from napari_mvfusion.io.czi.segments import CZIBlocks, CZIHeader, read_blocks, read_header, read_metadata
from napari_mvfusion.system.file_checks import check_file, parsing
from napari_mvfusion.system.xml_tree import parse_xml

APART = {
    "S": "scene", "V": "view", "I": "illumination", "H": "phase", "R": "rotation", "B": "block", "M": "tile",
}  # fmt: skip
"""Dimensions that tell images apart, in the order in which these are numbered, and their names; the rest are axes."""

_MOST_ABSENT = 100


@dataclass(frozen=True, eq=False)
class CZIImage:
    """One image of a file.

    Attributes
    ----------
    file : that its pixels lie in
    key : what it is along the dimensions that tell images apart
    said : these in words, where there are several of them in the file
    planes : all of them, in any order
    rows : which of them it is, (t, c, z); -1 where there is none
    first : numbers of the first time point and channel, which need not be 0
    size : pixels (y, x) of a plane
    """

    file: Path
    key: Mapping[str, int]
    said: str
    planes: CZIPlanes
    rows: np.ndarray
    first: tuple[int, int]
    size: tuple[int, int]

    @property
    def shape(self) -> Triple:
        """Voxels (z, y, x)."""
        return int(self.rows.shape[2]), *self.size

    @property
    def counts(self) -> dict[str, int]:
        """Time points and channels."""
        return dict(zip("tc", map(int, self.rows.shape[:2]), strict=True))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels, one that holds those of all channels."""
        return np.result_type(*(GREY[number] for number in np.unique(self.planes.pixel_type).tolist()))

    def volume(self, chosen: Mapping[str, int]) -> CZIVolume:
        """The volume at a time point and channel.

        Raises
        ------
        InputError
            If it lacks planes, as the last one of a recording that was stopped.
        """
        rows = self.rows[chosen.get("t", 0), chosen.get("c", 0)]
        missing = int((rows < 0).sum())
        if missing:
            numbers = (chosen.get(axis, 0) + start for axis, start in zip("tc", self.first, strict=True))
            what = " and ".join(f"{word} {n}" for word, n in zip(("time point", "channel"), numbers, strict=True) if n)
            raise InputError(
                f"{self.file} lacks {missing} of {len(rows)} planes{' of ' + what if what else ''}, as where a recording "
                "was stopped: choose another time point, or record it again"
            )
        return CZIVolume(self.file, _chosen(self.planes, rows), self.shape, self.dtype)


@dataclass(frozen=True)
class CZIContents:
    """The images of a file, and the XML that describes them; None where it has none."""

    header: CZIHeader
    images: tuple[CZIImage, ...]
    described: ElementTree.Element | None


def read_contents(file: Path) -> CZIContents:
    """Look at a file; no pixel is read.

    Raises
    ------
    InputError
        If it is missing, no CZI file, damaged, or holds anything but grey planes.
    """
    found = check_file(file)
    return _contents(file, (found.st_mtime_ns, found.st_size))


# The views of a file are opened one after the other.
@lru_cache(maxsize=4)
def _contents(file: Path, version: tuple[int, int]) -> CZIContents:
    with parsing(f"{file} cannot be read as a CZI file", "copy or export it again"), file.open("rb") as opened:
        header = read_header(opened, file)
        blocks = read_blocks(opened, file, header)
        xml = read_metadata(opened, file, header)
    if not len(blocks.place):
        raise InputError(f"{file} holds no pixels: name another file of its set, or export it again")
    described = parse_xml(xml.strip(b"\0"), file, "metadata of a CZI file") if xml.strip(b"\0 \r\n\t") else None
    return CZIContents(header, tuple(_images(file, blocks, version[1])), described)


def _images(file: Path, blocks: CZIBlocks, length: int) -> list[CZIImage]:
    """The images that pieces make, whose coarser copies are left out."""
    if not {"X", "Y"} <= set(blocks.size):
        raise InputError(f"{file} is a line scan or a list of values, and no volume")
    full = np.logical_and.reduce([blocks.size[letter] == blocks.stored[letter] for letter in blocks.size])
    _refuse_unknown(file, blocks, full, length)
    planes = _chosen(CZIPlanes(blocks.place, blocks.entry_bytes, blocks.pixel_type, blocks.compression), full)
    start = {letter: values[full] for letter, values in blocks.start.items()}
    none = np.zeros(len(planes.place), np.int64)
    keys, which = np.unique(np.stack([start.get(each, none) for each in APART], 1), axis=0, return_inverse=True)
    several = [n for n in range(len(APART)) if len(np.unique(keys[:, n])) > 1]
    places = np.stack([start.get(letter, none) for letter in "TCZ"], 1)
    sizes = np.stack([blocks.size[letter][full] for letter in "YX"], 1)
    found = []
    for number, key in enumerate(keys.tolist()):
        own = which.ravel() == number
        said = ", ".join(f"{list(APART.values())[n]} {key[n]}" for n in several)
        rows, first = _rows(file, places[own])
        ((height, width), *others) = np.unique(sizes[own], axis=0).tolist()
        if others:
            raise InputError(f"{file} has planes of different sizes in one volume: stitch it in ZEN first")
        letters = dict(zip(APART, key, strict=True))
        found.append(CZIImage(file, letters, said, _chosen(planes, own), rows, first, (height, width)))
    return found


def _rows(file: Path, places: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Which plane lies at each (t, c, z), -1 for none, and the first time point and channel."""
    low = places.min(0)
    counts = (places.max(0) - low + 1).tolist()
    # Channels may have fewer planes than others, and the last time point too; numbers far beyond that are made up.
    if math.prod(counts) > _MOST_ABSENT * len(places):
        raise InputError(
            f"{file} is damaged: it numbers {math.prod(counts):,} planes and holds {len(places):,}; copy it again"
        )
    rows = np.full(counts, -1)
    rows[tuple((places - low).T)] = np.arange(len(places))
    if (rows >= 0).sum() < len(places):
        raise InputError(
            f"{file} holds several pieces of one plane that have no numbers of tiles: stitch it in ZEN first"
        )
    return rows, (int(low[0]), int(low[1]))


def _chosen(planes: CZIPlanes, rows: np.ndarray) -> CZIPlanes:
    return CZIPlanes(planes.place[rows], planes.entry_bytes[rows], planes.pixel_type[rows], planes.compression[rows])


def _refuse_unknown(file: Path, blocks: CZIBlocks, full: np.ndarray, length: int) -> None:
    """Refuse what is no grey plane, or cannot be one in a file of this length."""
    kinds = set(blocks.pixel_type[full].tolist())
    if not kinds <= set(GREY):
        raise InputError(
            f"{file} holds colours or complex numbers (type {min(kinds - set(GREY))} of CZI): a view is one volume of grey "
            "values; save one channel of it alone"
        )
    compressions = set(blocks.compression[full].tolist())
    if not compressions <= COMPRESSIONS:
        raise InputError(
            f"{file} is compressed by a method that is not known here (number {min(compressions - COMPRESSIONS)} of CZI): "
            "save it in ZEN without compression, or with Zstd"
        )
    if any((values[full] != 1).any() for letter, values in blocks.size.items() if letter not in "XYM"):
        raise InputError(f"{file} keeps several planes in one piece: save it again in ZEN")
    items = np.array([GREY[number].itemsize if number in GREY else 0 for number in range(max(GREY) + 1)])
    largest = (blocks.size["Y"][full] * blocks.size["X"][full]).astype(float) * items[blocks.pixel_type[full]]
    packed = blocks.compression[full] != 0
    if (largest[~packed] > length).any():
        raise InputError(
            f"{file} is damaged: a plane of it should have {largest[~packed].max():,.0f} bytes, more than the file; copy "
            "it again"
        )
    if (largest[packed] > LARGEST_PLANE).any():
        raise InputError(
            f"{file} has compressed planes of {largest[packed].max() / 2**30:.1f} GiB, which are decoded in one go: save it "
            "without compression"
        )
