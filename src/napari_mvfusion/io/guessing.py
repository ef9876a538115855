"""The views and PSFs of a folder whose names follow no scheme, guessed as the roles dialog does, where that is clear."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from napari_mvfusion.errors import InputError
from napari_mvfusion.io.angles import angle_in
from napari_mvfusion.io.atomic import recipe_path
from napari_mvfusion.io.folder import FUSED, at_angle, scan_folder
from napari_mvfusion.io.formats import (
    is_folder_of_files,
    open_stored,
    parts_of_volume,
    place_of,
    suffixes,
    views_in,
    volume_files,
)
from napari_mvfusion.io.matching import Wanted, match_files
from napari_mvfusion.io.name_guess import guess_pattern
from napari_mvfusion.io.name_pattern import DEEPEST, NamePattern
from napari_mvfusion.io.name_table import files_to_name, read_names
from napari_mvfusion.io.roles import MOST_FILES, Guess, angles_of, guess_roles, has_views, role_in

_STATE_IT = (
    "say it with --view 90=FILE and --psf 90=FILE for each view (open_views({'90': FILE}, psfs={'90': FILE})), or what "
    "names mean with --pattern"
)
_EXAMPLE = "fish_{angle}.tif"
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_UNUSED = {
    "psf": "no view has its angle",
    "truth": "there are several ground truths",
    "beads": "it shows beads",
}


@dataclass(frozen=True)
class FoundPSFs:
    """PSF files by the name of the view, and what was guessed or fits nowhere, in words."""

    files: Mapping[str, Path]
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class GuessedFiles:
    """What the files of a folder were taken for.

    Attributes
    ----------
    views, psfs : file of each, by the name of the view, which is its angle
    truth : the ground truth, None where there is none
    said : all of it in one line
    """

    views: Mapping[str, Path]
    psfs: Mapping[str, Path]
    truth: Path | None
    said: str


def files_without_scheme(folder: Path, *, planes: bool = False) -> list[Path]:
    """The volumes of a folder whose names say nothing to `scan_folder`, where some are volumes and not single planes.

    Those in its folders are among them where none of its own could be a view.

    Parameters
    ----------
    folder : in question
    planes : also those that are planes of volumes, by their names
    """
    if not is_folder_of_files(folder) or scan_folder(folder).samples:
        return []
    pattern = sure_pattern(folder)
    if pattern is not None:
        return _named_in(folder) if planes or "{z}" not in pattern else []
    files = _without_parts(volume_files(folder))
    if not any(map(_may_be_view, files)):
        files = files_to_name(folder, 1)
    return files if len(files) <= MOST_FILES and any(map(_is_deep, files)) else []


def _without_parts(files: Sequence[Path]) -> list[Path]:
    """Files of which one stands for each image in several of them, as in a set of OME-TIFF files."""
    found, left = [], list(files)
    # Where the first is whole, no other is opened for this.
    while left and (parts := frozenset(parts_of_volume(left[0]))):
        found.append(left[0])
        left = [file for file in left[1:] if file not in parts]
    return [*found, *left]


def _is_deep(path: Path) -> bool:
    try:
        return open_stored(path).shape[0] > 1
    except InputError:
        return False


def _named_in(folder: Path) -> list[Path]:
    """What a folder holds that is called like a volume; where none of it could be a view, also what its folders hold."""
    files = files_to_name(folder)
    return files if any(map(_may_be_view, files)) else files_to_name(folder, 1)


def _may_be_view(path: Path) -> bool:
    return role_in(path.name) is None and not recipe_path(path).exists()


def sure_pattern(folder: Path) -> str | None:
    """The pattern of names that say time points, channels or planes beside the angle, without any doubt; else None.

    Where a folder holds views in folders alone, as those of angles, the names of these are part of the pattern.

    Parameters
    ----------
    folder : whose names follow no scheme
    """
    files = [path for path in _named_in(folder) if not recipe_path(path).exists()]
    volumes = [path for path in files if role_in(path.relative_to(folder).as_posix()) is None]
    # Of several files that are one image no name says which part is meant: any of them opens all.
    if not volumes or len(_without_parts(volumes)) < len(volumes):
        return None
    flat = not any(map(_is_deep, {volumes[0], volumes[len(volumes) // 2], volumes[-1]}))
    deep = volumes[0].parent != folder
    names = [path.relative_to(folder).as_posix() for path in files]
    table = read_names(folder if deep else files, guess_pattern(names, planes=flat))
    places: dict[tuple[float | None, str], set[tuple[int | None, str]]] = {}
    for _, found in table.views:
        places.setdefault((found.angle, found.view), set()).add((found.timepoint, found.channel))
    planes = flat and any(found.z is not None for _, found in table.views)
    # Signs and fractions are of angles alone; whole numbers may as well count what the word beside them calls.
    turned = any(angle is not None and (angle < 0 or angle % 1) for angle, _ in places)
    alike = len(places) > 1 and turned and len({frozenset(at) for at in places.values()}) == 1
    unsaid = not any(angle_in(path.stem) is not None for path in volumes)
    # A view of its own at each time point may as well be another specimen.
    series = any(len(at) > 1 for at in places.values())
    # Folders that are called by angles hold a view each.
    apart = deep and len(places) > 1 and all(angle_in(path.parent.name) is not None for path in volumes)
    told = all(angle is not None for angle, _ in places) or (planes and len(places) == 1)
    sure = planes or series or apart or (alike and unsaid)
    # Folders may as well be of specimens, each of which has its own views.
    mixed = deep and len(table.tags) > 1
    return table.pattern if told and sure and not mixed and not table.doubles() else None


def guess_files(folder: Path) -> GuessedFiles | None:
    """Find the views and PSFs of a folder by the roles and angles that names tell, and by sizes.

    Parameters
    ----------
    folder : whose names follow no scheme

    Returns
    -------
    The files, or None where the folder holds no volume that could be a view.

    Raises
    ------
    InputError
        If it is not clear which file is which view, or whose PSF one is; says how to state it.
    """
    every = volume_files(folder)
    files = [file for file in every if not recipe_path(file).exists()]
    several, files = len(files), _without_parts(files)
    if len(files) == 1 < several:
        said = f"the {several} files of {folder} are one image, which {files[0].name} stands for"
        return GuessedFiles({folder.absolute().name or files[0].name: files[0]}, {}, None, said)
    if len(files) > MOST_FILES:
        return None
    first, inside = _only_set(files)
    covered = {first, *map(place_of, inside.values())}
    guesses = [_without_fused(guess) for guess in guess_roles(file for file in files if file not in covered)]
    if not inside and not has_views(guesses):
        _refuse_unclear(folder, guesses)
        return None
    how = _how_to_state(files)
    views = inside or _views_of(folder, guesses, how)
    psfs = _psfs_of(folder, guesses, views, how)
    truths = [guess.path for guess in guesses if guess.role == "truth"]
    truth = truths[0] if len(truths) == 1 else None
    taken = {*views.values(), *psfs.values(), truth}
    why = {guess.path: _UNUSED.get(guess.role, guess.reason) for guess in guesses}
    why |= {file: FUSED for file in every if recipe_path(file).exists()}
    left = [f"{path.name} is left out, as {reason}" for path, reason in why.items() if path not in taken]
    left += [f"{several} files are {len(files)} images"] if len(files) < several else []
    if first is not None:
        return GuessedFiles(views, psfs, truth, "; ".join([as_recorded(first, len(views)), *left]))
    return GuessedFiles(views, psfs, truth, _said(views, psfs, truth, left))


def _refuse_unclear(folder: Path, guesses: Sequence[Guess]) -> None:
    """Say why a folder without views has none, where it holds files that could be some, or folders with such files.

    Raises
    ------
    InputError
        If it does.
    """
    closed = [guess for guess in guesses if guess.shape is None and role_in(guess.path.name) is None]
    if closed and len(closed) == len(guesses):
        raise InputError(f"{folder} holds no views that can be opened: {closed[0].reason}")
    if guesses:
        return
    below = [path for path in files_to_name(folder, DEEPEST) if _may_be_view(path)][:MOST_FILES]
    names = [path.relative_to(folder).as_posix() for path in below]
    table = read_names(folder, guess_pattern(names)) if names else None
    if (
        table is None
        or table.doubles()
        or not {"view", "illumination", "tile"} & set(NamePattern(table.pattern, suffixes()).fields)
    ):
        return
    raise InputError(
        f"{folder} holds no views itself, and those in its folders say no angles: say what their names mean, as with "
        f"--pattern '{table.pattern}' (pattern=), if that is it"
    )


def _without_fused(guess: Guess) -> Guess:
    """A guess, which is no view where the file itself says that it was fused: its recipe may not lie beside it any more."""
    if guess.role == "view" and open_stored(guess.path).recipe is not None:
        return replace(guess, role="ignore", reason=FUSED)
    return guess


def _only_set(files: Sequence[Path]) -> tuple[Path | None, Mapping[str, Path]]:
    """The one file that stands for several views, and these; nothing where there is none, or several."""
    found = [(file, views) for file in files if (views := views_in(file))]
    return found[0] if len(found) == 1 else (None, {})


def as_recorded(file: Path, count: int) -> str:
    """What is to be said of the views that a file holds as a microscope wrote them."""
    return (
        f"{file} holds {count} views as the microscope recorded them: they fit together once they are registered, as "
        "BigStitcher does"
    )


def find_psfs(folder: Path, views: Mapping[str, float | None]) -> FoundPSFs:
    """The PSFs of views in a folder of PSFs: `psf_ANGLE.tif`, or, where no name is of this scheme, by any names that tell.

    Parameters
    ----------
    folder : with PSFs
    views : the angle of each view, by its name

    Raises
    ------
    InputError
        If it is no folder.
    """
    names = scan_folder(folder)
    if names.psfs:
        of_views = {name: at_angle(names.psfs, angle) for name, angle in views.items() if angle is not None}
        return FoundPSFs({name: file for name, file in of_views.items() if file is not None})
    # Views of the scheme are no PSFs, whatever their angles.
    files = [] if names.samples else volume_files(folder)
    called_psf = [file for file in files if (said := role_in(file.name)) and said[0] == "psf"]
    matches = match_files([Wanted(name, name, angle) for name, angle in views.items()], called_psf or files)
    found = {name: matches.found[number] for number, name in enumerate(views) if number in matches.found}
    if not found:
        return FoundPSFs({}, (f"no file in {folder} has the name or angle of a view in its name: {_how_to_state([])}",))
    pairs = "; ".join(f"{file.name} is the PSF of view {name}" for name, file in found.items())
    return FoundPSFs(found, (f"guessed from names: {pairs}", *matches.problems))


def _how_to_state(files: Sequence[Path]) -> str:
    """How to say which file is which view, with a pattern that these very names fit where one tells them apart."""
    pattern = guess_pattern([file.name for file in files])
    table = read_names(files, pattern)
    fits = bool(files) and not table.doubles() and all(row.found is not None for row in table.rows)
    return f"{_STATE_IT} '{pattern}' (pattern=), if that is it" if fits else f"{_STATE_IT} '{_EXAMPLE}' (pattern=)"


def _views_of(folder: Path, guesses: Sequence[Guess], how: str) -> dict[str, Path]:
    """The views by their angles, which are their names."""
    found: dict[float, Path] = {}
    for guess, angle in zip(guesses, angles_of(guesses), strict=True):
        if guess.shape is None and angle_in(guess.path.stem) is not None and role_in(guess.path.name) is None:
            raise InputError(f"{guess.reason}; or, to leave it out, {how}")
        if guess.role != "view":
            continue
        if angle is None:
            raise InputError(f"{guess.path} seems to be a view, but its name says no angle, as angle_90 would: {how}")
        if angle in found:
            raise InputError(
                f"{folder}: {found[angle].name} and {guess.path.name} both seem to be the view at {angle:g} degrees: "
                f"{how}"
            )
        found[angle] = guess.path
    _refuse_mixed(folder, found, how)
    return {f"{angle:g}": found[angle] for angle in sorted(found)}


def _refuse_mixed(folder: Path, found: Mapping[float, Path], how: str) -> None:
    """Refuse views whose names differ in more than the angle: they may be of several specimens, times or channels."""
    (first, alike), *others = ((path.name, _without_angle(path.stem, angle)) for angle, path in found.items())
    for second, rest in others:
        alike &= rest
        if alike:
            continue
        raise InputError(
            f"{folder}: {first} and {second} differ in more than their angles, so they may be of several "
            f"specimens, times or channels: {how}"
        )


def _without_angle(stem: str, angle: float) -> set[str]:
    """The letters and digits of a name without a number that may be its angle, for each of these."""
    places = [match.span() for match in _NUMBER.finditer(stem) if abs(float(match.group())) == abs(angle)]
    rests = [f"{stem[:start]}#{stem[stop:]}".casefold() for start, stop in places or [(len(stem), len(stem))]]
    return {"".join(letter for letter in rest if letter.isalnum() or letter == "#") for rest in rests}


def _psfs_of(folder: Path, guesses: Sequence[Guess], views: Mapping[str, Path], how: str) -> dict[str, Path]:
    """The PSFs by the names of their views."""
    files = [guess.path for guess in guesses if guess.role == "psf"]
    wanted = [Wanted(name, path.stem, float(name)) for name, path in views.items()]
    matches = match_files(wanted, files)
    found = {wanted[number].name: path for number, path in sorted(matches.found.items())}
    free = [path.name for path in files if path not in found.values()]
    without = [name for name in views if name not in found]
    if free and without:
        raise InputError(f"{folder}: it is not clear which view {' and '.join(free)} belongs to: {how}")
    return found


def _said(views: Mapping[str, Path], psfs: Mapping[str, Path], truth: Path | None, left: Sequence[str]) -> str:
    parts = [
        f"{path.name} is view {name}, " + (f"its PSF {psfs[name].name}" if name in psfs else "without a PSF")
        for name, path in views.items()
    ]
    parts += [] if truth is None else [f"{truth.name} is the ground truth"]
    return f"guessed from names: {'; '.join([*parts, *left])}"
