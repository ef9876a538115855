"""What a look at whole views finds that a user should know before they are fused, in words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np

from napari_mvfusion.data.events import Statement
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.measures.attenuation import find_transmission
from napari_mvfusion.measures.camera_offset import DarkLevel, cut_off, light_of_nothing
from napari_mvfusion.measures.gains import compare_brightness
from napari_mvfusion.measures.voids import find_voids

# Offsets that differ by less than this share of the noise, or of themselves, are one.
_ONE_OFFSET = 0.5, 0.01


def about_offsets(views: RegisteredViews, dark: Sequence[DarkLevel | None]) -> list[str]:
    """About a camera offset that was not subtracted; and a line for each view whose offset cuts off light.

    Parameters
    ----------
    dark : what `find_dark_levels` found
    """
    found = []
    levels = {v.name: each for v, each in zip(views.views, dark, strict=True) if each is not None and each.missing}
    if levels:
        values = [each.level for each in levels.values()]
        spread = max(each.spread for each in levels.values())
        middle = float(np.median(values))
        one = len(levels) == len(views) and np.ptp(values) <= max(_ONE_OFFSET[0] * spread, _ONE_OFFSET[1] * middle)
        each_alone = " ".join(f"--offset {name}={offset_text(each.level)}" for name, each in levels.items())
        option = f"--offset {offset_text(middle)}" if one else each_alone
        which = "the views lie" if len(levels) == len(views) else f"{_views_named(list(levels))} {_lie(len(levels))}"
        share = next(iter(levels.values())).share
        found.append(
            f"{which} at about {offset_text(middle)} ± {spread:.2g} where none shows light ({share:.0%} of the volume), as "
            f"with a camera offset that was not subtracted; subtract it ({option}, or offset of the views)"
        )
    for view, each in zip(views.views, dark, strict=True):
        if each is not None and each.cut:
            found.append(
                f"the camera offset {view.offset:g} of {view.label} lies above its dark level of about "
                f"{offset_text(each.level)}: {each.cut:.0%} of its voxels are cut off at 0, faint light among them; give "
                f"--offset {view.name}={offset_text(each.level)}"
            )
    if not any(dark):
        for view, share in zip(views.views, cut_off(views), strict=True):
            if share:
                found.append(
                    f"{share:.0%} of the voxels of {view.label} lie below its camera offset of {view.offset:g} and are cut "
                    "off at 0, faint light among them: check the offset, it is the value of pixels without light"
                )
    return found


def offset_text(level: float) -> str:
    """A camera offset as it is given: whole where it is large."""
    return f"{level:.0f}" if abs(level) >= 100 else f"{level:.3g}"


def _views_named(names: Sequence[str]) -> str:
    return ("view " if len(names) == 1 else "views ") + ", ".join(f"'{name}'" for name in names)


def _lie(count: int) -> str:
    return "lies" if count == 1 else "lie"


def about_voids(views: RegisteredViews, names: Collection[str]) -> list[str]:
    """One line for each view that is 0 in one piece where other views show light, in a shape that is not recognised.

    Parameters
    ----------
    names : of the views whose fields were to be recognised; of others it is known which pixels count
    """
    found = []
    for view, share in zip(views.views, find_voids(views), strict=True):
        if share and view.name in names:
            found.append(
                f"{view.label} is 0 in {share:.1%} of the volume, in one piece where other views show light, and counts as "
                f"dark there: the shape is not recognised as the outside of its field. If nothing was recorded there, give "
                f"--no-data {view.name}=0, or --mask {view.name}=FILE"
            )
    return found


def about_gains(
    views: RegisteredViews, dark: Sequence[DarkLevel | None], attenuation: Literal["estimated", "given", "none"]
) -> list[str]:
    """One line for each view that is brighter or darker than the others, with what would mend it.

    Parameters
    ----------
    views : with their statistics known
    dark : what `find_dark_levels` found; a camera offset that is still to be subtracted is allowed for
    attenuation : what the run takes for lost light

    Returns
    -------
    Among them a `Statement` of each view for whose brightness the lost light that is found allows.
    """
    found = []
    compared = list(zip(views.views, compare_brightness(views, light_of_nothing(views, dark)), strict=True))
    for view, beside in compared:
        if beside.added:
            added = beside.added * view.gain
            offset = offset_text(view.offset + added)
            found.append(
                f"{view.label} is higher than the others by about {offset_text(added)} everywhere, as with a "
                f"camera offset that was subtracted from the others alone (--offset {view.name}={offset}, or offset of "
                "the view)"
            )
    for view, beside in compared:
        ratio = beside.gain * beside.mostly
        brighter = f"{ratio:.3g} times as bright as" if ratio > 1 else f"{1 / ratio:.3g} times darker than"
        divide = f"divide it by its gain (--gain {view.name}={view.gain * ratio:.3g}, or gain of the view)"
        if beside.gain != 1:
            what = f"{view.label} is {brighter} the others everywhere"
        elif beside.mostly != 1:
            what = f"{view.label} is {brighter} the others at most places, and views differ otherwise too, as by lost light"
        else:
            continue
        found.append(_in_a_run(views, what, divide, attenuation, lost=beside.gain == 1))
    return found


def _in_a_run(views: RegisteredViews, what: str, divide: str, attenuation: str, *, lost: bool) -> str:
    """What a run makes of a view that is brighter or darker, and whether it seems to have lost light too."""
    wrong = "so it counts too much or too little"
    if attenuation == "estimated" and find_transmission(views) is not None:
        return Statement(f"{what}: the lost light that is found allows for it")
    if attenuation == "given":
        return f"{what}: the transmissions that are given allow for it where they hold it; else {divide}"
    if not lost:
        return f"{what}, {wrong}: {divide}"
    if attenuation == "estimated":
        return f"{what}; no lost light is found, {wrong}: {divide}"
    return f"{what}; this run allows for none, {wrong}: {divide}, or have lost light estimated, which allows for both"


def about_hot_pixels(views: RegisteredViews) -> list[str]:
    """One line for each view that has hot pixels: what they do, or that they were removed.

    Parameters
    ----------
    views : their statistics are computed where `RegisteredViews.scan` has not run yet
    """
    found = []
    for view, numbers in zip(views.views, views.statistics(), strict=True):
        if not numbers.hot:
            continue
        several = "1 hot pixel" if numbers.hot == 1 else f"{numbers.hot} hot pixels"
        if view.remove_hot:
            found.append(f"{several} of {view.label} {_are(numbers.hot)} replaced by the median of the neighbours")
        else:
            found.append(
                f"{view.label} has {several}, which {'stays' if numbers.hot == 1 else 'stay'} in the result with what is "
                "round them: have hot pixels removed (--remove-hot, or remove_hot of the view)"
            )
    return found


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
