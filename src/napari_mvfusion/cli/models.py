"""`mvfusion models`: look at the trained networks, import published ones, and keep one's own."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_mvfusion.cli import options, show
from napari_mvfusion.cli.stopping import ask
from napari_mvfusion.engine.provenance import psf_sha256
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.psf_files import prepare_psf
from napari_mvfusion.models import (
    ModelCard,
    ModelEntry,
    PSFRecord,
    add_model,
    average_models,
    delete_model,
    export_model,
    find_model,
    install_model,
    list_models,
    place_for,
    read_card,
    rename_model,
    user_folder,
)
from napari_mvfusion.models.legacy import ImportDetails, card_of_import, generator_from_checkpoint
from napari_mvfusion.psf import fwhm

app = typer.Typer(
    help="Look at trained networks, import published ones, and keep your own.",
    no_args_is_help=True,
    add_completion=False,
)

_LABEL = 20

_Name = Annotated[str, typer.Argument(metavar="NAME", help="A model, as 'mvfusion models list' shows it.")]
_Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


class _Activation(StrEnum):
    relu = "relu"
    leaky_relu = "leaky_relu"


@app.command("list")
def list_(as_json: _Json = False) -> None:
    """List the models that come with the package, and yours."""
    entries = list_models()
    if as_json:
        show.print_json([_as_json(entry) for entry in entries])
        return
    rows = [
        [
            entry.name,
            "" if entry.card is None else entry.card.view_count,
            entry.card.architecture.kind,
            "shipped" if entry.shipped else "yours",
            entry.card.title,
        ]
        for entry in entries
        if entry.card is not None
    ]
    if rows:
        show.print_table("", ["model", "views", "network", "from", "title"], rows)
    else:
        show.say("there are no models yet")
    show.say(f"your models lie in {user_folder()}")
    for entry in entries:
        if entry.error is not None:
            show.say_warning(entry.error)


@app.command()
def info(name: _Name, as_json: _Json = False) -> None:
    """Say what a model is, what views it expects, how it was made and what it reaches."""
    entry = find_model(name)
    if as_json:
        show.print_json(_as_json(entry))
        return
    for label, value in _lines(entry.path, read_card(entry.path)):
        show.say(f"{label:<{_LABEL}}{value}")


@app.command("import")
def import_(
    checkpoint: Annotated[Path, typer.Argument(metavar="LEGACY.ckpt", help="A checkpoint of the paper's authors.")],
    name: Annotated[str, typer.Option(help="What to call the model.")],
    title: Annotated[str, typer.Option(help="A line about it.")] = "",
    activation: Annotated[
        _Activation, typer.Option(help="What the network was trained with; the released code has relu.")
    ] = _Activation.relu,
    angles: Annotated[
        str | None, typer.Option(help="Angles of its channels in their order. By default those of the paper.")
    ] = None,
    psf: Annotated[list[Path] | None, typer.Option(help="A PSF it was trained with; once a view.")] = None,
    as_json: _Json = False,
) -> None:
    """Import a published checkpoint; nothing in it is run."""
    place_for(name)
    network, details = generator_from_checkpoint(checkpoint, activation=activation.value)
    views = details.architecture.views
    if psf and len(psf) != views:
        raise InputError(
            f"{len(psf)} PSFs do not fit a network for {views} views: give --psf once a view, or not at all"
        )
    chosen = None if angles is None else options.numbers(angles, "--angles")
    records = [_record(path) for path in psf or []]
    card = card_of_import(details, name, source=checkpoint.name, title=title, angles=chosen, psfs=records)
    entry = add_model(network, card)
    if as_json:
        show.print_json(_as_json(entry))
        return
    show.say(f"imported '{name}': {_found(details)}")
    if card.angles is None:
        show.say_warning(f"the angles of its {views} channels are unknown: import it again with --angles")
    else:
        show.say(f"its channels stand for the angles {_numbers(card.angles)}, in this order")


@app.command()
def install(
    file: Annotated[Path, typer.Argument(metavar="FILE.safetensors", help="A model, as 'export' writes it.")],
    name: Annotated[str | None, typer.Option(help="What to call it. By default as its file.")] = None,
) -> None:
    """Copy a model into the folder of your models."""
    entry = install_model(file, name=name)
    show.say(f"installed '{entry.name}' as {entry.path}")


@app.command()
def export(
    name: _Name,
    out: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.safetensors", help="The file to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file when it exists.")] = False,
) -> None:
    """Copy a model to a file, to give it away."""
    export_model(name, out, overwrite=overwrite)
    show.say(f"exported '{name}' to {out}")


@app.command()
def average(
    first: Annotated[str, typer.Argument(metavar="FIRST", help="A model.")],
    second: Annotated[str, typer.Argument(metavar="SECOND", help="A model that was trained from the first.")],
    name: Annotated[str, typer.Option(help="What to call the new model.")],
    share: Annotated[float, typer.Option(help="How much the second counts, 0 to 1.")] = 0.5,
) -> None:
    """Average the weights of two models, of which one was trained from the other: often better than either."""
    entry = average_models(first, second, share, name)
    show.say(f"averaged '{first}' and '{second}' into '{entry.name}'")


@app.command()
def rename(
    old: Annotated[str, typer.Argument(metavar="OLD", help="One of your models.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="What to call it.")],
) -> None:
    """Give one of your models another name."""
    rename_model(old, new)
    show.say(f"renamed '{old}' to '{new}'")


@app.command()
def delete(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of your models.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete one of your models."""
    if not yes and any(entry.name == name and not entry.shipped for entry in list_models()):
        ask(f"Delete the model '{name}' for good?")
    delete_model(name)
    show.say(f"deleted '{name}'")


def _record(path: Path) -> PSFRecord:
    psf = prepare_psf(path).psf
    z, y, x = psf.shape
    return PSFRecord(name=path.name, sha256=psf_sha256(psf), shape=(z, y, x), fwhm=fwhm(psf))


def _as_json(entry: ModelEntry) -> dict[str, Any]:
    card = None if entry.card is None else entry.card.model_dump(mode="json", by_alias=True)
    named = {"name": entry.name, "path": str(entry.path), "shipped": entry.shipped}
    return named | {"error": entry.error, "card": card}


def _lines(path: Path, card: ModelCard) -> list[tuple[str, str]]:
    """What a card says, as labels and lines; a label stands at the first of its lines."""
    sizes = card.architecture.model_dump(by_alias=True)
    psfs = (
        [card.psfs]
        if isinstance(card.psfs, str)
        else [f"{psf.name}: FWHM {_numbers(psf.fwhm)} voxels (z, y, x)" for psf in card.psfs]
    )
    values = {
        "model": [f"{card.name}, {card.title}" if card.title else card.name],
        "summary": [card.summary],
        "network": [", ".join(f"{key} {value}" for key, value in sizes.items())],
        "views": [card.view_count],
        "angles in order": ["any" if card.angles is None else _numbers(card.angles)],
        "views divided by": [f"their common {card.normalisation}"],
        "trained on blocks": [] if card.tile is None else [" x ".join(map(str, card.tile))],
        "PSFs": psfs,
        "training": [
            f"{key}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in card.training.items()
        ],
        "reached": [f"{key}: {value:.4g}" for key, value in card.metrics.items()],
        "sources": list(card.sources),
        "version": [card.version],
        "licence": [card.licence],
        "created": [card.created],
        "file": [str(path)],
    }
    shown = {label: [line for line in lines if line] for label, lines in values.items()}
    return [("" if number else label, line) for label, lines in shown.items() for number, line in enumerate(lines)]


def _found(details: ImportDetails) -> str:
    sizes = f"{details.architecture.views} views, {details.architecture.feature_maps} feature maps"
    left_out = f"; {len(details.ignored)} weights beside the generator left out" if details.ignored else ""
    return sizes + left_out


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
