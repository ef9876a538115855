"""What an input holds, and what is wrong with it, in words: for `mvfusion info` and the GUI."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from napari_mvfusion.addresses import address_of
from napari_mvfusion.data.events import Statement
from napari_mvfusion.data.field_of_view import NoData
from napari_mvfusion.data.geometry import FloatTriple, Grid, StatedSize, Triple, triple
from napari_mvfusion.data.views import RegisteredViews, VolumeLike
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.absent_pieces import about_absent
from napari_mvfusion.io.base import ProjectContents, StoredVolumes
from napari_mvfusion.io.folder import scan_folder
from napari_mvfusion.io.formats import (
    format_of,
    is_project,
    is_volume,
    is_volume_folder,
    open_stored,
    place_of,
    views_in,
)
from napari_mvfusion.io.name_table import NameTable, read_names
from napari_mvfusion.io.ome_zarr.remote_store import ask_anew
from napari_mvfusion.io.opening import (
    PSFFiles,
    Source,
    guessed_in,
    open_truth,
    open_views,
    pattern_in,
    refuse_pattern,
    refuse_tag,
)
from napari_mvfusion.io.placing import GridChoice
from napari_mvfusion.io.volume_choice import NotChosenError, VolumeChoice
from napari_mvfusion.psf.directions import about_one_direction, about_psfs_across
from napari_mvfusion.system.file_checks import check_there, is_folder

T = TypeVar("T")
_SHOWN = 8


@dataclass(frozen=True)
class ViewContents:
    """One view: name, angle in degrees, shape (z, y, x), type of its pixels, and its PSF.

    Attributes
    ----------
    psf_shape : (z, y, x), None without one
    psf_notes : what was done to it, in words
    """

    name: str
    angle: float | None
    shape: Triple
    dtype: str
    psf_shape: Triple | None
    psf_notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SampleContents:
    """One sample: its tag, views, voxel size in um, whether its truth is known, and what is to be said of it.

    Attributes
    ----------
    voxel_size_um : (z, y, x) of the volume that a fusion gives, None along axes where it is not known, and where it is along
        none
    problems : in words; where the sample cannot be opened, only why
    readable : whether it can be opened
    fused_shape : voxels (z, y, x) of the fused volume, None where it cannot be opened
    needs : what was asked about its views, see `describe`
    said : what is worth knowing, and no problem
    """

    tag: str
    views: tuple[ViewContents, ...]
    voxel_size_um: StatedSize | None
    has_truth: bool
    problems: tuple[str, ...]
    readable: bool = True
    fused_shape: Triple | None = None
    needs: Any = None
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contents:
    """What an input holds.

    Attributes
    ----------
    path : as it was named
    kind : "folder", "zarr", "file", "files" or "project"
    samples : that it holds; of a project, the views that are chosen, or its first ones
    problems : what does not fit
    project : what else a project holds
    names : what a pattern finds in the names of files, where they are read by one
    """

    path: str
    kind: str
    samples: tuple[SampleContents, ...]
    problems: tuple[str, ...]
    project: ProjectContents | None = None
    names: NameTable | None = None

    @property
    def readable(self) -> bool:
        """Whether all of it can be opened."""
        return all(sample.readable for sample in self.samples)


def describe(
    source: Source,
    *,
    psfs: PSFFiles | None = None,
    tag: str | None = None,
    psf_folder: str | Path | None = None,
    pattern: str | None = None,
    voxel_size_um: FloatTriple | None = None,
    no_data: NoData = "auto",
    no_data_views: Mapping[str, NoData] | None = None,
    masks: Mapping[str, str | Path] | None = None,
    timepoint: int | None = None,
    channel: int | None = None,
    views: Sequence[str] | None = None,
    box: str | None = None,
    level: int = 0,
    registration: str | None = None,
    world_unit_um: float | None = None,
    outside: bool = False,
    apart: bool = False,
    grid: GridChoice = "isotropic",
    box_um: tuple[FloatTriple, FloatTriple] | None = None,
    ask: Callable[[RegisteredViews], Any] | None = None,
    stage: bool = False,
) -> Contents:
    """Say what a folder, an OME-Zarr, a project or files hold. Problems of a sample do not hide the others.

    Parameters
    ----------
    source : what to look at, as for `open_views`; a single TIFF file is a volume, whatever it is
    psfs, psf_folder, pattern, voxel_size_um, masks, timepoint, channel, grid, box_um, stage : as for `open_views`
    level, registration : what of files, as for `open_views`
    views, box, world_unit_um, outside, apart : what of a project, as for `open_views`
    tag : the only sample to look at, of a folder with several
    no_data : which pixels are no measurement, as for `open_views`; what is found is among the problems. "none" reads no
        pixels.
    no_data_views : another choice for some views, by their names
    ask : a question about the views of each sample, whose answer becomes its `needs`

    Raises
    ------
    InputError
        If there is nothing of that name, or a folder holds no views.
    """

    def sample(tag: str | None) -> SampleContents:
        return _sample(
            source,
            tag,
            VolumeChoice(timepoint, channel, level, registration),
            psfs=psfs,
            psf_folder=psf_folder,
            pattern=pattern,
            voxel_size_um=voxel_size_um,
            no_data=no_data,
            no_data_views=no_data_views,
            masks=masks,
            views=views,
            box=box,
            world_unit_um=world_unit_um,
            outside=outside,
            apart=apart,
            grid=grid,
            box_um=box_um,
            stage=stage,
            ask=ask,
        )

    ask_anew()
    if pattern is not None:
        refuse_pattern(source, pattern)
    elif isinstance(source, (str, Path)) and tag is None:
        pattern = pattern_in(source)
    if pattern is not None and not isinstance(source, Mapping):
        table = read_names(source, pattern)
        several = table.tags if tag is None and len(table.tags) > 1 else (tag,)
        kind, named = ("folder", str(source)) if isinstance(source, (str, Path)) else ("files", _all(source))
        samples = tuple(sample(each) for each in several)
        # Those that can be opened say it.
        problems = () if any(each.readable for each in samples) else tuple(table.problems())
        return Contents(named, kind, samples, problems, names=table)
    refuse_tag(source, tag)
    if not isinstance(source, (str, Path)):
        files = source.values() if isinstance(source, Mapping) else source
        return Contents(_all(files), "files", (sample(None),), ())
    path = Path(source)
    check_there(place_of(path), "name a folder of views, an OME-Zarr, or a file")
    named = address_of(path) or str(path)
    if is_project(path):
        return Contents(named, "project", (sample(None),), (), format_of(path).describe(path))
    if format_of(path).holds_views and (is_volume_folder(path) or is_volume(path)):
        return Contents(named, "zarr", (sample(None),), ())
    if path.is_dir() and not is_volume_folder(path):
        names = scan_folder(path)
        if tag is None and guessed_in(path) is not None:
            return Contents(named, "folder", (sample(None),), ())
        chosen = names.choose(next(iter(names.samples), None) if tag is None else tag)
        tags = names.samples if tag is None else [chosen]
        return Contents(named, "folder", tuple(sample(each) for each in tags), tuple(names.problems))
    if psfs is not None or views_in(path):
        return Contents(named, "file", (sample(None),), ())
    return Contents(named, "file", (_volume(path, VolumeChoice(timepoint, channel, level, registration)),), ())


def _all(files: Iterable[str | Path]) -> str:
    return ", ".join(map(str, files))


def _volume(path: Path, at: VolumeChoice) -> SampleContents:
    """A single volume, whatever it is."""

    def look(at: VolumeChoice) -> tuple[StoredVolumes, VolumeLike]:
        stored = open_stored(path, at)
        return stored, stored.volume(at.timepoint, at.channel)

    (stored, data), _, said = one_of(look, at)
    view = ViewContents(path.stem, None, triple(data.shape), str(data.dtype), None)
    absent = tuple(about_absent([(view.name, data)]))
    problems = (*said, *(note for note in stored.notes if not isinstance(note, Statement)))
    stated = (*(note for note in stored.notes if isinstance(note, Statement)), *absent)
    return SampleContents("", (view,), _known(stored.grid), False, problems, said=stated)


def one_of(look: Callable[[VolumeChoice], T], at: VolumeChoice) -> tuple[T, VolumeChoice, list[str]]:
    """Open what is chosen, and where more has to be chosen the first one that there is, which is said.

    Parameters
    ----------
    look : opens what is chosen; raises `NotChosenError` where more has to be
    at : what is chosen already

    Returns
    -------
    What was opened, the choice that it is, and a line for each that was made.
    """
    said: list[str] = []
    while True:
        try:
            opened = look(at)
        except NotChosenError as several:
            said.append(f"{several}; this is the first one")
            first = at.at(several.axis, several.first)
            if first == at:  # chosen, and to no avail
                raise
            at = first
        else:
            return opened, at, said


def _sample(
    source: Source,
    tag: str | None,
    at: VolumeChoice,
    *,
    ask: Callable[[RegisteredViews], Any] | None,
    **opening: Any,
) -> SampleContents:
    def look(at: VolumeChoice) -> RegisteredViews:
        return open_views(
            source,
            tag=tag,
            timepoint=at.timepoint,
            channel=at.channel,
            level=at.level,
            registration=at.registration,
            **opening,
        )

    try:
        views, at, several = one_of(look, at)
        # A project is too large to be looked through unasked.
        in_project = isinstance(source, (str, Path)) and is_project(source)
        notes = (*several, *(views.remarks if in_project else views.notes))
        folder = Path(source) if isinstance(source, (str, Path)) and is_folder(source) and not in_project else None
        has_truth = False if folder is None else _has_truth(folder, tag, at, opening["pattern"])
    except InputError as error:
        return SampleContents(tag or "", (), None, False, (str(error),), readable=False)
    found = tuple(
        ViewContents(
            v.name, v.angle, v.shape, str(v.data.dtype), None if v.psf is None else triple(v.psf.shape), v.psf_notes
        )
        for v in views.views
    )
    without = [view.psf_flaw for view in views.views if view.psf is None and view.psf_flaw]
    without += _no_psfs([view.name for view in views.views if view.psf is None and not view.psf_flaw])
    directions = [*about_one_direction(views), *about_psfs_across(views)]
    return SampleContents(
        tag or "",
        found,
        _known(views.grid),
        has_truth,
        (*(note for note in notes if not isinstance(note, Statement)), *directions, *without),
        fused_shape=views.grid.shape,
        needs=None if ask is None else ask(views),
        said=(
            *(note for note in notes if isinstance(note, Statement)),
            *about_absent((view.name, view.data) for view in views.views),
        ),
    )


def _no_psfs(names: Sequence[str]) -> list[str]:
    """What can be done with views that have no PSF, in one line for all of them."""
    if not names:
        return []
    shown = ", ".join(f"'{name}'" for name in names[:_SHOWN]) + (f", … ({len(names)})" if len(names) > _SHOWN else "")
    several = len(names) > 1
    return [
        f"{'views' if several else 'view'} {shown} {'have' if several else 'has'} no PSF: average and CBIF need none; "
        "to deblur, measure one from beads (mvfusion psf measure) and name it with --psf VIEW=FILE (psfs=)"
    ]


def _known(grid: Grid) -> StatedSize | None:
    return grid.stated_size_um if any(grid.known) else None


def _has_truth(folder: Path, tag: str | None, at: VolumeChoice, pattern: str | None) -> bool:
    return open_truth(folder, tag, timepoint=at.timepoint, channel=at.channel, pattern=pattern) is not None
