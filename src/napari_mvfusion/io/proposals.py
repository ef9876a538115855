"""What files are proposed to be opened as: by a pattern of their names, and by their sizes and pixels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_mvfusion.data.geometry import Triple, triple
from napari_mvfusion.io.name_guess import guess_pattern
from napari_mvfusion.io.name_pattern import DEEPEST, FoundName
from napari_mvfusion.io.name_table import NameTable, folder_of_all, planes_apart, read_names
from napari_mvfusion.io.roles import Guess, Role, angles_of

_WORDS = {"view": "view", "illumination": "illumination", "tile": "tile", "tag": "sample"}


@dataclass(frozen=True)
class Proposal:
    """What a file, or the files of the planes of a volume, would be.

    Attributes
    ----------
    path : the file; of planes, their name with {z} in the place of the number
    name : what it is called, with its folders where files lie in several
    planes : how many files it stands for
    role : what it would be opened as
    shape : (z, y, x), None where it holds no volume
    reason : of the role, in words
    found : what its name says; None where it fits no pattern
    angle : degrees, None where that is not known
    """

    path: Path
    name: str
    planes: int
    role: Role
    shape: Triple | None
    reason: str
    found: FoundName | None
    angle: float | None

    @property
    def others(self) -> str:
        """What its name says beside angle, time point and channel, in words."""
        said = [] if self.found is None else [(word, getattr(self.found, field)) for field, word in _WORDS.items()]
        return ", ".join(f"{word} {value}" for word, value in said if value)


@dataclass(frozen=True)
class Proposals:
    """What files would be.

    Attributes
    ----------
    table : what the pattern finds in their names
    rows : one a file, or one for the planes of a volume
    """

    table: NameTable
    rows: tuple[Proposal, ...]

    @property
    def ask(self) -> bool:
        """Whether there is more to say than that each file is a view."""
        choices = len(self.table.timepoints) > 1 or len(self.table.channels) > 1 or len(self.table.tags) > 1
        return choices or any(row.planes > 1 or (row.role != "view" and row.shape is not None) for row in self.rows)


def pattern_for(guesses: Sequence[Guess]) -> str:
    """The pattern that the names of files seem to follow, with their folders where the names alone are the same."""
    flat = [guess for guess in guesses if guess.shape is not None]
    planes = bool(flat) and all(guess.shape is not None and guess.shape[0] == 1 for guess in flat)
    files = [guess.path for guess in guesses]
    folders = {path.parent for path in files}
    names = [path.name for path in files]
    if len(folders) > 1 and len(set(names)) < len(names):
        above = folder_of_all(files)
        inside = [path.relative_to(above).as_posix() for path in files]
        if max(name.count("/") for name in inside) <= DEEPEST:
            names = inside
    return guess_pattern(names, planes=planes)


def propose(guesses: Sequence[Guess], pattern: str) -> Proposals:
    """Say what each of some files would be.

    Parameters
    ----------
    guesses : what they seem to be by themselves
    pattern : of their names; the words in it count more than sizes

    Raises
    ------
    InputError
        If the pattern is none.
    """
    table = read_names([guess.path for guess in guesses], pattern)
    found = {row.path: row.found for row in table.rows}
    why = {row.path: row.why for row in table.rows}
    # Names of too many forms have their angles by themselves.
    free = pattern == pattern_for(guesses) and "{angle}" not in pattern
    usual = dict(zip((guess.path for guess in guesses), angles_of(guesses), strict=True)) if free else {}
    rows: list[Proposal] = []
    for stack, members in planes_apart([(guess.path, found[guess.path]) for guess in guesses]).items():
        guess = next(guess for guess in guesses if guess.path == members[0])
        name = found[guess.path]
        count, shape = len(members), guess.shape
        if count > 1 and shape is not None:
            shape = triple((count, *shape[1:]))
        role, reason = _role(guess, name, why[guess.path], stacked=count > 1)
        angle = None if name is None else name.angle
        if angle is None:
            angle = usual.get(guess.path)
        rows.append(Proposal(stack, table.called(stack), count, role, shape, reason, name, angle))
    return Proposals(table, tuple(sorted(rows, key=_in_order)))


def _in_order(row: Proposal) -> list[tuple[bool, float, str]]:
    """As people sort names: numbers by their size."""
    pieces = re.findall(r"[0-9]+|[^0-9]+", row.name.lower())
    return [(True, float(piece), "") if piece.isdecimal() else (False, 0.0, piece) for piece in pieces]


def _role(guess: Guess, found: FoundName | None, why: str, *, stacked: bool) -> tuple[Role, str]:
    if guess.shape is None:
        return "ignore", guess.reason
    if found is None:
        return "ignore", why or "its name fits no pattern"
    said: Role = "ignore" if found.role == "mask" else found.role
    if said != "view":
        return said, f"its name says '{found.role}'"
    if stacked:
        return "view", "its planes are files"
    return guess.role, guess.reason
