"""Views and volumes as layers, as napari's readers return them; time points and channels are axes before z."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import dask.array as da
import numpy as np

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.resampled_view import ResampledView
from napari_mvfusion.data.views import RegisteredViews, VolumeLike
from napari_mvfusion.gui.layers.notes import KEY, Notes
from napari_mvfusion.io.base import StoredVolumes
from napari_mvfusion.io.formats import open_stored
from napari_mvfusion.io.psf_files import ViewPSF
from napari_mvfusion.io.volume_choice import VolumeChoice
from napari_mvfusion.measures.contrast import contrast_limits
from napari_mvfusion.psf import resample_psf

LayerData = tuple[Any, dict[str, Any], Literal["image"]]

_COLORMAPS = ("green", "magenta", "cyan", "yellow", "red", "blue", "bop orange", "bop purple")
_SHOWN_VIEWS = 2
_CHUNK_BYTES = 2**22
_SPATIAL = 3
_ROUNDING = 1e-12


def view_layers(
    views: RegisteredViews,
    *,
    sample: str,
    inputs: Mapping[str, Any] | None = None,
    shown: bool = True,
    own_psfs: bool = False,
) -> list[LayerData]:
    """One image layer a view, as napari's readers return them.

    Contrast limits are shared by views of one type of number, so that they can be compared; 8-bit views beside 16-bit ones
    would be nearly black. Two views are visible at first, in colours that add up
    to white where they agree.

    Parameters
    ----------
    views : on one grid
    sample : what the views show, the first word of the layers' names; may be empty
    inputs : how the views were opened, as `napari_mvfusion.engine.recipe.Inputs` holds it
    shown : False leaves all of them invisible
    own_psfs : PSFs are in the pixels of their views; they are brought to those of the first view, which a fused volume has,
        and by the panel to others when other views are fused
    """
    alike: dict[str, list[VolumeLike]] = {}
    for view in views.views:
        alike.setdefault(str(view.data.dtype), []).append(view.data)
    own_psfs = own_psfs and any(view.affine is not None for view in views.views)
    limits = {dtype: contrast_limits(volumes) for dtype, volumes in alike.items()}
    layers: list[LayerData] = []
    for number, view in enumerate(views.views):
        placed = _placed_psf(views, number) if own_psfs else None
        psf = view.psf if placed is None else placed["psf"]
        known: Notes = {
            "role": "view",
            "name": view.name,
            "angle": view.angle,
            "psf": psf,
            "psf_said": ViewPSF(psf, view.psf_notes, view.psf_flaw),
            **(placed or {}),
            "weight": view.weight,
            "offset": view.offset,
            "gain": view.gain,
            "remove_hot": view.remove_hot,
            "mask": view.mask,
            **({} if view.no_data == "none" else {"no_data": view.no_data}),
            "source": view.source,
            "sample": sample,
            "inputs": None if inputs is None else dict(inputs),
            **({} if view.affine is None else {"placed": view.affine}),
            **({} if any(views.grid.known) else {"unsized": views.grid.voxel_size_um}),
        }
        look = {
            "name": f"{sample} view {view.name}".strip(),
            "colormap": "gray" if len(views) == 1 else _COLORMAPS[number % len(_COLORMAPS)],
            "contrast_limits": limits[str(view.data.dtype)],
            "blending": "additive",
            "visible": shown and number < _SHOWN_VIEWS,
            "metadata": {KEY: known},
        }
        layers.append((lazy(view.data), look | placement(views.grid, view.affine), "image"))
    return layers


def any_turned(views: RegisteredViews) -> bool:
    """Whether the axes of a view are not those of the world: no plane of it lies in the plane that is looked at.

    napari leaves such a turn out of the planes that it shows, and ends with an error where it is by a right angle.
    """
    return any(view.affine is not None and not is_upright(view.affine) for view in views.views)


def is_upright(affine: np.ndarray) -> bool:
    """Whether a 4 x 4 matrix scales and moves only."""
    size = np.diag(affine)[:_SPATIAL]
    return bool(np.array_equal(affine[:_SPATIAL, :_SPATIAL], np.diag(size)) and (size > 0).all())


def resampled_views(views: RegisteredViews) -> RegisteredViews:
    """The same views on the voxels of their grid, computed where they are looked at; masks say where they have pixels."""
    # What lies beyond a view is known from where it is; nothing has to be read to tell it.
    plain = RegisteredViews([replace(view, no_data="none") for view in views.views], views.grid)
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


def _placed_psf(views: RegisteredViews, number: int) -> Notes | None:
    """The PSF of a view in its own frame, and brought to the pixels of the first view; None where it has none."""
    own = views.views[number].psf
    if own is None:
        return None
    first, this = (
        (views.grid.affine if view.affine is None else view.affine)[:3, :3]
        for view in (views.views[0], views.views[number])
    )
    matrix = np.linalg.inv(first) @ this
    matrix[np.abs(matrix) < _ROUNDING] = 0.0
    psf = resample_psf(own, matrix, centre=np.array(own.shape) // 2)
    return {"psf": psf, "psf_own": own, "psf_matrix": matrix, "psf_placed": psf}


def truth_layer(volume: VolumeLike, grid: Grid, *, sample: str, affine: np.ndarray | None = None) -> LayerData:
    """The ground truth of a sample as an invisible image layer.

    Parameters
    ----------
    volume : (z, y, x)
    grid : of its voxels
    sample : what it shows
    affine : 4 x 4, from voxels to the world, takes the place of the grid's
    """
    look = {
        "name": f"{sample} ground truth".strip(),
        "contrast_limits": contrast_limits([volume]),
        "visible": False,
        "metadata": {KEY: {"role": "truth", "sample": sample}},
    }
    return lazy(volume), look | placement(grid, affine), "image"


def volume_layer(
    volume: Any,
    grid: Grid,
    *,
    name: str,
    recipe: Mapping[str, Any] | None,
    leading: Sequence[tuple[str, float]] = (),
    affine: np.ndarray | None = None,
) -> LayerData:
    """One volume, or a series of them, from a file as an image layer; with a recipe it is a fused volume.

    Parameters
    ----------
    volume : (z, y, x) with the leading axes before z, or a list of such arrays from fine to coarse
    leading : name and step of each axis before z; the step of "t" is in seconds
    affine : 4 x 4, from voxels to the world, takes the place of the grid's
    """
    levels = volume if isinstance(volume, list) else [volume]
    known: dict[str, Any] = {} if recipe is None else {"role": "fused", "recipe": dict(recipe)}
    known |= {} if any(grid.known) else {"unsized": grid.voxel_size_um}
    coarse = levels[-1]
    if leading:
        coarse = lazy(coarse)[(0,) * len(leading)]
    look = {"name": name, "contrast_limits": contrast_limits([coarse]), "metadata": {KEY: known} if known else {}}
    data = [lazy(level) for level in levels]
    multiscale = {"multiscale": True} if len(data) > 1 else {}
    return data if multiscale else data[0], look | placement(grid, affine, leading) | multiscale, "image"


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
    stack = open_stored(file)
    if not stack.leading:
        return layer
    _, look, kind = layer
    data, leading = stacked(stack)
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
