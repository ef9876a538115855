"""Volumes from CZI files of ZEN: scenes, views, illuminations and tiles are images of their own, times and channels choices.

The microscopes Lightsheet Z.1 and Lightsheet 7 record each direction as a view (dimension V), whose angle the metadata says,
and each side of the illumination as dimension I; often every view is a file of its own: `fish.czi`, `fish(1).czi`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from napari_mvfusion.errors import InputError
from napari_mvfusion.io.base import StoredVolumes
from napari_mvfusion.io.czi.images import APART, CZIImage, read_contents
from napari_mvfusion.io.czi.metadata import angle_of, channel_names_in, stage_of, time_step_in, voxel_size_in
from napari_mvfusion.io.czi.segments import CZIHeader, read_header
from napari_mvfusion.io.numbered_images import choose_image
from napari_mvfusion.system.file_checks import check_file

_PART = re.compile(r"(?P<base>.+?) ?\((?P<part>\d{1,4})\)", re.DOTALL)


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
    size, notes = voxel_size_in(file, described)
    return StoredVolumes(
        path,
        image.shape,
        image.dtype.newbyteorder("="),
        image.volume,
        {axis: n for axis, n in image.counts.items() if n > 1},
        size,
        time_step=time_step_in(described),
        notes=notes,
        stage_um=stage_of(described, image.key["V"]),
        channel_names=channel_names_in(described, image.counts["c"]),
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
    places: dict[tuple[int, ...], Path] = {}
    for image, name in found:
        other = places.setdefault(tuple(image.key.values()), name)
        if other != name:
            raise InputError(
                f"{other} and {name} hold parts of one view: save the recording as one file in ZEN, or name one of them"
            )
    beside = [letter for letter in APART if letter != "V" and len({image.key[letter] for image, _ in found}) > 1]
    names = [_view_name(image, angle_of(described, image.key["V"]), beside) for image, _ in found]
    # Several views may look from one direction, as those beside each other do.
    return {_apart(called, image, names): name for called, (image, name) in zip(names, found, strict=True)}


def _view_name(image: CZIImage, angle: float | None, beside: Sequence[str]) -> str:
    """What a view is called: its angle, or its number where that is not known, and what else tells it from others."""
    if angle is not None and not beside:
        return f"{angle:g}"
    first = f"view {image.key['V']}" if angle is None else f"angle {angle:g}"
    return ", ".join([first, *(f"{APART[letter]} {image.key[letter]}" for letter in beside)])


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
