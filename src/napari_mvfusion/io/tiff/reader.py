"""Volumes from TIFF files: lazily, with their voxel size, and checked before they are used."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from napari_mvfusion.data.geometry import float_triple, triple
from napari_mvfusion.data.views import VolumeLike
from napari_mvfusion.errors import DamagedError, InputError
from napari_mvfusion.io.base import StoredVolumes
from napari_mvfusion.io.lengths import seconds
from napari_mvfusion.io.tiff.checked_files import (
    LARGEST_PIECE,
    by_bio_formats,
    file_of,
    image_number,
    image_of,
    is_cut_off,
    ome_images,
    opened_tiff,
    planes_beside,
    split,
)
from napari_mvfusion.io.tiff.lazy_pixels import MappedTiff, PagedTiff
from napari_mvfusion.io.tiff.ome_sets import lacking_files, undescribed
from napari_mvfusion.io.tiff.voxel_sizes import doubts_of, stage_position_of, units_of, voxel_size_of

_FIJI = {"T": "frame", "C": "channel"}


@dataclass(frozen=True, eq=False)
class _Pixels:
    """Where the planes of a series lie: sizes by axis in the order of the file, the last three are not all z, y, x."""

    path: Path
    sizes: Mapping[str, int]
    dtype: np.dtype[Any]
    offset: int | None
    places: tuple[tuple[Path, int], ...]
    loaded: np.ndarray | None

    def at(self, chosen: Mapping[str, int]) -> VolumeLike:
        """The (z, y, x) volume at a position along the leading axes."""
        axes = list(self.sizes)[:-2]
        shape = [self.sizes[axis] for axis in axes]
        index = tuple(chosen.get(axis, slice(None)) for axis in axes)
        volume = triple((self.sizes["z"], *list(self.sizes.values())[-2:]))
        if self.loaded is not None:
            return self.loaded[index].reshape(volume)
        numbers = np.arange(math.prod(shape)).reshape(shape)[index]
        if self.offset is not None:
            step = int(numbers[1] - numbers[0]) if len(numbers) > 1 else 1
            planes = range(int(numbers[0]), int(numbers[-1]) + 1, step)
            return MappedTiff(self.places[0][0], self.offset, planes, volume, self.dtype)
        return PagedTiff(self.path, [self.places[number] for number in numbers], volume, self.dtype)


def open_stack(path: str | Path) -> StoredVolumes:
    """Look at the volumes of a TIFF file; no pixel is read. Of a set of OME-TIFF files, those with pixels in this one.

    Parameters
    ----------
    path : of the file; where it holds several images, with the number of one: "views.ome.tif:1"

    Raises
    ------
    InputError
        If the file is missing, empty, no TIFF, truncated, or holds anything but (z, y, x) volumes.
    """
    path = Path(path)
    file, chosen = split(path)
    with opened_tiff(file) as tiff:
        series, left_out = image_of(file, tiff, chosen)
        number = image_number(tiff, series)
        _refuse_missing(file, tiff, series, number)
        unknown = (*undescribed(file, tiff.pages.first.description or ""), *_own_for_lacking(file, tiff, series))
        sizes = _sizes_of(path, tiff, series, unknown)
        pixels = _pixels_of(file, series, sizes)
        notes = _notes(tiff)
        recipe, origin = (json.loads(notes.get(name, "null")) for name in ("recipe", "origin_um"))
        return StoredVolumes(
            path,
            triple(sizes[axis] for axis in "zyx"),
            np.dtype(series.dtype),
            pixels.at,
            {axis: n for axis, n in sizes.items() if axis in "tc"},
            voxel_size_of(tiff, number or 0),
            None if origin is None else float_triple(origin),
            _time_step(tiff, number),
            recipe if isinstance(recipe, dict) else None,
            (
                *left_out,
                *unknown,
                *_order_unsaid(file, tiff, sizes),
                *_without_others(file, tiff, series),
                *doubts_of(file, tiff, number or 0),
            ),
            stage_um=stage_position_of(tiff, number or 0),
            channel_names=_channel_names(tiff, number, sizes.get("c", 1)),
            units=units_of(tiff, number or 0),
        )


def _without_others(path: Path, tiff: tifffile.TiffFile, series: Any) -> Iterator[str]:
    """Lines where a file holds planes that its description does not tell of, or speaks of more than it holds."""
    held, told = planes_beside(tiff, series)
    if held > told:
        yield f"{tiff.filehandle.path} has {held} planes, and its OME-XML tells of {told}: the others are left out"
    # Where a description says how many planes there are, they were counted already.
    if series.kind in ("uniform", "generic") and is_cut_off(tiff):
        yield (
            f"{path} is truncated: its last plane leads to another beyond its end; the {len(series.pages)} planes that it "
            "holds are taken, copy or export it again for all of them"
        )


def _sizes_of(path: Path, tiff: tifffile.TiffFile, series: Any, unknown: tuple[str, ...]) -> dict[str, int]:
    """Sizes by axis in the order of the file: "t" and "c" where there are several, "z", "y" and "x"."""
    # As it was written: an axis of one voxel, also y or x of thin volumes, keeps its place.
    stated = series.kind == "ome"
    axes, shape = (series.get_axes(False), series.get_shape(False)) if stated else (series.axes, series.shape)
    written = [(axis, int(n)) for axis, n in zip(axes, shape, strict=True)]
    found = [(axis, n) for axis, n in written if (axis, n) != ("S", 1)]
    if any(axis == "S" for axis, _ in found):
        count = dict(found)["S"]
        raise InputError(
            f"{path} has {count} colour samples (axes {series.axes}): a view is one (z, y, x) volume of grey values; "
            "save one of them alone"
        )
    plane, all_before = found[-2:], found[:-2]
    before = [(axis, n) for axis, n in all_before if n > 1]
    leading = [(axis, n) for axis, n in before if axis in "TC"]
    depth = [n for axis, n in before if axis not in "TC"]
    if not depth and len(leading) == 1:
        axis, count = leading[0]
        words = {"T": "time points", "C": "channels"}[axis]
        raise InputError(
            f"{path} has {count} {words} (axes {series.axes}) and no planes along z: a view is one (z, y, x) volume; "
            f"if these are planes, label the axis Z (in Fiji: Image > Properties..., {count} slices and 1 {_FIJI[axis]}; "
            "then save it again)"
        )
    if not depth and len(all_before) > len(leading):
        depth = [1]
    if (len(depth) != 1 or len(plane) != 2) and unknown:
        raise InputError(f"{unknown[0]}; copy it beside")
    if not depth and is_cut_off(tiff):
        raise DamagedError(
            f"{path} is truncated: its last plane leads to another beyond its end, and it holds one alone; copy or export "
            "it again"
        )
    if len(depth) != 1 or len(plane) != 2:
        raise InputError(
            f"{path} has the shape {tuple(series.shape)} (axes {series.axes}): a view needs three axes z, y, x"
        )
    ordered = [(axis.lower() if axis in "TC" else "z", n) for axis, n in before] or [("z", 1)]
    if not any(axis == "z" for axis, _ in ordered):
        ordered.append(("z", 1))
    return dict([*ordered, ("y", plane[0][1]), ("x", plane[1][1])])


def _pixels_of(path: Path, series: Any, sizes: dict[str, int]) -> _Pixels:
    pages = list(series.pages)
    page = pages[0]
    dtype = np.dtype(series.dtype)
    planes = math.prod(list(sizes.values())[:-2])
    places = tuple((file_of(each), int(each.index)) for each in pages)
    one_file = len({file for file, _ in places}) == 1
    if series.dataoffset is not None and one_file:
        stored = dtype.newbyteorder(page.parent.byteorder)
        return _Pixels(path, sizes, stored, int(series.dataoffset), places, None)
    if len(pages) == planes:
        return _Pixels(path, sizes, dtype, None, places, None)
    if math.prod(series.shape) * dtype.itemsize > 2 * LARGEST_PIECE:
        raise InputError(f"{path} keeps several planes in one compressed page: save it uncompressed, or as OME-Zarr")
    return _Pixels(path, sizes, dtype, None, places, series.asarray().reshape(tuple(sizes.values())))


def _refuse_missing(path: Path, tiff: tifffile.TiffFile, series: Any, number: int | None) -> None:
    """Refuse a file that was cut off, or a set that lacks a file."""
    promised, held = _promised_planes(tiff, number), math.prod(series.shape[:-2])
    page = tiff.pages.first
    if tiff.is_imagej and page.is_final and page.nbytes:
        # Stacks of ImageJ have one page; the other planes lie behind its pixels.
        held = max(held, (tiff.filehandle.size - page.dataoffsets[0]) // page.nbytes)
    lacking = lacking_files(path, tiff.ome_metadata) if tiff.is_ome and tiff.ome_metadata else ""
    if promised is not None and promised > held and lacking:
        raise InputError(
            f"{path} describes {promised} planes and holds {held}; others lie in {lacking}, not there: copy them beside it"
        )
    if promised is not None and promised > held and _in_several_files(tiff):
        raise InputError(
            f"{path} holds {held} of {promised} planes that Bio-Formats wrote into several files: name their folder, where "
            "each is a plane, or export them as OME-TIFF, which says what each plane is"
        )
    if promised is not None and promised > held:
        raise DamagedError(
            f"{path} is truncated: it promises {promised} planes and holds {held}; copy or export it again"
        )
    ends: dict[Path, int] = {}
    if series.dataoffset is not None:
        end = int(series.dataoffset) + math.prod(series.shape) * np.dtype(series.dtype).itemsize
        ends[file_of(series.pages[0])] = end
    for page in series.pages:
        if page is None:
            which = f" ({lacking})" if lacking else ""
            raise DamagedError(
                f"{path} is truncated: planes are missing, or other files of its set{which}; copy or export them again"
            )
        last = max((a + n for a, n in zip(page.dataoffsets, page.databytecounts, strict=True)), default=0)
        ends[file_of(page)] = max(ends.get(file_of(page), 0), last)
    for file, end in ends.items():
        size = file.stat().st_size
        if end > size:
            raise DamagedError(
                f"{file} is truncated: it should have at least {end} bytes and has {size}; copy or export it again"
            )


def _order_unsaid(path: Path, tiff: tifffile.TiffFile, sizes: Mapping[str, int]) -> tuple[str, ...]:
    """A line where a plain TIFF says how many planes of each kind it has, but not in which order they are."""
    if not (tiff.is_imagej and by_bio_formats(tiff)) or sum(sizes.get(axis, 1) > 1 for axis in "tcz") < 2:
        return ()
    return (
        f"{path} does not say in which order its planes are: Bio-Formats keeps that of their source in plain TIFF files. "
        "They are read in that of ImageJ, channels first; export it as OME-TIFF where they are mixed up",
    )


def _own_for_lacking(path: Path, tiff: tifffile.TiffFile, series: Any) -> tuple[str, ...]:
    """A line where all planes should lie in files that are not there, so that those of this file are taken for them."""
    if not (tiff.is_ome and tiff.ome_metadata) or series.kind == "ome":
        return ()
    lacking = lacking_files(path, tiff.ome_metadata)
    if not lacking:
        return ()
    return (f"{path} says that its planes lie in {lacking}, not there: its own are taken, as if it had been renamed",)


def _promised_planes(tiff: tifffile.TiffFile, number: int | None) -> int | None:
    """Number of planes that the description of the file speaks of."""
    if tiff.is_imagej and tiff.imagej_metadata:
        images = tiff.imagej_metadata.get("images")
        if _in_several_files(tiff) and len(tiff.pages) == tiff.imagej_metadata.get("slices"):
            return len(tiff.pages)
        return None if images is None else int(images)
    if tiff.is_ome and number is not None:
        pixels = ome_images(tiff)[number]
        return math.prod(int(pixels.get(f"Size{axis}", "1")) for axis in "ZCT")
    return None


def _in_several_files(tiff: tifffile.TiffFile) -> bool:
    """Whether a file may be whole although it counts more planes: Bio-Formats counts those of all files in each."""
    return bool(tiff.is_imagej) and by_bio_formats(tiff) and not is_cut_off(tiff)


def _channel_names(tiff: tifffile.TiffFile, number: int | None, count: int) -> tuple[str, ...]:
    """What the OME-XML of a file calls its channels; () where it does not say it of each."""
    if not tiff.is_ome or number is None:
        return ()
    names = tuple(channel.get("Name", "") for channel in ome_images(tiff)[number].iterfind("{*}Channel"))
    return names if len(names) == count and any(names) else ()


def _time_step(tiff: tifffile.TiffFile, number: int | None) -> float:
    """Seconds from one time point to the next; 1 where the file does not say it in a unit of time."""
    step, unit = 1.0, "s"
    if tiff.is_ome and number is not None:
        pixels = ome_images(tiff)[number]
        step, unit = float(pixels.get("TimeIncrement", "1")), pixels.get("TimeIncrementUnit", "s")
    elif tiff.is_imagej and tiff.imagej_metadata:
        step, unit = float(tiff.imagej_metadata.get("finterval", 1)), str(tiff.imagej_metadata.get("tunit", "s"))
    in_seconds = seconds(unit)
    return step * in_seconds if in_seconds is not None and math.isfinite(step) and step > 0 else 1.0


def _notes(tiff: tifffile.TiffFile) -> dict[str, str]:
    """Our own map annotation."""
    if not (tiff.is_ome and tiff.ome_metadata):
        return {}
    root = ElementTree.fromstring(tiff.ome_metadata)
    return {
        entry.get("K", ""): entry.text or ""
        for note in root.iterfind(".//{*}MapAnnotation[@Namespace='napari-mvfusion']")
        for entry in note.iterfind(".//{*}M")
    }
