"""The reader of the manifest: folders of registered views, projects, OME-Zarr, and files with volumes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import zarr
from napari.utils.notifications import show_warning

from napari_mvfusion.data.geometry import Grid, triple
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.entrances import open_views_panel
from napari_mvfusion.gui.layers.layer_data import (
    LayerData,
    all_volumes,
    first_volume,
    stacked,
    truth_layer,
    view_layers,
    view_series,
    volume_layer,
)
from napari_mvfusion.io.contents import one_of
from napari_mvfusion.io.folder import scan_folder
from napari_mvfusion.io.formats import format_of, is_project, is_volume, open_stored, volume_files
from napari_mvfusion.io.ome_zarr.checked_store import PlainFiles, weigh
from napari_mvfusion.io.ome_zarr.reader import ZarrImage, is_zarr, open_image
from napari_mvfusion.io.opening import open_truth, open_views
from napari_mvfusion.io.roles import MOST_FILES
from napari_mvfusion.io.volume_choice import ProjectChoice, VolumeChoice

_MOST_SAMPLES = 6


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """What opens this path, or None where it is nothing that this plugin can read.

    Parameters
    ----------
    path : a folder of `tag_view_ANGLE.tif` files, a project, an OME-Zarr, or a file with a volume; stacks of files are left
        to others
    """
    if isinstance(path, list):
        if len(path) != 1:
            return None
        path = path[0]
    folder = Path(path)
    try:
        if folder.is_file() and is_project(folder):
            format_of(folder).describe(folder)
            return _read_project
        if folder.is_file() and is_volume(folder):
            open_stored(folder)
            return _read_file
        if not folder.is_dir():
            return None
        if is_zarr(folder):
            image = open_image(folder)
            if not _is_series(image):
                image.volume(0 if "c" in image.axes else None)
            return _read_zarr
        if scan_folder(folder).samples:
            return _read_folder
        return _ask_for_roles if files_without_scheme(folder) and _window() is not None else None
    except (InputError, OSError):
        return None


def files_without_scheme(folder: Path) -> list[Path]:
    """The volumes of a folder whose names say nothing to `scan_folder`, where some are volumes and not single planes."""
    if is_zarr(folder) or scan_folder(folder).samples:
        return []
    files = volume_files(folder)
    return files if len(files) <= MOST_FILES and any(map(_is_volume, files)) else []


def _is_volume(path: Path) -> bool:
    try:
        return open_stored(path).shape[0] > 1
    except InputError:
        return False


def _window() -> Any:
    """The window that something is dropped on, or None where a script reads."""
    viewer = napari.current_viewer()
    return None if viewer is None else viewer.window


def _ask_for_roles(path: str | list[str]) -> list[Any]:
    """Open Views & PSFs, which asks what the files of a folder are; the layers come when that is answered."""
    folder = Path(path if isinstance(path, str) else path[0])
    open_views_panel(_window()).files.ask_roles(volume_files(folder))
    return [(None,)]


def _read_file(path: str | list[str]) -> list[LayerData]:
    """A file as one layer, with its place and recipe; time points and channels are axes before z."""
    file = Path(path if isinstance(path, str) else path[0])
    stack = open_stored(file)
    grid = Grid(stack.shape, stack.voxel_size_um or (1.0, 1.0, 1.0), stack.origin_um)
    data, leading = stacked(stack)
    name = file.name[: -len(file.suffix)].removesuffix(".ome").removesuffix(".OME")
    layer = volume_layer(data, grid, name=name, recipe=stack.recipe, leading=leading)
    if stack.voxel_size_um is None:
        layer[1]["units"] = (*layer[1]["units"][: len(leading)], "pixel", "pixel", "pixel")
    return [layer]


def _read_project(path: str | list[str]) -> list[LayerData]:
    """The views of a project at its first time point and channel, each where it lies, with PSFs in their own frames."""
    file = Path(path if isinstance(path, str) else path[0])

    def opened(at: VolumeChoice) -> RegisteredViews:
        choice = ProjectChoice(at.timepoint, at.channel, own_psfs=True)
        return format_of(file).open_project(file, choice, clean=True)

    at, said = one_of(opened, VolumeChoice())
    for message in said:
        show_warning(message)
    inputs = Inputs(source=str(file.resolve()), timepoint=at.timepoint, channel=at.channel, no_data="auto")
    return view_layers(opened(at), sample=file.stem, inputs=inputs.model_dump(mode="json"), own_psfs=True)


def _read_folder(path: str | list[str]) -> list[LayerData]:
    """Layers of all samples in a folder; those of the first are visible."""
    folder = Path(path if isinstance(path, str) else path[0])
    names = scan_folder(folder)
    layers: list[LayerData] = []
    problems = list(names.problems)
    if len(names.samples) > _MOST_SAMPLES:
        problems.append(
            f"{folder} holds {len(names.samples)} samples, and the first {_MOST_SAMPLES} were opened: "
            "to see another, put its files into a folder of their own"
        )
    failures: list[InputError] = []
    for tag in list(names.samples)[:_MOST_SAMPLES]:
        try:
            layers += _sample(folder, tag, shown=not layers)
        except InputError as error:
            failures.append(error)
    if failures and not layers:
        raise failures[0]
    for message in [*problems, *map(str, failures)]:
        show_warning(message)
    return layers


def _sample(folder: Path, tag: str, *, shown: bool) -> list[LayerData]:
    found = scan_folder(folder).samples[tag]
    tiffs = [file for file in found.views.values() if file.is_file()]
    first = first_volume(tiffs) if len(tiffs) == len(found.views) else VolumeChoice()
    series = first != VolumeChoice()
    views = open_views(folder, tag=tag, timepoint=first.timepoint, channel=first.channel)
    inputs = Inputs(source=str(folder.resolve()), tag=tag).model_dump(mode="json")
    layers = view_layers(views, sample=tag, inputs=inputs, shown=shown)
    if series:
        layers = view_series(views, layers)
    truth = open_truth(folder, tag, timepoint=first.timepoint, channel=first.channel)
    if truth is not None:
        layer = truth_layer(truth, views.grid, sample=tag)
        layers.append(all_volumes(layer, found.truth) if series and found.truth and found.truth.is_file() else layer)
    return layers


def _read_zarr(path: str | list[str]) -> list[LayerData]:
    """Layers of an OME-Zarr: its channels are views; without channels it is one volume, with all its levels."""
    folder = Path(path if isinstance(path, str) else path[0])
    image = open_image(folder)
    sample = folder.name.removesuffix(".zarr").removesuffix(".ome")
    if "c" not in image.axes or _is_series(image):
        levels = _levels(image)
        grid = Grid(triple(levels[0].shape[-3:]), image.voxel_size_um, image.origin_um)
        leading = list(zip(image.axes[:-3], image.leading_steps, strict=True)) if _is_series(image) else []
        return [volume_layer(levels, grid, name=sample, recipe=image.recipe, leading=leading)]
    views = open_views(folder)
    inputs = Inputs(source=str(folder.resolve())).model_dump(mode="json")
    layers = view_layers(views, sample=sample, inputs=inputs)
    truth = open_truth(folder)
    if truth is not None:
        layers.append(truth_layer(truth, views.grid, sample=sample))
    return layers


def _is_series(image: ZarrImage) -> bool:
    """Whether it is one volume at several times, or a fused one with any axes before z: not channels that are views."""
    if not image.axes.endswith("zyx") or len(image.axes) == 3 or not set(image.axes) <= set("tczyx"):
        return False
    return image.recipe is not None or ("c" not in image.axes and image.array.shape[0] > 1)


def _levels(image: ZarrImage) -> list[Any]:
    """All levels of a volume, from fine to coarse; napari shows the one that fits the zoom."""
    if image.axes != "zyx" and not _is_series(image):
        return [image.volume()]
    group = zarr.open_group(PlainFiles(image.path), mode="r")
    ome = image.attributes.get("ome", image.attributes)
    levels = [group[level["path"]] for level in ome["multiscales"][0]["datasets"]]
    for level in levels:
        weigh(image.path, level)
    return levels
