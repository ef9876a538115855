"""How far a fused volume can be trusted, as volumes beside it: how far it may be off, and light that no view supports.

The first is told by the method, where it can: it is fused once more, showing that in the place of the image. The second
takes nothing but the views, see `unsupported`. Both come after the fused volume, which is complete by then and stays,
whatever becomes of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_mvfusion.data.events import Event, Finished, Noted, Preparing, TileDone, TileStep, Warned
from napari_mvfusion.data.fused import Fused, TrustMaps
from napari_mvfusion.data.geometry import Triple
from napari_mvfusion.data.views import RegisteredViews, VolumeLike
from napari_mvfusion.engine.finishing import named_apart
from napari_mvfusion.engine.provenance import made_alike
from napari_mvfusion.engine.unsupported import Unsupported, unsupported_steps
from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.io.atomic import check_place, sweep, writing
from napari_mvfusion.io.formats import place_of, write_volume, writer_of
from napari_mvfusion.io.opening import open_volume, read_recipe
from napari_mvfusion.measures.attenuation import find_transmission
from napari_mvfusion.measures.given_transmission import given_transmission
from napari_mvfusion.measures.used_attenuation import UsedAttenuation
from napari_mvfusion.methods.base import Method, Step
from napari_mvfusion.methods.deblurring import look_at_psfs
from napari_mvfusion.methods.steps import map_steps
from napari_mvfusion.system.locks import locked

UNCERTAINTY, UNSUPPORTED = "uncertainty", "unsupported"

# Shares of the time of a run with maps that the fused volume and both maps are told to take.
_IMAGE_SHARE, _UNCERTAINTY_SHARE = 0.6, 0.3
_SLAB = 32
_FORMAT = "mvfusion-map"
_PIECE = 2**24

# Fuses by a method into a file, or into memory.
Fusing = Callable[[Method, Path | None], Generator[Event, None, Fused | None]]


@dataclass(frozen=True)
class WantedMaps:
    """The maps that come with a fused volume.

    Attributes
    ----------
    uncertain : the method that shows how far the result may be off; None where it cannot
    places : the file of each map, by what it shows; {} in memory
    """

    uncertain: Method | None
    places: dict[str, Path]


def wanted_maps(
    views: RegisteredViews, method: Method, named: Path | None, *, resume: bool, overwrite: bool
) -> WantedMaps:
    """The maps of a run, looked at before any work.

    Parameters
    ----------
    views, method : of the run
    named : its output, None for memory
    resume, overwrite : as for the run

    Raises
    ------
    InputError
        If a view has no PSF to blur with, or the result is no image.
    OutputError
        If there is a file already where one of them goes.
    """
    if getattr(method, "shows", "image") != "image":
        raise InputError(
            "maps tell how far an image can be trusted, and shows=uncertainty is no image: leave out one of them"
        )
    try:
        look_at_psfs(views)
    except InputError as error:
        raise InputError(f"maps compare the views with the fused volume, blurred by their PSFs, but {error}") from error
    uncertain = method.uncertain
    shown = [UNSUPPORTED] if uncertain is None else [UNCERTAINTY, UNSUPPORTED]
    places = {} if named is None else {what: named_apart(named, f"-{what}") for what in shown}
    for place in map(place_of, places.values()):
        check_place(place)
        if place.exists() and not (resume or overwrite):
            raise OutputError(
                f"{place} exists already: choose another output, or allow it to be overwritten (--overwrite)"
            )
    return WantedMaps(uncertain, places)


def image_events(events: Generator[Event, None, Fused | None]) -> Generator[Event, None, tuple[Fused | None, float]]:
    """The events of the fused volume itself, but for the last one where it is complete.

    Returns
    -------
    The fused volume, None where the run was cancelled; and the seconds that it took.
    """
    fused, seconds = None, 0.0
    for event in events:
        if isinstance(event, Finished):
            fused, seconds = event.fused, event.seconds
        else:
            yield _within(event, 0.0, _IMAGE_SHARE)
    return fused, seconds


def map_events(
    fused: Fused,
    views: RegisteredViews,
    method: Method,
    wanted: WantedMaps,
    fuse: Fusing,
    device: torch.device,
    *,
    resume: bool,
) -> Generator[Event, None, TrustMaps | None]:
    """Make the maps of a fused volume.

    Parameters
    ----------
    fused : complete
    views : as the run took them, with what is known of their lost light
    method : of the run
    wanted : what `wanted_maps` gives
    fuse : runs the method that shows how far the result may be off
    device : where it computes
    resume : keep a map that is there

    Yields
    ------
    Steps, and what is to be said of the light without support.

    Returns
    -------
    The maps, None where the run was cancelled.
    """
    uncertainty: VolumeLike | None = None
    kept = True
    if wanted.uncertain is not None:
        for event in fuse(wanted.uncertain, wanted.places.get(UNCERTAINTY)):
            if isinstance(event, Finished):
                uncertainty, kept = event.fused.data, event.fused.made_before
            elif isinstance(event, (TileDone, TileStep, Preparing)):
                # What is to be said of the views was said.
                yield _within(_as_step(event), _IMAGE_SHARE, _IMAGE_SHARE + _UNCERTAINTY_SHARE)
        if uncertainty is None:
            return None
    named = wanted.places.get(UNSUPPORTED)
    if named is not None and resume and _is_of(named, fused):
        found = _opened(named, fused.data)
    else:
        found, kept = (yield from _find(fused, views, method, named, device)), False
    yield _said(found, named)
    return TrustMaps(uncertainty, found.values, found.share, wanted.places, made_before=kept)


def _find(
    fused: Fused, views: RegisteredViews, method: Method, named: Path | None, device: torch.device
) -> Generator[Event, None, Unsupported]:
    """Find the light without support, and write it where it goes to a file."""
    attenuation = _attenuation(views, method)
    with _room_for(named, views.grid.shape) as room:
        steps = unsupported_steps(fused.data, views, attenuation=attenuation, device=device, into=room)
        found = yield from map_steps(steps, _of_support)
        if named is None:
            return found
        write_volume(named, found.values, views.grid, recipe=_origin(fused), overwrite=True)
    return replace(found, values=open_volume(named)[0])


def _of_support(step: Step) -> Event:
    """Progress of the light without support, which comes last."""
    return _within(TileStep(f"light without support: {step.label}", step.share), _IMAGE_SHARE + _UNCERTAINTY_SHARE, 1.0)


def stale_maps(fused: Fused) -> list[str]:
    """Maps beside a fused volume that are of another one, which it replaced, in words."""
    if fused.path is None:
        return []
    beside = {what: named_apart(fused.path, f"-{what}") for what in (UNCERTAINTY, UNSUPPORTED)}
    stale = []
    for what, named in beside.items():
        if not place_of(named).exists():
            continue
        try:
            origin = read_recipe(named) or {}
        except InputError:
            continue
        theirs = origin.get("format") == _FORMAT or _shown(origin) == "uncertainty"
        if theirs and not (origin == _origin(fused) if what == UNSUPPORTED else _tells_of(origin, fused)):
            stale.append(f"{named} is the map of another result than this: make it anew with --maps, or remove it")
    return stale


def _shown(recipe: Mapping[str, Any]) -> object:
    """What a generator shows, as a recipe says."""
    return recipe.get("method", {}).get("parameters", {}).get("shows")


def _tells_of(recipe: Mapping[str, Any], fused: Fused) -> bool:
    """Whether the recipe of a map is that of a volume, but for what is shown."""
    method = fused.recipe["method"]
    expected = method | {"parameters": method["parameters"] | {"shows": "uncertainty"}}
    return made_alike(recipe, fused.recipe | {"method": expected})


def _origin(fused: Fused) -> dict[str, Any]:
    """What tells the volume that a map is of from others, as a file of the map holds it."""
    return {"format": _FORMAT, "of": fused.recipe["run"].get("voxels_sha256"), "method": fused.recipe["method"]}


def _is_of(named: Path, fused: Fused) -> bool:
    """Whether a file is the map of this very volume."""
    if not place_of(named).exists():
        return False
    try:
        return read_recipe(named) == _origin(fused)
    except InputError:
        return False


def _opened(named: Path, image: VolumeLike) -> Unsupported:
    """What an earlier run has written, and the share of the light that it is."""
    values = open_volume(named)[0]
    without, light = 0.0, 0.0
    for z in range(0, values.shape[0], _SLAB):
        without += float(np.asarray(values[z : z + _SLAB]).sum(dtype=np.float64))
        light += float(np.asarray(image[z : z + _SLAB]).clip(0).sum(dtype=np.float64))
    return Unsupported(values, without / light if light > 0 else 0.0)


def _attenuation(views: RegisteredViews, method: Method) -> UsedAttenuation:
    """What the run took for the attenuation of its views."""
    kind = getattr(method, "attenuation", "none")
    if kind == "none":
        return UsedAttenuation("none, as in the run")
    found = given_transmission(views) if kind == "given" else find_transmission(views)
    return UsedAttenuation(f"{kind}, as in the run", transmission=found, names=views.names)


@contextmanager
def _room_for(named: Path | None, shape: Triple) -> Iterator[np.ndarray]:
    """Zeros for a map: in memory, or where it goes to a file on the disk beside it, as it may be larger than memory."""
    if named is None:
        yield np.zeros(shape, np.float32)
        return
    place = writer_of(named).place(named)
    raw = place.with_name(f"{place.name}.raw")
    with writing(raw), locked(raw):
        sweep(raw)  # what a killed run left
        aside = raw.with_name(f".{raw.name}.writing-{os.getpid()}")
        try:
            _reserve(aside, 4 * prod(shape))
            yield np.memmap(aside, np.float32, "r+", shape=shape)
        finally:
            aside.unlink(missing_ok=True)


def _reserve(path: Path, size: int) -> None:
    """A file of zeros that has its room on the disk: one that only seems to would end the process where the disk is full."""
    with path.open("wb") as file:
        for start in range(0, size, _PIECE):
            file.write(bytes(min(_PIECE, size - start)))


def _said(found: Unsupported, named: Path | None) -> Event:
    """What a user is to know of the light without support; a caution where there is much."""
    see = "" if named is None else f": see {named}"
    return Warned(f"{found.sentence}, it {found.caution}{see}") if found.caution else Noted(f"{found.sentence}{see}")


def _as_step(event: TileDone | TileStep | Preparing) -> TileStep:
    """Progress of a map, which fills no layer."""
    share = 0.0 if isinstance(event, Preparing) else event.fraction
    return TileStep(f"how far it may be off: {event.label}", share)


def _within(event: Event, begin: float, end: float) -> Event:
    """An event whose share of the work is between these of the whole run."""
    if not isinstance(event, (TileDone, TileStep)):
        return event
    return replace(event, fraction=begin + (end - begin) * event.fraction)
