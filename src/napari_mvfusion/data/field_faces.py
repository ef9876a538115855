"""Whether zeros beyond a face of a view's hull are dark pixels or no data: what the other views show there decides.

At the edge of a field light ends abruptly, while other views go on as if nothing were there. A specimen on a black
background fades instead, in all views, and its zeros are measurements. Only small blocks at the face are read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from scipy import ndimage

from napari_mvfusion.data.geometry import Box, Triple, triple

# Blocks reach this far on each side of a voxel at the face.
_REACH = 8
# Voxels from the face: the shells that are compared.
_INNER, _OUTER, _DEEP = 2, 3, 5
# What a view shows beside the face relative to what it shows further inside, measured by the other views; and what these
# show beyond relative to inside. Ends of fields have about 1 for both; the second is less where a specimen ends soon after.
# Between the two least values of the second there are also faces of specimens from which a background was subtracted: of
# 144 such sets of views at 40^3 voxels one had a view with three of them, five one with two.
_LEAST_BESIDE, _LEAST_BEYOND, _PERHAPS_BEYOND, _MOST = 0.6, 0.4, 0.25, 2.5
# What the others show beyond, relative to their mean.
_LIGHT = 0.05
# So many voxels beyond would not be 0 if the view had recorded there; the hull of sparse photons leaves up to about 70.
_FEWEST_MISSED = 500

Verdict = Literal["yes", "perhaps", "no"]


def ends_abruptly(
    index: int,
    places: np.ndarray,
    beyond: int,
    shape: Triple,
    means: Sequence[float],
    read: Callable[[Box], np.ndarray],
    inside: Callable[[Box], np.ndarray],
) -> Verdict:
    """Whether a view recorded nothing beyond a face of its hull; doubtful where a specimen ends soon; see the module.

    Parameters
    ----------
    index : of the view
    places : int (n, 3), voxels of the fused volume at the face
    beyond : number of voxels beyond it
    shape : of the fused volume
    means : brightness of each view inside its hull
    read : gives the views over a box, float (view, z, y, x)
    inside : gives where each view lies inside its hull, bool, the same shape
    """
    if beyond < _FEWEST_MISSED:
        return "no"
    sums = {name: np.zeros(3) for name in ("inner", "outer", "deep")}
    not_dark = 0
    for place in places:
        box = Box(triple(place - _REACH), triple(place + _REACH + 1)).clip(shape)
        if not box.size:
            continue
        known = inside(box)
        others = [u for u in range(len(known)) if u != index and means[u] > 0]
        mine = known[index]
        if mine.all() or not mine.any() or not known[others].any():
            continue
        values = read(box)
        own, amount = values[index], known[others].sum(axis=0)
        # Weighted by brightness, as photons count: one of a dark view says little.
        expected = sum(known[u] * means[u] for u in others)
        light = sum(known[u] * values[u] for u in others) / np.maximum(expected, 1e-30)
        shells = {
            "inner": mine & ~ndimage.minimum_filter(mine, 2 * _INNER + 1),
            "outer": ~mine & ndimage.maximum_filter(mine, 2 * _OUTER + 1),
            "deep": ndimage.minimum_filter(mine, 2 * _DEEP + 1),
        }
        for name, shell in shells.items():
            shell &= amount > 0
            sums[name] += (shell.sum(), light[shell].sum(), own[shell].sum())
        not_dark += int(np.count_nonzero(own[shells["deep"]]))
    (inner, light_inner, own_inner), (outer, light_outer, _), (deep, light_deep, own_deep) = sums.values()
    if not min(inner, outer, deep, light_inner, light_deep, own_deep) > 0:
        return "no"
    abrupt = own_inner / own_deep * light_deep / light_inner
    goes_on = light_outer / outer * inner / light_inner
    alike = _LEAST_BESIDE < abrupt < _MOST and _PERHAPS_BEYOND < goes_on < _MOST
    if not (alike and light_outer > _LIGHT * outer and not_dark / deep * beyond > _FEWEST_MISSED):
        return "no"
    return "yes" if goes_on > _LEAST_BEYOND else "perhaps"
