"""Open views, volumes and ground truths, whatever they are stored in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_mvfusion.data.fields import NoData
from napari_mvfusion.data.geometry import FloatTriple, Grid, float_triple, triple
from napari_mvfusion.data.views import RegisteredViews, View, VolumeLike
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.choices import Choice
from napari_mvfusion.io.folder import scan_folder
from napari_mvfusion.io.ome_zarr.reader import is_zarr, open_image, open_zarr_views
from napari_mvfusion.io.psfs import ViewPSF, open_psf
from napari_mvfusion.io.tiff.reader import TiffVolume, open_stack, open_tiff
from napari_mvfusion.system.files import check_there

_SAME_SIZE = 1e-3


def open_views(
    source: str | Path | Sequence[str | Path],
    *,
    psfs: Sequence[str | Path] | None = None,
    tag: str | None = None,
    psf_folder: str | Path | None = None,
    voxel_size_um: FloatTriple | None = None,
    clean_psfs: bool = True,
    no_data: NoData = "auto",
    no_data_views: Mapping[str, NoData] | None = None,
    masks: Mapping[str, str | Path] | None = None,
    timepoint: int | None = None,
    channel: int | None = None,
) -> RegisteredViews:
    """Open registered views; pixels are read when they are needed.

    Parameters
    ----------
    source : a folder of `tag_view_ANGLE.tif` and `psf_ANGLE.tif`, an OME-Zarr whose channels are views, or a list
        of files, one a view
    psfs : PSF files, one a view, where `source` is a list of files
    tag : which sample of a folder with several
    psf_folder : where the `psf_ANGLE.tif` lie when not in the folder itself
    voxel_size_um : (z, y, x), instead of what the files say
    clean_psfs : make PSFs ready to fuse with (see `prepare_psf`), on the voxels of the views, whatever their own are;
        what was done stands in `View.psf_notes`. False takes them as they are, voxel for voxel
    no_data : which pixels are no measurement, see `View.no_data`; found out when pixels are first read
    no_data_views : another choice for some views, by their names
    masks : a file for each view, by its name, that is nonzero where the view holds a measurement; TIFF or OME-Zarr
    timepoint, channel : which volume of each file, counted from 0, where files have several; the channels of an OME-Zarr
        are views

    Returns
    -------
    The views, sorted by angle where they come from a folder. A view without a PSF file has none, and one whose file
    cannot be used says why in `View.psf_flaw`.

    Raises
    ------
    InputError
        If there are no views, a tag must be named, or a file cannot be used; the message names it and the fix.
    """
    at = Choice(timepoint, channel)
    views = _opened(source, psfs, tag, psf_folder, voxel_size_um, at, clean=clean_psfs)
    files, choices = dict(masks or {}), dict(no_data_views or {})
    if no_data == "none" and not files and not choices:
        return views
    for what, names in (("a mask", files.keys()), ("what is no data", choices.keys())):
        if unknown := names - set(views.names):
            there = ", ".join(views.names)
            raise InputError(f"{what} is given for view '{min(unknown)}', but the views are {there}")
    return RegisteredViews(
        [
            replace(
                view,
                no_data=choices.get(view.name, no_data),
                mask=open_volume(files[view.name])[0] if view.name in files else view.mask,
            )
            for view in views.views
        ],
        views.grid,
    )


def _opened(
    source: str | Path | Sequence[str | Path],
    psfs: Sequence[str | Path] | None,
    tag: str | None,
    psf_folder: str | Path | None,
    voxel_size_um: FloatTriple | None,
    at: Choice,
    *,
    clean: bool,
) -> RegisteredViews:
    """The views, all of whose pixels are measurements."""
    if isinstance(source, (str, Path)):
        if psfs is not None:
            raise InputError("PSF files go with view files: give source as a list of files, or use psf_folder")
        path = Path(source)
        check_there(path, "name a TIFF folder, an OME-Zarr, or TIFF files")
        if is_zarr(path) or path.suffix.lower() == ".zarr":
            views = open_zarr_views(path, at.timepoint)
            if psf_folder is not None:
                angles = psf_files(psf_folder)
                size = voxel_size_um or views.grid.voxel_size_um
                files = [angles.get(view.angle) if view.angle is not None else None for view in views.views]
                views = _with_psfs(views, [open_psf(file, size, clean=clean) for file in files])
            return _with_size(views, voxel_size_um)
        if path.is_dir():
            return _open_folder(path, tag, psf_folder, voxel_size_um, at, clean=clean)
        source = [path]
    return _open_files([Path(path) for path in source], psfs, voxel_size_um, at, clean=clean)


def list_tags(folder: str | Path) -> tuple[str, ...]:
    """The samples of a TIFF folder; "" for views whose names have no tag.

    Raises
    ------
    InputError
        If it is no folder.
    """
    return tuple(scan_folder(folder).samples)


def left_out(source: str | Path | Sequence[str | Path]) -> tuple[str, ...]:
    """What a folder holds that is not opened although it looks as if it should, a line each; () for other sources.

    Raises
    ------
    InputError
        If the folder cannot be read.
    """
    if not isinstance(source, (str, Path)) or not Path(source).is_dir() or is_zarr(source):
        return ()
    return tuple(scan_folder(source).problems)


def psf_files(folder: str | Path) -> dict[float, Path]:
    """Angle to `psf_ANGLE.tif` in a folder.

    Raises
    ------
    InputError
        If it is no folder.
    """
    return dict(sorted(scan_folder(folder).psfs.items()))


def open_truth(
    folder: str | Path, tag: str | None = None, *, timepoint: int | None = None, channel: int | None = None
) -> VolumeLike | None:
    """The ground truth of a sample, lazily, or None where there is none.

    Parameters
    ----------
    folder : a TIFF folder, or an OME-Zarr that `write_views_zarr` made
    tag : which sample of a folder with several
    timepoint, channel : those of the views, counted from 0; a truth with one volume is that of all
    """
    path = Path(folder)
    if is_zarr(path):
        inner = path / "groundtruth"
        if not is_zarr(inner):
            return None
        return open_volume(inner, timepoint=timepoint, channel=channel, one_will_do=True)[0]
    names = scan_folder(path)
    truth = names.samples[names.choose(tag)].truth
    if truth is None:
        return None
    return open_volume(truth, timepoint=timepoint, channel=channel, one_will_do=True)[0]


def open_volume(
    path: str | Path, *, timepoint: int | None = None, channel: int | None = None, one_will_do: bool = False
) -> tuple[VolumeLike, Grid]:
    """Open one volume, a TIFF file or an OME-Zarr, lazily.

    Parameters
    ----------
    path : of the file or folder
    timepoint, channel : which one, counted from 0, where there are several
    one_will_do : take the only time point or channel of a file, whichever is asked for

    Returns
    -------
    The volume (z, y, x), and its grid; voxels are 1 um where the file does not say.

    Raises
    ------
    InputError
        If the file cannot be used.
    """
    path = Path(path)
    if path.is_dir():
        image = open_image(path)
        at = Choice(timepoint, channel).among(image.leading if one_will_do else None)
        volume = image.volume(at.channel, at.timepoint)
        return volume, Grid(triple(volume.shape), image.voxel_size_um, image.origin_um)
    at = Choice(timepoint, channel).among(open_stack(path).leading if one_will_do else None)
    tiff = open_tiff(path, timepoint=at.timepoint, channel=at.channel)
    return tiff.data, Grid(triple(tiff.data.shape), tiff.voxel_size_um or (1.0, 1.0, 1.0), tiff.origin_um)


def read_recipe(path: str | Path) -> dict[str, Any] | None:
    """The recipe inside a fused volume, or None where it has none.

    Raises
    ------
    InputError
        If the file cannot be used.
    """
    path = Path(path)
    if path.is_dir():
        return open_image(path).recipe
    return open_stack(path).recipe


def _open_folder(
    path: Path,
    tag: str | None,
    psf_folder: str | Path | None,
    voxel_size_um: FloatTriple | None,
    at: Choice,
    *,
    clean: bool,
) -> RegisteredViews:
    names = scan_folder(path)
    chosen = names.choose(tag)
    elsewhere = None if psf_folder is None else psf_files(psf_folder)
    opened: list[tuple[float, TiffVolume]] = []
    for angle, file in names.samples[chosen].views.items():
        opened.append((angle, _open_single(file, at)))
    size = voxel_size_um or _common_size([volume for _, volume in opened])
    _refuse_unequal([volume for _, volume in opened])
    stated = _stated_size(voxel_size_um, [volume for _, volume in opened])
    views = []
    for angle, volume in opened:
        psf = names.psf_of(chosen, angle) if elsewhere is None else elsewhere.get(angle)
        views.append(
            _with_psf(
                View(volume.data, f"{angle:g}", angle=angle, source=str(volume.path)),
                open_psf(psf, stated, clean=clean),
            )
        )
    return RegisteredViews(views, Grid(triple(opened[0][1].data.shape), size, opened[0][1].origin_um))


def _open_files(
    files: list[Path],
    psfs: Sequence[str | Path] | None,
    voxel_size_um: FloatTriple | None,
    at: Choice,
    *,
    clean: bool,
) -> RegisteredViews:
    if not files:
        raise InputError("no view files were given")
    if psfs is not None and len(psfs) != len(files):
        raise InputError(f"{len(files)} views and {len(psfs)} PSFs were given: each view needs one, in the same order")
    opened = [_open_single(file, at) for file in files]
    _refuse_unequal(opened)
    stated = _stated_size(voxel_size_um, opened)
    psf_paths = [None] * len(files) if psfs is None else [Path(psf) for psf in psfs]
    stems = [volume.path.stem.removesuffix(".ome") for volume in opened]
    names = [stem if stems.count(stem) == 1 else str(v.path) for stem, v in zip(stems, opened, strict=True)]
    views = [
        _with_psf(View(volume.data, name, source=str(volume.path)), open_psf(file, stated, clean=clean))
        for volume, name, file in zip(opened, names, psf_paths, strict=True)
    ]
    size = voxel_size_um or _common_size(opened)
    return RegisteredViews(views, Grid(triple(opened[0].data.shape), size, opened[0].origin_um))


def _open_single(file: Path, at: Choice) -> TiffVolume:
    """One volume from a TIFF file or an OME-Zarr."""
    if file.is_dir():
        image = open_image(file)
        return TiffVolume(file, image.volume(at.channel, at.timepoint), image.voxel_size_um, image.origin_um)
    return open_tiff(file, timepoint=at.timepoint, channel=at.channel)


def _with_psf(view: View, opened: ViewPSF) -> View:
    return replace(view, psf=opened.psf, psf_notes=opened.notes, psf_flaw=opened.flaw)


def _with_psfs(views: RegisteredViews, opened: Sequence[ViewPSF]) -> RegisteredViews:
    return RegisteredViews([_with_psf(view, psf) for view, psf in zip(views.views, opened, strict=True)], views.grid)


def _stated_size(voxel_size_um: FloatTriple | None, volumes: Sequence[TiffVolume]) -> FloatTriple | None:
    """The voxel size of the views where the user or a file says it, else None."""
    if voxel_size_um is None and all(volume.voxel_size_um is None for volume in volumes):
        return None
    return voxel_size_um or _common_size(volumes)


def _refuse_unequal(volumes: Sequence[TiffVolume]) -> None:
    first = volumes[0]
    for other in volumes[1:]:
        if tuple(other.data.shape) != tuple(first.data.shape):
            raise InputError(
                f"{other.path} has shape {tuple(other.data.shape)}, but {first.path} {tuple(first.data.shape)}: "
                "registered views must have one shape; resample or crop them"
            )


def _common_size(volumes: Iterable[TiffVolume]) -> FloatTriple:
    """The voxel size that the files agree on; 1 um where none says it."""
    known = [volume for volume in volumes if volume.voxel_size_um is not None]
    if not known:
        return (1.0, 1.0, 1.0)
    first = known[0].voxel_size_um
    assert first is not None
    for other in known[1:]:
        assert other.voxel_size_um is not None
        if not np.allclose(first, other.voxel_size_um, rtol=_SAME_SIZE):
            raise InputError(
                f"{other.path} has voxels of {other.voxel_size_um} um, but {known[0].path} of {first} um (z, y, x): "
                "say the right one with the voxel size option"
            )
    return float_triple(first)


def _with_size(views: RegisteredViews, voxel_size_um: FloatTriple | None) -> RegisteredViews:
    if voxel_size_um is None:
        return views
    return RegisteredViews(views.views, Grid(views.grid.shape, voxel_size_um, views.grid.origin_um))
