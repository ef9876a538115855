"""Layers as registered views, on the grid on which they are fused, with what a recipe says of their files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from napari.layers import Image

from napari_mvfusion.data.fused_grid import Placed, Voxels, WorldBox, choose_grid
from napari_mvfusion.data.geometry import Grid, float_triple, same_affine, triple
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.recipe import Inputs, by_hand
from napari_mvfusion.engine.savable_views import open_for_scene
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.layers.conversion import (
    drift_of,
    finest,
    lacks_size,
    own_to_world_um,
    pixels_of,
    pixels_to_world_um,
    place_of_volume,
    stack_of,
    to_world_um,
)
from napari_mvfusion.gui.layers.fused_frame import FusedFrame, chosen_frame, grid_of
from napari_mvfusion.gui.layers.layer_data import placed_psf
from napari_mvfusion.gui.layers.notes import ChosenTrust, Kept, Notes, PlacedPSF, annotate, notes, said_of_psf
from napari_mvfusion.gui.layers.trusted_views import TrustPlace
from napari_mvfusion.io.formats import place_of
from napari_mvfusion.io.psf_files import ViewPSF
from napari_mvfusion.measures.psf_problems import bring_to_frame
from napari_mvfusion.psf import resample_psf
from napari_mvfusion.psf.frames import is_same_frame, own_to_fused

_SPATIAL = 3
_KEPT_PSFS = 16
# Names of axes before z, and how files call their positions.
_COUNTED = {"t": "timepoint", "c": "channel"}


@dataclass(frozen=True, eq=False)
class _SeriesInputs:
    """How the views of a series are opened, and which of these arguments count along its axes."""

    inputs: dict[str, Any]
    axes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Opened:
    """Registered views from layers.

    Attributes
    ----------
    leading : sizes of the axes before z, such as time and channel, which are fused one by one; () for plain volumes
    inputs : how to open the views from their files, where that is known, for a recipe; None for a series
    frame : where the fused volume lies, for all volumes of the layers
    alone : the position of the only volume of layers that have several, see `only`; else ()
    places : where what is chosen of how much each view counts lies
    """

    leading: tuple[int, ...]
    inputs: dict[str, Any] | None
    frame: FusedFrame
    places: tuple[TrustPlace, ...]
    _views: tuple[View, ...]
    _stacks: tuple[Any, ...]
    _moves: tuple[list[np.ndarray] | None, ...]
    _chosen: tuple[ChosenTrust | None, ...]
    _series: _SeriesInputs | None = None
    alone: tuple[int, ...] = ()

    @property
    def all_inputs(self) -> dict[str, Any] | None:
        """How the views are opened from their files, which may have other volumes too; None where that is not known."""
        return self.inputs if self._series is None else self._series.inputs

    @property
    def place(self) -> dict[str, Any]:
        """Where the fused volumes lie, as arguments of a layer."""
        return place_of_volume(self.frame.layer) if self.alone else self.frame.place

    def only(self, index: tuple[int, ...]) -> Opened:
        """The same of one position alone, as a plain volume."""
        if not self.leading:
            return self
        inputs, views = self.inputs_at(index), self.at(index).views
        return replace(self, leading=(), inputs=inputs, _views=views, _series=None, alone=index)

    @property
    def indices(self) -> list[tuple[int, ...]]:
        """All positions along the leading axes, in order; one empty position for plain volumes."""
        return list(np.ndindex(*self.leading))

    @property
    def views(self) -> RegisteredViews:
        """The views at the first position."""
        return RegisteredViews(self._views, self.frame.grid)

    @property
    def on_own_voxels(self) -> bool:
        """Whether the fused volume has the voxels of all views, upright in the world."""
        upright = np.array_equal(self.frame.to_frame, np.eye(4))
        return upright and all(view.affine is None for view in self._views)

    def at(self, index: tuple[int, ...]) -> RegisteredViews:
        """The views at one position; nothing is read yet."""
        if not self.leading:
            return self.views
        several = zip(self._views, self._stacks, self._moves, self.places, self._chosen, strict=True)
        views = [
            place.trusted(
                replace(
                    view,
                    data=stack[index],
                    # What moves from time point to time point lies on the grid at none.
                    affine=view.affine if moves is None or view.affine is None else _moved(view.affine, moves, index),
                ),
                chosen,
            )
            for view, stack, moves, place, chosen in several
        ]
        return RegisteredViews(views, self.frame.grid)

    def inputs_at(self, index: tuple[int, ...]) -> dict[str, Any] | None:
        """How to open the views of one position from their files, where that is known."""
        if self._series is None:
            return self.inputs
        return self._series.inputs | dict(zip(self._series.axes, index, strict=True))

    @property
    def folder(self) -> str:
        """Where the files of the views lie, "" where they have none."""
        source = self._views[0].source
        place = place_of(source) if source else None
        return str(place.absolute().parent) if place is not None and place.exists() else ""


def _moved(affine: np.ndarray, moves: Sequence[np.ndarray], index: tuple[int, ...]) -> np.ndarray:
    """The affine of the first time point at another one."""
    moved: np.ndarray = moves[index[0]] @ np.linalg.inv(moves[0]) @ affine
    return moved


def open_layers(layers: Sequence[Image], voxels: Voxels | None = None, *, everywhere: Sequence[Image] = ()) -> Opened:
    """Registered views from image layers.

    Layers that do not lie on the grid of the fused volume, see `chosen_frame`, are resampled to it; those that are shown
    resampled are so from the pixels that were recorded. Axes before z, such as time, must be equally long in all layers.

    Parameters
    ----------
    layers : in order
    voxels : of the fused volume; those that were chosen for these layers when None
    everywhere : layers whose views count alike everywhere, whatever was chosen for them

    Raises
    ------
    InputError
        If there is no layer, two would be the same view, their leading axes differ, one states no voxel size and another
        of the same shape does, or they cannot lie in one volume.
    """
    if not layers:
        raise InputError("no view is ticked: tick the views to fuse")
    for layer in layers:
        if (lacking := lacks_size(layer, layers[0])) is not None:
            raise InputError(f"{lacking}: set its scale, or press Same voxels in its row of Views & PSFs")
    frame = chosen_frame(layers, voxels)
    views, stacks, moves, places = [], [], [], []
    chosen: list[ChosenTrust | None] = []
    for layer, name in zip(layers, _names(layers), strict=True):
        known = notes(layer)
        said = psf_on(layer, own_to_fused(frame.to_frame @ own_to_world_um(layer), frame.grid))
        stack, move = pixels_of(layer), drift_of(layer)
        if tuple(stack.shape[:-_SPATIAL]) != frame.leading:
            stack = stack.reshape((*frame.leading, *stack.shape[-_SPATIAL:]))
        data = stack[(0,) * len(frame.leading)] if frame.leading else stack
        matrix = frame.to_frame @ (np.eye(4) if move is None else move[0]) @ pixels_to_world_um(layer)
        own = kept_view(layer) if np.array_equal(frame.to_frame, np.eye(4)) else None
        stacks.append(stack)
        moves.append(move)
        chosen.append(None if layer in everywhere else known.get("trust"))
        places.append(TrustPlace(frame.grid, frame.to_frame, _shown_to_fused(layer, own)))
        views.append(
            View(
                data,
                name,
                psf=None if said.flaw else said.psf,
                psf_notes=(*said.notes, *([by_hand(known["psf_by_hand"])] if known.get("psf_by_hand") else [])),
                psf_flaw=said.flaw,
                angle=known.get("angle"),
                affine=None if move is None and _lies_on(data, matrix, frame) else matrix,
                weight=known.get("weight", 1.0),
                offset=known.get("offset", 0.0),
                gain=known.get("gain", 1.0),
                remove_hot=known.get("remove_hot", False),
                mask=known.get("mask"),
                transmission=transmission_on(layer, frame.grid),
                transmission_source=known.get("transmission_file") or "",
                no_data=known.get("no_data", "auto"),
                no_data_stated=known.get("no_data", "auto") != "auto" or known.get("file_no_data") is not None,
                source=known.get("source") or layer.source.path or "",
            )
        )
        if own is not None:
            views[-1] = _as_kept(own, views[-1], frame.grid)
        views[-1] = places[-1].trusted(views[-1], chosen[-1])
    inputs = _inputs(layers, views, frame, grid_of(layers) if voxels is None else voxels)
    axes, series = _counted(layers, frame), None
    if axes is not None and inputs is not None and all(move is None for move in moves):
        # A time point that is named already is not one of those of the layers.
        series = _SeriesInputs(inputs, axes) if all(inputs[axis] is None for axis in axes) else None
    return Opened(
        frame.leading,
        None if frame.leading else inputs,
        frame,
        tuple(places),
        tuple(views),
        tuple(stacks),
        tuple(moves),
        tuple(chosen),
        series,
    )


def _shown_to_fused(layer: Image, kept: Kept | None) -> np.ndarray:
    """4 x 4, from the voxels (z, y, x, 1) that a layer shows to those of the pixels that are fused of it."""
    if kept is not None:
        own = kept.grid.affine if kept.view.affine is None else kept.view.affine
        return np.eye(4) if same_affine(own, kept.grid.affine) else np.linalg.inv(own) @ kept.grid.affine
    if pixels_of(layer) is stack_of(layer):
        return np.eye(4)
    return np.linalg.inv(notes(layer)["recorded"].to_shown)


def _counted(layers: Sequence[Image], frame: FusedFrame) -> tuple[str, ...] | None:
    """What the axes before z count in files, all layers alike; None where there are none, or that is not clear."""
    labels = {tuple(layer.axis_labels[: stack_of(layer).ndim - _SPATIAL]) for layer in layers}
    axes = next(iter(labels))
    known = len(labels) == 1 and len(axes) == len(frame.leading) > 0
    return tuple(_COUNTED[axis] for axis in axes) if known and set(axes) <= _COUNTED.keys() else None


def _lies_on(data: Any, matrix: np.ndarray, frame: FusedFrame) -> bool:
    """Whether pixels with this matrix to the frame of the fused volume are its voxels."""
    return Placed(triple(data.shape), matrix).lies_on(frame.grid)


def _inputs(layers: Sequence[Image], views: Sequence[View], frame: FusedFrame, voxels: Voxels) -> dict[str, Any] | None:
    """How views are opened from the files of their layers, or None where a recipe could not say it in one go."""
    opened = notes(layers[0]).get("inputs")
    if opened is None or any(notes(layer).get("inputs") != opened for layer in layers):
        return None
    if any("kept" in notes(layer) for layer in layers):
        kept = [one for layer in layers if (one := kept_view(layer)) is not None]
        if len(kept) < len(layers) or not all(map(_is_in_run, layers, views)):
            return None
        files = _weights_files(layers, kept), _transmission_files(layers)
        return _kept_inputs(Inputs(**opened), kept, views, frame.grid, *files)
    if any(view.affine is not None and not _is_as_opened(layer) for layer, view in zip(layers, views, strict=True)):
        return None
    if any(view.affine is not None for view in views) and not all(map(_is_in_run, layers, views)):
        # The panel has brought PSFs from the voxels of their views to others, which no recipe repeats exactly.
        return None
    masks = dict(opened.get("masks") or {})
    for layer, view in zip(layers, views, strict=True):
        known = notes(layer)
        if known.get("mask_layer"):
            if not known.get("mask_file"):
                return None
            masks[view.name] = known["mask_file"]
    if any(_has_box(layer) and not _begins_as_opened(layer) for layer in layers):
        # In the world of the files it would lie elsewhere.
        return None
    if voxels == "first" and any(view.affine is not None for view in views):
        upright = np.array_equal(frame.to_frame, np.eye(4))
        if pixels_of(layers[0]) is not stack_of(layers[0]) or not upright:
            # The voxels on which a turned view is shown, which no file has.
            return None
    weights = _weights_files(layers, [None] * len(layers))
    inputs = Inputs(**opened).set_as(
        RegisteredViews(views, frame.grid), masks, voxels, weights=weights, transmissions=_transmission_files(layers)
    )
    return None if inputs is None else inputs.model_dump(mode="json")


def transmission_on(layer: Image, grid: Grid) -> Any:
    """The transmission that was given for the view of a layer; None where there is none, or on other voxels."""
    given = notes(layer).get("transmission")
    return None if given is None or tuple(given.shape) != grid.shape else given


def transmitted_in_memory(layers: Sequence[Image]) -> list[Image]:
    """Those of some layers whose views were given a transmission that is in no file."""
    return [
        layer
        for layer in layers
        if notes(layer).get("transmission") is not None and not notes(layer).get("transmission_file")
    ]


def _transmission_files(layers: Sequence[Image]) -> dict[str, str]:
    """Files of the transmissions of views, by name."""
    files = {
        name: notes(layer).get("transmission_file", "") for layer, name in zip(layers, _names(layers), strict=True)
    }
    return {name: file for name, file in files.items() if file}


def _has_box(layer: Image) -> bool:
    chosen = notes(layer).get("trust")
    return chosen is not None and chosen.box_um is not None


def weighed_in_memory(layers: Sequence[Image]) -> list[Image]:
    """Those of some layers whose views count as weights say that are in no file on the voxels that are fused."""
    files = _weights_files(layers, [kept_view(layer) for layer in layers])
    trusts = [notes(layer).get("trust") for layer in layers]
    return [
        layer
        for layer, name, chosen in zip(layers, _names(layers), trusts, strict=True)
        if chosen is not None and chosen.weights is not None and name not in files
    ]


def _weights_files(layers: Sequence[Image], kept: Sequence[Kept | None]) -> dict[str, str]:
    """Files of the weights of views, by name, of those whose files hold them on the voxels that are fused."""
    files = {}
    for layer, name, own in zip(layers, _names(layers), kept, strict=True):
        chosen = notes(layer).get("trust")
        if chosen is None or not chosen.weights_file:
            continue
        if not chosen.on_shown or np.array_equal(_shown_to_fused(layer, own), np.eye(4)):
            files[name] = chosen.weights_file
    return files


def kept_view(layer: Image) -> Kept | None:
    """The view that a layer shows on the grid of the fused volume, as long as nobody has changed what it shows or where."""
    kept = notes(layer).get("kept")
    if kept is None or kept.shown is not finest(layer) or notes(layer).get("mask") is not kept.mask:
        return None
    there = same_affine(kept.grid.affine, to_world_um(layer)) and notes(layer).get("no_data") is None
    return kept if there else None


def _as_kept(kept: Kept, set_as: View, grid: Grid) -> View:
    """A view as it was opened, with what was set on its layer, which shows it without the offset and gain of its file.

    It is to be fused on a grid, be it that of its layer or another one.
    """
    own = kept.view
    moved = kept.grid.affine if own.affine is None and grid != kept.grid else own.affine
    return replace(
        set_as,
        data=own.data,
        affine=moved,
        mask=own.mask,
        no_data=own.no_data,
        no_data_stated=own.no_data_stated,
        offset=own.offset + own.gain * set_as.offset,
        gain=own.gain * set_as.gain,
        remove_hot=own.remove_hot or set_as.remove_hot,
    )


def _kept_inputs(
    inputs: Inputs,
    kept: Sequence[Kept],
    views: Sequence[View],
    grid: Grid,
    weights: Mapping[str, str],
    transmissions: Mapping[str, str],
) -> dict[str, Any] | None:
    """How to open views of a project on a grid, also some of them, or on another one than all of them were given.

    None where they would not be given this grid.
    """
    registered = RegisteredViews(views, grid)
    set_as = inputs.set_as(registered, {}, keeps_grid=True, weights=weights, transmissions=transmissions)
    if set_as is None:
        return None
    if len(views) < len(kept[0].together) or kept[0].grid != grid:
        last = np.array(grid.origin_um) + (np.array(grid.shape) - 1) * grid.voxel_size_um
        pinned = WorldBox(grid.origin_um, float_triple(last))
        fields = [Placed(view.shape, grid.affine if view.affine is None else view.affine) for view in views]
        alone = choose_grid(fields, voxels=grid.voxel_size_um, box=pinned, known=grid.known).grid
        if alone != grid:
            return None
        place = {"box": None, "box_um": (pinned.first_um, pinned.last_um)}
        set_as = set_as.model_copy(update={"voxel_size_um": grid.voxel_size_um, **place})
    return set_as.model_dump(mode="json")


def _is_as_opened(layer: Image) -> bool:
    """Whether a layer lies where its file was opened, beside views on other grids."""
    placed = notes(layer).get("placed")
    return placed is not None and same_affine(placed, pixels_to_world_um(layer))


def _begins_as_opened(layer: Image) -> bool:
    """Whether the first voxel of a layer lies where its file was opened."""
    placed = notes(layer).get("placed")
    return placed is not None and np.allclose(placed[:3, 3], pixels_to_world_um(layer)[:3, 3])


def _is_in_run(layer: Image, view: View) -> bool:
    """Whether a view has the PSF that a run on its files has, or none as there."""
    in_run = notes(layer).get("psf_in_run")
    return view.psf is (None if in_run is None else in_run.said.psf)


def psf_on(layer: Image, matrix: np.ndarray) -> ViewPSF:
    """The PSF of a layer on the voxels of a fused volume: the one that it has, or, where that is on others, brought there.

    Parameters
    ----------
    matrix : 3 x 3, from offsets in the view's own pixels to those in voxels of the fused volume
    """
    known, said = notes(layer), said_of_psf(layer)
    own, before = known.get("psf_own"), known.get("psf_matrix")
    if own is None or before is None or np.allclose(before, matrix) or known.get("psf") is not known.get("psf_placed"):
        return ViewPSF(known.get("psf"), said.notes, said.flaw)
    return psf_in_run(layer, matrix) or _brought(_Same(own), matrix.tobytes(), f"view '{layer.name}'")


def psf_in_run(layer: Image, matrix: np.ndarray) -> ViewPSF | None:
    """The PSF of a layer as a run on its files has it, where it is known on the voxels that a matrix leads to."""
    known = notes(layer)
    in_run = known.get("psf_in_run")
    if in_run is None or in_run.own is not known.get("psf_own") or not np.allclose(in_run.matrix, matrix):
        return None
    return in_run.said


def in_places(layers: Sequence[Image], opened: Opened) -> RegisteredViews:
    """Views as a scene holds them: where they lie in the world, each with its PSF in the frame of its own pixels.

    Parameters
    ----------
    layers, opened : of `open_layers`, plain volumes

    Raises
    ------
    InputError
        If the frame of a PSF is not known; says which and what helps.
    """
    grid, to_world = opened.frame.grid, np.linalg.inv(opened.frame.to_frame)
    views = []
    for layer, view in zip(layers, opened.views.views, strict=True):
        affine = grid.affine if view.affine is None else view.affine
        psf = view.psf if is_same_frame(own_to_fused(affine, grid)) else _psf_of_own_pixels(layer, view)
        views.append(replace(view, affine=to_world @ affine, psf=psf))
    return RegisteredViews(views, grid)


def _psf_of_own_pixels(layer: Image, view: View) -> np.ndarray | None:
    """The PSF of a view in the frame of its own pixels, which is not that of the fused volume."""
    known = notes(layer)
    if view.psf is None:
        return None
    if known.get("psf_own") is None or known.get("psf") is not known.get("psf_placed"):
        raise InputError(
            f"{view.label} has a PSF on the voxels of the fused volume, and a scene needs it on those of the view: choose "
            "one that was recorded in the view's own frame, or none"
        )
    kept = kept_view(layer)
    if kept is None:
        return known["psf_own"]
    # The layer shows the view on the voxels of the fused volume, and that is where its PSF is.
    opening = known.get("inputs")
    found = {} if opening is None else {one.name: one for one in open_for_scene(Inputs(**opening)).views}
    own = found.get(str(known.get("name")))
    if own is None or own.shape != kept.view.shape:
        raise InputError(
            f"{view.label} is put together of several illuminations or tiles, and its PSF is on the voxels of the fused "
            "volume: open the project with these apart, or choose no PSF for it"
        )
    return own.psf


def choose_voxels(layers: Sequence[Image], voxels: Voxels) -> None:
    """Choose the voxels of the fused volume of these layers, for all panels.

    PSFs that are on the voxels of the fused volume alone are brought back to those of their views, from where they follow
    the choice.

    Raises
    ------
    InputError
        If the layers do not lie in one volume.
    """
    before = chosen_frame(layers)
    for layer in layers:
        known = notes(layer)
        psf, entries = known.get("psf"), Notes(grid=voxels)
        if psf is not None and known.get("psf_own") is None:
            matrix = own_to_fused(before.to_frame @ own_to_world_um(layer), before.grid)
            own = psf if is_same_frame(matrix) else resample_psf(psf, np.linalg.inv(matrix))
            entries |= Notes(psf_own=own, psf_matrix=matrix, psf_placed=psf)
        annotate(layer, **entries)


def inputs_on(layers: Sequence[Image], voxels: Voxels) -> Inputs | None:
    """How the files of layers are opened with the voxels of the fused volume that were chosen, None where they have none.

    Parameters
    ----------
    layers : at least one
    voxels : that were chosen for them
    """
    opened = notes(layers[0]).get("inputs")
    if opened is None:
        return None
    if any("kept" in notes(layer) for layer in layers):
        # All that is shown of a project lies on one grid, of which its views know nothing.
        return Inputs(**opened).model_copy(update={"voxel_size_um": chosen_frame(layers).grid.voxel_size_um})
    return Inputs(**opened).model_copy(update={"grid": voxels})


def run_psfs(inputs: Inputs) -> dict[str, ViewPSF]:
    """PSFs by the names of the views as a run on their files has them.

    Parameters
    ----------
    inputs : see `inputs_on`

    Raises
    ------
    InputError
        If the files cannot be opened any more.
    """
    views = inputs.open().views
    return {view.name: ViewPSF(view.psf, view.psf_notes, view.psf_flaw) for view in views}


def psfs_of_files(inputs: Inputs, *, on_shown: bool) -> dict[str, Notes]:
    """What layers note of their PSFs, by the names of the views, as a run on the files has them.

    Parameters
    ----------
    inputs : how the views are opened, with the files of their PSFs
    on_shown : each layer shows its view on the voxels of the fused volume, and its PSF follows from there

    Raises
    ------
    InputError
        If a file cannot be used.
    """
    in_run = inputs.open()
    if on_shown:
        same = np.eye(3)
        said = {view.name: ViewPSF(view.psf, view.psf_notes, view.psf_flaw) for view in in_run.views}
        return {
            name: Notes(psf=one.psf, psf_said=one, psf_own=None)
            if one.psf is None
            else Notes(
                psf=one.psf,
                psf_said=one,
                psf_own=one.psf,
                psf_matrix=same,
                psf_placed=one.psf,
                psf_in_run=PlacedPSF(one.psf, same, one),
            )
            for name, one in said.items()
        }
    own = inputs.open(own_psfs=True)
    moved = any(view.affine is not None for view in own.views)
    found: dict[str, Notes] = {}
    for view, run in zip(own.views, in_run.views, strict=True):
        plain = Notes(psf=view.psf, psf_said=ViewPSF(view.psf, view.psf_notes, view.psf_flaw), psf_own=None)
        found[view.name] = (placed_psf(view, own.grid, run) if moved else None) or plain
    return found


def take_run_psfs(layers: Sequence[Image], found: Mapping[str, ViewPSF]) -> None:
    """Give layers the PSFs that `run_psfs` has found, where they have those of their files; a recipe can then say how."""
    frame = chosen_frame(layers)
    for layer in layers:
        known = notes(layer)
        own, said = known.get("psf_own"), found.get(str(known.get("name")))
        if own is None or said is None or said.psf is None or known.get("inputs") is None:
            continue
        matrix = own_to_fused(frame.to_frame @ own_to_world_um(layer), frame.grid)
        in_run = PlacedPSF(own, matrix, said)
        annotate(layer, psf=said.psf, psf_said=said, psf_placed=said.psf, psf_matrix=matrix, psf_in_run=in_run)


@dataclass(frozen=True)
class _Same:
    """An array that is equal to itself alone."""

    values: np.ndarray

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.values is self.values

    def __hash__(self) -> int:
        return id(self.values)


@lru_cache(maxsize=_KEPT_PSFS)
def _brought(own: _Same, matrix: bytes, label: str) -> ViewPSF:
    return bring_to_frame(own.values, label, np.frombuffer(matrix).reshape(3, 3), ViewPSF())


def _names(layers: Sequence[Image]) -> list[str]:
    """What the views are called in their files, which a recipe goes by; where that is unclear, as the layers are."""
    names = [notes(layer).get("name") for layer in layers]
    return [layer.name for layer in layers] if None in names or len(set(names)) < len(names) else [*map(str, names)]
