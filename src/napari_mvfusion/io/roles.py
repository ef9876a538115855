"""What files are for where nobody has said it: views, PSFs, a ground truth or beads, guessed from names and pixels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from scipy import ndimage

from napari_mvfusion.data.geometry import FloatTriple, Triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.angles import angles_in
from napari_mvfusion.io.formats import open_stored, plane_of

Role = Literal["view", "psf", "truth", "beads", "ignore"]
ROLES: tuple[Role, ...] = get_args(Role)
MOST_FILES = 64
"""Of a folder whose names follow no scheme; more are planes of one volume."""

_WORDS: tuple[tuple[Role, re.Pattern[str]], ...] = (
    ("psf", re.compile(r"psf|point.?spread|(?<![a-z])(?:kernel|otf)(?![a-z])")),
    ("beads", re.compile(r"(?<![a-z])beads?(?![a-z])")),
    ("truth", re.compile(r"ground.?truth|(?<![a-z])(?:truth|gt)(?![a-z])")),
    ("ignore", re.compile(r"(?<![a-z])(?:fused|mask|max.?proj\w*|mip)(?![a-z])")),
)
# No measured PSF is larger than that, and no view worth fusing is smaller than what a PSF takes of it.
_MOST_PSF_VOXELS = 2**21
_SMALLER = 4
# A single peak: of what is brighter than half of it so much lies together, and it takes no more of the volume than that.
_TOGETHER, _PEAK_SHARE = 0.9, 0.2


@dataclass(frozen=True)
class Guess:
    """What a file seems to be.

    Attributes
    ----------
    path : the file
    role : what it seems to be; "ignore" where it can be none of the others
    shape : (z, y, x) of each of its volumes, or None where it holds none
    reason : why, in words
    stage_um : (z, y, x), where the stage was, of a file that says nothing else of where it lies; None where it says nothing
    """

    path: Path
    role: Role
    shape: Triple | None
    reason: str
    stage_um: FloatTriple | None = None


def guess_roles(files: Iterable[str | Path]) -> list[Guess]:
    """Say what each of some files seems to be.

    A name that says it counts most. Of the rest, one that is much smaller than the largest and has a single peak is a PSF.
    Only such small files are read; of the others no pixel is.

    Returns
    -------
    One guess a file, in their order. A file that is no volume is to be ignored, with the reason.
    """
    looked = [_look(Path(file)) for file in files]
    largest = max((_voxels(shape) for _, shape, _, _ in looked if shape is not None), default=0)
    return [replace(_guess(path, shape, problem, largest), stage_um=stage) for path, shape, problem, stage in looked]


def have_stages(guesses: Sequence[Guess]) -> bool:
    """Whether what seem to be views state where the stage was, all of them, and not all the same place."""
    stages = [guess.stage_um for guess in guesses if guess.role == "view"]
    return len(set(stages)) > 1 and None not in stages


def has_views(guesses: Sequence[Guess]) -> bool:
    """Whether some of the files seem to be views."""
    return any(guess.role == "view" for guess in guesses)


def role_in(name: str) -> tuple[Role, str] | None:
    """The role that a name says, and the word that says it; None where it says none."""
    for role, words in _WORDS:
        if found := words.search(name.lower()):
            return role, found.group()
    return None


def angles_of(guesses: Sequence[Guess]) -> list[float | None]:
    """The angle of each file in degrees, as its name says it; None where it says none.

    The names of one role are looked at together, as their numbers may only count the files.
    """
    found: dict[Path, float | None] = {}
    for role in dict.fromkeys(guess.role for guess in guesses):
        paths = [guess.path for guess in guesses if guess.role == role]
        angles = angles_in([path.stem for path in paths], of_psfs=role in ("psf", "beads"))
        found |= dict(zip(paths, angles, strict=True))
    return [found[guess.path] for guess in guesses]


def _look(path: Path) -> tuple[Path, Triple | None, str, FloatTriple | None]:
    try:
        stored = open_stored(path)
    except InputError as error:
        return path, plane_of(path), str(error), None
    return path, stored.shape, "", stored.stage_um if stored.origin_um is None else None


def _guess(path: Path, shape: Triple | None, problem: str, largest: int) -> Guess:
    if shape is None:
        return Guess(path, "ignore", None, problem)
    if shape[0] == 1:
        return Guess(path, "ignore", shape, "it is a single plane")
    if said := role_in(path.name):
        role, word = said
        return Guess(path, role, shape, f"its name says '{word}'")
    if _voxels(shape) * _SMALLER <= largest and _voxels(shape) <= _MOST_PSF_VOXELS and _single_peak(path):
        return Guess(path, "psf", shape, "it is small and has a single peak")
    return Guess(path, "view", shape, "it is a volume")


def _single_peak(path: Path) -> bool:
    """Whether what is brighter than half of the peak lies together about it, and is little of the volume."""
    try:
        values = np.asarray(open_stored(path).volume()[:], np.float32)
    except InputError:
        return False
    values -= np.median(values)
    peak = float(values.max())
    if not np.isfinite(peak) or peak <= 0:
        return False
    bright = values > peak / 2
    parts, _ = ndimage.label(bright)
    about_peak = parts == parts[np.unravel_index(int(np.argmax(values)), values.shape)]
    together = about_peak.sum() / bright.sum()
    return bool(together >= _TOGETHER and bright.mean() <= _PEAK_SHARE)


def _voxels(shape: Triple) -> int:
    return int(np.prod(shape))
