"""Whether one view is brighter than the others everywhere, as with another exposure, found on overviews of the volume.

Light that a view lost on its way through the specimen makes it darker on one side, and there alone. A gain acts
everywhere: the share of cells that say otherwise tells the two apart.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    return compare_brightness(views, nothing)[0]


def compare_brightness(
    views: RegisteredViews, nothing: Sequence[float] | None = None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """By how much each view is brighter than the others everywhere: by a factor, or by an addition.

    Parameters
    ----------
    views, nothing : as for `find_gains`

    Returns
    -------
    The gains, as `find_gains` gives them; and what each view has more than the others everywhere, as with a camera offset
    that was subtracted from them alone, in the units in which it is read: 0 where there is none, or a factor says as much.
    """
    overviews = [numbers.overview for numbers in views.statistics()]
    known = [overview for overview in overviews if overview is not None]
    ordinary, none = (1.0,) * len(views), (0.0,) * len(views)
    if len(views) < 2 or len(known) < len(views):
        return ordinary, none
    seen = np.stack([ndimage.gaussian_filter(overview.values.astype(np.float64), _SIGMA) for overview in known])
    if nothing is not None:
        seen -= np.asarray(nothing)[:, None, None, None]
    covered = np.min([overview.covered for overview in known], axis=0) >= _COVERED
    shared = np.median(seen, axis=0)
    chosen = covered & (shared > _DARK * shared.max(where=covered, initial=0.0)) & (seen > 0).all(axis=0)
    if chosen.sum() < _FEWEST_CELLS:
        return ordinary, none
    gains, additions = list(ordinary), list(none)
    left = list(range(len(views)))
    # One at a time, the one that stands out most: it would make others stand out, as the median of two is their mean.
    while len(left) > 1:
        found = [_gain(seen[u][chosen], np.median(seen[[w for w in left if w != u]], axis=0)[chosen]) for u in left]
        if len(left) == 2:
            found = [max(gain, 1.0) for gain in found]
        most = int(np.argmax(np.abs(np.log(found))))
        if found[most] == 1:
            break
        view = left.pop(most)
        others = np.median(seen[left], axis=0)[chosen]
        added = float(np.median(seen[view][chosen] - others))
        as_added = np.median(np.abs(seen[view][chosen] - others - added))
        as_gain = np.median(np.abs(seen[view][chosen] - others * found[most]))
        if added > 0 and as_added < _ADDED * as_gain:
            additions[view] = added
        else:
            gains[view] = found[most]
    return tuple(gains), tuple(additions)


def _gain(one: np.ndarray, others: np.ndarray) -> float:
    """Median ratio of the cells of one view to the others, 1 where that is not noticeable nearly everywhere."""
    ratio = one / others
    least, middle, most = np.quantile(ratio, [_ELSEWHERE, 0.5, 1 - _ELSEWHERE])
    return float(middle) if least > _NOTICEABLE or most < 1 / _NOTICEABLE else 1.0
