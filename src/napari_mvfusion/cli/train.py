"""`mvfusion train`: train a generator on simulated scenes, or on one's own views."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
import yaml

from napari_mvfusion.cli import options, show
from napari_mvfusion.cli.show_training import follow_training
from napari_mvfusion.errors import InputError
from napari_mvfusion.training.config import make_config, read_values
from napari_mvfusion.training.setup import Description, train_events

CANCELLED = 130
# Without --steps, a run with --minutes ends by the clock.
_ENDLESS = 10_000_000


class Mode(StrEnum):
    """What a generator learns from."""

    SUPERVISED = "supervised"
    SELF = "self"
    SEMI = "semi"


class Kind(StrEnum):
    """The generators."""

    UNIVERSAL = "universal"
    PAPER = "paper"


class Precision(StrEnum):
    """How a step is computed."""

    FULL = "full"
    MIXED = "mixed"


def train(
    out: Annotated[
        str | None, typer.Option("-o", "--out", help="Name of the new model, or a .safetensors file.")
    ] = None,
    mode: Annotated[Mode | None, typer.Option(help="What to learn from; by default simulated scenes.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file with any parameters; options go before it.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="Model to begin with. By default random weights.")] = None,
    views: Annotated[str | None, typer.Option(help="How many views, as 4 or 2-8.")] = None,
    architecture: Annotated[Kind | None, typer.Option(help="Network, where --from does not say it.")] = None,
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
    precision: Annotated[Precision | None, typer.Option(help="mixed is faster where bfloat16 is.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other parameter, as scenes.size=64.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads of the network.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that simulate scenes.")] = None,
    title: Annotated[str, typer.Option(help="A line about the model, for its card.")] = "",
    licence: Annotated[str, typer.Option(help="Licence of the model, for its card.")] = "not stated",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run of the same model.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train a generator. The best weights on what is never trained on are kept; Ctrl-C stops and keeps them."""
    if out is None:
        raise typer.BadParameter("say what the model is called, for example -o mine", param_hint="--out")
    chosen: dict[str, Any] = {
        "mode": mode and mode.value,
        "steps": _ENDLESS if steps is None and minutes is not None else steps,
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
    if angles is not None:
        chosen["scenes.angles"] = options.numbers(angles, "--angles")
    if views is not None:
        least, most = _counts(views)
        chosen |= {"scenes.least_views": least, "scenes.most_views": most}
        if architecture is Kind.PAPER:
            chosen["architecture.views"] = least
    settings = {name: yaml.safe_load(value) for name, value in options.settings(set_ or []).items()}
    values = _nested(
        {} if config is None else read_values(config),
        {name: value for name, value in chosen.items() if value is not None} | settings,
    )
    parameters = make_config(values, "these options" if config is None else str(config))
    if threads is not None:
        torch.set_num_threads(threads)
    description = Description(title=title, licence=licence, command=shlex.join(["mvfusion", *sys.argv[1:]]))
    with show.ctrl_c_cancels() as cancel:
        events = train_events(
            parameters, out, start_from=start, device=device, resume=resume, cancel=cancel, description=description
        )
        outcome = follow_training(events, title=Path(out).stem, quiet=quiet or as_json)
    if as_json:
        ended = "stopped" if outcome.stopped else "trained"
        show.print_json(
            {
                "model": None if outcome.path is None else str(outcome.path),
                "ended": ended,
                "steps": outcome.step,
                "best_step": outcome.best_step,
                "figures": outcome.figures,
            }
        )
    elif outcome.path is not None:
        show.out.print(str(outcome.path))
    if outcome.stopped:
        raise typer.Exit(CANCELLED)


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
