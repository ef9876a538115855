"""Whether one view is brighter than the others everywhere, as with another exposure, found on overviews of the volume.

Light that a view lost on its way through the specimen makes it darker on one side, and there alone. A gain acts
everywhere: the share of cells that say otherwise tells the two apart. Where views have both, a gain shows at most places:
of views of 168 simulated specimens without one, which lost up to most of their light and look from two to four directions,
none is brighter or darker than the others by more than 1.21 in the median.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from napari_mvfusion.data.views import RegisteredViews

# Brighter or darker than the others by less than this is no matter.
_NOTICEABLE = 1.5
# This share of the cells may disagree.
_ELSEWHERE = 0.1
# Cells; takes out what PSFs differ by.
_SIGMA = 2.0
# Cells darker than this share of the brightest say nothing, nor do fewer cells than this.
_DARK = 0.1
_FEWEST_CELLS = 30
_COVERED = 0.99
# An addition explains a view better than a factor where it leaves less than this share of what the factor leaves.
_ADDED = 0.7


@dataclass(frozen=True)
class BesideOthers:
    """How bright a view is beside the others.

    Attributes
    ----------
    gain : how many times as bright it is everywhere, 1 where it is not
    added : what it has more than the others everywhere, as with a camera offset that was subtracted from them alone, in the
        units in which it is read; 0 where there is none, or a factor says as much
    mostly : how many times as bright it is in the median, where that is not so everywhere, as views lost light too; 1 where
        it is as bright, or has a gain, and of views of which one is trusted by place
    """

    gain: float = 1.0
    added: float = 0.0
    mostly: float = 1.0


def find_gains(views: RegisteredViews, nothing: Sequence[float] | None = None) -> tuple[float, ...]:
    """By how much each view is brighter than the others at the same place.

    Parameters
    ----------
    views : their statistics are computed where `RegisteredViews.scan` has not run yet
    nothing : how bright each view is where there is no light, which is no light either (see `camera_offset`); 0 when None

    Returns
    -------
    One number a view: the median ratio to the median of the others where that is beyond 1.5, or below 1 / 1.5, nearly
    everywhere; 1 for all others, and where nothing can be compared. Of two views the brighter one has the gain.
    """
    return tuple(beside.gain for beside in compare_brightness(views, nothing))


def compare_brightness(views: RegisteredViews, nothing: Sequence[float] | None = None) -> tuple[BesideOthers, ...]:
    """How bright each view is beside the others: by a factor, by an addition, or by a factor at most places.

    Parameters
    ----------
    views, nothing : as for `find_gains`

    Returns
    -------
    One a view, in their order. Of two views the brighter one is said to be so.
    """
    overviews = [numbers.overview for numbers in views.statistics()]
    known = [overview for overview in overviews if overview is not None]
    found = [BesideOthers()] * len(views)
    if len(views) < 2 or len(known) < len(views):
        return tuple(found)
    seen = np.stack([ndimage.gaussian_filter(overview.values.astype(np.float64), _SIGMA) for overview in known])
    if nothing is not None:
        seen -= np.asarray(nothing)[:, None, None, None]
    covered = np.min([overview.covered for overview in known], axis=0) >= _COVERED
    shared = np.median(seen, axis=0)
    chosen = covered & (shared > _DARK * shared.max(where=covered, initial=0.0)) & (seen > 0).all(axis=0)
    if chosen.sum() < _FEWEST_CELLS:
        return tuple(found)
    left = dict(enumerate(seen[:, chosen]))
    ways = [(_gain, "gain"), (_median, "mostly")]
    if any(view.trust is not None for view in views.views):
        # Cells that a view is not trusted in stand here as bright as they are recorded.
        del ways[1:]
    for ratio, named in ways:
        while (standing_out := _most(left, ratio)) is not None:
            view, factor = standing_out
            mine = left.pop(view)
            others = np.median(list(left.values()), axis=0)
            added = float(np.median(mine - others))
            as_added = np.median(np.abs(mine - others - added))
            as_factor = np.median(np.abs(mine - others * factor))
            if not (added > 0 and as_added < _ADDED * as_factor):
                found[view] = BesideOthers(**{named: factor})
            elif named == "gain":
                # Beside lost light an addition cannot be told from it.
                found[view] = BesideOthers(added=added)
    return tuple(found)


def _most(left: dict[int, np.ndarray], ratio: Callable[[np.ndarray], float]) -> tuple[int, float] | None:
    """The view that stands out most by a ratio to the others, and that; None where none does.

    One at a time: it would make others stand out, as the median of two is their mean.

    Parameters
    ----------
    left : brightness of cells, (cells,) for each view by its number
    """
    if len(left) < 2:
        return None
    found = {u: ratio(left[u] / np.median([left[w] for w in left if w != u], axis=0)) for u in left}
    if len(left) == 2:
        found = {u: max(factor, 1.0) for u, factor in found.items()}
    most = max(found, key=lambda u: abs(np.log(found[u])))
    return None if found[most] == 1 else (most, found[most])


def _gain(ratio: np.ndarray) -> float:
    """The median of the cells, 1 where that is not noticeable nearly everywhere."""
    least, middle, most = np.quantile(ratio, [_ELSEWHERE, 0.5, 1 - _ELSEWHERE])
    return float(middle) if least > _NOTICEABLE or most < 1 / _NOTICEABLE else 1.0


def _median(ratio: np.ndarray) -> float:
    """The median of the cells, 1 where that is not noticeable."""
    middle = float(np.median(ratio))
    return middle if middle > _NOTICEABLE or middle < 1 / _NOTICEABLE else 1.0
