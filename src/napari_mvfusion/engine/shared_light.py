"""Lost light that is found once for a series, from what a few of its volumes have in common.

Found on each volume anew it flickers: a cell that lights up for a moment and absorbs nothing is taken for matter that
does, and all that lies near it gets another brightness.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from napari_mvfusion.data.events import Event
from napari_mvfusion.data.overviews import Overview, common_overviews
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.errors import InputError
from napari_mvfusion.system.words import times

Place = Mapping[str, Any]
"""Which volume of an input: its `timepoint`, `channel` and `tag`, as `Inputs` has them."""


@dataclass(frozen=True, eq=False)
class SharedLight:
    """What the views of a few volumes have in common, from which the lost light of all is found.

    Attributes
    ----------
    names : of the views
    overviews : one a view, see `common_overviews`
    found_on : the places of the volumes, each with the SHA-256 of its "views" by their names, as JSON types
    """

    names: tuple[str, ...]
    overviews: tuple[Overview, ...]
    found_on: tuple[dict[str, Any], ...]

    def fits(self, views: RegisteredViews) -> bool:
        """Whether they are the same views of a volume of the same shape."""
        return views.names == self.names and views.grid.shape == self.overviews[0].shape

    def given_to(self, views: RegisteredViews) -> RegisteredViews:
        """The views of another volume, whose lost light is then found here; they are scanned where they were not.

        Raises
        ------
        InputError
            If they are not the same views of a volume of the same shape.
        """
        if not self.fits(views):
            raise InputError(
                f"the views {', '.join(views.names)} of {times(views.grid.shape)} voxels cannot share the lost light of "
                f"{', '.join(self.names)} of {times(self.overviews[0].shape)}: have it found on each (--per-timepoint)"
            )
        return views.with_overviews(self.overviews)


def shared_light(volumes: Sequence[tuple[Place, RegisteredViews]]) -> SharedLight | None:
    """What some volumes have in common; None where a view has no overview of its whole volume.

    Parameters
    ----------
    volumes : at least one, with their places, scanned; all with the same views and of the same shape
    """
    numbers = [views.statistics() for _, views in volumes]
    overviews = [[one.overview for one in each if one.overview is not None] for each in numbers]
    names = volumes[0][1].names
    if any(len(each) < len(names) for each in overviews):
        return None
    found_on = tuple(
        {**place, "views": {name: one.sha256 for name, one in zip(names, each, strict=True)}}
        for (place, _), each in zip(volumes, numbers, strict=True)
    )
    return SharedLight(names, common_overviews(overviews), found_on)


def shared_light_again(
    found_on: Sequence[Mapping[str, Any]], open_at: Callable[[Place], RegisteredViews]
) -> Generator[Event, None, SharedLight | None]:
    """The same from the same volumes, as a recipe names them.

    Parameters
    ----------
    found_on : see `SharedLight`
    open_at : opens the views of a place

    Yields
    ------
    The progress of scans.

    Raises
    ------
    InputError
        If a volume cannot be opened, or its pixels are others now.
    """
    volumes = []
    for entry in found_on:
        place = {key: value for key, value in entry.items() if key != "views"}
        views = open_at(place).select(list(entry["views"]))
        for name, numbers in zip(views.names, (yield from views.scan()), strict=True):
            if numbers.sha256 != entry["views"][name]:
                raise InputError(
                    f"the pixels of view '{name}' at {_in_words(place)}, on which lost light was found for all of a series, "
                    "changed since: restore them, or fuse the series anew"
                )
        volumes.append((place, views))
    return shared_light(volumes)


def _in_words(place: Place) -> str:
    said = {"timepoint": "time point", "channel": "channel", "tag": "tag"}
    return ", ".join(f"{words} {place[key]}" for key, words in said.items() if place.get(key) is not None)
