"""How much the views of layers count from place to place: from what was chosen to `View.trust`, and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np

from napari_mvfusion.data.fused_grid import Placed
from napari_mvfusion.data.geometry import FloatTriple, Grid, Triple, float_triple
from napari_mvfusion.data.resampled_view import ResampledStack, ResampledView
from napari_mvfusion.data.trust import PlacedTrust, edge_um, with_trust
from napari_mvfusion.data.views import RegisteredViews, View, VolumeLike
from napari_mvfusion.gui.layers.notes import ChosenTrust
from napari_mvfusion.gui.layers.shown_stack import ShownStack

# Interpolation gives 1.0000001 between ones, which is no weight.
_DECIMALS = 6


@dataclass(frozen=True, eq=False)
class TrustPlace:
    """Where what is chosen for the view of a layer lies.

    Attributes
    ----------
    grid : of the fused volume
    to_frame : 4 x 4, from world micrometres to those of the grid
    to_fused : 4 x 4, from the voxels (z, y, x, 1) that the layer shows to those of the view
    """

    grid: Grid
    to_frame: np.ndarray
    to_fused: np.ndarray

    def trusted(self, view: View, chosen: ChosenTrust | None) -> View:
        """A view that counts as it was chosen for its layer, None for the same everywhere.

        Raises
        ------
        InputError
            As `with_trust`.
        """
        if chosen is None:
            return replace(view, trust=None)
        weights, box_um = chosen.weights, chosen.box_um
        if weights is not None and chosen.on_shown and not np.array_equal(self.to_fused, np.eye(4)):
            weights = on_other_voxels(weights, self.to_fused, view.shape)
        if box_um is not None and not np.array_equal(self.to_frame, np.eye(4)):
            # The box is upright in the world, where the frame is not; depth is counted in the frame, as angles are.
            in_world = replace(view, affine=self._to_world(view))
            weights = with_trust(in_world, self.grid, weights=weights, box_um=box_um).trust
            box_um = None
        source = chosen.weights_file or chosen.weights_layer
        return with_trust(view, self.grid, weights=weights, box_um=box_um, fade=chosen.fade, source=source)

    def extent_um(self, view: View) -> tuple[FloatTriple, FloatTriple]:
        """The first and the last place (z, y, x) in the world that a view has."""
        low, high = Placed(view.shape, self._to_world(view), view.label).bounds_um
        return float_triple(low), float_triple(high)

    def edge_um(self, view: View) -> FloatTriple:
        """How wide the edges of a box are along (z, y, x) of the world, where it is not thin."""
        return edge_um(self._to_world(view))

    def shown(self, trust: VolumeLike, shape: Triple) -> ShownStack:
        """How much a view counts as pixels of a layer, on the voxels (z, y, x) that the layer of the view shows."""
        affine = None if np.array_equal(self.to_fused, np.eye(4)) else np.linalg.inv(self.to_fused)
        views = RegisteredViews([View(trust, "trust", affine=affine)], Grid(shape))
        return ShownStack(ResampledStack([ResampledView(views, 0)]))

    def _to_world(self, view: View) -> np.ndarray:
        """4 x 4, from the voxels of a view to world micrometres."""
        own = self.grid.affine if view.affine is None else view.affine
        matrix: np.ndarray = np.linalg.inv(self.to_frame) @ own
        return matrix


def on_other_voxels(weights: Any, matrix: np.ndarray, shape: Triple) -> da.Array:
    """Weights interpolated where they are read.

    Parameters
    ----------
    weights : (z, y, x)
    matrix : 4 x 4, from their voxels (z, y, x, 1) to the others
    shape : (z, y, x) of these
    """
    moved = ResampledView(RegisteredViews([View(weights, "weights", affine=matrix)], Grid(shape)), 0)
    return da.from_array(moved, chunks=moved.chunks, name=False, meta=np.empty((0, 0, 0), np.float32)).round(_DECIMALS)


def chosen_for(view: View, inputs: Mapping[str, Any] | None) -> ChosenTrust | None:
    """What is noted for a view that counts from place to place as it was opened; None where it is the same everywhere.

    Parameters
    ----------
    inputs : how it was opened, as `napari_mvfusion.engine.recipe.Inputs` holds it
    """
    trust = view.trust
    if trust is None:
        return None
    if not isinstance(trust, PlacedTrust):
        return ChosenTrust(trust, on_shown=False)
    file = ((inputs or {}).get("trust") or {}).get(view.name, "") if trust.weights is not None else ""
    return ChosenTrust(
        trust.weights,
        on_shown=False,
        weights_layer=Path(file).name,
        weights_file=file,
        box_um=trust.box_um,
        fade=trust.fade,
    )


def in_words(chosen: ChosenTrust) -> str:
    """How much a view counts, what is said after its name."""
    said = []
    if chosen.weights is not None:
        said.append(
            f"as '{chosen.weights_layer}' says" if chosen.weights_layer else "as the weights say that came with it"
        )
    if chosen.box_um is not None:
        sides = zip("zyx", *chosen.box_um, strict=True)
        said.append(f"within {', '.join(f'{axis} {low:.4g} to {high:.4g}' for axis, low, high in sides)} µm")
    if chosen.fade is not None:
        full, none = chosen.fade.full_um, chosen.fade.none_um
        if full < none:
            said.append(f"to {full:.4g} µm of depth, and not at all from {none:.4g} µm on")
        else:
            said.append(f"from {full:.4g} µm of depth on, and not at all to {none:.4g} µm")
    return f"counts {'; '.join(said)}"
