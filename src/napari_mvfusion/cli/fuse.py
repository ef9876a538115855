"""`mvfusion fuse`: fuse the views of a folder or file, or repeat a recipe."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_mvfusion.cli import options, show
from napari_mvfusion.cli.methods import help_of, in_short
from napari_mvfusion.cli.stopping import stopped_by_signals
from napari_mvfusion.data.events import Event
from napari_mvfusion.data.fused import Fused
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.finishing import partial_folder
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.engine.recipe import Inputs, load_recipe, recipe_path
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.opening import left_out
from napari_mvfusion.methods import METHODS, make_method
from napari_mvfusion.system.files import check_there
from napari_mvfusion.system.overlap import refuse_overlap

EPILOG = in_short()


def fuse(
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="INPUT", help="A TIFF folder, an OME-Zarr, or the TIFF files of the views."),
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The result: a new .zarr or .tif.")] = None,
    method: Annotated[str, typer.Option(help=f"One of {', '.join(METHODS)}.")] = "ebmd",
    iterations: Annotated[int | None, typer.Option(help=help_of("ebmd", "iterations"))] = None,
    lambda_: Annotated[float | None, typer.Option("--lambda", help=help_of("ebmd", "lambda"))] = None,
    kernel: Annotated[str | None, typer.Option(help=help_of("ebmd", "kernel"))] = None,
    osem: Annotated[str | None, typer.Option(help=help_of("ebmd", "osem"))] = None,
    model: Annotated[
        str | None, typer.Option(help=help_of("generator", "model") + " See mvfusion models list.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Any other parameter of the method; mvfusion methods lists all of them."
        ),
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Which sample, where a folder holds several.")] = None,
    views: Annotated[str | None, typer.Option(help="Names of the views to use, as 0,90. All by default.")] = None,
    psfs: Annotated[
        list[Path] | None, typer.Option("--psf", help="PSF of a view, once a TIFF file given as INPUT.")
    ] = None,
    psf_folder: Annotated[Path | None, typer.Option(help="Folder of psf_ANGLE.tif files that lie elsewhere.")] = None,
    voxel_size: Annotated[str | None, typer.Option(help="Voxel size in um as z,y,x, where the files lack it.")] = None,
    timepoint: options.TimepointOption = None,
    channel: options.ChannelOption = None,
    offset: options.OffsetOption = None,
    remove_hot: Annotated[
        bool, typer.Option("--remove-hot", help="Put the median of the neighbours in the place of hot pixels.")
    ] = False,
    gains: Annotated[
        list[str] | None,
        typer.Option("--gain", metavar="VIEW=NUMBER", help="How many times as bright as the others a view is."),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option("--weight", metavar="VIEW=NUMBER", help="Trust in a view, relative to the others."),
    ] = None,
    no_data: options.NoDataOption = None,
    masks: options.MaskOption = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = None,
    tile: Annotated[str | None, typer.Option(help="Voxels of a tile as z,y,x. By default what fits memory.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory the run may take, as 4G. By default half of it.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="Repeat this recipe instead of INPUT and --method.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run of the same output.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output when it exists.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Fuse registered views into one volume. The recipe that repeats it lands beside the result."""
    if out is None:
        raise typer.BadParameter("say where the result goes, for example -o fused.zarr", param_hint="--out")
    if (recipe is None) == (not inputs):
        raise typer.BadParameter("give either INPUT or --recipe", param_hint="INPUT")
    with stopped_by_signals() as cancel:
        events: Generator[Event, None, Fused | None]
        common: dict[str, Any] = {
            "resume": resume,
            "overwrite": overwrite,
            "cancel": cancel,
            "memory_bytes": options.memory_of(memory),
        }
        if recipe is not None:
            refuse_overlap([out, partial_folder(out)], [recipe])
            known = load_recipe(recipe)
            title = known.method.name
            events = known.repeat(out, device=device, **common)
        else:
            assert inputs
            chosen = {"iterations": iterations, "lambda": lambda_, "kernel": kernel, "osem": osem, "model": model}
            parameters = {key: value for key, value in chosen.items() if value is not None}
            bound_method = make_method(method, **parameters, **options.settings(set_ or []))
            title = method
            opening = describe_inputs(
                inputs,
                psfs,
                tag,
                views,
                psf_folder,
                voxel_size,
                offset,
                weights or [],
                gains or [],
                remove_hot,
                no_data,
                masks,
                timepoint,
                channel,
            )
            events = fuse_events(
                open_inputs(opening),
                bound_method,
                device=device or "auto",
                tile=options.tile_of(tile),
                out=out,
                inputs=opening.model_dump(mode="json"),
                **common,
            )
        fused = show.follow(events, title=title, quiet=quiet or as_json)
    if fused is None:
        raise typer.Exit(cancel.exit_code)
    if as_json:
        show.print_json({"output": str(out), "recipe": str(recipe_path(out)), "changes": list(fused.changes)})
    else:
        show.say(f"{out}\n{recipe_path(out)}")


def open_inputs(inputs: Inputs) -> RegisteredViews:
    """Open the views, and say what beside them looks like a view or PSF and is left out."""
    views = inputs.open()
    for message in left_out(inputs.source):
        show.say_warning(message)
    return views


def describe_inputs(
    inputs: list[Path],
    psfs: list[Path] | None,
    tag: str | None,
    views: str | None,
    psf_folder: Path | None,
    voxel_size: str | None,
    offset: Sequence[str] | None = None,
    weights: Sequence[str] = (),
    gains: Sequence[str] = (),
    remove_hot: bool = False,
    no_data: Sequence[str] | None = None,
    masks: Sequence[str] | None = None,
    timepoint: int | None = None,
    channel: int | None = None,
) -> Inputs:
    """What the command line says about the views, as the part of a recipe that opens them."""
    for path in inputs:
        check_there(path, "name a TIFF folder, an OME-Zarr, or TIFF files")
    files = len(inputs) > 1 or inputs[0].is_file()
    if psfs and not files:
        raise InputError("--psf goes with TIFF files as INPUT; for a folder use --psf-folder")
    common_offset, offsets = options.offset_of(offset)
    common_no_data, no_data_views = options.no_data_of(no_data)
    return Inputs(
        source=[str(path.resolve()) for path in inputs] if files else str(inputs[0].resolve()),
        psfs=[str(path.resolve()) for path in psfs] if psfs else None,
        tag=tag,
        psf_folder=None if psf_folder is None else str(psf_folder.resolve()),
        voxel_size_um=options.triple_of(voxel_size, "--voxel-size"),
        views=options.names(views),
        offset=common_offset,
        offsets=offsets,
        weights=options.numbers_of(weights, "--weight"),
        gains=options.numbers_of(gains, "--gain"),
        remove_hot=remove_hot,
        no_data=common_no_data,
        no_data_views=no_data_views,
        masks=options.files_of(masks or [], "--mask"),
        timepoint=timepoint,
        channel=channel,
    )
