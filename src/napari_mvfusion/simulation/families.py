"""Which families of scenes are trained on, and which are held out: the network must not know what it is measured with.

`TRAINED` is what the broad training set draws from. `HELD_OUT` is what headline figures come from: PSFs, specimens and
attenuation of kinds that no training scene has, not only of other seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from napari_mvfusion.errors import InputError
from napari_mvfusion.simulation.scenes import BACKGROUND


@dataclass(frozen=True)
class Families:
    """Relative frequencies of families, by their names in `SPECIMEN_FAMILIES`, `PSF_FAMILIES` and `ATTENUATION_LAWS`."""

    specimens: Mapping[str, float]
    psfs: Mapping[str, float]
    attenuation: Mapping[str, float]


TRAINED = Families(
    specimens={
        "dense": 0.2,
        "small_blobs": 0.07,
        "nuclei_cluster": 0.12,
        "sparse_nuclei": 0.06,
        "membranes": 0.07,
        "vessels": 0.07,
        "filaments": 0.05,
        "beads": 0.03,
        "texture": 0.05,
        "leaves": 0.12,
        "mixture": 0.05,
        "uneven": 0.05,
        "dirty": 0.05,
        BACKGROUND: 0.03,
    },
    psfs={"sheet": 0.55, "two_sided": 0.15, "aberrated": 0.15, "uneven": 0.15},
    attenuation={"labels": 0.4, "tissue": 0.25, "tissue, to and fro": 0.2, "tissue, lit from both sides": 0.15},
)
"""What the broad training set draws from."""

HELD_OUT = Families(
    specimens={"cysts": 1.0, "rods": 1.0}, psfs={"lattice": 1.0, "astigmatic": 1.0}, attenuation={"pigment": 1.0}
)
"""What no training scene has."""


def trained_with(specimens: Mapping[str, float] | None) -> Families:
    """The families to train on, with other frequencies of specimens where they are given.

    Raises
    ------
    InputError
        If a kind is unknown or held out, or a frequency cannot be used.
    """
    if specimens is None:
        return TRAINED
    for name, share in specimens.items():
        if name in HELD_OUT.specimens:
            raise InputError(f"specimens of kind '{name}' are held out to measure with: leave them out of training")
        if name not in TRAINED.specimens and name != "blobs":
            raise InputError(f"there is no scene of kind '{name}': choose from {', '.join(TRAINED.specimens)}")
        if not 0 <= share < float("inf"):
            raise InputError(f"kind '{name}' has frequency {share}: it must be 0 or more")
    if not sum(specimens.values()) > 0:
        raise InputError("no kind of scene has a frequency above 0: name at least one")
    return replace(TRAINED, specimens=dict(specimens))
