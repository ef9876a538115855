"""Angles in names of files, channels and datasets: numbers, each with how sure it is that it is one."""

from __future__ import annotations

import re
from collections.abc import Sequence

_PIECE = re.compile(r"(?:(?<![0-9A-Za-z])[+-])?\d+(?:\.\d+)?|[^\W\d_]+|°")
# What says that a number is an angle, and what only says what the file is.
_BEFORE_ANGLE = frozenset({"view", "angle", "rotation"})
_AFTER_ANGLE = frozenset({"deg", "degree", "degrees", "°"})
_KINDS = frozenset({"psf", "psfs", "bead", "beads"})
# What says that a number behind the word "psf" or "bead" is none: "beads_100nm", "psf 20x".
_UNITS = frozenset({"nm", "um", "µm", "mm", "px", "x", "ms", "s"})
FILLERS = _BEFORE_ANGLE | _AFTER_ANGLE | _KINDS
_FULL_TURN = 360.0
# How sure it is that a number is an angle; what else a name can say stands between and beyond (see `matching`).
SURE, LIKELY, POSSIBLE, SOMEWHERE = 6, 5, 4, 2


def angle_in(text: str, *, of_psf: bool = False) -> float | None:
    """The number of degrees that a name says with a word: "view_90", "angle 22.5", "45deg"; else None.

    Of a PSF or beads it may also stand behind that word: "psf-90", "PSF (90)".
    """
    numbers = numbers_of(pieces_of(text))
    for certainty in (SURE, LIKELY) if of_psf else (SURE,):
        found = {number for number, how in numbers if how == certainty}
        if found:
            angle = found.pop()
            return None if found or (certainty == LIKELY and abs(angle) > _FULL_TURN) else angle
    return None


def angles_in(texts: Sequence[str], *, of_psfs: bool = False) -> list[float | None]:
    """The angles that several names say, none at all where they only count the files: view_1, view_2, view_3."""
    angles = [angle_in(text, of_psf=of_psfs) for text in texts]
    known = sorted(angle for angle in angles if angle is not None)
    counted = known in ([float(n) for n in range(1, len(known) + 1)], [float(n) for n in range(len(known))])
    return [None] * len(texts) if counted and known != [0.0] else angles


def pieces_of(text: str) -> list[str]:
    """Words, in small letters, and numbers, in order; a sign counts only where nothing else can be meant."""
    return [f"{float(piece):g}" if piece[-1].isdigit() else piece for piece in _PIECE.findall(text.lower())]


def is_number(piece: str) -> bool:
    """Whether a piece of a name is a number."""
    return piece[-1].isdigit()


def numbers_of(pieces: list[str]) -> list[tuple[float, int]]:
    """The numbers of a name, each with how sure it is that it is an angle."""
    numbers = []
    for i, piece in enumerate(pieces):
        if not is_number(piece):
            continue
        before, after = pieces[i - 1] if i else "", pieces[i + 1] if i + 1 < len(pieces) else ""
        certainty = SOMEWHERE
        if before in _BEFORE_ANGLE or after in _AFTER_ANGLE:
            certainty = SURE
        elif before in _KINDS and after not in _UNITS:
            certainty = LIKELY
        elif after in _KINDS | _BEFORE_ANGLE:
            certainty = POSSIBLE
        numbers.append((float(piece), certainty))
    return numbers
