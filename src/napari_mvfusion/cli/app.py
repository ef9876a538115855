"""The commands of `mvfusion` and their options."""

from __future__ import annotations

import typer

from napari_mvfusion.cli import models, psf
from napari_mvfusion.cli.demo import demo
from napari_mvfusion.cli.evaluate import evaluate
from napari_mvfusion.cli.fuse import fuse
from napari_mvfusion.cli.info import info
from napari_mvfusion.cli.simulate import simulate
from napari_mvfusion.cli.train import train

app = typer.Typer(
    name="mvfusion",
    help="Fuse registered light-sheet views with measured PSFs into one volume that is sharp in every direction.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("demo")(demo)
app.command("simulate")(simulate)
app.add_typer(psf.app, name="psf")
app.command("fuse")(fuse)
app.command("evaluate")(evaluate)
app.command("info")(info)
app.command("train")(train)
app.add_typer(models.app, name="models")
