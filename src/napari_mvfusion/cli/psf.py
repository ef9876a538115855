"""`mvfusion psf`: measure PSFs from beads, and look at PSFs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Measure PSFs from beads, and look at PSFs.", no_args_is_help=True)


@app.command()
def measure(
    beads: Annotated[
        Path, typer.Argument(metavar="BEADS.tif", help="Volume of beads, on the grid of the fused volume.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT.tif", help="The PSF to write.")],
    size: Annotated[
        int | None, typer.Option(help="Odd size of the PSF in voxels. By default as large as it needs.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the PSF when it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Average isolated beads into a PSF."""
