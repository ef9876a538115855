"""Which file belongs to which view, by the name or the angle in the file's name; no file is opened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_mvfusion.data.geometry import same_direction
from napari_mvfusion.io.angles import FILLERS, is_number, numbers_of, pieces_of
from napari_mvfusion.io.formats import file_suffixes

# Beside how sure it is that a number is the angle of a view.
_SAME_NAME, _SAME_WORDS, _NOT = 7, 3, 1


@dataclass(frozen=True)
class Wanted:
    """A view that looks for its file.

    Attributes
    ----------
    name : of the view, for example "90"
    label : of its layer, for example "embryo view 90"
    angle : degrees, or None
    sample : views of different samples may share a file
    """

    name: str
    label: str
    angle: float | None = None
    sample: str = ""


@dataclass(frozen=True)
class Matches:
    """What was found.

    Attributes
    ----------
    found : index of a view to its file
    problems : what fits twice and what fits nowhere, in words
    """

    found: dict[int, Path]
    problems: tuple[str, ...]


def match_files(views: Sequence[Wanted], files: Iterable[Path]) -> Matches:
    """Give each view the file whose name says its name or its angle.

    A number next to a word such as "view", "angle" or "deg" counts more than one next to "psf" or "bead", and that more
    than any other. Angles that differ by full turns are the same. What could be meant in two ways is left out and named.

    Parameters
    ----------
    views : of one or several samples; the PSF of an angle may serve every sample
    files : only their names are looked at
    """
    files = sorted(files)
    found: dict[int, Path] = {}
    problems: list[str] = []
    doubtful: set[Path] = set()
    samples = list(dict.fromkeys(view.sample for view in views))
    for sample in samples:
        indices = [i for i, view in enumerate(views) if view.sample == sample]
        others = [words for other in samples if other != sample and (words := _words(other))]
        scores = {(i, file): _score(views[i], file, others) for i in indices for file in files}
        taken = _pair(scores)
        found |= taken
        for text, names in _doubts(scores, taken, views):
            problems.append(text)
            doubtful |= names
    left = [file for file in files if file not in found.values() and file not in doubtful]
    problems += [f"{file.name} fits no view" for file in left]
    return Matches(found, tuple(dict.fromkeys(problems)))


Score = tuple[int, int]


def _score(view: Wanted, file: Path, other_samples: list[set[str]]) -> Score:
    """How sure it is that a file is meant for a view, and how many words they share."""
    pieces = pieces_of(_stem(file.name))
    words = {piece for piece in pieces if piece not in FILLERS}
    own = _words(view.label) | _words(view.name)
    shared = len({word for word in words & own if not is_number(word)})
    sample = _words(view.sample)
    if not (sample and sample <= words) and any(other <= words for other in other_samples):
        return _NOT, 0
    if words and words in (_words(view.label), _words(view.name)) and not all(map(is_number, words)):
        return _SAME_NAME, shared
    angle = view.angle if view.angle is not None else _angle_of(view)
    best = _NOT
    numbers = numbers_of(pieces)
    if angle is not None:
        best = max([certainty for number, certainty in numbers if same_direction(number, angle)], default=_NOT)
    named = _words(view.name)
    by_words = bool(words) and (words <= own or (named and named <= words and not all(map(is_number, named))))
    if by_words and (angle is None or not numbers or best > _NOT):
        best = max(best, _SAME_WORDS)
    return best, shared if best > _NOT else 0


def _pair(scores: dict[tuple[int, Path], Score]) -> dict[int, Path]:
    """The pairs in which both sides prefer each other, from the surest on."""
    taken: dict[int, Path] = {}
    spent: set[Path] = set()
    blocked: set[int] = set()
    for level in sorted({score for score in scores.values() if score[0] > _NOT}, reverse=True):
        pairs = [
            (i, file)
            for (i, file), score in scores.items()
            if score == level and i not in taken and i not in blocked and file not in spent
        ]
        for i, file in pairs:
            if sum(i == j for j, _ in pairs) == 1 == sum(file == other for _, other in pairs):
                taken[i] = file
            else:
                blocked.add(i)
        spent |= {file for _, file in pairs}
    return taken


def _doubts(
    scores: dict[tuple[int, Path], Score], taken: dict[int, Path], views: Sequence[Wanted]
) -> Iterable[tuple[str, set[Path]]]:
    """What could be meant in two ways, in words, and the files that are named."""
    indices = sorted({i for i, _ in scores} - taken.keys())
    free = {file for _, file in scores} - set(taken.values())
    for i in indices:
        fitting = {file: scores[i, file] for j, file in scores if j == i and file in free and scores[i, file][0] > _NOT}
        best = [file for file, score in fitting.items() if score == max(fitting.values())]
        if len(best) > 1:
            names = " and ".join(file.name for file in sorted(best))
            yield f"{names} both fit '{views[i].label}': choose one by hand", set(best)
    for file in sorted(free):
        fitting_views = {i: scores[i, file] for i in indices if scores[i, file][0] > _NOT}
        best_views = [i for i, score in fitting_views.items() if score == max(fitting_views.values())]
        if len(best_views) > 1:
            names = " and ".join(f"'{views[i].label}'" for i in best_views)
            yield f"{file.name} fits {names}: choose by hand", {file}


def _stem(name: str) -> str:
    while (suffix := Path(name).suffix.lower()) in (*file_suffixes(), ".ome") and suffix:
        name = name[: -len(suffix)]
    return name


def _words(text: str) -> set[str]:
    return {piece for piece in pieces_of(text) if piece not in FILLERS}


def _angle_of(view: Wanted) -> float | None:
    """The number that a view of unknown angle is called by."""
    for text in (view.name, view.label):
        numbers = [float(piece) for piece in pieces_of(text) if is_number(piece)]
        if len(numbers) == 1:
            return numbers[0]
    return None
