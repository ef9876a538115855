"""What a residual allows for as attenuation: that of the run which made the volume, or a factor that is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from napari_mvfusion.data.geometry import Box
from napari_mvfusion.data.views import Overview
from napari_mvfusion.measures.attenuation import Transmission

_LIT_PERCENT = 10, 90


@dataclass(frozen=True, eq=False)
class UsedAttenuation:
    """What is taken for the attenuation of views when a fused volume is compared with them.

    Attributes
    ----------
    words : what it is, and how that is known, what is said after "attenuation: "
    fitted : whether a smooth factor is fitted to volume and view; else it is what `transmission` says
    transmission : of the views; None where all light is taken to have passed, or it is fitted
    names : of the views, in the order of the transmission
    """

    words: str
    fitted: bool = False
    transmission: Transmission | None = None
    names: tuple[str, ...] = ()

    def of(self, names: Sequence[str]) -> Transmission | None:
        """The transmission of some of the views, in their order."""
        if self.transmission is None:
            return None
        return replace(self.transmission, values=self.transmission.values[[self.names.index(name) for name in names]])


FITTED = UsedAttenuation("fitted, as no recipe says what the volume was fused with", fitted=True)


@dataclass(frozen=True, eq=False)
class KnownTransmission:
    """The transmission of one view as it is known, in the place of a `FittedTransmission`.

    Attributes
    ----------
    found : of all views
    view : which one
    depth : share of the light by which the darker tenth of what is lit falls short of the brighter tenth, 0 to 1
    """

    found: Transmission
    view: int
    depth: float

    def over(self, box: Box) -> np.ndarray:
        """Interpolate: float32 (z, y, x) over a box of the whole volume."""
        return self.found.of(self.view, box, torch.device("cpu")).numpy()


def known_transmission_of(found: Transmission, view: int, overview: Overview | None) -> KnownTransmission:
    """That of one view, with its depth where an overview of the view tells where there is light."""
    if overview is None:
        return KnownTransmission(found, view, 0.0)
    values = found.values[view]
    cells = [
        np.minimum(((np.arange(n) + 0.5) * overview.cell / found.cell).astype(int), m - 1)
        for n, m in zip(overview.values.shape, values.shape, strict=True)
    ]
    lit = values[np.ix_(*cells)][overview.values > overview.values.mean()]
    low, high = np.percentile(lit, _LIT_PERCENT) if lit.size else (1.0, 1.0)
    return KnownTransmission(found, view, float(1 - low / high))
