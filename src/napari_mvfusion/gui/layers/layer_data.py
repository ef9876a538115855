"""Views and volumes as layers, as napari's readers return them; time points and channels are axes before z."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import dask.array as da
import numpy as np
from napari.layers import Image

from napari_mvfusion.data.field_of_view import NoData
from napari_mvfusion.data.fused_grid import Placed, choose_grid
from napari_mvfusion.data.geometry import Grid, Triple, is_aligned, is_upright, triple
from napari_mvfusion.data.recent_blocks import BlockwiseVolume
from napari_mvfusion.data.resampled_view import ResampledStack, ResampledView
from napari_mvfusion.data.views import RegisteredViews, View, VolumeLike
from napari_mvfusion.engine.project_levels import coarsened
from napari_mvfusion.gui.layers.notes import KEY, Notes, PlacedPSF, Recorded, annotate, notes, unsized
from napari_mvfusion.gui.layers.shown_stack import ShownStack
from napari_mvfusion.gui.layers.trusted_views import chosen_for
from napari_mvfusion.io.absent_pieces import about_absent
from napari_mvfusion.io.base import StoredVolumes
from napari_mvfusion.io.formats import open_stored
from napari_mvfusion.io.psf_files import ViewPSF
from napari_mvfusion.io.volume_choice import VolumeChoice
from napari_mvfusion.measures.contrast import contrast_limits
from napari_mvfusion.psf import resample_psf
from napari_mvfusion.psf.frames import own_to_fused

LayerData = tuple[Any, dict[str, Any], Literal["image"]]

_COLORMAPS = ("green", "magenta", "cyan", "yellow", "red", "blue", "bop orange", "bop purple")
_SHOWN_VIEWS = 2
_CHUNK_BYTES = 2**22
_SPATIAL = 3


def view_layers(
    views: RegisteredViews,
    *,
    sample: str,
    inputs: Mapping[str, Any] | None = None,
    shown: bool = True,
    own_psfs: bool = False,
    in_run: RegisteredViews | None = None,
) -> list[LayerData]:
    """One image layer a view, as napari's readers return them.

    Views that are turned are shown resampled on the voxels of the grid; what is fused is what was recorded. Contrast
    limits are shared by views of one type of number, so that they can be compared; 8-bit views beside 16-bit ones would be
    nearly black. Two views are visible at first, in colours that add up to white where they agree.

    Parameters
    ----------
    views : on one grid
    sample : what the views show, the first word of the layers' names; may be empty
    inputs : how the views were opened, as `napari_mvfusion.engine.recipe.Inputs` holds it
    shown : False leaves all of them invisible
    own_psfs : PSFs are in the pixels of their views; they are brought to the voxels of the grid, and to others when other
        views are fused, or on another grid
    in_run : the same views with PSFs on the voxels of the grid as a run on their files has them, where that is known
    """
    alike: dict[str, list[VolumeLike]] = {}
    for view in views.views:
        alike.setdefault(str(view.data.dtype), []).append(view.data)
    own_psfs = own_psfs and any(view.affine is not None for view in views.views)
    limits = {dtype: contrast_limits(volumes) for dtype, volumes in alike.items()}
    layers: list[LayerData] = []
    for number, view in enumerate(views.views):
        placed = placed_psf(view, views.grid, None if in_run is None else in_run.views[number]) if own_psfs else None
        said = ViewPSF(view.psf, view.psf_notes, view.psf_flaw)
        recorded = None
        if view.affine is not None and not is_aligned(view.affine):
            to_shown = np.linalg.inv(views.grid.affine) @ view.affine
            recorded = shown_upright(lazy(view.data), to_shown, views.grid.shape)
        known: Notes = {
            "role": "view",
            "name": view.name,
            "angle": view.angle,
            "psf": view.psf,
            "psf_said": said,
            **(placed or {}),
            "weight": view.weight,
            "offset": view.offset,
            "gain": view.gain,
            "remove_hot": view.remove_hot,
            "mask": view.mask,
            **({"no_data": view.no_data} if view.no_data != "none" or view.no_data_stated else {}),
            **({"file_no_data": view.no_data} if view.no_data_stated else {}),
            "trust": chosen_for(view, inputs),
            **transmission_notes(view, inputs),
            "source": view.source,
            "absent": absent_chunks_of(view),
            "sample": sample,
            "inputs": None if inputs is None else dict(inputs),
            "placed": views.grid.affine if view.affine is None else view.affine,
            **({} if recorded is None else {"recorded": recorded}),
            **unsized(views.grid),
        }
        look = {
            "name": f"{sample} view {view.name}".strip(),
            "colormap": "gray" if len(views) == 1 else _COLORMAPS[number % len(_COLORMAPS)],
            "contrast_limits": limits[str(view.data.dtype)],
            "blending": "additive",
            "visible": shown and number < _SHOWN_VIEWS,
            "metadata": {KEY: known},
        }
        if recorded is None:
            layers.append((lazy(view.data), look | placement(views.grid, view.affine), "image"))
        else:
            layers.append((recorded.shown, look | placement(views.grid), "image"))
    return layers


def transmission_notes(view: View, inputs: Mapping[str, Any] | None) -> Notes:
    """What is noted of a transmission that a view was opened with."""
    if view.transmission is None:
        return {}
    file = ((inputs or {}).get("transmissions") or {}).get(view.name, "")
    return {"transmission": view.transmission, "transmission_layer": Path(file).name, "transmission_file": file}


def views_as_layers(
    opened: Callable[..., RegisteredViews], *, sample: str, inputs: Mapping[str, Any], shown: bool = True
) -> tuple[RegisteredViews, list[LayerData]]:
    """Views of files, and a layer of each, with PSFs in its own frame too where the views lie on different grids.

    Parameters
    ----------
    opened : opens them, with `own_psfs` as `open_views`
    sample, inputs, shown : see `view_layers`

    Raises
    ------
    InputError
        If they cannot be opened.
    """
    views = opened(own_psfs=True)
    moved = any(view.affine is not None and view.psf is not None for view in views.views)
    in_run = opened(own_psfs=False) if moved else None
    return views, view_layers(views, sample=sample, inputs=inputs, shown=shown, own_psfs=True, in_run=in_run)


def absent_chunks_of(view: View) -> str:
    """What is to be said of chunks that the files of a view leave out; "" where they leave out none."""
    return "; ".join(about_absent([(view.name, view.data)]))


def shown_upright(stack: Any, to_shown: np.ndarray, shape: Triple) -> Recorded:
    """What is shown of turned pixels: them on upright voxels, computed where they are looked at.

    napari leaves a turn out of the planes that it shows, and ends with an error where it is by a right angle.

    Parameters
    ----------
    stack : (..., z, y, x)
    to_shown : 4 x 4, from its voxels (z, y, x, 1) to those that are shown
    shape : (z, y, x) of what is shown
    """
    # What lies beyond a volume is known from where it is; nothing has to be read to tell it.
    no_data: NoData = "nan" if np.dtype(stack.dtype).kind == "f" else "none"
    leading, grid = tuple(stack.shape[:-_SPATIAL]), Grid(shape)
    shown = [
        ResampledView(
            RegisteredViews([View(_decoded_once(stack[index]), "", affine=to_shown, no_data=no_data)], grid), 0
        )
        for index in np.ndindex(*leading)
    ]
    return Recorded(stack, ShownStack(ResampledStack(shown, leading)), to_shown)


def _decoded_once(volume: Any) -> VolumeLike:
    """A volume whose chunks are kept once they were decoded; numpy as it is."""
    if isinstance(volume, np.ndarray):
        return volume
    return BlockwiseVolume(partial(_computed, volume), volume.chunks, np.dtype(volume.dtype))


def _computed(volume: da.Array, part: tuple[slice, ...]) -> np.ndarray:
    # It is one of several threads already.
    return np.asarray(volume[part].compute(scheduler="synchronous"))


def set_pixels(layer: Image, pixels: Any) -> None:
    """Give a layer other pixels, at full resolution, in the place of those that are fused of it."""
    recorded = notes(layer).get("recorded")
    if recorded is not None and pixels.shape == recorded.data.shape:
        recorded = shown_upright(pixels, recorded.to_shown, triple(recorded.shown.shape[-_SPATIAL:]))
        annotate(layer, recorded=recorded)
        pixels = recorded.shown
    layer.data = [pixels, *layer.data[1:]] if layer.multiscale else pixels


def resampled_views(views: RegisteredViews) -> RegisteredViews:
    """The same views on the voxels of their grid, computed where they are looked at; masks say where they have pixels."""
    # What lies beyond a view is known from where it is; nothing has to be read to tell it.
    plain = RegisteredViews(
        [replace(view, no_data="none", no_data_stated=False, trust=None) for view in views.views], views.grid
    )
    return RegisteredViews(
        [
            replace(
                view,
                data=lazy(ResampledView(plain, number)),
                mask=lazy(ResampledView(plain, number, covered=True)),
                affine=None,
                offset=0.0,
                gain=1.0,
                remove_hot=False,
            )
            for number, view in enumerate(plain.views)
        ],
        views.grid,
        remarks=views.remarks,
    )


def placed_psf(own: View, grid: Grid, in_run: View | None) -> Notes | None:
    """The PSF of a view in its own frame, and brought to the voxels of a grid; None where it has none.

    Parameters
    ----------
    own : the view, with its PSF in its own frame
    in_run : the same with its PSF as a run on its file has it
    """
    if own.psf is None:
        return None
    matrix = own_to_fused(grid.affine if own.affine is None else own.affine, grid)
    if in_run is None or in_run.psf is None:
        psf = resample_psf(own.psf, matrix, centre=np.array(own.psf.shape) // 2)
        said = ViewPSF(psf, own.psf_notes, own.psf_flaw)
        return {"psf": psf, "psf_said": said, "psf_own": own.psf, "psf_matrix": matrix, "psf_placed": psf}
    said = ViewPSF(in_run.psf, in_run.psf_notes)
    return {
        "psf": in_run.psf,
        "psf_said": said,
        "psf_own": own.psf,
        "psf_matrix": matrix,
        "psf_placed": in_run.psf,
        "psf_in_run": PlacedPSF(own.psf, matrix, said),
    }


def truth_layer(volume: VolumeLike, grid: Grid, *, sample: str, affine: np.ndarray | None = None) -> LayerData:
    """The ground truth of a sample as an invisible image layer.

    Parameters
    ----------
    volume : (z, y, x)
    grid : of its voxels
    sample : what it shows
    affine : 4 x 4, from voxels to the world, takes the place of the grid's
    """
    shown, known, place = _upright(lazy(volume), grid, affine, {"role": "truth", "sample": sample})
    look = {
        "name": f"{sample} ground truth".strip(),
        "contrast_limits": contrast_limits([volume]),
        "visible": False,
        "metadata": {KEY: known},
    }
    return shown, look | placement(place), "image"


def _upright(volume: Any, grid: Grid, affine: np.ndarray | None, known: dict[str, Any]) -> tuple[Any, Any, Grid]:
    """What is shown of a volume, its notes, and where that lies; one that is turned is shown on cubes of its finest size.

    Parameters
    ----------
    volume : (..., z, y, x)
    grid : of its voxels, along their own axes
    affine : 4 x 4, from its voxels to the world, takes the place of the grid's
    """
    if affine is None:
        return volume, known, grid
    place = choose_grid([Placed(grid.shape, affine, "the volume")], known=grid.known).grid
    recorded = shown_upright(volume, np.linalg.inv(place.affine) @ affine, place.shape)
    unsized = {"unsized": place.voxel_size_um} if "unsized" in known else {}
    return recorded.shown, known | {"recorded": recorded, "placed": affine, **unsized}, place


def _coarser_upright(levels: Sequence[Any], affines: Sequence[np.ndarray], grid: Grid) -> list[Any]:
    """What is shown of coarser levels of a turned volume, on voxels that are whole multiples of those of the finest.

    Levels whose places are not those of the finest are left out, and those that are no coarser along its finest axis.

    Parameters
    ----------
    levels : (..., z, y, x), from fine to coarse
    affines : of each, 4 x 4, from its voxels to the world
    grid : on which the finest is shown
    """
    found, coarsest = [], 1
    corners = [_corners(level, affine) for level, affine in zip(levels, affines, strict=True)]
    for level, affine, there in zip(levels[1:], affines[1:], corners[1:], strict=True):
        sides = np.linalg.norm(affine[:_SPATIAL, :_SPATIAL], axis=0)
        factor = round(sides.min() / min(grid.voxel_size_um))
        # Files put a coarse voxel on the first or in the middle of those it stands for, and cut or fill at the end.
        if factor <= coarsest or np.linalg.norm(there - corners[0], axis=1).max() > np.linalg.norm(sides):
            continue
        place = coarsened(grid, factor)
        found.append(shown_upright(level, np.linalg.inv(place.affine) @ affine, place.shape).shown)
        coarsest = factor
    return found


def _corners(volume: Any, affine: np.ndarray) -> np.ndarray:
    """World positions of the 8 outer corners of a volume (..., z, y, x), (8, 3)."""
    ends = [(-0.5, n - 0.5) for n in volume.shape[-_SPATIAL:]]
    corners = np.array(np.meshgrid(*ends, indexing="ij")).reshape(_SPATIAL, -1).T
    return np.asarray(corners @ affine[:_SPATIAL, :_SPATIAL].T + affine[:_SPATIAL, _SPATIAL])


def volume_layer(
    volume: Any,
    grid: Grid,
    *,
    name: str,
    recipe: Mapping[str, Any] | None,
    leading: Sequence[tuple[str, float]] = (),
    affine: np.ndarray | None = None,
    coarser: Sequence[np.ndarray] = (),
) -> LayerData:
    """One volume, or a series of them, from a file as an image layer; with a recipe it is a fused volume.

    Parameters
    ----------
    volume : (z, y, x) with the leading axes before z, or a list of such arrays from fine to coarse
    leading : name and step of each axis before z; the step of "t" is in seconds
    affine : 4 x 4, from voxels to the world, takes the place of the grid's
    coarser : the same for each coarser level of a volume with an affine; those without one are left out
    """
    levels = volume if isinstance(volume, list) else [volume]
    if affine is not None:
        levels = levels[: 1 + len(coarser)]
    known: dict[str, Any] = {} if recipe is None else {"role": "fused", "recipe": dict(recipe)}
    known |= unsized(grid)
    coarse = levels[-1]
    if leading:
        coarse = lazy(coarse)[(0,) * len(leading)]
    look = {"name": name, "contrast_limits": contrast_limits([coarse]), "metadata": {KEY: known} if known else {}}
    data = [lazy(level) for level in levels]
    if affine is not None:
        shown, known, grid = _upright(data[0], grid, affine, known)
        data = [shown, *_coarser_upright(data, [affine, *coarser], grid)]
        look["metadata"] = {KEY: known}
    multiscale = {"multiscale": True} if len(data) > 1 else {}
    return data if multiscale else data[0], look | placement(grid, None, leading) | multiscale, "image"


def placement(
    grid: Grid, affine: np.ndarray | None = None, leading: Sequence[tuple[str, float]] = ()
) -> dict[str, Any]:
    """Where a layer lies and in which units, as arguments of a layer.

    Parameters
    ----------
    grid : of the voxels
    affine : takes the place of the grid's
    leading : name and step of each axis before z; the step of "t" is in seconds
    """
    units = tuple("um" if known else "pixel" for known in grid.known)
    place: dict[str, Any] = {"units": units, "axis_labels": ("z", "y", "x")}
    matrix = grid.affine if affine is None else affine
    upright = {"scale": tuple(np.diag(matrix)[:_SPATIAL]), "translate": tuple(matrix[:_SPATIAL, 3])}
    own: dict[str, Any] = upright if is_upright(matrix) else {"affine": matrix}
    return _after(leading, place | own)


def _after(leading: Sequence[tuple[str, float]], place: dict[str, Any]) -> dict[str, Any]:
    """Where a layer lies that has other axes before those of the place."""
    before: dict[str, Sequence[Any]] = {
        "units": ["s" if name == "t" else "pixel" for name, _ in leading],
        "axis_labels": [name for name, _ in leading],
    }
    steps = [step for _, step in leading]
    if "affine" in place:
        matrix = np.diag([*steps, *np.ones(_SPATIAL + 1)])
        matrix[len(steps) :, len(steps) :] = place["affine"]
        return {key: (*values, *place[key]) for key, values in before.items()} | {"affine": matrix}
    before |= {"scale": steps, "translate": [0.0 for _ in leading]}
    return {key: (*values, *place[key]) for key, values in before.items()}


def lazy(volume: VolumeLike) -> Any:
    """A volume as something that a layer can show: numpy as it is, all else as dask, whose chunks are read when shown."""
    if isinstance(volume, (np.ndarray, da.Array)):
        return volume
    chunks = getattr(volume, "chunks", None)
    if chunks is None:
        height, width = volume.shape[-2:]
        planes = max(1, _CHUNK_BYTES // (height * width * np.dtype(volume.dtype).itemsize))
        chunks = (*(1 for _ in volume.shape[:-_SPATIAL]), planes, height, width)
    empty = np.empty((0,) * len(volume.shape), volume.dtype)
    return da.from_array(volume, chunks=chunks, name=False, meta=empty)


def first_volume(files: Iterable[Path]) -> VolumeChoice:
    """Which volume of some files stands for all while they are opened; no choice where each has one.

    Raises
    ------
    InputError
        If a file cannot be opened.
    """
    axes = {axis for file in files for axis in open_stored(file).leading}
    return VolumeChoice(0 if "t" in axes else None, 0 if "c" in axes else None)


def view_series(views: RegisteredViews, layers: Sequence[LayerData]) -> list[LayerData]:
    """Layers of views that were opened at their first volume, with all volumes of their files."""
    return [all_volumes(layer, Path(view.source)) for view, layer in zip(views.views, layers, strict=True)]


def all_volumes(layer: LayerData, file: Path) -> LayerData:
    """A layer of the first volume of a file, with all of them; the same layer where there is one."""
    return with_volumes(layer, open_stored(file))


def with_volumes(layer: LayerData, stack: StoredVolumes) -> LayerData:
    """A layer of the first of some volumes, with all of them; the same layer where there is one."""
    if not stack.leading:
        return layer
    _, look, kind = layer
    data, leading = stacked(stack)
    known = look["metadata"][KEY]
    if (recorded := known.get("recorded")) is not None:
        recorded = shown_upright(data, recorded.to_shown, triple(recorded.shown.shape[-_SPATIAL:]))
        data, look = recorded.shown, look | {"metadata": {KEY: known | {"recorded": recorded}}}
    return data, look | _after(leading, look), kind


def stacked(stack: StoredVolumes) -> tuple[Any, list[tuple[str, float]]]:
    """All volumes of a file as one lazy array, and name and step of each axis before z; the step of "t" is in seconds."""
    leading = [(axis, stack.time_step if axis == "t" else 1.0) for axis in stack.leading]
    volumes = [lazy(stack.volume(*stack.position(index))) for index in np.ndindex(*stack.leading.values())]
    return _joined(stack, volumes), leading


def stacked_levels(stack: StoredVolumes) -> tuple[Any, list[tuple[str, float]]]:
    """The same as `stacked`, from fine to coarse where a file holds coarser volumes too."""
    if stack.levels is None:
        return stacked(stack)
    leading = [(axis, stack.time_step if axis == "t" else 1.0) for axis in stack.leading]
    found = [
        stack.levels(dict(zip(stack.leading, index, strict=True))) for index in np.ndindex(*stack.leading.values())
    ]
    return [_joined(stack, [lazy(volume) for volume in level]) for level in zip(*found, strict=True)], leading


def _joined(stack: StoredVolumes, volumes: list[Any]) -> Any:
    if not stack.leading:
        return volumes[0]
    return da.stack(volumes).reshape((*stack.leading.values(), *volumes[0].shape))
