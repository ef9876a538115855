"""Finished OME-Zarr images of single volumes, gathered in one image with time points or channels before z.

A volume is not copied: the chunks of a volume are the same files in both, so their folders move.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import zarr

from napari_mvfusion.data.geometry import triple
from napari_mvfusion.data.views import VolumeLike
from napari_mvfusion.io.atomic import remove
from napari_mvfusion.io.ome_zarr.reader import open_image
from napari_mvfusion.io.ome_zarr.view_channels import shown_channel
from napari_mvfusion.io.ome_zarr.writer import create_level, damaged_level, image_metadata, places_of
from napari_mvfusion.io.streaming import LeadingAxis

_CHUNKS = "c"


class GatheringZarr:
    """An OME-Zarr that takes one finished volume after the other; see `Format.gather` for the parameters."""

    def __init__(self, place: Path, leading: Sequence[LeadingAxis], channel_names: Sequence[str], *, name: str) -> None:
        self._place, self._leading, self._names, self._name = place, leading, channel_names, name

    def take(self, index: tuple[int, ...], volume: Path) -> None:
        """Move a volume to its place, also where a kill left half of it to do; see `Gathering`."""
        if not self._place.exists():
            self._create(volume)
        for number in self._levels():
            chunks, there = volume / number / _CHUNKS, self._chunks(number, index)
            # One without chunks is 0 everywhere, or has moved before a kill.
            if chunks.exists():
                there.parent.mkdir(parents=True, exist_ok=True)
                remove(there)
                chunks.rename(there)

    def forget(self, index: tuple[int, ...]) -> None:
        """Remove what is stored of a volume; see `Gathering`."""
        for number in self._levels():
            remove(self._chunks(number, index))

    def volume(self, index: tuple[int, ...]) -> VolumeLike:
        """One of the volumes, read lazily; see `Gathering`."""
        axes = [axis.name for axis in self._leading]
        return open_image(self._place).at(dict(zip(axes, index, strict=True)))

    def flaw(self, index: tuple[int, ...]) -> str:
        """What is wrong with the coarser levels of a volume; see `Gathering`."""
        level = damaged_level(self._place, index)
        return "" if level is None else f"its coarser level {level} is not made of its voxels"

    def finish(self, recipe: Mapping[str, Any]) -> None:
        """Add the recipe and the names of channels; see `Gathering`."""
        group: Any = zarr.open_group(self._place, mode="r+")
        if self._names:
            group.attrs["ome"] = group.attrs["ome"] | {"omero": {"channels": self._shown(group)}}
        group.attrs["mvfusion"] = {"recipe": dict(recipe)}

    def _create(self, volume: Path) -> None:
        """Make the image, empty, with the levels of a volume."""
        like: Any = zarr.open_group(volume, mode="r")
        described = like.attrs["ome"]["multiscales"][0]["datasets"]
        levels = [like[each["path"]] for each in described]
        grid, _ = places_of(like.attrs["ome"], levels[0].shape)
        scales = [each["coordinateTransformations"][0]["scale"] for each in described]
        factors = [triple(round(s / f) for s, f in zip(scale, scales[0], strict=True)) for scale in scales]
        aside = self._place.with_name(f".{self._place.name}.new")
        remove(aside)
        group = zarr.create_group(aside, zarr_format=3)
        for number, level in enumerate(levels):
            shape, chunks = triple(level.shape), triple(level.chunks)
            shards = None if level.shards is None else triple(level.shards)
            create_level(group, number, shape, level.dtype.name, chunks, self._leading, shards)
        group.attrs["ome"] = image_metadata(self._name, grid, factors, self._leading)
        aside.rename(self._place)

    def _levels(self) -> list[str]:
        return sorted(path.name for path in self._place.iterdir() if path.name.isdigit())

    def _chunks(self, number: str, index: tuple[int, ...]) -> Path:
        return self._place.joinpath(number, _CHUNKS, *map(str, index))

    def _shown(self, group: Any) -> list[dict[str, Any]]:
        """How viewers show the channels: their names, and the range of the pixels at the first time point."""
        coarsest = group[self._levels()[-1]]
        shown = []
        for number, name in enumerate(self._names):
            pixels = coarsest[tuple(number if axis.name == "c" else 0 for axis in self._leading)]
            shown.append(shown_channel(name, number, float(pixels.min()), float(pixels.max())))
        return shown
