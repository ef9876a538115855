"""The reader of the manifest: folders of registered views, projects, OME-Zarr, and files with volumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.utils.notifications import show_error, show_info, show_warning

from napari_mvfusion.addresses import absolute
from napari_mvfusion.data.events import Statement
from napari_mvfusion.data.fused_grid import Placed
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews, VolumeLike
from napari_mvfusion.engine.finishing import output_of
from napari_mvfusion.engine.project_plan import first_of_project
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.engine.workspace import is_unfinished_run
from napari_mvfusion.errors import DamagedError, InputError
from napari_mvfusion.gui.entrances import is_seen, open_fuse_panel, open_views_panel
from napari_mvfusion.gui.jobs.shown_outputs import unfinished_layer
from napari_mvfusion.gui.layers.fused_series import image_layer
from napari_mvfusion.gui.layers.layer_data import (
    LayerData,
    all_volumes,
    first_volume,
    stacked_levels,
    truth_layer,
    view_layers,
    view_series,
    views_as_layers,
    volume_layer,
    with_volumes,
)
from napari_mvfusion.gui.layers.notes import KEY
from napari_mvfusion.gui.layers.project_layers import project_layers
from napari_mvfusion.gui.widgets.waiting import while_busy
from napari_mvfusion.io.base import StoredVolumes
from napari_mvfusion.io.contents import one_of
from napari_mvfusion.io.extra_libraries import LibraryMissingError
from napari_mvfusion.io.folder import scan_folder
from napari_mvfusion.io.formats import format_of, is_project, is_volume, open_stored, views_in
from napari_mvfusion.io.guessing import files_without_scheme
from napari_mvfusion.io.ome_zarr.reader import open_image, stored_of
from napari_mvfusion.io.ome_zarr.stores import is_zarr
from napari_mvfusion.io.opening import open_truth, open_views
from napari_mvfusion.io.volume_choice import SeveralImagesError, VolumeChoice
from napari_mvfusion.system.words import times

_MOST_SAMPLES = 6
_MOST_IMAGES = 8


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """What opens this path, or None where it is nothing that this plugin can read.

    Parameters
    ----------
    path : a folder of `tag_view_ANGLE.tif` files, a project, an OME-Zarr, or a file with a volume; stacks of files are left
        to others
    """
    paths = [path] if isinstance(path, str) else path
    read = _reader_of(Path(paths[0])) if len(paths) == 1 else None
    return None if read is None else lambda _: _read_or_say(read, Path(paths[0]))


def _read_or_say(read: Callable[[Path], list[LayerData]], path: Path) -> list[Any]:
    """The layers, and what is odd about how they are shown.

    In a window what is wrong is said, as napari would only say that this plugin should not be asked.
    """
    try:
        layers = read(path)
    except InputError as error:
        if not is_seen():
            raise
        return _say(error)
    _tell_turned(layers)
    return layers


def _say(error: Exception) -> list[Any]:
    """Say in Views & PSFs what is wrong, where no layers come; what is said for a moment only may not be seen."""
    if _window() is None:
        show_error(str(error))
    else:
        open_views_panel(_window()).status.say("error", str(error))
    return [(None,)]


def _reader_of(path: Path) -> Callable[[Path], list[LayerData]] | None:
    try:
        if is_unfinished_run(path):
            return _follow_unfinished
        if is_project(path):
            format_of(path).describe(path)
            return _read_project
        if path.is_file() and is_volume(path) and views_in(path):
            return _waited_for(_read_views)
        has_channels = is_volume(path) and format_of(path).holds_views
        if is_volume(path) and not has_channels:
            open_stored(path)
            return _waited_for(_read_file)
        if not path.is_dir() and not has_channels:
            return None
        if has_channels:
            image = open_image(path)
            if not image.is_series:
                image.volume(0 if "c" in image.axes else None, 0 if "t" in image.axes else None)
            return _waited_for(_read_zarr)
        if scan_folder(path).samples:
            return _waited_for(_read_folder)
        return _ask_for_roles if files_without_scheme(path) and _window() is not None else None
    except SeveralImagesError as several:
        names = several.names
        return _waited_for(lambda container: _read_images(container, names))
    except LibraryMissingError as missing:
        # Another plugin may read it; where there is none, this is what helps.
        show_warning(str(missing))
        return None
    except (InputError, OSError) as error:
        # Of what napari reads too, it offers that, unless nothing could; of other files it says that no plugin can, and
        # not why. It opens no file after one that it has no layers of.
        napari_reads = path.name.lower().endswith((".tif", ".tiff", ".zarr")) and not isinstance(error, DamagedError)
        if napari_reads or not is_seen() or not (is_project(path) or is_volume(path)):
            return None
        refusal = error
        return lambda _: _say(refusal)


def _waited_for(read: Callable[[Path], list[LayerData]]) -> Callable[[Path], list[LayerData]]:
    """The same off the GUI thread, where there is a window to answer meanwhile; it touches neither window nor layers."""

    def reading(path: Path) -> list[LayerData]:
        return while_busy(f"Opening {path.name}…", lambda: read(path)) if is_seen() else read(path)

    return reading


def _window() -> Any:
    """The window that something is dropped on, or None where a script reads."""
    viewer = napari.current_viewer()
    return None if viewer is None else viewer.window


def _asking() -> Any:
    """What asks about files, in Views & PSFs; what was said there before goes."""
    panel = open_views_panel(_window())
    panel.status.clear()
    return panel.files


def _ask_for_roles(folder: Path) -> list[Any]:
    """Open Views & PSFs, which asks what the files of a folder are; the layers come when that is answered."""
    _asking().ask_roles(files_without_scheme(folder))
    return [(None,)]


def _follow_unfinished(folder: Path) -> list[Any]:
    """Follow the run of an output in the Fuse panel, which shows what is finished; without a window, that as a layer."""
    out = output_of(folder)
    if _window() is not None and is_seen():
        open_fuse_panel(_window()).follow(out)
        return [(None,)]
    layer = unfinished_layer(out)
    return [(None,)] if layer is None else [layer]


def _read_images(container: Path, names: Sequence[Path]) -> list[LayerData]:
    """The images of a file or container, each as it would open alone."""
    layers: list[LayerData] = []
    failures: list[InputError] = []
    for name in names[:_MOST_IMAGES]:
        try:
            opened = _read_zarr(name) if is_zarr(name) else _read_file(name)
        except InputError as error:
            failures.append(error)
            continue
        inner = str(name).removeprefix(str(container)).strip(":/")
        called = container.name.removesuffix(container.suffix).removesuffix(".ome")
        layers += [(data, look | {"name": f"{called} {inner}"}, kind) for data, look, kind in opened]
    if failures and not layers:
        raise failures[0]
    for failure in failures:
        show_warning(str(failure))
    if len(names) > _MOST_IMAGES:
        show_warning(
            f"{container} holds {len(names)} images, and the first {_MOST_IMAGES} were opened: name another, as {names[-1]}"
        )
    return layers


def _tell_turned(layers: Sequence[Any]) -> None:
    """Say of turned volumes that they are shown otherwise than their files hold them."""
    looks = [layer[1] for layer in layers if len(layer) > 1]
    turned = [look for look in looks if "recorded" in look["metadata"].get(KEY, {})]
    if turned:
        names = ", ".join(f"'{look['name']}'" for look in turned)
        size = times([float(f"{step:.4g}") for step in turned[0]["scale"][-3:]], "g")
        those = "their files" if len(turned) > 1 else "its file"
        show_info(
            f"Turned by {those}, and shown resampled on upright voxels of {size} µm: {names}. What is fused are the pixels "
            f"of {those}"
        )


def _read_file(file: Path) -> list[LayerData]:
    """A file as one layer, with its place and recipe; time points and channels are axes before z."""
    stack = open_stored(file)
    data, leading = stacked_levels(stack)
    name = file.name[: len(file.name) - len(file.suffix)].removesuffix(".ome").removesuffix(".OME")
    for message in stack.notes:
        (show_info if isinstance(message, Statement) else show_warning)(message)
    grid, affine = _own_voxels(stack)
    return [volume_layer(data, grid, name=name, recipe=stack.recipe, leading=leading, affine=affine)]


def _read_project(path: Path) -> list[Any]:
    """The views of a project: those that are asked for in a window, else all of its first time point and channel."""
    if _window() is not None and is_seen():
        _asking().ask_project(path)
        return [(None,)]
    inputs, said = first_of_project(path)
    opened = project_layers(inputs)
    for message in (*said, *opened.remarks):
        (show_info if isinstance(message, Statement) else show_warning)(message)
    return [*opened.views, opened.outlines]


def _read_views(file: Path) -> list[LayerData]:
    """The views that one file holds, as they were recorded, at its first time point and channel."""

    def opened(at: VolumeChoice) -> RegisteredViews:
        return open_views(file, timepoint=at.timepoint, channel=at.channel, own_psfs=True)

    views, at, said = one_of(opened, VolumeChoice())
    for message in [*said, *views.remarks]:
        show_warning(message)
    inputs = Inputs(source=absolute(file), timepoint=at.timepoint, channel=at.channel, grid="isotropic")
    return view_layers(views, sample=file.stem, inputs=inputs.model_dump(mode="json"), own_psfs=True)


def _read_folder(folder: Path) -> list[LayerData]:
    """Layers of all samples in a folder; those of the first are visible."""
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
    files = [file for file in found.views.values() if file.is_file()]
    first = first_volume(files) if len(files) == len(found.views) else VolumeChoice()
    series = first != VolumeChoice()
    opened = partial(open_views, folder, tag=tag, timepoint=first.timepoint, channel=first.channel)
    truth = open_truth(folder, tag, timepoint=first.timepoint, channel=first.channel)
    inputs = Inputs(source=absolute(folder), tag=tag, grid="isotropic").model_dump(mode="json")
    views, layers = views_as_layers(opened, sample=tag, inputs=inputs, shown=shown)
    if series:
        layers = view_series(views, layers)
    if truth is not None:
        grid, affine = _place_of_truth(found.truth, views.grid)
        layer = truth_layer(truth, grid, sample=tag, affine=affine)
        layers.append(all_volumes(layer, found.truth) if series and found.truth and found.truth.is_file() else layer)
    return layers


def _place_of_truth(file: Path | None, fused: Grid) -> tuple[Grid, np.ndarray | None]:
    """The voxels of a ground truth, and its affine where it is turned: it lies on its own, or on those of the views."""
    stored = None if file is None else open_stored(file)
    if stored is None or (stored.shape == fused.shape and stored.affine_um is None):
        return fused, None
    return _own_voxels(stored)


def _own_voxels(stored: StoredVolumes) -> tuple[Grid, np.ndarray | None]:
    """The voxels of a file along their own axes, and its affine where it is turned."""
    if stored.affine_um is None:
        return stored.grid, None
    size = Placed(stored.shape, stored.affine_um).voxel_size_um
    return Grid(stored.shape, size, known=stored.in_um), stored.affine_um


def _channel_of(stack: StoredVolumes, channel: int) -> StoredVolumes:
    """One channel of a file at all its times."""

    def at(chosen: Mapping[str, int]) -> VolumeLike:
        return stack.at({**chosen, "c": channel})

    return replace(stack, at=at, leading={"t": stack.leading["t"]})


def _read_zarr(folder: Path) -> list[LayerData]:
    """Layers of an OME-Zarr: its channels are views; without channels it is one volume, with all its levels."""
    image = open_image(folder)
    sample = folder.name.removesuffix(".zip").removesuffix(".ozx").removesuffix(".zarr").removesuffix(".ome")
    if "c" not in image.axes or image.is_series:
        return [image_layer(image, sample)]
    truth = open_truth(folder, timepoint=0 if "t" in image.leading else None)
    inputs = Inputs(source=absolute(folder), grid="isotropic").model_dump(mode="json")
    times = image.leading.get("t", 1)
    first = partial(open_views, folder, timepoint=0 if times > 1 else None)
    _, layers = views_as_layers(first, sample=sample, inputs=inputs)
    if times > 1:
        stack = stored_of(image)
        layers = [with_volumes(layer, _channel_of(stack, number)) for number, layer in enumerate(layers)]
    if truth is None:
        return layers
    return [*layers, truth_layer(truth, image.grid, sample=sample, affine=image.placement.affine_um)]
