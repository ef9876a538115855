"""Light that views lost in the specimen: what methods can be told of it, and where they have it from."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Literal

from pydantic import Field

from napari_mvfusion.data.events import Event, Warned
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.measures.attenuation import Transmission, doubt_about_transmission, find_transmission

Attenuation = Literal["estimated", "none"]


def attenuation_field(default: Attenuation) -> Any:
    """The parameter that all methods have in common which allow for lost light."""
    return Field(
        default=default,
        title="Lost light",
        description="estimated finds how much light each view lost in the specimen, where angles are known, and allows for "
        "it; none takes all views as equally bright.",
    )


def known_transmission(views: RegisteredViews, attenuation: Attenuation) -> Generator[Event, None, Transmission | None]:
    """The transmission of the views as a method was told; None where all light is taken to have passed.

    Yields
    ------
    The progress of a scan of the views, and a warning where the attenuation was looked for and cannot be known.
    """
    if attenuation == "none":
        return None
    yield from views.scan()
    if doubt := doubt_about_transmission(views):
        yield Warned(doubt)
    return find_transmission(views)
