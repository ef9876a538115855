"""`mvfusion info`: what a folder or file holds, and what is wrong with it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from napari_mvfusion.cli import show
from napari_mvfusion.readers import describe


def info(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="A TIFF folder, an OME-Zarr, or a TIFF file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Say which samples, views, PSFs and ground truths an input holds."""
    found = describe(source)
    if as_json:
        show.print_json(asdict(found))
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
    for problem in found.problems:
        show.say_warning(problem)


def _times(values: tuple[float, ...] | tuple[int, ...]) -> str:
    return " x ".join(f"{value:g}" for value in values)
