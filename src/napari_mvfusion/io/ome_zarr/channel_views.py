"""An OME-Zarr whose channels are views: their pixels, and what our own attributes or its labels say of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from napari_mvfusion.data.field_of_view import NO_DATA, NoData
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.angles import angles_in
from napari_mvfusion.io.ome_zarr.checked_store import weigh
from napari_mvfusion.io.ome_zarr.reader import ZarrImage, attributes_in, of_ome, open_image, refuse_outside
from napari_mvfusion.io.ome_zarr.stores import store_of
from napari_mvfusion.io.volume_choice import VolumeChoice
from napari_mvfusion.psf import check_size
from napari_mvfusion.system.file_checks import parsing

_DAMAGED = "copy it again"
_NO_DATA: dict[str | None, NoData | None] = {None: None, **{choice: choice for choice in NO_DATA}}


def dressed(view: View, path: Path) -> View:
    """A view that an image holds alone, with what our own attributes say of it, and its PSF.

    Raises
    ------
    InputError
        If that cannot be understood.
    """
    with parsing(f"{path} is damaged: what it says of its view cannot be understood", _DAMAGED):
        stated = attributes_in(path).get("mvfusion", {}).get("views", [])
        entries = [_stated(entry) for entry in stated]
    if len(entries) != 1:
        return view
    entry = entries[0]
    return replace(
        view,
        name=entry.name,
        psf=None if entry.psf is None else _psf(path, entry.psf, entry.name),
        angle=view.angle if entry.angle is None else entry.angle,
        weight=entry.weight,
        offset=entry.offset,
        gain=entry.gain,
        remove_hot=entry.remove_hot,
        no_data=entry.no_data or "none",
        no_data_stated=entry.no_data is not None,
    )


def open_zarr_views(path: str | Path, at: VolumeChoice) -> RegisteredViews:
    """Open an OME-Zarr whose channels are views.

    They lie on the voxels of the level, along their own axes, also where `ZarrImage.placement` turns these.

    Names, angles, weights, offsets and PSFs come from our own attributes where `write_views_zarr` made the file, else
    names from the channel labels, and there are no PSFs. PSFs are on the voxels of the full resolution.

    Parameters
    ----------
    path : of the image
    at : its time point, its level, and the coordinate system, as registration, that is the world

    Raises
    ------
    InputError
        If the image or an entry of it cannot be used.
    """
    image, timepoint = open_image(path, at), at.timepoint
    image.volume(0 if "c" in image.leading else None, timepoint)  # refuses a time point that is not there
    with parsing(f"{path} is damaged: what it says of its views cannot be understood", _DAMAGED):
        entries = _entries(image)
    if len(entries) != image.channels:
        raise InputError(f"{path} is damaged: it describes {len(entries)} views, but has {image.channels} channels")
    views = []
    for number, entry in enumerate(entries):
        views.append(
            View(
                image.volume(number if "c" in image.leading else None, timepoint),
                entry.name,
                psf=None if entry.psf is None else _psf(image.path, entry.psf, entry.name),
                angle=entry.angle,
                weight=entry.weight,
                offset=entry.offset,
                gain=entry.gain,
                remove_hot=entry.remove_hot,
                no_data=entry.no_data or "none",
                no_data_stated=entry.no_data is not None,
                source=str(image.path),
            )
        )
    return RegisteredViews(views, image.grid, remarks=[*image.placement.notes, *image.notes])


@dataclass(frozen=True)
class _Entry:
    """What the attributes say of a view; `psf` is the name of an array in the same folder."""

    name: str
    psf: str | None = None
    angle: float | None = None
    weight: float = 1.0
    offset: float = 0.0
    gain: float = 1.0
    remove_hot: bool = False
    no_data: NoData | None = None


def _entries(image: ZarrImage) -> list[_Entry]:
    """What our own attributes say of the views, or the labels of the channels."""
    entries = image.attributes.get("mvfusion", {}).get("views")
    if entries is None:
        channels = of_ome(image.attributes).get("omero", {}).get("channels", [])
        labels = [str(channel.get("label", "")) for channel in channels]
        names = labels if len(set(labels)) == image.channels and "" not in labels else None
        if names is None:
            return [_Entry(f"channel {i}") for i in range(image.channels)]
        return [_Entry(name, angle=angle) for name, angle in zip(names, angles_in(names), strict=True)]
    return [_stated(entry) for entry in entries]


def _stated(entry: Mapping[str, Any]) -> _Entry:
    return _Entry(
        str(entry["name"]),
        None if entry.get("psf") is None else str(entry["psf"]),
        None if entry.get("angle") is None else float(entry["angle"]),
        float(entry.get("weight", 1.0)),
        float(entry.get("offset", 0.0)),
        float(entry.get("gain", 1.0)),
        bool(entry.get("remove_hot", False)),
        _NO_DATA[entry.get("no_data")],
    )


def _psf(folder: Path, name: str, view: str) -> np.ndarray:
    refuse_outside(folder, name, "a PSF")
    with parsing(f"{folder} is damaged: the PSF of view '{view}' cannot be read", _DAMAGED):
        stored = zarr.open_array(store_of(folder / name), mode="r")
        check_size(stored.shape, f"the PSF of view '{view}' in {folder}")
        weigh(folder / name, stored)
        return np.asarray(stored[:], np.float32)
