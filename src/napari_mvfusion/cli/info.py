"""`mvfusion info`: what a folder or file holds, and what is wrong with it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from napari_mvfusion.cli import options, show
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.contents import SampleContents, describe
from napari_mvfusion.io.opening import open_views
from napari_mvfusion.psf import MirrorVerdict, check_mirror


def info(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="A TIFF folder, an OME-Zarr, or a TIFF file.")],
    mirror: Annotated[bool, typer.Option("--mirror", help="Also check that no PSF was saved upside down.")] = False,
    timepoint: options.TimepointOption = None,
    channel: options.ChannelOption = None,
    no_data: options.NoDataOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Say which samples, views, PSFs and ground truths an input holds."""
    common, named = options.no_data_of(no_data)
    found = describe(source, no_data=common, no_data_views=named, timepoint=timepoint, channel=channel)
    verdicts = (
        {sample.tag: _check_psfs(source, sample, timepoint, channel) for sample in found.samples} if mirror else {}
    )
    if as_json:
        checked = {tag: [asdict(verdict) for verdict in each] for tag, each in verdicts.items()}
        show.print_json(asdict(found) | ({"mirror": checked} if mirror else {}))
        return
    for sample in found.samples:
        size = "" if sample.voxel_size_um is None else f", voxels of {_times(sample.voxel_size_um)} um"
        truth = ", ground truth known" if sample.has_truth else ""
        rows = [
            [
                view.name,
                "" if view.angle is None else f"{view.angle:g}",
                _times(view.shape),
                view.dtype,
                "none" if view.psf_shape is None else _times(view.psf_shape),
            ]
            for view in sample.views
        ]
        title = f"{sample.tag or found.path}{size}{truth}"
        if rows:
            show.print_table(title, ["view", "angle", "shape (z, y, x)", "type", "PSF as used"], rows)
        for problem in sample.problems:
            show.say_warning(problem)
        for verdict in verdicts.get(sample.tag, ()):
            (show.say_warning if verdict.verdict == "mirrored" else show.say)(verdict.message)
    for problem in found.problems:
        show.say_warning(problem)


def _check_psfs(
    source: Path, sample: SampleContents, timepoint: int | None, channel: int | None
) -> tuple[MirrorVerdict, ...]:
    """Whether the PSFs of a sample explain its views better as they are or upside down."""
    views = open_views(source, tag=sample.tag or None, timepoint=timepoint, channel=channel)
    with_psf = [view for view in views.views if view.psf is not None]
    if not with_psf:
        raise InputError(f"{source} has no PSFs that could be checked")
    chosen = views.select([view.name for view in with_psf])
    return check_mirror(chosen.read(chosen.grid.box), [v.psf for v in with_psf if v.psf is not None], chosen.names)


def _times(values: tuple[float, ...] | tuple[int, ...]) -> str:
    return " x ".join(f"{value:g}" for value in values)
