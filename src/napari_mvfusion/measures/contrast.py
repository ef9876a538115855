"""Contrast limits that suit volumes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_mvfusion.data.views import VolumeLike

_SAMPLED_PLANES = 5


def contrast_limits(volumes: Sequence[VolumeLike]) -> tuple[float, float]:
    """Common contrast limits of some volumes, from a few planes of each."""
    lows, highs = [], []
    for volume in volumes:
        planes = np.unique(np.linspace(0, volume.shape[0] - 1, _SAMPLED_PLANES + 2).astype(int)[1:-1])
        values = np.concatenate([np.asarray(volume[int(z)], np.float32).ravel() for z in planes])
        values = values[np.isfinite(values)]
        if values.size:
            lows.append(float(np.percentile(values, 1)))
            highs.append(float(np.percentile(values, 99.9)))
    low, high = min(lows, default=0.0), max(highs, default=1.0)
    return (low, high) if high > low else (low, low + 1.0)
