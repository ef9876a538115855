"""`mvfusion fuse`: fuse the views of a folder or file, or repeat a recipe."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_mvfusion.cli import options, show
from napari_mvfusion.cli.show_series import follow_series, say_failures
from napari_mvfusion.cli.stopping import StopFlag, stopped_by_signals
from napari_mvfusion.cli.view_options import FuseOptions, open_inputs, reads_views, warn_left_out
from napari_mvfusion.data.events import Event
from napari_mvfusion.data.fused import Fused
from napari_mvfusion.engine.cluster.connecting import connected
from napari_mvfusion.engine.cluster.named_cluster import NamedCluster, cluster_of
from napari_mvfusion.engine.cluster.series_on_workers import SeriesOnWorkers
from napari_mvfusion.engine.cluster.volume_on_workers import VolumeOnWorkers
from napari_mvfusion.engine.finishing import partial_folder
from napari_mvfusion.engine.fusion import check_before_reading, fuse_events
from napari_mvfusion.engine.recipe import load_recipe, recipe_path
from napari_mvfusion.engine.series_recipe import load_series_recipe
from napari_mvfusion.engine.series_run import RunEvents, fuse_chosen, repeat_series
from napari_mvfusion.errors import InputError
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
        typer.Option(
            "-o",
            "--out",
            help=f"The result: a new {new_endings()}, or a new name in an OME-Zarr container. Of a "
            "series, an OME-Zarr has all volumes; another name is that of a file for each, as fused-000-001.tif.",
        ),
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
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="local[:N]|tcp://HOST:PORT|FILE.yaml",
            help="Fuse on the workers of a Dask cluster, who share the tiles of a volume or the volumes of a series: N "
            "processes here, those of a scheduler, or what a file says.",
        ),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(help="Repeat this recipe, or that of this fused volume, instead of INPUT and --method."),
    ] = None,
    per_timepoint: Annotated[
        bool,
        typer.Option(
            "--per-timepoint",
            help="Of a series, find lost light and iterations on each time point. By default on a few, once for all.",
        ),
    ] = False,
    maps: Annotated[
        bool,
        typer.Option(
            "--maps",
            help="Also how far the result can be trusted, as volumes beside it: -uncertainty, for models that say so, and "
            "-unsupported, light that the views speak against.",
        ),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run of the same output.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output when it exists.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show warnings only: neither progress nor notes.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    *,
    reading: FuseOptions,
) -> None:
    """Fuse registered views into a volume, or a series of them. The recipe that repeats it lands beside the result."""
    if out is None:
        raise typer.BadParameter("say where the result goes, for example -o fused.zarr", param_hint="--out")
    if (recipe is None) == (not (inputs or reading.view)):
        raise typer.BadParameter("give either INPUT or --recipe", param_hint="INPUT")
    chosen = {"iterations": iterations, "lambda": lambda_, "kernel": kernel, "osem": osem, "model": model}
    if recipe is not None:
        said = {"method": method, **chosen, "set": set_, "tile": tile, "per-timepoint": per_timepoint or None}
        _refuse_beside_recipe(said | reading.stated)
    elif per_timepoint and not reading.is_series:
        raise typer.BadParameter("is for a series: choose it with --timepoints", param_hint="--per-timepoint")
    if maps and (reading.is_series or cluster is not None):
        raise typer.BadParameter("is for one volume, on this computer", param_hint="--maps")
    place = writer_of(out).place(out)
    check_place(place)
    named_cluster = None if cluster is None else cluster_of(cluster)
    with stopped_by_signals() as cancel:
        how = _How(out, cancel, resume, overwrite, options.memory_of(memory), quiet or as_json, as_json, named_cluster)
        if recipe is not None:
            refuse_overlap([place, partial_folder(place)], [recipe])
            several = load_series_recipe(recipe)
            if several is not None and maps:
                raise typer.BadParameter("is for one volume, and this is the recipe of a series", param_hint="--maps")
            if several is not None:
                _run_series(how, lambda **common: repeat_series(several, out, device=device, **common), "repeat")
                return
            known = load_recipe(recipe)
            _run_one(how, lambda **common: known.repeat(out, device=device, maps=maps, **common), known.method.name)
            return
        parameters = {key: value for key, value in chosen.items() if value is not None}
        settings = options.settings(set_ or [])
        if twice := sorted(parameters.keys() & settings.keys()):
            raise typer.BadParameter(f"{twice[0]} is given twice", param_hint="--set")
        title = method or _DEFAULT_METHOD
        bound_method = make_method(title, **parameters, **settings)
        computing: dict[str, Any] = {"device": device or "auto", "tile": options.tile_of(tile)}
        if reading.is_series:
            check_before_reading(out, overwrite=overwrite, resume=resume)
            choice = reading.series(inputs or [])
            warn_left_out(choice.inputs)
            if len(choice.indices) > 1:
                computing |= {"per_timepoint": per_timepoint}
                _run_series(how, lambda **common: fuse_chosen(choice, bound_method, out, **computing, **common), title)
                return
        opening = choice.inputs_at(()) if reading.is_series else reading.inputs(inputs or [])
        opened = opening.model_dump(mode="json")
        check_before_reading(out, opened, overwrite=overwrite, resume=resume)

        def run(**common: Any) -> Generator[Event, None, Fused | None]:
            return fuse_events(
                open_inputs(opening), bound_method, out=out, inputs=opened, maps=maps, **computing, **common
            )

        _run_one(how, run, title)


@dataclass(frozen=True)
class _How:
    """How a run goes on with what is there, what it may take, and what it says."""

    out: Path
    cancel: StopFlag
    resume: bool
    overwrite: bool
    memory_bytes: int | None
    quiet: bool
    as_json: bool
    cluster: NamedCluster | None

    @property
    def common(self) -> dict[str, Any]:
        """What all runs are told."""
        return {
            "resume": self.resume,
            "overwrite": self.overwrite,
            "cancel": self.cancel,
            "memory_bytes": self.memory_bytes,
        }


def _run_one(how: _How, run: Callable[..., Generator[Event, None, Fused | None]], title: str) -> None:
    """Run the fusion of one volume, and say what came of it."""
    with ExitStack() as held:
        client = None if how.cluster is None else held.enter_context(connected(how.cluster))
        runner = None if client is None else VolumeOnWorkers(client)
        fused = show.follow(run(runner=runner, **how.common), title=title, quiet=how.quiet)
    recipe = recipe_path(writer_of(how.out).place(how.out))
    if fused is None:
        raise typer.Exit(how.cancel.exit_code)
    maps = fused.maps
    if how.as_json:
        values: dict[str, Any] = {"output": str(how.out), "recipe": str(recipe), "changes": list(fused.changes)}
        if maps is not None:
            values["maps"] = {what: str(path) for what, path in maps.paths.items()} | {"unsupported_share": maps.share}
        show.print_json(values)
    elif fused.made_before:
        show.say(f"{how.out} was finished by an earlier run: nothing is left to do")
    else:
        files = [] if maps is None else list(maps.paths.values())
        show.say("\n".join(map(str, [how.out, recipe, *files])))
    if how.cancel():
        raise typer.Exit(how.cancel.exit_code)


def _run_series(how: _How, run: Callable[..., RunEvents], title: str) -> None:
    """Run the fusion of several volumes, and say what came of it and what failed."""
    with ExitStack() as held:
        client = None if how.cluster is None else held.enter_context(connected(how.cluster))
        runner = None if client is None else SeriesOnWorkers(client)
        end = follow_series(run(runner=runner, **how.common), title=title, quiet=how.quiet)
    if end is None:
        raise typer.Exit(how.cancel.exit_code)
    recipe = recipe_path(writer_of(how.out).place(how.out))
    if how.as_json:
        failed = {each.words: each.reason for each in end.failed}
        files = [str(file) for file in end.files]
        show.print_json({"outputs": files, "recipe": str(recipe), "volumes": end.fused, "failed": failed})
    elif end.made_before:
        show.say(f"{how.out} was finished by an earlier run: nothing is left to do")
    elif end.fused:
        last = f" to {end.files[-1].name}, {len(end.files)} files" if len(end.files) > 1 else ""
        show.say(f"{end.files[0]}{last}\n{recipe}")
    say_failures(end.failed)
    if end.failed:
        show.note(
            f"{len(end.failed)} of {end.fused + len(end.failed)} volumes failed, the others are done: mend the views and "
            "run again with --resume"
            if end.fused
            else "no volume could be fused"
        )
        raise typer.Exit(InputError.exit_code)


def _refuse_beside_recipe(options: Mapping[str, Any]) -> None:
    """Refuse options, by their names, that a recipe says already: they would be ignored."""
    given = [f"--{name}" for name, value in options.items() if value is not None]
    if given:
        raise typer.BadParameter(
            f"{', '.join(given)} would be ignored, as the recipe says how views are opened and fused: leave it out, or give "
            "INPUT instead of --recipe",
            param_hint="--recipe",
        )
