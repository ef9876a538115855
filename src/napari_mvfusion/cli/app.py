"""The commands of `mvfusion` and their options."""

from __future__ import annotations

import typer

from napari_mvfusion.cli import demo, evaluate, fuse, info, psf, simulate

app = typer.Typer(
    name="mvfusion",
    help="Fuse registered light-sheet views with measured PSFs into one volume that is sharp in every direction.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("demo")(demo.demo)
app.command("simulate")(simulate.simulate)
app.add_typer(psf.app, name="psf")
app.command("fuse")(fuse.fuse)
app.command("evaluate")(evaluate.evaluate)
app.command("info")(info.info)
