"""`mvfusion fuse`: fuse the views of a folder or file, or repeat a recipe."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_mvfusion.cli import options, show
from napari_mvfusion.cli.stopping import stopped_by_signals
from napari_mvfusion.cli.view_options import FuseOptions, open_inputs, reads_views
from napari_mvfusion.data.events import Event
from napari_mvfusion.data.fused import Fused
from napari_mvfusion.engine.finishing import partial_folder
from napari_mvfusion.engine.fusion import check_before_reading, fuse_events
from napari_mvfusion.engine.recipe import load_recipe, recipe_path
from napari_mvfusion.io.atomic import check_place
from napari_mvfusion.io.formats import new_endings, writer_of
from napari_mvfusion.io.overlap import refuse_overlap
from napari_mvfusion.methods import METHODS, make_method

_DEFAULT_METHOD = "ebmd"


@reads_views
def fuse(
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="INPUT", help="A folder, an OME-Zarr, a project, or the files of the views."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help=f"The result: a new {new_endings()}, or a new name in an OME-Zarr container."),
    ] = None,
    method: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(METHODS)}; {_DEFAULT_METHOD} by default.")
    ] = None,
    iterations: Annotated[
        str | None,
        typer.Option(help="EBMD, wiener: more gives a sharper picture; auto finds how many before noise is fitted."),
    ] = None,
    lambda_: Annotated[
        float | None, typer.Option("--lambda", help="EBMD: Tikhonov regularisation; more gives a smoother picture.")
    ] = None,
    kernel: Annotated[str | None, typer.Option(help="EBMD: kind of the back-projection kernels.")] = None,
    osem: Annotated[str | None, typer.Option(help="EBMD: ordered-subsets factor; more converges faster.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Generator: name or file of the model; see mvfusion models list.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any other parameter of the method.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = None,
    tile: Annotated[str | None, typer.Option(help="Voxels of a tile as z,y,x. By default what fits memory.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory the run may take, as 4G. By default half of it.")] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(help="Repeat this recipe, or that of this fused volume, instead of INPUT and --method."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run of the same output.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output when it exists.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show warnings only: neither progress nor notes.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    *,
    reading: FuseOptions,
) -> None:
    """Fuse registered views into one volume. The recipe that repeats it lands beside the result."""
    if out is None:
        raise typer.BadParameter("say where the result goes, for example -o fused.zarr", param_hint="--out")
    if (recipe is None) == (not (inputs or reading.view)):
        raise typer.BadParameter("give either INPUT or --recipe", param_hint="INPUT")
    chosen = {"iterations": iterations, "lambda": lambda_, "kernel": kernel, "osem": osem, "model": model}
    if recipe is not None:
        _refuse_beside_recipe({"method": method, **chosen, "set": set_, "tile": tile} | reading.stated)
    place = writer_of(out).place(out)
    check_place(place)
    with stopped_by_signals() as cancel:
        events: Generator[Event, None, Fused | None]
        common: dict[str, Any] = {
            "resume": resume,
            "overwrite": overwrite,
            "cancel": cancel,
            "memory_bytes": options.memory_of(memory),
        }
        if recipe is not None:
            refuse_overlap([place, partial_folder(place)], [recipe])
            known = load_recipe(recipe)
            title = known.method.name
            events = known.repeat(out, device=device, **common)
        else:
            parameters = {key: value for key, value in chosen.items() if value is not None}
            settings = options.settings(set_ or [])
            if twice := sorted(parameters.keys() & settings.keys()):
                raise typer.BadParameter(f"{twice[0]} is given twice", param_hint="--set")
            bound_method = make_method(method or _DEFAULT_METHOD, **parameters, **settings)
            title = method or _DEFAULT_METHOD
            opening = reading.inputs(inputs or [])
            read_from = opening.model_dump(mode="json")
            check_before_reading(out, read_from, overwrite=overwrite, resume=resume)
            events = fuse_events(
                open_inputs(opening),
                bound_method,
                device=device or "auto",
                tile=options.tile_of(tile),
                out=out,
                inputs=read_from,
                **common,
            )
        fused = show.follow(events, title=title, quiet=quiet or as_json)
    if fused is None:
        raise typer.Exit(cancel.exit_code)
    if as_json:
        show.print_json({"output": str(out), "recipe": str(recipe_path(place)), "changes": list(fused.changes)})
    elif fused.made_before:
        show.say(f"{out} was finished by an earlier run: nothing is left to do")
    else:
        show.say(f"{out}\n{recipe_path(place)}")


def _refuse_beside_recipe(options: Mapping[str, Any]) -> None:
    """Refuse options, by their names, that a recipe says already: they would be ignored."""
    given = [f"--{name}" for name, value in options.items() if value is not None]
    if given:
        raise typer.BadParameter(
            f"{', '.join(given)} would be ignored, as the recipe says how views are opened and fused: leave it out, or give "
            "INPUT instead of --recipe",
            param_hint="--recipe",
        )
