"""What the XML of a CZI file says: voxel size, channels, times, and the angles and places of views."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree

from napari_mvfusion.data.geometry import NO_SIZE, FloatTriple, StatedSize, float_triple

_METRE = 1e6
_FULL_TURN = 360.0


def _image_element(described: ElementTree.Element | None) -> ElementTree.Element | None:
    return None if described is None else described.find("./Metadata/Information/Image")


def _view_of(described: ElementTree.Element | None, number: int) -> ElementTree.Element | None:
    """What is said of a view: the element that tells its angle or position, not that of its planes."""
    about = _image_element(described)
    if about is None:
        return None
    found = [view for view in about.iterfind(".//View") if view.get("V") == str(number)]
    return next((view for view in found if view.find(".//Offset") is not None), None)


def angle_of(described: ElementTree.Element | None, number: int) -> float | None:
    """Angle of the view of a number in degrees, from 0 to below 360; None where it is not said."""
    view = _view_of(described, number)
    offset = None if view is None else _number(view.findtext(".//Offset"))
    # What is close to a full turn is none.
    return None if offset is None else float(f"{offset % _FULL_TURN:.6g}") % _FULL_TURN


def stage_of(described: ElementTree.Element | None, number: int) -> FloatTriple | None:
    """Where the stage was for the view of a number, (z, y, x) in um; None where that is not said."""
    view = _view_of(described, number)
    if view is None:
        return None
    places = [_number(view.findtext(f".//Position{axis}")) for axis in "ZYX"]
    return None if None in places else float_triple(place or 0.0 for place in places)


def voxel_size_in(file: Path, described: ElementTree.Element | None) -> tuple[StatedSize, tuple[str, ...]]:
    """Voxel size (z, y, x) in um, None along axes where it is not said; and what is said and cannot be one, in words."""
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


def time_step_in(described: ElementTree.Element | None) -> float:
    """Seconds from one time point to the next; 1 where the file does not say."""
    about = _image_element(described)
    step = None if about is None else _number(about.findtext("./Dimensions/T/Positions/Interval/Increment"))
    return step if step is not None and step > 0 else 1.0


def channel_names_in(described: ElementTree.Element | None, count: int) -> tuple[str, ...]:
    """Names of so many channels; () where as many are not named."""
    about = _image_element(described)
    if about is None:
        return ()
    names = [channel.get("Name", "") for channel in about.iterfind("./Dimensions/Channels/Channel")]
    return tuple(names) if len(names) == count and any(names) else ()


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "nan")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
