"""The folder scheme: `tag_view_ANGLE.tif`, `psf_ANGLE.tif`, `tag_groundtruth.tif`, several tags in one folder.

Endings are those of all formats, in any case, also with .ome before them; PSFs are files. A PSF of one sample only is
`tag_psf_ANGLE.tif`. Names that begin with a dot are those of the system.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from napari_mvfusion.addresses import address_of
from napari_mvfusion.data.geometry import same_direction
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.atomic import recipe_path
from napari_mvfusion.io.bdv.project_file import about_backups
from napari_mvfusion.io.formats import has_file_suffix, suffixes
from napari_mvfusion.io.name_pattern import NamePattern
from napari_mvfusion.system.file_checks import OVER_NETWORK, check_there

_SCHEME = NamePattern(
    "{tag}_view_{angle} | view_{angle} | {tag}_psf_{angle} | psf_{angle} | {tag}_groundtruth | groundtruth", suffixes()
)
# What a person may have meant as a view or PSF: the word, with a number somewhere after it.
_LIKE = re.compile(r"(?<![a-z])(?P<word>view|psf)s?(?![a-z])\D{0,12}\d", re.IGNORECASE)
_NO_IMAGES = frozenset(
    (".json", ".txt", ".csv", ".yaml", ".yml", ".xml", ".png", ".jpg", ".pdf", ".md", ".log", ".partial")
)
FUSED = "it was fused"
_EXPECTED = "embryo_view_0.tif, embryo_view_90.tif, psf_0.tif, psf_90.tif"


@dataclass
class SampleFiles:
    """The files of one tag: angle to view, angle to its own PSF, and the ground truth."""

    views: dict[float, Path] = field(default_factory=dict)
    psfs: dict[float, Path] = field(default_factory=dict)
    truth: Path | None = None


@dataclass
class Folder:
    """What the names in a folder say.

    Attributes
    ----------
    path : the folder
    samples : tag to sample, only tags with views; the tag is "" where names have none
    psfs : angle to PSF, for all samples
    problems : what does not fit, in words
    """

    path: Path
    samples: dict[str, SampleFiles]
    psfs: dict[float, Path]
    problems: list[str]

    def psf_of(self, tag: str, angle: float) -> Path | None:
        """The PSF of a view: that of its sample, else that of its angle; angles that differ by full turns are the same."""
        return at_angle(self.samples[tag].psfs, angle) or at_angle(self.psfs, angle)

    def choose(self, tag: str | None) -> str:
        """The tag that is meant.

        Raises
        ------
        InputError
            If there are no views, the tag is unknown, or there are several and none is named.
        """
        if not self.samples:
            backup = "".join(f"; {line}" for line in about_backups(self.path))
            found = ", ".join(sorted(p.name for p in self.path.iterdir())[:8]) or "nothing"
            raise InputError(
                f"{self.path} holds no views: names such as {_EXPECTED} are expected, found {found}; of other "
                f"names say with --pattern what they mean (pattern=){backup}"
            )
        tags = ", ".join(f"'{name}'" for name in self.samples)
        if tag is None:
            if len(self.samples) > 1:
                raise InputError(f"{self.path} holds several samples: name one of the tags {tags}")
            return next(iter(self.samples))
        if tag not in self.samples:
            raise InputError(f"{self.path} has no sample '{tag}': the tags are {tags}")
        return tag


def at_angle(files: Mapping[float, Path], angle: float) -> Path | None:
    """The file of an angle, else that of the same direction."""
    return files.get(angle, next((file for own, file in files.items() if same_direction(own, angle)), None))


def scan_folder(path: str | Path) -> Folder:
    """Sort the names in a folder; no file is opened.

    Raises
    ------
    InputError
        If it is no folder, or two files claim to be the same view or PSF.
    """
    path = Path(path)
    check_there(path, "name a folder of views or PSFs")
    if not path.is_dir():
        if address_of(path) is not None:
            raise InputError(f"{path} is no OME-Zarr: {OVER_NETWORK}")
        raise InputError(f"{path} is no folder: name a folder of views or PSFs")
    samples: dict[str, SampleFiles] = {}
    psfs: dict[float, Path] = {}
    problems: list[str] = []
    try:
        files = sorted(file for file in path.iterdir() if not file.name.startswith("."))
    except OSError as error:
        raise InputError(f"the folder {path} cannot be read: {error.strerror or error}") from error
    for file in files:
        found = _SCHEME.match(file.name)
        if found is None or (found.role == "psf" and not has_file_suffix(file)):
            if (like := _LIKE.search(file.name)) and file.suffix.lower() not in _NO_IMAGES:
                problems.append(_left_out(file, like["word"].lower()))
            continue
        sample = samples.setdefault(found.tag, SampleFiles())
        if found.angle is None:
            sample.truth = file
        elif found.role == "view":
            _claim(sample.views, found.angle, file)
        else:
            _claim(sample.psfs if found.tag else psfs, found.angle, file)
    for sample in samples.values():
        problems += _without_fused(sample)
    with_views = {tag: sample for tag, sample in samples.items() if sample.views}
    for sample in with_views.values():
        sample.views = dict(sorted(sample.views.items()))
    angles = {angle for sample in with_views.values() for angle in sample.views}
    problems += [
        f"{file.name} has no view at {angle:g} degrees"
        for angle, file in sorted(psfs.items())
        if not _among(angle, angles)
    ]
    problems += _orphans(samples)
    return Folder(path, with_views, psfs, problems if with_views else [])


def _without_fused(sample: SampleFiles) -> Iterable[str]:
    """Leave out what was fused, as its recipe beside it says, where other views of the sample were not; a line for each."""
    fused = {angle: file for angle, file in sample.views.items() if recipe_path(file).exists()}
    if len(fused) == len(sample.views):
        return
    for angle, file in fused.items():
        del sample.views[angle]
        yield f"{file.name} is left out, as {FUSED}; name it as a view to use it (--view {angle:g}={file})"


def _left_out(file: Path, word: str) -> str:
    kind, expected = ("view", "TAG_view_ANGLE.tif") if word == "view" else ("PSF", "psf_ANGLE.tif")
    return f"{file.name} is left out: it looks like a {kind}, but is not called {expected}; rename it to use it"


def _orphans(samples: dict[str, SampleFiles]) -> Iterable[str]:
    for tag, sample in samples.items():
        if not sample.views:
            files = [*sample.psfs.values(), *([sample.truth] if sample.truth else [])]
            yield from (f"{file.name} belongs to a sample '{tag}' that has no views" for file in files)
            continue
        for angle, file in sorted(sample.psfs.items()):
            if not _among(angle, sample.views):
                yield f"{file.name} has no view at {angle:g} degrees"


def _among(angle: float, angles: Iterable[float]) -> bool:
    return any(same_direction(angle, other) for other in angles)


def _claim(places: dict[float, Path], angle: float, file: Path) -> None:
    if angle in places:
        raise InputError(f"{places[angle].name} and {file.name} are the same view: remove or rename one of them")
    places[angle] = file
