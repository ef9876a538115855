"""Light that views lost in the specimen: what methods can be told of it, and where they have it from."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Literal

from pydantic import Field

from napari_mvfusion.data.events import Event, Noted, Warned
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.errors import InputError
from napari_mvfusion.measures.attenuation import (
    Transmission,
    doubt_about_transmission,
    faint_transmission,
    find_transmission,
    lacking_for_transmission,
    possible_transmission,
    uniform_transmission,
)
from napari_mvfusion.measures.given_transmission import check_transmission, given_transmission
from napari_mvfusion.psf.directions import about_psfs_across
from napari_mvfusion.psf.usable import look_at_psf

Attenuation = Literal["estimated", "given", "none"]


def attenuation_field(default: Attenuation) -> Any:
    """The parameter that all methods have in common which allow for lost light."""
    return Field(
        default=default,
        title="Lost light",
        description="estimated finds how much light each view lost in the specimen, where angles are known, and allows for "
        "it; given takes the transmission that was given for each view; none takes all views as equally bright.",
    )


def known_transmission(views: RegisteredViews, attenuation: Attenuation) -> Generator[Event, None, Transmission | None]:
    """The transmission of the views as a method was told; None where all light is taken to have passed.

    Yields
    ------
    The progress of a scan of the views, and what was found in a line, or what is lacking to find it, or that it explains too
    little; a warning where it was looked for and cannot be known. Nothing where the views do not differ like that.

    Raises
    ------
    InputError
        If transmissions are to be given and one is missing, or has values that are no shares of light.
    """
    if attenuation == "none":
        return None
    statistics = yield from views.scan()
    if any(numbers.stand_in for numbers in statistics):
        return possible_transmission(views) if attenuation == "estimated" else uniform_transmission(views)
    if attenuation == "given":
        return given_transmission(views)
    if doubt := doubt_about_transmission(views):
        yield Warned(doubt)
    if faint := faint_transmission(views):
        yield Noted(
            f"{faint}; where it is known, give it (--transmission VIEW=FILE for each view, and attenuation given)"
        )
    found = find_transmission(views)
    if len(views) > 1 and (lacking := lacking_for_transmission(views)):
        yield Noted(f"{lacking}, or choose attenuation none")
    if found is not None:
        yield Noted(
            f"light that views lost in the specimen is allowed for: where they differ most, one got {found.least_share:.0%} "
            "of what another got (attenuation none takes all as equally bright)"
        )
    return found


def look_through_given(views: RegisteredViews, attenuation: Attenuation) -> None:
    """Look at all voxels of transmissions that are to be used.

    Raises
    ------
    InputError
        If one is no share of light; names the view and the voxel.
    """
    for view in views.views if attenuation == "given" else ():
        if view.transmission is not None:
            try:
                check_transmission(view.transmission)
            except InputError as error:
                raise InputError(f"{view.transmission_label} {error}") from error


def look_at_transmissions(views: RegisteredViews, attenuation: Attenuation) -> list[str]:
    """Whether transmissions are there if they are to be used, and used if they are there, and PSFs can find them.

    Returns
    -------
    Warnings: some were given and are not used, or are to be found with angles that PSFs contradict.

    Raises
    ------
    InputError
        If one is to be used and missing, or to be found with a PSF that cannot be used.
    """
    missing = [view.label for view in views.views if view.transmission is None]
    if attenuation == "given" and missing:
        raise InputError(
            f"{missing[0]} has no transmission: give one for each view (--transmission VIEW=FILE), or choose attenuation "
            "estimated or none"
        )
    if attenuation == "estimated" and len(views) > 1 and not lacking_for_transmission(views):
        for view in views.views:
            look_at_psf(view, views.grid.shape, "finding lost light")
    found = about_psfs_across(views) if attenuation == "estimated" else []
    if attenuation != "given" and len(missing) < len(views):
        found.append(f"transmissions were given and are not used: attenuation is {attenuation}, choose given")
    return found
