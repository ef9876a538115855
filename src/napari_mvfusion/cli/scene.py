"""`mvfusion scene`: registered views, each in its place, and a fused volume of them as one OME-Zarr scene."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_mvfusion.cli import show
from napari_mvfusion.cli.view_options import SelectionOptions, reads_views
from napari_mvfusion.data.fused import Fused
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.engine.savable_views import not_in_scene, open_for_scene
from napari_mvfusion.errors import OutputError
from napari_mvfusion.io.atomic import check_new
from napari_mvfusion.io.formats import known_endings
from napari_mvfusion.io.ome_zarr.scene_writer import write_scene
from napari_mvfusion.io.opening import open_volume, read_recipe
from napari_mvfusion.io.overlap import places_in, refuse_overlap


@reads_views
def scene(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(metavar="INPUT", help="A folder, an OME-Zarr, a project, or the files of the views."),
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The scene: a new .zarr.")] = None,
    fused: Annotated[
        Path | None, typer.Option(help=f"A fused volume of these views, which goes beside them, {known_endings()}.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output when it exists.")] = False,
    *,
    reading: SelectionOptions,
) -> None:
    """Write views in their places, and a fused volume of them, as one OME-Zarr 0.6 scene that other programs open."""
    if out is None:
        raise typer.BadParameter("say where the scene goes, for example -o views.ome.zarr", param_hint="--out")
    if not out.name.lower().endswith(".zarr"):
        raise OutputError(f"{out} would be a scene, which is an OME-Zarr: give it a name that ends with .zarr")
    check_new(out, overwrite=overwrite)
    inputs = reading.inputs(sources or [])
    refuse_overlap([out], [*places_in(inputs.model_dump(mode="json")), *([] if fused is None else [fused])])
    views = open_for_scene(inputs)
    volume, lost = None, ""
    if fused is not None:
        recipe = read_recipe(fused) or {}
        volume = Fused(*open_volume(fused, one_will_do=True), recipe)
        lost = not_in_scene(Inputs.model_validate(recipe["inputs"]) if recipe.get("inputs") else None)
    write_scene(out, views, fused=volume, overwrite=overwrite)
    for note in (*views.remarks, *filter(None, [lost])):
        show.say_warning(note)
    show.say(str(out))
