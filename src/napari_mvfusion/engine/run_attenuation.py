"""What a run took for the attenuation of its views, as its recipe says: estimated again, given again, or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from napari_mvfusion.data.views import RegisteredViews, View, drain
from napari_mvfusion.data.volume_digest import volume_sha256
from napari_mvfusion.engine.recipe import Recipe, ViewEntry
from napari_mvfusion.errors import InputError
from napari_mvfusion.measures.attenuation import find_transmission
from napari_mvfusion.measures.given_transmission import given_transmission
from napari_mvfusion.measures.used_attenuation import FITTED, UsedAttenuation
from napari_mvfusion.methods import method_of_recipe


def attenuation_of_run(recipe: Mapping[str, Any] | None, views: RegisteredViews) -> UsedAttenuation:
    """What a residual of a fused volume on its views should take for their attenuation.

    Parameters
    ----------
    recipe : of the volume; None where there is none
    views : those that the volume was fused from; they are scanned where the run estimated

    Returns
    -------
    What the run used: found again from the same views, which gives the same; given again, by the hash of the recipe; or
    none. Where that is not possible a fit, with the reason in its words.
    """
    if recipe is None:
        return FITTED
    try:
        run = Recipe.model_validate(dict(recipe))
        attenuation = method_of_recipe(run.method.name, run.method.parameters).attenuation
        if attenuation == "none":
            return UsedAttenuation("none, as in its run")
        used = [entry.name for entry in run.views]
        if set(used) != set(views.names):
            raise InputError(f"its run used the views {', '.join(used)}, and here are {', '.join(views.names)}")
        chosen = views.select(used)
        return _given_again(run, chosen) if attenuation == "given" else _found_again(run, chosen)
    except ValidationError:
        return replace(FITTED, words="fitted, as its recipe cannot be read")
    except InputError as error:
        return replace(FITTED, words=f"fitted, as what its run used is not known: {error}")


def with_transmissions_of(run: Recipe, views: RegisteredViews) -> RegisteredViews:
    """Views with the transmissions that a run was given: those that they have, or what the files of its recipe hold.

    Raises
    ------
    InputError
        If one is not there, or is not the one of the run.
    """
    files = {} if run.inputs is None else run.inputs.transmissions
    entries = {entry.name: entry for entry in run.views}
    given = [_with_its_own(run, view, entries[view.name], files.get(view.name)) for view in views.views]
    return RegisteredViews(given, views.grid, remarks=views.remarks)


def _found_again(run: Recipe, views: RegisteredViews) -> UsedAttenuation:
    pixels = [numbers.sha256 for numbers in views.statistics()]
    changed = any(now and now != entry.sha256 for now, entry in zip(pixels, run.views, strict=True))
    words = f"estimated, as in its run{', though views have changed since' if changed else ''}"
    light = drain(run.shared_light())
    found = find_transmission(views if light is None else light.given_to(views))
    if found is None:
        return UsedAttenuation(f"{words}: none was found")
    return UsedAttenuation(words, transmission=found, names=views.names)


def _given_again(run: Recipe, views: RegisteredViews) -> UsedAttenuation:
    found = given_transmission(with_transmissions_of(run, views))
    return UsedAttenuation("given, as in its run", transmission=found, names=views.names)


def _with_its_own(run: Recipe, view: View, entry: ViewEntry, file: str | None) -> View:
    """A view with the transmission that it had in the run: what it has, or what the file of the recipe holds."""
    if view.transmission is None and run.inputs is not None and file is not None:
        if not Path(file).exists():
            raise InputError(f"the transmission of {view.label}, {file}, is not there any more")
        view = replace(view, transmission=run.inputs.open_beside(file))
    if view.transmission is None:
        raise InputError(f"{view.label} has no transmission here")
    if volume_sha256(view.transmission) != entry.transmission_sha256:
        raise InputError(f"{view.transmission_label} changed since")
    return view
