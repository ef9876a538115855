"""`mvfusion simulate`: specimens with a known truth, as a microscope would record them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from napari_mvfusion.cli import options, show
from napari_mvfusion.data.geometry import Grid, triple
from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.io.atomic import writing
from napari_mvfusion.io.formats import is_written, write_volume, writer_of, writers
from napari_mvfusion.io.opening import psf_files
from napari_mvfusion.io.psf_files import prepare_psf
from napari_mvfusion.io.saved_views import write_views_folder
from napari_mvfusion.simulation import Simulation, sample

_ENDINGS = tuple(known.suffixes[0].removeprefix(".") for known in writers() if not known.is_folder)
_ONE_FILE = " or ".join(known.suffixes[0] for known in writers() if known.holds_views)


class Phantom(StrEnum):
    """The kinds of specimens."""

    EMBRYO = "embryo"
    NUCLEI = "nuclei"


def simulate(
    out: Annotated[Path, typer.Argument(help=f"A new folder for files, or a new {_ONE_FILE}.")],
    phantom: Annotated[Phantom, typer.Option(help="The kind of specimen.")] = Phantom.EMBRYO,
    size: Annotated[int | None, typer.Option(min=32, help="Voxels along the specimen's width.")] = None,
    angles: Annotated[str | None, typer.Option(help="Directions of the views in degrees, as 0,90,180,270.")] = None,
    psfs: Annotated[Path | None, typer.Option(help="Folder with psf_ANGLE.tif. By default modelled ones.")] = None,
    snr: Annotated[float, typer.Option(help="Signal-to-noise ratio; 25 is a good microscope.")] = 25.0,
    spacing: Annotated[int, typer.Option(min=1, help="Voxels from plane to plane along a view's axis.")] = 1,
    attenuation: Annotated[float, typer.Option(min=0, help="How much light the specimen absorbs.")] = 0.01,
    offset: Annotated[float, typer.Option(help="Camera offset added to every pixel.")] = 0.0,
    voxel_size: Annotated[float, typer.Option(help="Edge of a voxel in um.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same specimen and noise.")] = 0,
    count: Annotated[int, typer.Option(min=1, help="How many specimens, each with its own tag.")] = 1,
    beads: Annotated[bool, typer.Option("--beads", help="Also record beads, to measure the PSFs from.")] = False,
    ending: Annotated[str, typer.Option("--format", help=f"Of the files: {', '.join(_ENDINGS)}.")] = _ENDINGS[0],
) -> None:
    """Make specimens with a known truth: views, PSFs and ground truth, named as `mvfusion fuse` expects them."""
    directions = None if angles is None else options.numbers(angles, "--angles")
    if out.exists():
        raise OutputError(f"{out} exists already: choose another folder, or remove it")
    if ending.removeprefix(".").lower() not in _ENDINGS:
        raise InputError(f"--format {ending} is not known: choose {' or '.join(_ENDINGS)}")
    ending = "." + ending.removeprefix(".").lower()
    known = writer_of(out) if is_written(out) else None
    if known is not None and not known.holds_views:
        raise InputError(f"{out} would be one volume, and a specimen has several: name a folder, or a {_ONE_FILE}")
    if known is not None and (count > 1 or beads):
        raise InputError(f"a {known.suffixes[0]} holds one specimen and no beads: name a folder for --count or --beads")
    kernels = None
    if psfs is not None:
        directions = directions or sorted(psf_files(psfs))
        kernels = [prepare_psf(path).psf for path in _files_of(psfs, directions)]
    for number in track(range(count), "simulating", console=show.err, transient=True):
        made = sample(
            phantom.value,
            size,
            seed + number,
            angles=directions,
            psfs=kernels,
            beads=beads and number == 0,
            snr=snr,
            spacing=spacing,
            attenuation=attenuation,
            offset=offset,
            voxel_size_um=voxel_size,
        )
        if known is not None:
            known.write_views(out, made.views, truth=made.truth)
            continue
        tag = phantom.value if count == 1 else f"{phantom.value}{number}"
        write_views_folder(out, made.views, tag, truth=made.truth, ending=ending)
        save_beads(made, out / "beads", ending)
    show.say(str(out))


def save_beads(made: Simulation, folder: Path, ending: str = ".tif") -> dict[str, Path]:
    """Write the bead volume of each view as `beads_NAME` files; nothing where none were recorded."""
    written = {}
    for view, recorded in zip(made.views.views, made.beads, strict=False):
        with writing(folder):
            folder.mkdir(exist_ok=True)
        written[view.name] = folder / f"beads_{view.name}{ending}"
        grid = Grid(triple(recorded.volume.shape), made.views.grid.voxel_size_um)
        write_volume(written[view.name], recorded.volume, grid)
    return written


def _files_of(folder: Path, angles: list[float]) -> list[Path]:
    """The PSF file of each angle."""
    found = psf_files(folder)
    for angle in angles:
        if angle not in found:
            there = ", ".join(f"{a:g}" for a in found) or "none"
            raise InputError(f"{folder} has no psf_{angle:g}.tif: the angles there are {there}")
    return [found[angle] for angle in angles]
