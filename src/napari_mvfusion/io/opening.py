"""Open views, volumes and ground truths, whatever they are stored in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from napari_mvfusion.data.field_of_view import NoData
from napari_mvfusion.data.fused_grid import WorldBox
from napari_mvfusion.data.geometry import FloatTriple, Grid, StatedSize, assumed_size, is_unlikely_size
from napari_mvfusion.data.views import RegisteredViews, View, VolumeLike
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.angles import angles_in
from napari_mvfusion.io.bdv.loaders import about_project_of
from napari_mvfusion.io.bdv.project_file import about_backups
from napari_mvfusion.io.folder import scan_folder
from napari_mvfusion.io.formats import (
    format_of,
    is_folder_of_files,
    is_project,
    is_volume,
    is_volume_folder,
    open_stored,
    place_of,
    views_in,
)
from napari_mvfusion.io.guessing import GuessedFiles, as_recorded, find_psfs, guess_files, sure_pattern
from napari_mvfusion.io.name_table import NamedFiles, called_by, choose_files, read_names
from napari_mvfusion.io.ome_zarr.remote_store import ask_anew
from napari_mvfusion.io.placing import GridChoice, GridWish, OwnVoxels, own_voxels, place_volumes
from napari_mvfusion.io.psf_files import open_psf
from napari_mvfusion.io.view_files import (
    ViewFile,
    as_used,
    by_name,
    called,
    check_names,
    once,
    open_view_files,
    size_remark,
)
from napari_mvfusion.io.volume_choice import ProjectChoice, VolumeChoice, choose
from napari_mvfusion.psf import resample_psf
from napari_mvfusion.system.file_checks import check_there, is_there

Source: TypeAlias = str | Path | Sequence[str | Path] | Mapping[str, str | Path]
PSFFiles: TypeAlias = Sequence[str | Path] | Mapping[str, str | Path]


def open_views(
    source: Source,
    *,
    psfs: PSFFiles | None = None,
    tag: str | None = None,
    psf_folder: str | Path | None = None,
    pattern: str | None = None,
    voxel_size_um: FloatTriple | None = None,
    clean_psfs: bool = True,
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
    own_psfs: bool = False,
    stage: bool = False,
) -> RegisteredViews:
    """Open registered views; pixels are read when they are needed.

    Every view has the place that its file states: by origin, translation, voxel size or affine. Views on one grid keep it.
    Of others `grid` says which the fused volume gets, and they are interpolated on it as they are read.

    Parameters
    ----------
    source : a folder of views and PSFs, an OME-Zarr whose channels are views, a project of BigStitcher or BigDataViewer
        (`dataset.xml`), a list of files, one a view, or files by the names of the views, which are angles where they are
        numbers: {"0": "left.tif", "90": "right.tif"}. In a folder, files are called `tag_view_ANGLE.tif` and
        `psf_ANGLE.tif`; where none is, views, angles and PSFs are guessed from names and sizes if that is clear (see
        `guess_files`), which `RegisteredViews.remarks` then tells
    psfs : PSF files: one a view, where `source` is a list of files, or by the names of the views, for any source
    tag : which sample of a folder with several
    psf_folder : where the `psf_ANGLE.tif` lie when not in the folder itself
    pattern : of the names of the files in a folder, or of several files, as "spim_TL{timepoint}_Angle{angle}.tif"; see
        `napari_mvfusion.io.name_pattern`. Views, PSFs, masks, time points, channels and planes that are files follow from it
    voxel_size_um : (z, y, x), instead of what the files say; of a project, whose views lie in one world, that of the fused
        volume, which has cubes of the finest size of its views where none is named
    clean_psfs : make PSFs ready to fuse with (see `prepare_psf`), on the voxels of the views, whatever their own are;
        what was done stands in `View.psf_notes`. False takes them as they are, voxel for voxel
    no_data : which pixels are no measurement, see `View.no_data`; "auto" is what files say, else it is found out when pixels
        are first read
    no_data_views : another choice for some views, by their names
    masks : a file for each view, by its name, that is neither 0 nor NaN where the view holds a measurement; one volume for
        all time points and channels, or one for each
    timepoint, channel : which volume of each file, counted from 0, where files have several; the channels of an OME-Zarr
        are views. Those of a project, and those that names say, are called by the numbers that these give them
    views : names of the views to open, in this order; all of them when None
    box : name of the bounding box of a project that the fused volume covers; all of its views when None
    level : resolution level of the views, 0 for the full resolution
    registration : name of the registration of multiview-stitcher that says where views lie, where files hold several
    world_unit_um : what one unit of the world of a project is, where it leaves that open
    outside : files of a project may lie outside of its folder
    apart : every illumination and tile of a project is a view of its own; else those of one angle are one view, their mean,
        each fading towards its border
    grid : voxels of the fused volume, where views lie on different grids: "isotropic", cubes of the finest size of all
        views; "first", the grid of the first view; a size (z, y, x) in um, which is taken in any case; or "same": all views
        lie on the grid of the first one, whatever their files say of their places, which a project cannot mean
    box_um : first and last place (z, y, x) of the fused volume in the world, um; the bounds of all views when None
    own_psfs : PSFs stay on the voxels of their views, for whoever brings them into a frame of their own
    stage : files that say nothing else of where they lie lie where the stage was, as their positions of planes say

    Returns
    -------
    The views, sorted by angle where they come from a folder. A view without a PSF file has none, and one whose file
    cannot be used says why in `View.psf_flaw`.

    Raises
    ------
    InputError
        If there are no views, a tag must be named, it is not clear which file is which view, or a file cannot be used;
        the message names it and the fix.
    """
    ask_anew()
    at = VolumeChoice(timepoint, channel, level, registration)
    named = None if views is None else tuple(once(views))
    world = None if box_um is None else WorldBox(*box_um)
    either = None if named is None else (*named, *(called(each)[0] for each in named))
    wish = GridWish(grid, world, either, own_psfs, stage)
    in_project = ProjectChoice(
        timepoint,
        channel,
        named,
        box,
        voxel_size_um,
        level,
        world_unit_um,
        outside,
        apart=apart,
        own_psfs=own_psfs,
        voxels="isotropic" if grid == "same" else grid,
        box_um=world,
        registration=registration,
    )
    if pattern is not None:
        refuse_pattern(source, pattern)
    if stage and isinstance(source, (str, Path)) and is_project(source):
        raise InputError(f"{source} is a project, which says itself where its views lie: leave --stage (stage=) out")
    by_pattern = _by_pattern(source, pattern, at, tag)
    opened = _opened(
        source,
        psfs,
        tag,
        psf_folder,
        voxel_size_um,
        at,
        in_project,
        wish,
        by_pattern,
        told=pattern is not None,
        clean=clean_psfs,
    )
    opened = _with_doubts(opened) if voxel_size_um is None else opened
    if by_pattern is not None:
        at = by_pattern.rest
        masks = {**by_pattern.masks, **(masks or {})}
    files = by_name(masks or {}, "mask", opened.names)
    check_names(files, opened.names, "a mask")
    choices = as_used(no_data_views or {}, opened.names, "what is no data")
    fields = {view.name: choices.get(view.name) or _no_data(view, no_data) for view in opened.views}
    if files or any(view.no_data != fields[view.name] for view in opened.views):
        opened = RegisteredViews(
            [
                replace(
                    view,
                    no_data=fields[view.name],
                    no_data_stated=view.no_data_stated and view.no_data == fields[view.name],
                    mask=_mask(files[view.name], at) if view.name in files else view.mask,
                )
                for view in opened.views
            ],
            opened.grid,
            remarks=opened.remarks,
        )
    # A project has chosen its views itself, also by numbers.
    if named is None or (by_pattern is None and isinstance(source, (str, Path)) and is_project(source)):
        return opened
    return opened.select(once([each if each in opened.names else called(each)[0] for each in named]))


def _no_data(view: View, asked: NoData) -> NoData:
    """Which pixels of a view are no measurement: what its file says, where nothing else is asked for."""
    return view.no_data if asked == "auto" and view.no_data_stated else asked


def _with_doubts(opened: RegisteredViews) -> RegisteredViews:
    """The views, with a remark where a file states voxels that no light-sheet microscope is likely to record."""
    remarks: dict[str, list[str]] = {}
    for view in opened.views:
        affine = opened.grid.affine if view.affine is None else view.affine
        sizes = np.linalg.norm(affine[:3, :3], axis=0)
        if opened.grid.size_known and is_unlikely_size(sizes.tolist()):
            remarks.setdefault(" x ".join(f"{size:g}" for size in sizes), []).append(view.name)
    if not remarks:
        return opened
    said = [
        f"voxels of {size} um (z, y, x) are unlikely for a light-sheet microscope (view {', '.join(names)}): check the unit "
        "in the file, or say their size with --voxel-size"
        for size, names in remarks.items()
    ]
    return RegisteredViews(opened.views, opened.grid, remarks=[*opened.remarks, *said])


def _mask(file: Path, at: VolumeChoice) -> VolumeLike:
    """A mask: that of the volume that is chosen, or the only one for all of them."""
    return open_volume(file, timepoint=at.timepoint, channel=at.channel, one_will_do=True)[0]


def _opened(
    source: Source,
    psfs: PSFFiles | None,
    tag: str | None,
    psf_folder: str | Path | None,
    voxel_size_um: FloatTriple | None,
    at: VolumeChoice,
    in_project: ProjectChoice,
    wish: GridWish,
    by_pattern: NamedFiles | None,
    *,
    told: bool,
    clean: bool,
) -> RegisteredViews:
    """The views, all of whose pixels are measurements."""
    elsewhere = None if psf_folder is None else Path(psf_folder)
    remarks: list[str] = []
    if by_pattern is None:
        refuse_tag(source, tag)
    if by_pattern is not None:
        in_project.refuse_elsewhere()
        if psfs is not None and not isinstance(psfs, Mapping):
            raise InputError("PSF files in order go with view files: say whose each is ('90': FILE), or use psf_folder")
        found, at = list(by_pattern.views), by_pattern.rest
        # A pattern that was named is known; one that was found is said with all that follows.
        remarks = list(by_pattern.problems) if told else [by_pattern.said]
    elif isinstance(source, (str, Path)) and is_project(source):
        return _open_project(Path(source), psfs or {}, elsewhere, in_project, clean=clean)
    elif not isinstance(source, (str, Path)):
        in_project.refuse_elsewhere()
        inner: Mapping[str, Path] = {}
        if not isinstance(source, Mapping) and len(source) == 1:
            inner, remarks = _views_inside(Path(source[0]))
        found, said = _in_their_folders(_named(inner or source, psfs), at)
        remarks = [*remarks, *said, *about_project_of([each.file for each in found])]
    else:
        in_project.refuse_elsewhere()
        path = Path(source)
        check_there(place_of(path), "name a folder of views, an OME-Zarr, or the files of views")
        holds_views = format_of(path).holds_views
        if (place_of(path).is_file() or is_volume(path)) and not holds_views:
            inner, remarks = _views_inside(path)
            found = _named(inner or [path], psfs)
        elif psfs is not None and not isinstance(psfs, Mapping):
            raise InputError("PSF files in order go with view files: say whose each is ('90': FILE), or use psf_folder")
        elif is_volume_folder(path) or (holds_views and is_volume(path)):
            return _open_channels(path, psfs or {}, elsewhere, voxel_size_um, at, wish, clean=clean)
        else:
            found, remarks = _in_folder(path, tag)
    if isinstance(source, (str, Path)):
        remarks += about_backups(Path(source))
    if elsewhere is not None:
        others = find_psfs(elsewhere, {each.name: each.angle for each in found})
        found = [replace(each, psf=others.files.get(each.name)) for each in found]
        remarks += others.said
    names = [each.name for each in found]
    stated = by_name(psfs, "PSF", names) if isinstance(psfs, Mapping) else {}
    check_names(stated, names, "a PSF")
    for each in found:
        remarks += _replaced(each.name, each.psf, stated)
    found = [replace(each, psf=stated.get(each.name, each.psf)) for each in found]
    return open_view_files(found, voxel_size_um, at, clean=clean, wish=wish, remarks=remarks)


def _by_pattern(source: Source, pattern: str | None, at: VolumeChoice, tag: str | None) -> NamedFiles | None:
    """What a pattern finds: one that was named, or that the names of a folder leave no doubt of."""
    if pattern is None and isinstance(source, (str, Path)):
        pattern = pattern_in(source)
    if pattern is None or isinstance(source, Mapping):
        return None
    return choose_files(read_names(source, pattern), at, tag)


def refuse_pattern(source: Source, pattern: str) -> None:
    """Refuse a pattern that would be ignored.

    Raises
    ------
    InputError
        If the views are neither the files of a folder nor several files.
    """
    named = isinstance(source, Mapping)
    if named or (isinstance(source, (str, Path)) and is_there(source) and not _is_folder_of_files(source)):
        what = "files whose views are named already" if named else source
        raise InputError(
            f"the pattern {pattern} is for the files of a folder, or for several files, and cannot be applied to {what}: "
            "leave it out"
        )


def _views_inside(file: Path) -> tuple[Mapping[str, Path], list[str]]:
    """The views that a file holds which is the only one, and what is to be said of them; {} where it is one view."""
    inner = views_in(file)
    return inner, [as_recorded(file, len(inner))] if inner else []


def refuse_tag(source: Source, tag: str | None) -> None:
    """Refuse a tag that would be ignored.

    Raises
    ------
    InputError
        If a tag is given, and the views are no folder of files.
    """
    there = not isinstance(source, (str, Path)) or is_there(source)
    if tag is not None and there and not _is_folder_of_files(source):
        raise InputError(f"'{tag}' is given as the tag of a sample, which only a folder of views has: leave it out")


def _is_folder_of_files(source: Source) -> bool:
    return isinstance(source, (str, Path)) and is_folder_of_files(source)


def _named(source: Sequence[str | Path] | Mapping[str, str | Path], psfs: PSFFiles | None) -> list[ViewFile]:
    """Files that the user has named, one a view."""
    if isinstance(source, Mapping):
        if psfs is not None and not isinstance(psfs, Mapping):
            raise InputError("views are given by name, and PSFs are not: name the view of each PSF ('90': FILE)")
        named = by_name(source, "file")
        said = dict(zip(named, angles_in(list(named)), strict=True))
        return [
            ViewFile(file, name, said[name] if called(name)[1] is None else called(name)[1])
            for name, file in named.items()
        ]
    files = [Path(file) for file in source]
    in_order: list[Path | None] = [None] * len(files)
    if psfs is not None and not isinstance(psfs, Mapping):
        in_order = [Path(psf) for psf in psfs]
    if len(in_order) != len(files):
        raise InputError(
            f"{len(files)} views and {len(in_order)} PSFs were given: each view needs one, in the same order"
        )
    stems = [
        called_by(file) if "{z}" in file.name else file.stem.removesuffix(".zarr").removesuffix(".ome")
        for file in files
    ]
    names = [stem if stems.count(stem) == 1 else str(file) for stem, file in zip(stems, files, strict=True)]
    angles = angles_in(stems)
    return [
        ViewFile(file, name, angle, psf) for file, name, angle, psf in zip(files, names, angles, in_order, strict=True)
    ]


def _in_their_folders(named: Sequence[ViewFile], at: VolumeChoice) -> tuple[list[ViewFile], list[str]]:
    """Views as they were named, where folders stand for the one volume that they hold; and what was found, in words."""
    found: list[ViewFile] = []
    said: list[str] = []
    for each in named:
        if not is_folder_of_files(each.file):
            found.append(each)
            continue
        by_pattern = _by_pattern(each.file, None, at, None)
        if by_pattern is None:
            inside, remarks = _in_folder(each.file, None)
        else:
            inside, remarks = list(by_pattern.views), list(by_pattern.problems)
        if len(inside) != 1:
            names = " or ".join(str(view.file) for view in inside[:2])
            raise InputError(
                f"{each.file} holds {len(inside)} views, and is named as one: name its files, as {names}, or the folder "
                "alone"
            )
        (view,) = inside
        rest = None if by_pattern is None else by_pattern.rest
        found.append(replace(each, file=view.file, psf=each.psf or view.psf, at=rest))
        said.append("; ".join([f"{each.file} is taken for the volume {view.file.name} in it", *remarks]))
    return found, said


def _in_folder(path: Path, tag: str | None) -> tuple[list[ViewFile], list[str]]:
    """The views of a sample in a folder, and what was guessed, in words."""
    if tag is None and (guessed := guessed_in(path)) is not None:
        angles = zip(guessed.views, angles_in(list(guessed.views)), strict=True)
        said = {name: called(name)[1] if called(name)[1] is not None else angle for name, angle in angles}
        views = [
            ViewFile(file, called(name)[0], said[name], guessed.psfs.get(name)) for name, file in guessed.views.items()
        ]
        return views, [guessed.said]
    names = scan_folder(path)
    chosen = names.choose(tag)
    return [
        ViewFile(file, f"{angle:g}", angle, names.psf_of(chosen, angle))
        for angle, file in names.samples[chosen].views.items()
    ], []


def _open_project(
    path: Path, psfs: PSFFiles, psf_folder: Path | None, choice: ProjectChoice, *, clean: bool
) -> RegisteredViews:
    """The views of a project, with its own PSFs or those that were named, which lie in the frame of the fused volume."""
    check_there(path, "check its name")
    if not isinstance(psfs, Mapping):
        raise InputError("PSF files in order go with view files: say whose each is ('90': FILE), or use psf_folder")
    known = format_of(path)
    views = known.open_project(path, choice, clean=clean)
    # Other files that are named for a project hold PSFs in the frame of the fused volume.
    onto = [
        (views.grid.stated_size_um, _own_voxels(view, views.grid) if known.own_psfs else None) for view in views.views
    ]
    return _with_stated_psfs(views, path, psfs, psf_folder, [], onto, clean=clean)


def _open_channels(
    path: Path,
    psfs: Mapping[str, str | Path],
    psf_folder: Path | None,
    voxel_size_um: FloatTriple | None,
    at: VolumeChoice,
    wish: GridWish,
    *,
    clean: bool,
) -> RegisteredViews:
    """The channels of a volume, with its own PSFs or those that were named."""
    views = format_of(path).open_views(path, at)
    if at.channel is not None:
        choose(str(path), {"c": len(views)}, None, at.channel)  # refuses one that is not there
        views = views.select([views.names[at.channel]])
    stored = open_stored(path, at)
    placed = place_volumes([stored] * len(views), views.names, voxel_size_um, wish)
    # PSFs are on the voxels of the full resolution.
    full = stored if at.level == 0 else open_stored(path, replace(at, level=0))
    finer = np.divide(assumed_size(full.voxel_size_um)[0], assumed_size(stored.voxel_size_um)[0])
    remarks = []
    if voxel_size_um is not None:
        remarks = size_remark(voxel_size_um, [(str(path), stored.size_um)])
    moved = []
    for index, view in enumerate(views.views):
        affine = placed.affines[index]
        if affine is None and at.level:
            affine = placed.grid.affine
        if view.psf is not None and affine is not None and not wish.own_psfs:
            own = own_voxels(affine @ np.diag([*finer, 1.0]), placed.grid)
            view = replace(view, psf=_onto_grid(view.psf, own), psf_notes=(*view.psf_notes, own.said))
        moved.append(replace(view, affine=placed.affines[index]))
    placed_views = RegisteredViews(moved, placed.grid, remarks=[*views.remarks, *placed.remarks])
    onto = [(placed.size_of_psf(index), placed.own_voxels(index)) for index in range(len(views))]
    return _with_stated_psfs(placed_views, path, psfs, psf_folder, remarks, onto, clean=clean)


def _own_voxels(view: View, grid: Grid) -> OwnVoxels | None:
    """The voxels that the PSF of a view has in its own frame, None where it lies on the grid."""
    return None if view.affine is None else own_voxels(view.affine, grid)


def _onto_grid(psf: np.ndarray, own: OwnVoxels) -> np.ndarray:
    """A PSF on the voxels of its view, on those of the fused volume."""
    return resample_psf(psf, own.to_grid, centre=np.array(psf.shape) // 2)


def _with_stated_psfs(
    views: RegisteredViews,
    path: Path,
    psfs: Mapping[str, str | Path],
    psf_folder: Path | None,
    remarks: list[str],
    onto: Sequence[tuple[StatedSize, OwnVoxels | None]],
    *,
    clean: bool,
) -> RegisteredViews:
    """Views with PSFs that were named in the place of their own, which lie on other voxels where that is said."""
    stated = by_name(psfs, "PSF", views.names)
    check_names(stated, views.names, "a PSF")
    said: list[str] = []
    files: dict[str, Path | None] = dict(stated)
    if psf_folder is not None:
        others = find_psfs(psf_folder, {view.name: view.angle for view in views.views})
        files = {name: stated.get(name, others.files.get(name)) for name in views.names}
        said += others.said
    said += remarks
    changed = []
    for view, (size_um, own) in zip(views.views, onto, strict=True):
        if view.name in files:
            said += _replaced(view.name, None if view.psf is None else path, files)
            file = files[view.name]
            psf = open_psf(file, size_um, clean=clean, own=own)
            named = "" if file is None else str(file)
            view = replace(view, psf=psf.psf, psf_notes=psf.notes, psf_flaw=psf.flaw, psf_source=named)
        changed.append(view)
    return RegisteredViews(changed, views.grid, remarks=[*views.remarks, *said])


def _replaced(name: str, before: Path | None, stated: Mapping[str, Path | None]) -> list[str]:
    """A line where a PSF that was stated takes the place of another."""
    now = stated.get(name)
    if before is None or now is None or now == before:
        return []
    return [f"view '{name}': the PSF {now} is taken, as asked for, in place of that in {before}"]


def list_tags(folder: str | Path) -> tuple[str, ...]:
    """The samples of a TIFF folder; "" for views whose names have no tag.

    Raises
    ------
    InputError
        If it is no folder.
    """
    return tuple(scan_folder(folder).samples)


def left_out(source: Source) -> tuple[str, ...]:
    """What a folder holds that is not opened although it looks as if it should, a line each; () for other sources.

    Raises
    ------
    InputError
        If the folder cannot be read.
    """
    if not isinstance(source, (str, Path)) or not _is_folder_of_files(source):
        return ()
    return tuple(scan_folder(source).problems)


def guessed_in(folder: str | Path) -> GuessedFiles | None:
    """What the files of a folder are taken for whose names follow no scheme; None where nothing has to be guessed.

    Raises
    ------
    InputError
        If it is not clear which file is which view; says how to state it.
    """
    path = Path(folder)
    if not _is_folder_of_files(path) or scan_folder(path).samples or sure_pattern(path) is not None:
        return None
    return guess_files(path)


def pattern_in(folder: str | Path) -> str | None:
    """The pattern by which names of a folder without a scheme say time points, channels or planes; else None."""
    if not is_folder_of_files(folder) or scan_folder(folder).samples:
        return None
    return sure_pattern(Path(folder))


def psf_files(folder: str | Path) -> dict[float, Path]:
    """Angle to `psf_ANGLE.tif` in a folder.

    Raises
    ------
    InputError
        If it is no folder.
    """
    return dict(sorted(scan_folder(folder).psfs.items()))


def open_truth(
    folder: str | Path,
    tag: str | None = None,
    *,
    timepoint: int | None = None,
    channel: int | None = None,
    pattern: str | None = None,
) -> VolumeLike | None:
    """The ground truth of a sample, lazily, or None where there is none.

    Parameters
    ----------
    folder : a folder as for `open_views`, or an OME-Zarr that `write_views_zarr` made
    tag : which sample of a folder with several
    timepoint, channel : those of the views, counted from 0; a truth with one volume is that of all
    pattern : of the names, as for `open_views`
    """
    ask_anew()
    path = Path(folder)
    named = _by_pattern(path, pattern, VolumeChoice(timepoint, channel), tag)
    if named is not None:
        truth, timepoint, channel = named.truth, named.rest.timepoint, named.rest.channel
    elif is_volume_folder(path) or is_volume(path):
        inner = path / "groundtruth"
        if not is_volume(inner):
            return None
        return open_volume(inner, timepoint=timepoint, channel=channel, one_will_do=True)[0]
    elif tag is None and (guessed := guessed_in(path)) is not None:
        truth = guessed.truth
    else:
        names = scan_folder(path)
        truth = names.samples[names.choose(tag)].truth
    if truth is None:
        return None
    return open_volume(truth, timepoint=timepoint, channel=channel, one_will_do=True)[0]


def open_volume(
    path: str | Path, *, timepoint: int | None = None, channel: int | None = None, one_will_do: bool = False
) -> tuple[VolumeLike, Grid]:
    """Open one volume of any format, lazily.

    Parameters
    ----------
    path : of the file or folder
    timepoint, channel : which one, counted from 0, where there are several
    one_will_do : take the only time point or channel of a file, whichever is asked for

    Returns
    -------
    The volume (z, y, x), and its grid, which says along which axes the voxel size is known.

    Raises
    ------
    InputError
        If the file cannot be used.
    """
    ask_anew()
    stored = open_stored(path)
    at = VolumeChoice(timepoint, channel).among(stored.leading if one_will_do else None)
    volume = stored.volume(at.timepoint, at.channel)
    return volume, stored.grid


def read_recipe(path: str | Path) -> dict[str, Any] | None:
    """The recipe inside a fused volume, or None where it has none.

    Raises
    ------
    InputError
        If the file cannot be used.
    """
    return open_stored(path).recipe
