"""What a layer is beyond its pixels: notes in its metadata, which all panels read and follow, and which stay with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, Unpack, cast

import numpy as np
from napari.layers import Image, Labels

from napari_mvfusion.data.field_of_view import NoData
from napari_mvfusion.data.fused_grid import Voxels
from napari_mvfusion.data.geometry import FloatTriple, Grid
from napari_mvfusion.data.trust import Fade
from napari_mvfusion.data.view import View
from napari_mvfusion.io.name_table import NameTable
from napari_mvfusion.io.psf_files import ViewPSF

KEY = "mvfusion"
"""Where the notes stand in `layer.metadata`."""

_MOST_SAID = 3

Role = Literal[
    "view",
    "truth",
    "fused",
    "preview",
    "residual",
    "difference",
    "unsupported",
    "curtain",
    "profile",
    "outlines",
    "trust",
    "transmission",
]


@dataclass(frozen=True, eq=False)
class Kept:
    """A view whose layer shows it on the grid of the fused volume: fused is the view itself, and not what is shown.

    Attributes
    ----------
    view : as it was opened
    grid : of the fused volume
    shown : the pixels of the layer, at full resolution
    mask : where they show something
    together : all views that were opened with it, on whose places the grid depends
    """

    view: View
    grid: Grid
    shown: Any
    mask: Any
    together: tuple[View, ...]


@dataclass(frozen=True, eq=False)
class Recorded:
    """The pixels of a layer as they were recorded, where it shows them resampled, as napari cannot show what is turned.

    Attributes
    ----------
    data : (..., z, y, x)
    shown : what the layer shows of them at full resolution; with other pixels it is what it shows
    to_shown : 4 x 4 matrix from voxels (z, y, x, 1) of `data` to those of `shown`
    """

    data: Any
    shown: Any
    to_shown: np.ndarray


@dataclass(frozen=True, eq=False)
class PlacedPSF:
    """A PSF on the voxels of a fused volume, and the 3 x 3 matrix that brings that in the view's own pixels to these."""

    own: np.ndarray
    matrix: np.ndarray
    said: ViewPSF


@dataclass(frozen=True, eq=False)
class ChosenTrust:
    """How much the view of a layer counts from place to place, as it was chosen; all that is said holds at once.

    Attributes
    ----------
    weights : (z, y, x) from 0 to 1, or None
    on_shown : whether they have the voxels that the layer shows; else they have those of the pixels that are fused
    weights_layer, weights_file : the layer that they were chosen from, and its file, "" where it has none
    box_um : first and last place (z, y, x) in the world within which it counts, um, or None
    fade : with depth, or None
    """

    weights: Any = None
    on_shown: bool = True
    weights_layer: str = ""
    weights_file: str = ""
    box_um: tuple[FloatTriple, FloatTriple] | None = None
    fade: Fade | None = None


class Notes(TypedDict, total=False):
    """The notes of a layer, a plain dict; whatever is not known is left out or None.

    Attributes
    ----------
    role : what the layer is; "fused" is a result
    sample : what is seen, the same for views that belong together and their result
    name : of a view in its files, which recipes go by
    included : whether the view is fused
    unticked : why it is not ticked, where nobody has decided that; counts while it is not
    angle, weight, offset, gain, remove_hot, no_data, source : of a view, as in `View`; `source` is also the output of a
        fused series
    file_no_data : what the files of a view say of it, None where they say nothing
    psf : of a view, on the voxels of the fused volume, (z, y, x)
    psf_said : that PSF, and what was done to it; or why it, or the one of a file, cannot be used
    psf_source : where it came from, in words
    psf_by_hand : what was done to the PSF of opened files that these do not say, "" for nothing
    psf_own, psf_matrix, psf_placed : a PSF in the frame of the view itself, the matrix by which it was brought to the fused
        volume, 3 x 3, and what came out
    kept : the view itself, where the layer shows it on another grid
    psf_in_run : the PSF as a run on the files of the view has it, where it was opened so
    mask : of a view, (z, y, x), nonzero where there is data
    mask_layer, mask_file : the layer that the mask was chosen from, and its file, "" where it has none
    trust : how much a view counts from place to place, or None where that is the same everywhere
    transmission : of a view, as in `View`, or None
    transmission_layer, transmission_file : the layer that it was chosen from, and its file, "" where it has none
    recorded : the pixels of a view that is shown resampled; its mask, and its own PSF, are on their voxels
    placed : 4 x 4, where a view lay when it was opened, um
    absent : what is to be said of chunks that the files of a view leave out; may be empty
    unsized : what stands in the place of the voxel size (z, y, x), where its file states none
    grid : the voxels that were chosen for the fused volume, see `napari_mvfusion.data.fused_grid.Voxels`
    inputs : how the files of a view were opened, as `Inputs` of a recipe
    named_files : what the names of these files and of others say, where a pattern of them chose these
    recipe : of a result
    running : whether a result is still computed
    """

    role: Role
    sample: str
    name: str | None
    included: bool | None
    unticked: str
    angle: float | None
    weight: float
    offset: float
    gain: float
    remove_hot: bool
    no_data: Any
    file_no_data: NoData | None
    source: str
    psf: np.ndarray | None
    psf_said: ViewPSF | None
    psf_source: str
    psf_by_hand: str
    psf_own: np.ndarray | None
    psf_matrix: np.ndarray | None
    psf_placed: np.ndarray | None
    kept: Kept
    psf_in_run: PlacedPSF
    mask: Any
    mask_layer: str
    mask_file: str
    trust: ChosenTrust | None
    transmission: Any
    transmission_layer: str
    transmission_file: str
    recorded: Recorded
    placed: np.ndarray
    absent: str
    unsized: FloatTriple
    grid: Voxels
    inputs: dict[str, Any] | None
    named_files: NameTable
    recipe: dict[str, Any]
    running: bool


def unsized(grid: Grid) -> Notes:
    """What stands in the place of the voxel size of a layer on a grid, where nobody has said it."""
    return {} if any(grid.known) else {"unsized": grid.voxel_size_um}


def notes(layer: Any) -> Notes:
    """What the layer is beyond its pixels; empty where nothing is known."""
    found = layer.metadata.get(KEY)
    return cast("Notes", found) if isinstance(found, dict) else {}


def annotate(layer: Image, **entries: Unpack[Notes]) -> None:
    """Change entries of a layer's notes; its other metadata stays."""
    layer.metadata = {**layer.metadata, KEY: {**notes(layer), **entries}}


def said_of_psf(layer: Image) -> ViewPSF:
    """What was said of the layer's PSF, as long as it still has that one."""
    known = notes(layer)
    said = known.get("psf_said")
    return said if isinstance(said, ViewPSF) and said.psf is known.get("psf") else ViewPSF()


def can_be_view(layer: Any) -> bool:
    """Whether a layer is a volume, or a series of them, that may be a view: no results, ground truths or colours."""
    if not isinstance(layer, Image) or layer.rgb or layer.ndim < 3:
        return False
    return notes(layer).get("role") in ("view", None)


def why_no_views(layers: Iterable[Any]) -> str:
    """What keeps layers that are there from being views, a sentence each; "" where nothing can be said."""
    said = []
    for layer in layers:
        if isinstance(layer, Labels):
            said.append(f"'{layer.name}' holds labels, and no brightness.")
        elif isinstance(layer, Image) and layer.rgb:
            said.append(f"'{layer.name}' is in colours: split them first (right-click the layer, Split RGB).")
        elif isinstance(layer, Image) and layer.ndim < 3:
            said.append(f"'{layer.name}' is flat: a view is a volume (z, y, x).")
    return " ".join(said[:_MOST_SAID])


def decide(layers: Sequence[Image]) -> list[Image]:
    """The layers that are fused. Where that is not decided yet, views of the sample that was opened first are, once each.

    Why others are not is noted.
    """
    ticked = [layer for layer in layers if notes(layer).get("included") is True]
    for layer in layers:
        if notes(layer).get("included") is None:
            why = _why_not(layer, ticked, layers)
            if not why:
                ticked.append(layer)
            annotate(layer, included=not why, unticked=why)
    return [layer for layer in layers if notes(layer).get("included") is True]


def why_unticked(layer: Image) -> str:
    """Why a layer that is not fused was left out unasked, a sentence; "" where somebody decided it, or it is fused."""
    known = notes(layer)
    return "" if known.get("included") else known.get("unticked") or ""


def _why_not(layer: Image, ticked: Sequence[Image], layers: Sequence[Image]) -> str:
    """What keeps a layer from being ticked from the start; "" where nothing does."""
    known = notes(layer)
    if "sample" not in known:
        return "Not ticked, as nothing tells whether it is a view: tick it to fuse it."
    sample, name = known["sample"], known.get("name")
    first = next(notes(other)["sample"] for other in [*ticked, *layers] if "sample" in notes(other))
    if sample != first:
        return f"Not ticked, as it was opened apart from the views of {first or 'files'}: tick it to fuse it too."
    alike = (other for other in ticked if notes(other).get("sample") == sample and notes(other).get("name") == name)
    same = next(alike, None)
    return "" if same is None else f"Not ticked, as '{same.name}' is the same view: tick one of them."
