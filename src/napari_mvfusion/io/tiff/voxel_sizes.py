"""The voxel size that a TIFF file states: OME or ImageJ, axis by axis."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import tifffile

from napari_mvfusion.data.geometry import NO_SIZE, FloatTriple, StatedSize, float_triple
from napari_mvfusion.io.lengths import micrometres, unknown_units
from napari_mvfusion.io.tiff.micro_manager import size_inside

_LONGEST = 32


def voxel_size_of(tiff: tifffile.TiffFile, image: int = 0) -> StatedSize:
    """Voxel size (z, y, x) in um from the metadata of OME, ImageJ or Micro-Manager; None along axes where these say none.

    Parameters
    ----------
    tiff : the opened file
    image : which of the images that its OME-XML describes
    """
    stated = _stated_by_others(tiff, image)
    if None not in stated or not tiff.is_micromanager:
        return stated
    z, y, x = (one if one is not None else other for one, other in zip(stated, size_inside(tiff), strict=True))
    return z, y, x


def units_of(tiff: tifffile.TiffFile, image: int = 0) -> tuple[str, ...]:
    """The unit of the voxel size along z, y and x, as OME or ImageJ write it; () where these say no size.

    Parameters
    ----------
    tiff : the opened file
    image : which of the images that its OME-XML describes
    """
    return tuple(unit for _, unit in _stated(tiff, image))


def doubts_of(path: Path, tiff: tifffile.TiffFile, image: int = 0) -> tuple[str, ...]:
    """A line for each size that is stated and is none, and for each unit that is no length.

    Parameters
    ----------
    path : of the file, for messages
    tiff : the opened file
    image : which of the images that its OME-XML describes
    """
    stated = _stated(tiff, image)
    if not stated:
        return ()
    no_sizes = [
        f"{path} states '{str(value)[:_LONGEST]}' as its voxel size along {axis}, which is no size: it is not known until "
        "--voxel-size Z,Y,X (voxel_size_um=) says it"
        for axis, (value, _) in zip("zyx", stated, strict=True)
        if value is not None and _size(value, "um") is None
    ]
    units = ["" if value is None else unit for value, unit in stated]
    return (*no_sizes, *unknown_units(path, units))


def _stated_by_others(tiff: tifffile.TiffFile, image: int) -> StatedSize:
    stated = _stated(tiff, image)
    if not stated:
        return NO_SIZE
    z, y, x = (_size(value, unit) for value, unit in stated)
    return z, y, x


def _stated(tiff: tifffile.TiffFile, image: int) -> list[tuple[Any, str]]:
    """What OME or ImageJ state of the voxel size, and in which unit, along z, y and x; nothing where there is neither."""
    if tiff.is_ome and tiff.ome_metadata:
        pixels = ome_pixels(tiff.ome_metadata, image)
        if pixels is None:
            return []
        return [(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "ZYX"]
    if tiff.is_imagej and tiff.imagej_metadata:
        said, tags = tiff.imagej_metadata, tiff.pages.first.tags
        # Without a word of it, the unit of the tags counts, as for ImageJ itself; inches are what cameras and printers say.
        in_tags = "cm" if tags.valueof("ResolutionUnit") == tifffile.RESUNIT.CENTIMETER else ""
        unit = str(said.get("unit", in_tags))
        y, x = (
            (_per_pixel(tags, name), str(said.get(own, unit)))
            for name, own in (("YResolution", "yunit"), ("XResolution", "xunit"))
        )
        # ImageJ counts planes from the other end where the stage moved down.
        spacing = said.get("spacing")
        z = (abs(spacing) if isinstance(spacing, (int, float)) else None, str(said.get("zunit", unit)))
        return [z, y, x]
    return []


def stage_position_of(tiff: tifffile.TiffFile, image: int = 0) -> FloatTriple | None:
    """Where the stage was at the first plane, (z, y, x) in um, as OME states it; None where the file does not say.

    Parameters
    ----------
    tiff : the opened file
    image : which of the images that its OME-XML describes
    """
    pixels = ome_pixels(tiff.ome_metadata, image) if tiff.is_ome and tiff.ome_metadata else None
    plane = None if pixels is None else pixels.find("{*}Plane")
    if plane is None:
        return None
    places = []
    for axis in "ZYX":
        in_um = micrometres(plane.get(f"Position{axis}Unit", "reference frame"))
        try:
            place = float(plane.get(f"Position{axis}", "nan"))
        except ValueError:
            return None
        if in_um is None or not math.isfinite(place):
            return None
        places.append(place * in_um)
    return float_triple(places)


def _size(value: Any, unit: str) -> float | None:
    """A size in um, None where it is no positive length."""
    in_um = micrometres(unit)
    try:
        size = math.nan if value is None or in_um is None else float(value) * in_um
    except ValueError:
        return None
    return size if math.isfinite(size) and size > 0 else None


def _per_pixel(tags: Mapping[str, Any], name: str) -> float | None:
    """Units a pixel, of a tag that says pixels a unit."""
    if name not in tags:
        return None
    pixels, units = tags[name].value
    return units / pixels if pixels else None


def ome_pixels(xml: str, image: int = 0) -> ElementTree.Element | None:
    """The element of OME-XML that describes the pixels of an image, None where there are not as many."""
    found = ElementTree.fromstring(xml).findall(".//{*}Pixels")
    return found[image] if image < len(found) else None
