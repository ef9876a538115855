"""`mvfusion train`: train a generator on simulated scenes, or on one's own views."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from napari_mvfusion.cli import options, show
from napari_mvfusion.cli.show_training import follow_training
from napari_mvfusion.cli.stopping import Steering, stopped_by_signals
from napari_mvfusion.cli.view_options import SelectionOptions, open_inputs, reads_views
from napari_mvfusion.data.views import RegisteredViews, VolumeLike
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.formats import is_folder_of_files
from napari_mvfusion.io.opening import list_tags, open_volume
from napari_mvfusion.system.yaml_text import parse_yaml
from napari_mvfusion.training.cards import Description
from napari_mvfusion.training.config import make_config, read_values
from napari_mvfusion.training.figures import with_old_names
from napari_mvfusion.training.presets import ENDLESS, fine_tune_values
from napari_mvfusion.training.setup import suggest_tile, train_events


class Mode(StrEnum):
    """What a generator learns from."""

    SUPERVISED = "supervised"
    SELF = "self"
    SEMI = "semi"


class GeneratorKind(StrEnum):
    """The generators."""

    UNIVERSAL = "universal"
    PAPER = "paper"


class Precision(StrEnum):
    """How a step is computed."""

    FULL = "full"
    MIXED = "mixed"
    AUTO = "auto"


@reads_views
def train(
    data: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="DATA",
            help="Your views (self, semi): folders, OME-Zarrs, or the files of one volume.",
        ),
    ] = None,
    out: Annotated[
        str | None, typer.Option("-o", "--out", help="Name of the new model, or a .safetensors file.")
    ] = None,
    mode: Annotated[Mode | None, typer.Option(help="What to learn from; by default simulated scenes.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file with any parameters; options go before it.")] = None,
    truths: Annotated[
        list[Path] | None, typer.Option("--truth-volumes", help="A sharp volume of another specimen (semi).")
    ] = None,
    start: Annotated[str | None, typer.Option("--from", help="Model to begin with. By default random weights.")] = None,
    views: Annotated[str | None, typer.Option(help="How many views, as 4 or 2-8.")] = None,
    architecture: Annotated[GeneratorKind | None, typer.Option(help="Network, where --from does not say it.")] = None,
    feature_maps: Annotated[int | None, typer.Option(help="Paper's network: maps of the first level.")] = None,
    angles: Annotated[
        str | None, typer.Option(help="Directions of the views, as 0,180,270,90; the channels of the paper's network.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Updates of the weights.")] = None,
    minutes: Annotated[float | None, typer.Option(help="End after this time; without --steps, by time alone.")] = None,
    batch: Annotated[int | None, typer.Option(help="Tiles a step.")] = None,
    tile: Annotated[str | None, typer.Option(help="Voxels of a tile as z,y,x, or one number.")] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same weights (on a CPU).")] = None,
    precision: Annotated[
        Precision | None, typer.Option(help="mixed is faster where bfloat16 is; auto knows where.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other parameter, as scenes.size=64.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads of the network.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that simulate scenes.")] = None,
    title: Annotated[str, typer.Option(help="A line about the model, for its card.")] = "",
    licence: Annotated[str, typer.Option(help="Licence of the model, for its card.")] = "not stated",
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the run of the same model, also for more minutes or steps in all."),
    ] = False,
    control: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder to steer a run in the background from: it ends when a file 'stop' is put there, all kept, and "
            "waits while a file 'pause' lies there.",
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show warnings only: neither progress nor notes.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    *,
    reading: SelectionOptions,
) -> None:
    """Train a generator. The best weights on what is never trained on are kept; Ctrl-C stops and keeps them.

    With --mode self or semi and without --config, the parameters are those of the Fine-tune widget.
    """
    if out is None:
        raise typer.BadParameter("say what the model is called, for example -o mine", param_hint="--out")
    chosen: dict[str, Any] = {
        "mode": mode and mode.value,
        "steps": ENDLESS if steps is None and minutes is not None else steps,
        "minutes": minutes,
        "batch": batch,
        "tile": options.tile_of(tile),
        "rate": rate,
        "seed": seed,
        "precision": precision and precision.value,
        "scenes.workers": workers,
        "architecture.kind": architecture and architecture.value,
        "architecture.feature_maps": feature_maps,
    }
    if minutes is not None and steps is None:
        chosen["schedule"] = "constant"
    views_of = _opened(data or [], reading)
    if architecture is GeneratorKind.PAPER:
        from_data = len(views_of[0]) if views_of else None
        given = views and _counts(views)[0]
        chosen["architecture.views"] = given or (angles and len(options.numbers(angles, "--angles"))) or from_data
    if angles is not None:
        chosen["scenes.angles"] = options.numbers(angles, "--angles")
    if views is not None:
        least, most = _counts(views)
        chosen |= {"scenes.least_views": least, "scenes.most_views": most}
    settings = {name: parse_yaml(value, f"--set {name}") for name, value in options.settings(set_ or []).items()}
    usual = fine_tune_values(mode.value, minutes) if mode in (Mode.SELF, Mode.SEMI) else {}
    values = _nested(
        usual if config is None else read_values(config),
        {name: value for name, value in chosen.items() if value is not None} | settings,
    )
    parameters = make_config(values, "these options" if config is None else str(config))
    if threads is not None:
        torch.set_num_threads(threads)
    if parameters.mode != "supervised" and views_of and "tile" not in values:
        parameters = parameters.model_copy(update={"tile": suggest_tile(parameters, views_of)})
    counted = None if views is None or parameters.mode == "supervised" else _counts(views)
    for each in views_of:
        if counted is not None and not counted[0] <= len(each) <= counted[1]:
            raise InputError(f"the data have {len(each)} views, and --views says {views}: name the right number")
    sharp = [_sharp(path, reading) for path in truths or []]
    description = Description(title=title, licence=licence, command=shlex.join(["mvfusion", *sys.argv[1:]]))
    with stopped_by_signals() as cancel:
        steered = Steering(control, cancel)
        events = train_events(
            parameters,
            out,
            views=views_of,
            sharp=sharp,
            start_from=start,
            device=device,
            resume=resume,
            cancel=steered.cancel,
            paused=steered.paused,
            description=description,
        )
        outcome = follow_training(events, title=Path(out).stem, minutes=parameters.minutes, quiet=quiet or as_json)
    if as_json:
        ended = "stopped" if outcome.stopped else "trained"
        show.print_json(
            {
                "model": None if outcome.path is None else str(outcome.path),
                "ended": ended,
                "steps": outcome.step,
                "best_step": outcome.best_step,
                "figures": with_old_names(outcome.figures),
                "verdict": None if outcome.verdict is None else asdict(outcome.verdict),
            }
        )
    elif outcome.path is not None:
        show.say(str(outcome.path))
    if outcome.stopped:
        raise typer.Exit(cancel.exit_code)


def _sharp(path: Path, reading: SelectionOptions) -> VolumeLike:
    """A sharp volume; one with a single time point and channel is that of all."""
    return open_volume(path, timepoint=reading.timepoint, channel=reading.channel, one_will_do=True)[0]


def _opened(data: Sequence[Path], reading: SelectionOptions) -> list[RegisteredViews]:
    """The volumes that the command line names."""
    if not (data or reading.view):
        return []
    if not any(path.is_dir() for path in data):
        return [open_inputs(reading.inputs(data))]
    found = []
    for path in data:
        several = reading.tag is None and is_folder_of_files(path)
        # A folder of which no name is understood has no tags: opening it says so.
        tags: Sequence[str | None] = (several and list_tags(path)) or [None]
        found += [open_inputs(reading.inputs([path], each)) for each in tags]
    return found


def _counts(text: str) -> tuple[int, int]:
    """Parse "4" or "2-8" as the fewest and the most views."""
    least, dash, most = text.partition("-")
    try:
        return int(least), int(most if dash else least)
    except ValueError:
        raise typer.BadParameter(f"'{text}' is no count of views such as 4 or 2-8", param_hint="--views") from None


def _nested(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Put values such as "scenes.size" into nested mappings."""
    changed = dict(values)
    for name, value in changes.items():
        first, dot, rest = name.partition(".")
        if not dot:
            changed[first] = value
            continue
        inner = changed.get(first) or {}
        if not isinstance(inner, Mapping):
            raise InputError(f"'{first}' has no parameter '{rest}'")
        changed[first] = _nested(inner, {rest: value})
    return changed
