"""`mvfusion simulate`: specimens with a known truth, as a microscope would record them."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.progress import track

from napari_mvfusion.cli import options, show
from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.geometry import Grid
from napari_mvfusion.psf import load_psf
from napari_mvfusion.readers import psf_files
from napari_mvfusion.simulation import PHANTOMS
from napari_mvfusion.simulation import simulate as record
from napari_mvfusion.simulation.beads import bead_volume
from napari_mvfusion.workspace import writing
from napari_mvfusion.writers import write_tiff, write_views_folder, write_views_zarr

Phantom = Enum("Phantom", {name: name for name in PHANTOMS}, type=str)  # type: ignore[misc]


def simulate(
    out: Annotated[Path, typer.Argument(help="A new folder for TIFF files, or a new .zarr.")],
    phantom: Annotated[Phantom, typer.Option(help="The kind of specimen.")] = Phantom.embryo,
    size: Annotated[int, typer.Option(min=32, help="Voxels along the specimen's width.")] = 128,
    angles: Annotated[str | None, typer.Option(help="Directions of the views in degrees, as 0,90,180,270.")] = None,
    psfs: Annotated[
        Path | None, typer.Option(help="Folder with psf_ANGLE.tif. By default light-sheet PSFs are modelled.")
    ] = None,
    snr: Annotated[float, typer.Option(help="Signal-to-noise ratio; 25 is a good microscope.")] = 25.0,
    spacing: Annotated[int, typer.Option(min=1, help="Voxels from one plane to the next along a view's axis.")] = 1,
    attenuation: Annotated[float, typer.Option(min=0, help="How much light the specimen absorbs.")] = 0.01,
    offset: Annotated[float, typer.Option(help="Camera offset added to every pixel.")] = 0.0,
    voxel_size: Annotated[float, typer.Option(help="Edge of a voxel in um.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Same seed, same specimen and noise.")] = 0,
    count: Annotated[int, typer.Option(min=1, help="How many specimens, each with its own tag.")] = 1,
    beads: Annotated[
        bool, typer.Option("--beads", help="Also write a bead volume a view, to measure PSFs from.")
    ] = False,
) -> None:
    """Make specimens with a known truth: views, PSFs and ground truth, named as `mvfusion fuse` expects them."""
    kind = phantom.value
    directions = options.numbers(angles or ("0,180" if kind == "nuclei" else "0,90,180,270"), "--angles")
    if out.exists():
        raise OutputError(f"{out} exists already: choose another folder, or remove it")
    as_zarr = out.suffix.lower() == ".zarr"
    if as_zarr and (count > 1 or beads):
        raise InputError("a .zarr holds one specimen and no beads: name a folder for --count or --beads")
    kernels = None if psfs is None else [load_psf(path) for path in _psfs_of(psfs, directions)]
    for number in track(range(count), "simulating", console=show.err, transient=True):
        rng = np.random.default_rng([seed, number])
        made = record(
            PHANTOMS[kind](size, rng),
            directions,
            kernels,
            attenuation=attenuation,
            spacing=spacing,
            snr=snr,
            offset=offset,
            voxel_size_um=voxel_size,
            rng=rng,
        )
        if as_zarr:
            write_views_zarr(out, made.views, truth=made.truth)
            continue
        tag = kind if count == 1 else f"{kind}{number}"
        write_views_folder(out, made.views, tag, truth=made.truth)
        if beads and number == 0:
            folder = out / "beads"
            with writing(folder):
                folder.mkdir()
            for view in made.views.views:
                assert view.psf is not None
                volume = bead_volume(view.psf, (128, 128, 128), rng).volume
                write_tiff(
                    folder / f"beads_{view.name}.tif", volume, Grid((128, 128, 128), made.views.grid.voxel_size_um)
                )
    show.out.print(str(out))


def _psfs_of(folder: Path, angles: list[float]) -> list[Path]:
    """The PSF file of each angle."""
    found = psf_files(folder)
    for angle in angles:
        if angle not in found:
            there = ", ".join(f"{a:g}" for a in sorted(found)) or "none"
            raise InputError(f"{folder} has no psf_{angle:g}.tif: the angles there are {there}")
    return [found[angle] for angle in angles]
