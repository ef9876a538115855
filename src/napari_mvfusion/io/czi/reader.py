"""Volumes from CZI files of ZEN: scenes, views, illuminations and tiles are images of their own, times and channels choices.

The microscopes Lightsheet Z.1 and Lightsheet 7 record each direction as a view (dimension V), whose angle the metadata says,
and each side of the illumination as dimension I; often every view is a file of its own: `fish.czi`, `fish(1).czi`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from napari_mvfusion.data.geometry import NO_SIZE, FloatTriple, StatedSize, Triple, float_triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.base import StoredVolumes
from napari_mvfusion.io.czi.decoding import COMPRESSIONS, GREY, LARGEST_PLANE, CZIPlanes, CZIVolume
from napari_mvfusion.io.czi.segments import CZIBlocks, CZIHeader, read_blocks, read_header, read_metadata
from napari_mvfusion.io.numbered_images import choose_image
from napari_mvfusion.system.file_checks import check_file, parsing
from napari_mvfusion.system.xml_tree import parse_xml

# What tells images apart, in the order in which they are numbered, and what it is called; all else is x, y, z, t or c.
_IMAGES = {
    "S": "scene", "V": "view", "I": "illumination", "H": "phase", "R": "rotation", "B": "block", "M": "tile",
}  # fmt: skip
_PART = re.compile(r"(?P<base>.+?) ?\((?P<part>\d{1,4})\)", re.DOTALL)
_METRE = 1e6
_MOST_ABSENT = 100
_FULL_TURN = 360.0

Key = tuple[int, ...]


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
    keys, which = np.unique(np.stack([start.get(each, none) for each in _IMAGES], 1), axis=0, return_inverse=True)
    several = [n for n in range(len(_IMAGES)) if len(np.unique(keys[:, n])) > 1]
    places = np.stack([start.get(letter, none) for letter in "TCZ"], 1)
    sizes = np.stack([blocks.size[letter][full] for letter in "YX"], 1)
    found = []
    for number, key in enumerate(keys.tolist()):
        own = which.ravel() == number
        said = ", ".join(f"{list(_IMAGES.values())[n]} {key[n]}" for n in several)
        rows, first = _rows(file, places[own])
        ((height, width), *others) = np.unique(sizes[own], axis=0).tolist()
        if others:
            raise InputError(f"{file} has planes of different sizes in one volume: stitch it in ZEN first")
        letters = dict(zip(_IMAGES, key, strict=True))
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


def open_czi(path: Path, file: Path, number: int | None) -> StoredVolumes:
    """Look at an image; no pixel is read.

    Parameters
    ----------
    path : as it was named
    file : the file
    number : which of its images, counted from 0; None for the only one

    Raises
    ------
    InputError
        As `read_contents`, or if the file holds several images and none is named.
    """
    contents = read_contents(file)
    described = contents.described if contents.described is not None else _described_elsewhere(file, contents.header)
    image = contents.images[choose_image(file, number, [_called(each) for each in contents.images])]
    size, notes = _voxel_size(file, described)
    view = _view_of(described, image)
    return StoredVolumes(
        path,
        image.shape,
        image.dtype.newbyteorder("="),
        image.volume,
        {axis: n for axis, n in image.counts.items() if n > 1},
        size,
        time_step=_time_step(described),
        notes=notes,
        stage_um=None if view is None else _position(view),
        channel_names=_channel_names(described, image),
    )


def views_in_set(file: Path) -> dict[str, Path]:
    """The views that a file and the others of its set hold, by their angles where the metadata says these.

    Returns
    -------
    Names, which are angles where they are known, and what opens each; {} where there is no more than one view.

    Raises
    ------
    InputError
        As `read_contents`, or if two files of the set hold parts of one view.
    """
    contents = [(part, read_contents(part)) for part in _set_of(file)]
    described = next((each.described for _, each in contents if each.described is not None), None)
    found = [(image, Path(f"{part}:{number}")) for part, each in contents for number, image in enumerate(each.images)]
    if len({image.key["V"] for image, _ in found}) < 2 and len(contents) < 2:
        return {}
    places: dict[Key, Path] = {}
    for image, name in found:
        other = places.setdefault(tuple(image.key.values()), name)
        if other != name:
            raise InputError(
                f"{other} and {name} hold parts of one view: save the recording as one file in ZEN, or name one of them"
            )
    beside = [letter for letter in _IMAGES if letter != "V" and len({image.key[letter] for image, _ in found}) > 1]
    names = [_view_name(image, _angle_of(described, image), beside) for image, _ in found]
    # Several views may look from one direction, as those beside each other do.
    return {_apart(called, image, names): name for called, (image, name) in zip(names, found, strict=True)}


def _view_name(image: CZIImage, angle: float | None, beside: Sequence[str]) -> str:
    """What a view is called: its angle, or its number where that is not known, and what else tells it from others."""
    if angle is not None and not beside:
        return f"{angle:g}"
    first = f"view {image.key['V']}" if angle is None else f"angle {angle:g}"
    return ", ".join([first, *(f"{_IMAGES[letter]} {image.key[letter]}" for letter in beside)])


def _apart(called: str, image: CZIImage, names: Sequence[str]) -> str:
    """The name of a view, with its number where others are called alike."""
    if names.count(called) == 1:
        return called
    angle = called if called.startswith(("angle", "view")) else f"angle {called}"
    return f"{angle}, V{image.key['V']}"


def _set_of(file: Path) -> list[Path]:
    """The files of a set, of which a first one is named: `fish.czi`, `fish(1).czi` and so on; the others open alone."""
    if _PART.fullmatch(file.stem):
        return [file]
    parts = {0: file}
    with file.open("rb") as opened:
        own = read_header(opened, file).set_id
    for other in file.parent.iterdir():
        match = _PART.fullmatch(other.stem)
        if other.suffix.lower() != file.suffix.lower() or match is None or match["base"] != file.stem:
            continue
        check_file(other)
        with other.open("rb") as opened:
            if read_header(opened, other).set_id == own:
                parts[int(match["part"])] = other
    return [parts[number] for number in sorted(parts)]


def _described_elsewhere(file: Path, header: CZIHeader) -> ElementTree.Element | None:
    """The metadata of the first file of a set, where only that one has some."""
    match = _PART.fullmatch(file.stem)
    first = None if match is None else file.with_name(match["base"] + file.suffix)
    if first is None or not first.is_file():
        return None
    contents = read_contents(first)
    return contents.described if contents.header.set_id == header.set_id else None


def _called(image: CZIImage) -> str:
    shape = " x ".join(str(n) for n in image.shape)
    return f"{image.said}, {shape}" if image.said else shape


def _image_element(described: ElementTree.Element | None) -> ElementTree.Element | None:
    return None if described is None else described.find("./Metadata/Information/Image")


def _view_of(described: ElementTree.Element | None, image: CZIImage) -> ElementTree.Element | None:
    """What is said of a view: the element that tells its angle or position, not that of its planes."""
    about = _image_element(described)
    if about is None:
        return None
    found = [view for view in about.iterfind(".//View") if view.get("V") == str(image.key["V"])]
    return next((view for view in found if view.find(".//Offset") is not None), None)


def _angle_of(described: ElementTree.Element | None, image: CZIImage) -> float | None:
    """Angle of a view in degrees, from 0 to below 360; None where it is not said."""
    view = _view_of(described, image)
    offset = None if view is None else _number(view.findtext(".//Offset"))
    # What is close to a full turn is none.
    return None if offset is None else float(f"{offset % _FULL_TURN:.6g}") % _FULL_TURN


def _position(view: ElementTree.Element) -> FloatTriple | None:
    """Where the stage was, (z, y, x) in um."""
    places = [_number(view.findtext(f".//Position{axis}")) for axis in "ZYX"]
    return None if None in places else float_triple(place or 0.0 for place in places)


def _voxel_size(file: Path, described: ElementTree.Element | None) -> tuple[StatedSize, tuple[str, ...]]:
    """Voxel size (z, y, x) in um, None along axes where it is not said."""
    if described is None:
        return NO_SIZE, ()
    sizes: dict[str, float | None] = {}
    odd = []
    for distance in described.iterfind("./Metadata/Scaling/Items/Distance"):
        said = (distance.findtext("Value") or "").strip()
        size = _number(said)
        axis = distance.get("Id", "")
        if size is not None and size > 0:
            sizes[axis] = size * _METRE
        elif axis in set("XYZ") and said:
            odd.append(f"{file} states the voxel size '{said[:30]}' m along {axis.lower()}, which cannot be one")
    z, y, x = (None if (size := sizes.get(axis)) is None else float(f"{size:.14g}") for axis in "ZYX")
    return (z, y, x), tuple(odd)


def _time_step(described: ElementTree.Element | None) -> float:
    """Seconds from one time point to the next; 1 where the file does not say."""
    about = _image_element(described)
    step = None if about is None else _number(about.findtext("./Dimensions/T/Positions/Interval/Increment"))
    return step if step is not None and step > 0 else 1.0


def _channel_names(described: ElementTree.Element | None, image: CZIImage) -> tuple[str, ...]:
    about = _image_element(described)
    if about is None:
        return ()
    names = [channel.get("Name", "") for channel in about.iterfind("./Dimensions/Channels/Channel")]
    return tuple(names) if len(names) == image.counts["c"] and any(names) else ()


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "nan")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
