"""`mvfusion evaluate`: a fused volume against a ground truth, or against its own views."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_mvfusion.cli import options, show
from napari_mvfusion.cli.stopping import stopped_by_signals
from napari_mvfusion.cli.view_options import ViewOptions, open_inputs, reads_views
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.provenance import views_of_run
from napari_mvfusion.engine.recipe import Recipe, load_recipe
from napari_mvfusion.engine.resolution import find_resolution
from napari_mvfusion.engine.run_attenuation import attenuation_of_run, with_transmissions_of
from napari_mvfusion.engine.unsupported import Unsupported, find_unsupported
from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.imaging.threads import Interrupted
from napari_mvfusion.io.atomic import check_place
from napari_mvfusion.io.formats import known_endings, new_endings, write_volume, writer_of
from napari_mvfusion.io.opening import open_volume, read_recipe
from napari_mvfusion.io.overlap import refuse_overlap
from napari_mvfusion.measures.fsc import Resolution
from napari_mvfusion.measures.metric import Measured, Needs, Values
from napari_mvfusion.measures.metrics import METRICS, measure, titles
from napari_mvfusion.methods import method_of_recipe
from napari_mvfusion.system.devices import pick_device


@reads_views
def evaluate(
    volumes: Annotated[
        list[Path], typer.Argument(metavar="FUSED", help=f"The fused volume, {known_endings()}; one at a time.")
    ],
    truth: Annotated[Path | None, typer.Option(help=f"The ground truth, {known_endings()}.")] = None,
    views: Annotated[Path | None, typer.Option(help="The views, for the reprojection residual.")] = None,
    offset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NUMBER|VIEW=NUMBER",
            help="Camera offset of the views, or of one. By default what FUSED was made with.",
        ),
    ] = None,
    resolution: Annotated[
        bool,
        typer.Option(
            "--resolution",
            help="Also the resolution along z, y and x, without ground truth: two halves of the light of the views are "
            "fused as FUSED was, and compared (Fourier shell correlation).",
        ),
    ] = False,
    unsupported: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=f"Also how much of the light of FUSED its views speak against, and where: a new {new_endings()}.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    *,
    reading: ViewOptions,
) -> None:
    """Measure a fused volume: against the truth, and by blurring it again and comparing it with its views."""
    if len(volumes) > 1:
        raise typer.BadParameter(
            f"one volume at a time is measured, not {len(volumes)}: run it for each, or see them side by side in Compare",
            param_hint="FUSED",
        )
    fused = volumes[0]
    has_views = views is not None or bool(reading.view)
    if truth is None and not has_views and not resolution:
        raise typer.BadParameter("give --truth, --views, or both, or --resolution", param_hint="--truth")
    if unsupported is not None:
        if not has_views:
            raise typer.BadParameter("give --views: what they do not support is looked for", param_hint="--unsupported")
        _check_new_file(unsupported, [*volumes, *([] if views is None else [views])])
    # What was fused of a series is one volume, and its truth may be.
    volume, grid = open_volume(fused, timepoint=reading.timepoint, channel=reading.channel, one_will_do=True)
    result: dict[str, Any] = {"fused": str(fused)}
    reference = opened = light = None
    if truth is not None:
        reference, _ = open_volume(truth, timepoint=reading.timepoint, channel=reading.channel, one_will_do=True)
        if tuple(reference.shape) != tuple(volume.shape):
            raise InputError(
                f"{fused} has shape {tuple(volume.shape)}, but {truth} {tuple(reference.shape)}: compare equal volumes"
            )
    if has_views:
        if offset is None:
            offset = _offset_of(fused)
            if offset:
                said = " ".join(offset)
                show.note(f"the camera offset {said} that {fused.name} was made with is subtracted from the views")
        inputs = reading.inputs([] if views is None else [views])
        common, named = options.offset_of(offset)
        opened = open_inputs(inputs.model_copy(update={"offset": common, "offsets": named}))
        if opened.grid.shape != grid.shape:
            raise InputError(
                f"{fused} has shape {grid.shape}, but its views {opened.grid.shape}: do they belong together?"
            )
        for note in opened.notes:
            show.say_warning(note)
        if views is not None:
            opened = _that_made(fused, opened)
    found = _resolution(fused, opened, reading, device, quiet=as_json) if resolution else None
    allowing = partial(attenuation_of_run, read_recipe(fused))
    measured = Measured(volume, truth=reference, views=opened, allowing=allowing, device=pick_device(device))
    values = measure(measured)
    if reference is not None:
        result["metrics"] = _as_json(values, "truth") | {"foreground_fraction": measured.scores.foreground_fraction}
    if opened is not None:
        by_view = _as_json(values, "views")
        result["reprojection"] = [one.as_dict() | by_view[one.view] for one in measured.residuals]
        result["reprojection_attenuation"] = measured.attenuation.words
    if alone := _as_json(values, "nothing"):
        result["volume"] = alone["all"]
    if found is not None:
        result["resolution"] = found.as_dict()
    if unsupported is not None and opened is not None:
        light = _unsupported(measured, opened, device, quiet=as_json)
        write_volume(unsupported, light.values, grid)
        result["unsupported"] = light.as_dict() | {"file": str(unsupported)}
    if not as_json:
        _print(fused.name, measured, values)
        if found is not None:
            show.say("\n".join(filter(None, [found.sentence, found.caution])))
        if light is not None:
            show.say(f"{light.sentence}: see {unsupported}")
    if as_json:
        show.print_json(result)


def _check_new_file(path: Path, read: list[Path]) -> None:
    """Refuse a place for a volume before any work: its name, what stands there, and what is read."""
    place = writer_of(path).place(path)
    refuse_overlap([place], read)
    check_place(place)
    if place.exists():
        raise OutputError(f"{place} exists already: choose another name")


def _unsupported(measured: Measured, views: RegisteredViews, device: str, *, quiet: bool) -> Unsupported:
    """The light of a fused volume that its views do not support."""
    with stopped_by_signals() as cancel, show.working("light without support", quiet=quiet) as report:
        try:
            return find_unsupported(
                measured.fused, views, attenuation=measured.attenuation, device=device, report=report, cancel=cancel
            )
        except Interrupted:
            raise typer.Exit(cancel.exit_code) from None


def _resolution(
    fused: Path, views: RegisteredViews | None, reading: ViewOptions, device: str, *, quiet: bool
) -> Resolution:
    """The resolution of the method that a volume was fused by, on its views."""
    recipe = load_recipe(fused)
    if views is None:
        views = recipe.open_views(timepoint=reading.timepoint, channel=reading.channel)
    else:
        views = _those_of(recipe, views, fused)
    method = method_of_recipe(recipe.method.name, recipe.method.parameters)
    if method.attenuation == "given" and {entry.name for entry in recipe.views} >= set(views.names):
        views = with_transmissions_of(recipe, views)
    with stopped_by_signals() as cancel, show.working("resolution", quiet=quiet) as report:
        try:
            return find_resolution(views, method, device=device, report=report, cancel=cancel)
        except Interrupted:
            raise typer.Exit(cancel.exit_code) from None


def _those_of(recipe: Recipe, views: RegisteredViews, fused: Path) -> RegisteredViews:
    """The views that a volume was fused from, of all that are there; where it was fused from others, that is said."""
    used = [entry.name for entry in recipe.views]
    if set(used) == set(views.names):
        return views
    if set(used) < set(views.names):
        show.note(f"the resolution is that of the views {', '.join(used)}, which {fused.name} was fused from")
        return views.select(used)
    show.say_warning(
        f"{fused.name} was fused from the views {', '.join(used)}, but the resolution is that of the views "
        f"{', '.join(views.names)}"
    )
    return views


def _that_made(fused: Path, views: RegisteredViews) -> RegisteredViews:
    """Of the views in a folder those that a volume was fused from, as its recipe says, where it has one."""
    used = views_of_run(read_recipe(fused), views)
    others = ", ".join(name for name in views.names if name not in used.names)
    if others:
        show.note(
            f"measured on the views {', '.join(used.names)}, which {fused.name} was fused from, and not on {others}: name "
            "views with --view to measure on others"
        )
    return used


def _as_json(values: Mapping[str, Values], needs: Needs) -> dict[str, Any]:
    """Values by part and name; what is infinite has no number."""
    by_part: dict[str, Any] = {}
    for metric in METRICS:
        if metric.needs == needs:
            for part, value in values[metric.name].items():
                by_part.setdefault(part, {})[metric.name] = value if math.isfinite(value) else None
    return by_part


def _print(name: str, measured: Measured, values: Mapping[str, Values]) -> None:
    if measured.has("truth"):
        show.print_metrics("Against the truth (all voxels / foreground)", {name: values})
    if titles("nothing"):
        show.print_metrics("Of the volume alone", {name: values}, "nothing")
    if measured.has("views"):
        metrics = [metric for metric in METRICS if metric.needs == "views"]
        rows = [
            [
                one.view,
                *(m.text(values[m.name][one.view]) for m in metrics),
                f"{one.transmission.depth:.0%}" if one.transmission else "",
            ]
            for one in measured.residuals
        ]
        title = f"Against the views (residual 1 is the noise of the view; attenuation: {measured.attenuation.words})"
        show.print_table(title, ["view", *(metric.title.lower() for metric in metrics), "attenuation"], rows)


def _offset_of(fused: Path) -> list[str]:
    """The camera offsets that the views of a fused volume were read with, as its recipe says: one, or one a view."""
    views = (read_recipe(fused) or {}).get("views")
    entries = [view for view in views if isinstance(view, dict)] if isinstance(views, list) else []
    said = {str(view.get("name")): view.get("offset") for view in entries}
    offsets = {name: float(n) for name, n in said.items() if isinstance(n, int | float) and math.isfinite(n) and n}
    if len(offsets) == len(entries) and len(set(offsets.values())) == 1:
        return [f"{next(iter(offsets.values())):g}"]
    return [f"{name}={offset:g}" for name, offset in offsets.items()]
