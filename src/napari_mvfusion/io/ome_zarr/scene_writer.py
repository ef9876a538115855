"""Registered views, each in its place, and a fused volume of them as one OME-Zarr 0.6 scene."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from napari_mvfusion.data.fused import Fused
from napari_mvfusion.data.geometry import Grid, float_triple, triple
from napari_mvfusion.data.views import RegisteredViews, View, VolumeLike
from napari_mvfusion.errors import OutputError
from napari_mvfusion.io.atomic import written_aside
from napari_mvfusion.io.ome_zarr.placement import upright_or_turned
from napari_mvfusion.io.ome_zarr.view_channels import entry_of
from napari_mvfusion.io.ome_zarr.writer import space_axes, write_zarr

VERSION = "0.6"
WORLD, PHYSICAL = "world", "physical"
FUSED, VIEWS = "fused", "views"
_NO_NAME = re.compile(r"[^A-Za-z0-9._+-]+")


def write_scene(
    path: str | Path,
    views: RegisteredViews,
    *,
    fused: Fused | None = None,
    overwrite: bool = False,
) -> None:
    """Write views as the images `views/NAME` of a scene, with their pixels as they are and their affines to one world.

    A fused volume is the image `fused` beside them. Names, angles, weights, offsets and PSFs go into our own attributes and
    arrays, as in an OME-Zarr of views, which other programs ignore.

    Parameters
    ----------
    path : the folder; it is written aside and renamed
    views : with PSFs in the frames of their views, as `open_views(..., own_psfs=True)` gives them
    fused : of these views, in the same world
    overwrite : replace the folder when it exists

    Raises
    ------
    OutputError
        If a view has a mask, trust or a transmission, there is something already, or it cannot be written.
    """
    for view in views.views:
        if view.mask is not None:
            raise OutputError(f"{view.label} has a mask, which a scene does not hold: save it without")
        if view.trust is not None:
            raise OutputError(
                f"{view.label} counts more in some places than in others, which a scene does not hold: save it without trust"
            )
        if view.transmission is not None:
            raise OutputError(f"{view.label} has a transmission, which a scene does not hold: save it without")
    with written_aside(path, overwrite=overwrite) as aside:
        group: Any = zarr.create_group(aside, zarr_format=3)
        group.create_group(VIEWS)
        ways = []
        for name, view in zip(plain_names(views.names), views.views, strict=True):
            affine = views.grid.affine if view.affine is None else view.affine
            ways.append(
                _way(f"{VIEWS}/{name}", _write_view(aside / VIEWS / name, view, affine, views.grid), views.grid)
            )
        if fused is not None:
            _write_image(aside / FUSED, fused.data, fused.grid, recipe=fused.recipe)
            ways.append(_transform(FUSED, {"type": "identity"}))
        group.attrs["ome"] = {
            "version": VERSION,
            "scene": {
                "coordinateSystems": [{"name": WORLD, "axes": space_axes(views.grid)}],
                "coordinateTransformations": ways,
            },
        }


def as_version_06(ome: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of an image as version 0.6 has it, made of those of version 0.5."""
    images = []
    for image in ome["multiscales"]:
        image = dict(image)
        image["coordinateSystems"] = [{"name": PHYSICAL, "axes": image.pop("axes")}]
        image["datasets"] = [
            {
                "path": level["path"],
                "coordinateTransformations": [
                    {
                        "type": "sequence",
                        "input": {"path": level["path"]},
                        "output": {"name": PHYSICAL},
                        "transformations": level["coordinateTransformations"],
                    }
                ],
            }
            for level in image["datasets"]
        ]
        images.append(image)
    return {**ome, "version": VERSION, "multiscales": images}


def _write_view(place: Path, view: View, affine: np.ndarray, grid: Grid) -> np.ndarray:
    """Write a view along its own axes, from 0 on; gives the affine from there to the world."""
    size = np.linalg.norm(affine[:3, :3], axis=0)
    own = Grid(triple(view.shape), float_triple(size), known=grid.known)
    _write_image(place, view.data, own)
    group: Any = zarr.open_group(place, mode="r+")
    entry = entry_of(view, None if view.psf is None else "psf/0")
    if view.psf is not None:
        group.create_array("psf/0", data=np.asarray(view.psf, np.float32))
    group.attrs["mvfusion"] = {"views": [entry]}
    return affine @ np.diag([*(1 / size), 1.0])


def _write_image(place: Path, data: VolumeLike, grid: Grid, **how: Any) -> None:
    write_zarr(place, data, grid, **how)
    group: Any = zarr.open_group(place, mode="r+")
    group.attrs["ome"] = as_version_06(group.attrs["ome"])


def _way(path: str, affine: np.ndarray, grid: Grid) -> dict[str, Any]:
    """The transform from an image to the world, as the simplest one that says it."""
    _, _, turned, _ = upright_or_turned(affine, grid.known)
    if turned is None:
        return _transform(path, {"type": "translation", "translation": affine[:3, 3].tolist()})
    return _transform(path, {"type": "affine", "affine": affine[:3].tolist()})


def _transform(path: str, stated: Mapping[str, Any]) -> dict[str, Any]:
    return {**stated, "input": {"path": path, "name": PHYSICAL}, "output": {"name": WORLD}}


def plain_names(names: Sequence[str]) -> list[str]:
    """Names of files or folders for views, which keep what every file system takes, and differ in more than upper case."""
    found: list[str] = []
    for number, name in enumerate(names):
        plain = _NO_NAME.sub("_", name).strip("._") or f"view{number}"
        taken = {each.lower() for each in found}
        found.append(f"{plain}-{number}" if plain.lower() in taken else plain)
    return found
