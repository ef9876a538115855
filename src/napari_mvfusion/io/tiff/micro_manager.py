"""The voxel size that Micro-Manager keeps beside OME metadata: in its stacks, and in the metadata.txt beside planes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tifffile

from napari_mvfusion.data.geometry import NO_SIZE, StatedSize

_PIXEL = ("PixelSize_um", "PixelSizeUm")
_STEP = "z-step_um"
_MOST_BYTES = 2**28


def size_inside(tiff: tifffile.TiffFile) -> StatedSize:
    """Voxel size (z, y, x) in um that a stack of Micro-Manager states; None along axes for which it says nothing."""
    said = tifffile.read_micromanager_metadata(tiff.filehandle, {"Summary"}) if tiff.is_micromanager else {}
    return _size([said.get("Summary")])


def size_beside(folder: Path) -> StatedSize:
    """Voxel size (z, y, x) in um that the metadata.txt of a folder states; None where there is none that can be read."""
    file = folder / "metadata.txt"
    try:
        if not file.is_file() or file.stat().st_size > _MOST_BYTES:
            return NO_SIZE
        said = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        # One that an acquisition was stopped in has no end.
        return NO_SIZE
    # The size of pixels stands in the summary, or beside each plane.
    return _size([said.get("Summary"), *said.values()]) if isinstance(said, dict) else NO_SIZE


def _size(places: list[Any]) -> StatedSize:
    found = [place for place in places if isinstance(place, Mapping)]
    pixel = next((size for place in found for name in _PIXEL if (size := _positive(place.get(name))) is not None), None)
    step = next((size for place in found if (size := _positive(place.get(_STEP))) is not None), None)
    return step, pixel, pixel


def _positive(value: Any) -> float | None:
    """A size; planes are counted from the other end where the stage moved down. 0 stands for one that was not calibrated."""
    try:
        size = abs(float(value))
    except (TypeError, ValueError):
        return None
    return size if math.isfinite(size) and size > 0 else None
