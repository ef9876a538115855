"""What made a fused volume, as plain JSON: views and PSFs with their hashes, method, parameters, software."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import torch

from napari_mvfusion.data.views import RegisteredViews, View, ViewStatistics
from napari_mvfusion.data.volume_digest import volume_sha256
from napari_mvfusion.methods.base import Method
from napari_mvfusion.methods.generator import LearnedFusion

FORMAT: Literal["mvfusion-recipe"] = "mvfusion-recipe"
FORMAT_VERSION = 1
_SOFTWARE = ("napari-mvfusion", "torch", "numpy", "scipy")


def describe_run(
    views: RegisteredViews, method: Method, device: torch.device, inputs: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The recipe of a run, as JSON types.

    Needs the statistics of the views, which it computes when `views.scan` has not run yet.
    """
    grid = views.grid
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "inputs": None if inputs is None else dict(inputs),
        "grid": {
            "shape": list(grid.shape),
            "voxel_size_um": list(grid.voxel_size_um),
            "origin_um": list(grid.origin_um),
            **({} if grid.size_known else {"voxel_size_known": list(grid.known)}),
        },
        "views": [_describe_view(view, numbers) for view, numbers in zip(views.views, views.statistics(), strict=True)],
        "method": {"name": method.name, "parameters": parameters_of(method)},
        "run": {"device": device.type, "threads": torch.get_num_threads()},
        "software": software_versions(),
    }


def parameters_of(method: Method) -> dict[str, Any]:
    """The parameters of a method as a recipe holds them, with the hash of the weights of a model."""
    parameters = {
        key: value
        for key, value in method.model_dump(mode="json", by_alias=True).items()
        # What a recipe need not say it does not: that of a method which is as it always was stays the same.
        if key not in method.unsaid or value != method.unsaid[key]
    }
    if isinstance(method, LearnedFusion):
        # A name alone does not say which weights.
        parameters["sha256"] = method.weights()
    return parameters


def software_versions() -> dict[str, str]:
    """Versions of the software that a result depends on."""
    return dict(_versions())


@cache
def _versions() -> dict[str, str]:
    # Looked up in files of the packages, which takes long beside a small volume of a long series.
    return {"python": platform.python_version()} | {name: version(name) for name in _SOFTWARE}


def with_iterations(recipe: Mapping[str, Any], number: int, why: str) -> dict[str, Any]:
    """The recipe of a run that found its number of iterations: it holds the number, so that repeating it finds nothing anew.

    Parameters
    ----------
    recipe : of the run as it was asked for
    number : of iterations
    why : in words
    """
    parameters = recipe["method"]["parameters"]
    return {
        **recipe,
        "method": recipe["method"] | {"parameters": parameters | {"iterations": number}},
        "run": recipe["run"] | {"iterations_asked": parameters["iterations"], "iterations_because": why},
    }


def method_asked_for(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The method of a recipe as the run was asked for it, before it found the number of iterations."""
    method: dict[str, Any] = recipe["method"]
    if "iterations_asked" not in recipe["run"]:
        return method
    return method | {"parameters": method["parameters"] | {"iterations": recipe["run"]["iterations_asked"]}}


def as_done(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe of a run that was asked for what this one found, and so makes the same volume."""
    return {**recipe, "run": {key: value for key, value in recipe["run"].items() if key != "iterations_asked"}}


def fingerprint(recipe: Mapping[str, Any]) -> str:
    """SHA-256 of a recipe: equal for runs that give the same volume, whatever the tiles and the output.

    What a run finds by itself does not count, only what it was asked for.
    """
    same = {key: recipe[key] for key in ("grid", "software")} | {"device": recipe["run"]["device"]}
    same["method"] = method_asked_for(recipe)
    # Notes only tell how the PSFs came about, whose values have hashes.
    same["views"] = [{key: value for key, value in view.items() if key != "psf_notes"} for view in recipe["views"]]
    same |= _from_other_volumes(recipe)
    return hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()


def made_alike(recipe: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two recipes are of the same views and method, whatever the device and the versions of the software."""

    def origin(of: Mapping[str, Any]) -> str:
        # Notes only tell how the PSFs came about, whose values have hashes.
        views = [{key: value for key, value in view.items() if key != "psf_notes"} for view in of["views"]]
        return json.dumps([of["grid"], method_asked_for(of), views, _from_other_volumes(of)], sort_keys=True)

    return origin(recipe) == origin(other)


def _from_other_volumes(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What a run took from other volumes of its series."""
    return {key: recipe["run"][key] for key in ("lost_light_from",) if key in recipe["run"]}


def views_of_run(recipe: Mapping[str, Any] | None, views: RegisteredViews) -> RegisteredViews:
    """Of views those that a volume was fused from, as its recipe says.

    Parameters
    ----------
    recipe : of the volume, from wherever; None where there is none
    views : those that are at hand

    Returns
    -------
    Those, in the order of the run; all, as they are, where the recipe names none, or others than are at hand.
    """
    stated = (recipe or {}).get("views")
    used = [str(view.get("name")) for view in stated if isinstance(view, dict)] if isinstance(stated, list) else []
    return views.select(used) if used and set(used) <= set(views.names) else views


def psf_sha256(psf: np.ndarray) -> str:
    """SHA-256 of a PSF's shape and float32 values."""
    values = np.ascontiguousarray(psf, np.float32)
    return hashlib.sha256(str(values.shape).encode() + values.tobytes()).hexdigest()


def _describe_view(view: View, numbers: ViewStatistics) -> dict[str, Any]:
    return {
        "name": view.name,
        "angle": view.angle,
        "source": view.source,
        "sha256": numbers.sha256,
        "psf_shape": None if view.psf is None else list(view.psf.shape),
        "psf_sha256": None if view.psf is None else psf_sha256(view.psf),
        "psf_notes": list(view.psf_notes),
        "affine": None if view.affine is None else np.asarray(view.affine).tolist(),
        "weight": view.weight,
        "offset": view.offset,
        # Only where they do something: the fingerprint of unfinished runs stays the same.
        **({"gain": view.gain} if view.gain != 1 else {}),
        **({"remove_hot": True} if view.remove_hot else {}),
        **({"mask_sha256": numbers.mask_sha256} if numbers.mask_sha256 else {}),
        **({"trust_sha256": numbers.trust_sha256} if numbers.trust_sha256 else {}),
        **({} if view.transmission is None else {"transmission_sha256": volume_sha256(view.transmission)}),
    }
