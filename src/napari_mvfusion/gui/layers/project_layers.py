"""The views of a project as layers on the grid of the fused volume, from all its resolution levels, with their outlines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from napari_mvfusion.data.box_edges import outline_between, outline_of
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.project_levels import coarser_levels
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.gui.layers.conversion import finest
from napari_mvfusion.gui.layers.layer_data import (
    LayerData,
    absent_chunks_of,
    lazy,
    placement,
    resampled_views,
    transmission_notes,
    view_layers,
)
from napari_mvfusion.gui.layers.notes import KEY, Kept, Notes, PlacedPSF, notes
from napari_mvfusion.gui.layers.outlines import Outline, OutlineData, outline_layer
from napari_mvfusion.gui.layers.trusted_views import chosen_for
from napari_mvfusion.io.base import ListedView, ProjectContents
from napari_mvfusion.io.formats import format_of
from napari_mvfusion.io.volume_choice import ProjectChoice

_ENDINGS = (".xml", ".zarr", ".ome")
# BigStitcher calls every project so.
_USUAL = "dataset"


@dataclass(frozen=True, eq=False)
class OpenedProject:
    """Views of a project as layers, what goes round them, and what is to be said of how they were opened.

    Attributes
    ----------
    sample : what they show, as `sample_of` calls it
    """

    sample: str
    views: list[LayerData]
    outlines: OutlineData
    remarks: tuple[str, ...]


def project_layers(inputs: Inputs, check: Callable[[], object] = lambda: None) -> OpenedProject:
    """Open the views of a project as layers.

    Each lies on the grid of the fused volume, computed where one looks, or as it is stored where that is its own grid. What
    is fused is the view itself.

    Parameters
    ----------
    inputs : how they are opened
    check : called between the steps; raises where nobody waits for the layers any more

    Raises
    ------
    InputError
        If the project, or a file of it, cannot be used.
    """
    path = Path(str(inputs.source))
    known = format_of(path)
    at = ProjectChoice(
        inputs.timepoint,
        inputs.channel,
        level=inputs.level,
        world_unit_um=inputs.world_unit_um,
        outside=inputs.outside,
        registration=inputs.registration,
    )
    listing = known.list_views(path, at)
    check()
    views = inputs.open()
    check()
    coarser = coarser_levels(inputs, views, listing.levels)
    check()
    project = known.describe(path)
    sample = sample_of(path, project, inputs)
    layers = _on_grid(views, coarser, inputs, sample)
    check()
    colours = {view.name: str(look["colormap"]) for view, (_, look, _) in zip(views.views, layers, strict=True)}
    outlines = [
        *_round_views(listing.views, colours, apart=inputs.apart),
        *_round_boxes(project, inputs.world_unit_um),
        Outline("fused volume", "fused volume", outline_of(views.grid.shape, views.grid.affine)),
    ]
    return OpenedProject(sample, layers, outline_layer(outlines, sample=sample, grid=views.grid), views.remarks)


def shows(layer: Any, view: LayerData) -> bool:
    """Whether a layer shows this view of a project already, on the same voxels; its PSF may have been changed since."""
    data, look, _ = view
    of_layer, of_view = notes(layer), cast("Notes", look["metadata"][KEY])
    if any(of_layer.get(key) != of_view.get(key) for key in ("sample", "name", "source")):
        return False
    shape = (data[0] if look.get("multiscale") else data).shape
    if finest(layer).shape != shape or "placed" not in of_layer or "placed" not in of_view:
        return False
    same_grid = np.array_equal(of_layer["placed"], of_view["placed"])
    return same_grid and np.array_equal(_own_place(of_layer), _own_place(of_view))


def _own_place(known: Notes) -> np.ndarray:
    """4 x 4, where a view itself lies, also where it is shown on the voxels of the fused volume."""
    own = known["kept"].view.affine if "kept" in known else None
    return known["placed"] if own is None else own


def goes_round(layer: Any, opened: OpenedProject) -> bool:
    """Whether a layer holds outlines of what a project shows."""
    return notes(layer).get("role") == "outlines" and notes(layer).get("sample") == opened.sample


def sample_of(path: Path, project: ProjectContents, inputs: Inputs) -> str:
    """What views of a project show: its name, or that of its folder, with time point and channel where there are several."""
    name = path.name
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    if name == _USUAL:
        name = path.resolve().parent.name
    channels = dict(zip(project.channel_numbers, project.channels, strict=False))
    time = [] if inputs.timepoint is None else [f"t{inputs.timepoint}"]
    channel = [] if inputs.channel is None else [channels.get(inputs.channel, str(inputs.channel))]
    # "0 (GFP)" is GFP, and a number alone needs a word.
    named = [f"channel {text}" if text.isdecimal() else text.partition("(")[2].rstrip(")") or text for text in channel]
    return " ".join([name, *time, *named])


def _on_grid(
    views: RegisteredViews, coarser: Sequence[RegisteredViews], inputs: Inputs, sample: str
) -> list[LayerData]:
    """A layer a view, with its coarser levels where there are some."""
    is_resampled = any(view.affine is not None for view in views.views)
    levels = [resampled_views(views) if is_resampled else views, *map(resampled_views, coarser)]
    finest, coarsest = levels[0], levels[-1]
    # How bright they are is told from the coarsest level, without a look at whole planes of the finest.
    small = RegisteredViews(
        [
            replace(view, data=seen.data, mask=seen.mask, trust=None, transmission=None)
            for view, seen in zip(finest.views, coarsest.views, strict=True)
        ],
        coarsest.grid,
    )
    layers: list[LayerData] = []
    for number, (_, look, kind) in enumerate(view_layers(small, sample=sample, inputs=inputs.model_dump(mode="json"))):
        view = finest.views[number]
        shown = [lazy(each.views[number].data) for each in levels]
        known = cast("Notes", {**look["metadata"][KEY], "mask": view.mask, "placed": views.grid.affine})
        known["absent"] = absent_chunks_of(views.views[number])
        known["trust"] = chosen_for(views.views[number], inputs.model_dump())
        known.update(transmission_notes(views.views[number], inputs.model_dump()))
        if is_resampled:
            known["kept"] = Kept(views.views[number], views.grid, shown[0], view.mask, views.views)
        if (psf := known.get("psf")) is not None and (said := known.get("psf_said")) is not None:
            # It is on the voxels that are shown, and follows where others are chosen.
            same = np.eye(3)
            known |= Notes(psf_own=psf, psf_matrix=same, psf_placed=psf, psf_in_run=PlacedPSF(psf, same, said))
        if any(views.grid.known):
            known.pop("unsized", None)
        several = {"multiscale": True} if len(shown) > 1 else {}
        look = look | placement(views.grid) | several | {"metadata": {KEY: known}}
        layers.append((shown if several else shown[0], look, kind))
    return layers


def _round_views(listed: Sequence[ListedView], colours: Mapping[str, str], *, apart: bool) -> list[Outline]:
    """Round each of the views that are shown, and each illumination and tile of one that is blended of several."""
    found = []
    for view in listed:
        colour = colours.get(view.name if apart else view.fused_as)
        if colour is not None and view.affine is not None and view.shape is not None:
            found.append(Outline(view.name, "view", outline_of(view.shape, view.affine), colour))
    return found


def _round_boxes(project: ProjectContents, unit_um: float | None) -> list[Outline]:
    um = project.unit_um if unit_um is None else unit_um
    return [
        Outline(box.name, "box", outline_between(np.multiply(box.first, um), np.multiply(box.last, um)))
        for box in project.boxes
    ]
