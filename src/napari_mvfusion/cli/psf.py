"""`mvfusion psf`: measure PSFs from beads, and look at PSFs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from napari_mvfusion.cli import options, show
from napari_mvfusion.data.geometry import Grid, triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.atomic import check_new
from napari_mvfusion.io.formats import new_endings, writer_of
from napari_mvfusion.io.opening import open_volume
from napari_mvfusion.io.overlap import refuse_overlap
from napari_mvfusion.io.psf_files import load_psf, prepare_psf
from napari_mvfusion.psf import BEADS, check_psf, check_size, describe_psf, measure_psf

app = typer.Typer(help="Measure PSFs from beads, and look at PSFs.", no_args_is_help=True, add_completion=False)


@app.command()
def measure(
    beads: Annotated[Path, typer.Argument(metavar="BEADS.tif", help="Beads, on the grid of the fused volume.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.tif", help=f"The PSF to write: a new {new_endings()}.")],
    size: Annotated[str | None, typer.Option(help="Odd sides of the PSF as z,y,x. By default what it needs.")] = None,
    timepoint: options.TimepointOption = None,
    channel: options.ChannelOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the PSF when it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Average isolated beads into a PSF."""
    known = writer_of(out)
    refuse_overlap([out], [beads])
    check_new(known.place(out), overwrite=overwrite)
    sides = options.tile_of(size, "--size")
    volume, grid = open_volume(beads, timepoint=timepoint, channel=channel)
    check_size(volume.shape, str(beads), BEADS)
    try:
        measured = measure_psf(np.asarray(volume[:]), size=sides)
    except InputError as error:
        raise InputError(f"{beads}: {error}") from error
    known.write(
        out, measured.psf, Grid(triple(measured.psf.shape), grid.voxel_size_um, known=grid.known), overwrite=overwrite
    )
    if as_json:
        rejected = [asdict(bead) for bead in measured.rejected]
        result = {
            "psf": str(out),
            "used": measured.used.tolist(),
            "rejected": rejected,
            "fwhm": measured.fwhm,
            "hot": measured.hot,
        }
        show.print_json(result | {"shape": measured.psf.shape, "hot_voxels": measured.hot})
        return
    show.say(measured.summary)
    show.say(f"{out}: {_sides(measured.psf.shape)} voxels, FWHM {_widths(measured.fwhm)} voxels (z, y, x)")


@app.command()
def info(
    files: Annotated[list[Path], typer.Argument(metavar="PSF.tif ...", help="PSFs to look at.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Say what PSFs are like, what is wrong with them, and what fusion will do to them."""
    found: list[tuple[Path, dict[str, Any]]] = []
    failures: list[InputError] = []
    for path in files:
        try:
            found.append((path, _look(path)))
        except InputError as error:
            failures.append(error)
    if as_json:
        show.print_json([result for _, result in found])
    elif found:
        rows = [
            [path.name, _sides(each["shape"]), _sides(each["used_shape"]), _widths(each["fwhm"])]
            for path, each in found
        ]
        show.print_table("", ["file", "shape", "as used", "FWHM (z, y, x)"], rows)
        for path, each in found:
            show.say_list(f"{path.name}:", each["notes"] or ["fine"])
    show.end_with(failures)


def _look(path: Path) -> dict[str, Any]:
    """What a PSF is like, and what fusion will do to it."""
    prepared = prepare_psf(path)
    info = describe_psf(load_psf(path))
    check_psf(prepared.psf, str(path))
    notes = [*info.notes, *(f"in fusion: {note}" for note in prepared.notes)]
    return asdict(info) | {"file": str(path), "used_shape": prepared.psf.shape, "notes": notes}


def _sides(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)


def _widths(widths: tuple[float, ...]) -> str:
    return ", ".join(f"{w:.1f}" for w in widths)
