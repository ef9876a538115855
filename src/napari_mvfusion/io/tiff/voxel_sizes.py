"""The voxel size that a TIFF file states: OME or ImageJ."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import tifffile

from napari_mvfusion.data.geometry import FloatTriple, float_triple

_UM = {
    "um": 1.0, "µm": 1.0, "μm": 1.0, "\\u00b5m": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0,
    "micrometre": 1.0,
    "nm": 1e-3, "nanometer": 1e-3, "mm": 1e3, "millimeter": 1e3, "cm": 1e4, "m": 1e6, "å": 1e-4, "inch": 25400.0,
}  # fmt: skip


def voxel_size_of(tiff: tifffile.TiffFile, image: int = 0) -> FloatTriple | None:
    """Voxel size (z, y, x) in um from the metadata of OME or ImageJ; None where the file does not say, or in no length.

    Parameters
    ----------
    tiff : the opened file
    image : which of the images that its OME-XML describes
    """
    if tiff.is_ome and tiff.ome_metadata:
        pixels = ome_pixels(tiff.ome_metadata, image)
        if pixels is not None and all(f"PhysicalSize{axis}" in pixels.attrib for axis in "ZYX"):
            return _positive(
                [
                    float(pixels.attrib[f"PhysicalSize{axis}"])
                    * _micrometres(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
                    for axis in "ZYX"
                ]
            )
    if tiff.is_imagej and tiff.imagej_metadata:
        unit = str(tiff.imagej_metadata.get("unit", "")).lower()
        page = tiff.pages[0]
        if unit in _UM and "XResolution" in page.tags and "YResolution" in page.tags:
            x, y = (_per_pixel(page.tags[name].value) for name in ("XResolution", "YResolution"))
            z = float(tiff.imagej_metadata.get("spacing", x))
            return _positive([value * _UM[unit] for value in (z, y, x)])
    return None


def _positive(sizes: list[float]) -> FloatTriple | None:
    return float_triple(sizes) if all(math.isfinite(s) and s > 0 for s in sizes) else None


def _per_pixel(resolution: tuple[int, int]) -> float:
    pixels, units = resolution
    return units / pixels if pixels else math.nan


def _micrometres(unit: str) -> float:
    return _UM.get(unit.lower(), math.nan)


def ome_pixels(xml: str, image: int = 0) -> ElementTree.Element | None:
    """The element of OME-XML that describes the pixels of an image, None where there are not as many."""
    found = ElementTree.fromstring(xml).findall(".//{*}Pixels")
    return found[image] if image < len(found) else None
