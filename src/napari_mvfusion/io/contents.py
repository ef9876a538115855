"""What an input holds, and what is wrong with it, in words: for `mvfusion info` and the GUI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from napari_mvfusion.data.fields import NoData
from napari_mvfusion.data.geometry import FloatTriple, Triple, triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.choices import Choice
from napari_mvfusion.io.folder import scan_folder
from napari_mvfusion.io.ome_zarr.reader import is_zarr
from napari_mvfusion.io.opening import open_truth, open_views, open_volume
from napari_mvfusion.system.files import check_there


@dataclass(frozen=True)
class ViewContents:
    """One view: name, angle in degrees, shape (z, y, x), type of its pixels, and the shape of its PSF."""

    name: str
    angle: float | None
    shape: Triple
    dtype: str
    psf_shape: Triple | None


@dataclass(frozen=True)
class SampleContents:
    """One sample: its tag, views, voxel size in um, whether its truth is known, and what is wrong with it."""

    tag: str
    views: tuple[ViewContents, ...]
    voxel_size_um: FloatTriple | None
    has_truth: bool
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Contents:
    """What an input holds: "folder", "zarr" or "file", its samples, and what does not fit."""

    path: str
    kind: str
    samples: tuple[SampleContents, ...]
    problems: tuple[str, ...]


def describe(
    path: str | Path,
    *,
    no_data: NoData = "auto",
    no_data_views: Mapping[str, NoData] | None = None,
    timepoint: int | None = None,
    channel: int | None = None,
) -> Contents:
    """Say what a TIFF folder, an OME-Zarr or a TIFF file holds. Problems of a sample do not hide the others.

    Parameters
    ----------
    path : what to look at
    no_data : which pixels are no measurement, as for `open_views`; what is found is among the problems. "none" reads no
        pixels.
    no_data_views : another choice for some views, by their names
    timepoint, channel : which volume of each file, counted from 0, where files have several

    Raises
    ------
    InputError
        If there is nothing of that name, or a folder holds no views.
    """
    path, at = Path(path), Choice(timepoint, channel)
    choices = dict(no_data_views or {})
    check_there(path, "name a TIFF folder, an OME-Zarr, or a TIFF file")
    if is_zarr(path) or path.suffix.lower() == ".zarr":
        return Contents(str(path), "zarr", (_sample(path, None, no_data, choices, at),), ())
    if path.is_dir():
        names = scan_folder(path)
        names.choose(next(iter(names.samples), None))
        samples = tuple(_sample(path, tag, no_data, choices, at) for tag in names.samples)
        return Contents(str(path), "folder", samples, tuple(names.problems))
    data, grid = open_volume(path, timepoint=timepoint, channel=channel)
    view = ViewContents(path.stem, None, triple(data.shape), str(data.dtype), None)
    return Contents(str(path), "file", (SampleContents("", (view,), grid.voxel_size_um, False, ()),), ())


def _sample(path: Path, tag: str | None, no_data: NoData, choices: Mapping[str, NoData], at: Choice) -> SampleContents:
    try:
        views = open_views(
            path, tag=tag, no_data=no_data, no_data_views=choices, timepoint=at.timepoint, channel=at.channel
        )
        notes = views.notes
        has_truth = open_truth(path, tag, timepoint=at.timepoint, channel=at.channel) is not None
    except InputError as error:
        return SampleContents(tag or "", (), None, False, (str(error),))
    found = tuple(
        ViewContents(v.name, v.angle, v.shape, str(v.data.dtype), None if v.psf is None else triple(v.psf.shape))
        for v in views.views
    )
    without = [
        view.psf_flaw or f"view '{view.name}' has no PSF: it can be averaged, but not deblurred"
        for view in views.views
        if view.psf is None
    ]
    return SampleContents(tag or "", found, views.grid.voxel_size_um, has_truth, (*notes, *without))
