"""How large PSFs and bead volumes may be, looked at before their pixels are read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from napari_mvfusion.errors import InputError


@dataclass(frozen=True)
class Limit:
    """The most voxels of what is read whole, and the end of the line that refuses more."""

    voxels: int
    words: str

    @property
    def side(self) -> int:
        """Voxels along each side of a cube of as many."""
        return int(math.cbrt(self.voxels))


PSF = Limit(2**23, "and a PSF may have {millions:.1f} million ({side} a side): crop it to where its light is")
# As many take about 0.7 GiB while they are measured.
BEADS = Limit(
    2**25,
    "and beads are measured in {millions:.1f} million at most ({side} a side): cut out a part with isolated beads",
)


def check_size(shape: Sequence[int], called: str, limit: Limit = PSF) -> None:
    """Refuse what is larger than can be worked on whole.

    Parameters
    ----------
    shape : voxels along each axis
    called : what it is, for the message
    limit : `PSF` or `BEADS`

    Raises
    ------
    InputError
        If it has more voxels.
    """
    if math.prod(int(n) for n in shape) > limit.voxels:
        sides = " x ".join(str(n) for n in shape)
        words = limit.words.format(millions=limit.voxels / 1e6, side=limit.side)
        raise InputError(f"{called} has {sides} voxels, {words}")
