"""What views are like beside each other: where each has data, and whether one is brighter or lies higher everywhere."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace

from napari_mvfusion.data.events import Preparing
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.no_data import detect_no_data_of
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.errors import MVFusionError
from napari_mvfusion.measures.camera_offset import DarkLevel, find_dark_levels, light_of_nothing
from napari_mvfusion.measures.gains import BesideOthers, compare_brightness

_UNREADABLE = (MVFusionError, OSError, RuntimeError, ValueError)


@dataclass(frozen=True)
class ViewFacts:
    """What was found about a view.

    Attributes
    ----------
    left_out : what is no data, in words; "" where that is nothing
    doubt : what may be no data and is not left out, alike
    beside : how bright it is beside the others
    dark : what it has where no view shows light, None where that is not known
    """

    left_out: str = ""
    doubt: str = ""
    beside: BesideOthers = field(default_factory=BesideOthers)
    dark: DarkLevel | None = None


def compare_views(views: Sequence[View], grid: Grid) -> Generator[Preparing, None, list[ViewFacts]]:
    """Look where views have data, and compare their brightness as it is in their files, whatever gains are set.

    Parameters
    ----------
    grid : of the fused volume

    Returns
    -------
    The facts of each view; nothing is said where pixels cannot be read, which `pixel_facts` tells of each view alone.
    """
    # A gain that was set must not hide itself, nor hot pixels decide.
    plain = [replace(view, gain=1.0, remove_hot=True) for view in views]
    try:
        settled, left_out, doubts = yield from detect_no_data_of(plain, grid)
    except _UNREADABLE:
        return [ViewFacts() for _ in views]
    found = [ViewFacts(left_out.get(view.name, ""), doubts.get(view.name, "")) for view in views]
    compared = RegisteredViews(settled, grid)
    try:
        dark = find_dark_levels(compared)
        sample = compared.region(grid.box, compared.sample())
        brightness = compare_brightness(sample, light_of_nothing(compared, dark))
    except _UNREADABLE:
        return found
    return [
        replace(each, beside=beside, dark=level) for each, beside, level in zip(found, brightness, dark, strict=True)
    ]
