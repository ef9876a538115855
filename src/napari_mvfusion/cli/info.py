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
    show.out.print(found)
