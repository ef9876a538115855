"""`mvfusion transmission`: how much of the specimen each view saw, as files."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from napari_mvfusion.cli import show
from napari_mvfusion.cli.stopping import stopped_by_signals
from napari_mvfusion.cli.view_options import SelectionOptions, open_inputs, reads_views
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.saved_transmissions import save_transmissions, transmission_files
from napari_mvfusion.errors import OutputError
from napari_mvfusion.imaging.threads import Interrupted
from napari_mvfusion.io.atomic import check_place
from napari_mvfusion.io.overlap import places_in, refuse_overlap
from napari_mvfusion.measures.attenuation import find_transmission
from napari_mvfusion.psf.directions import about_psfs_across


@reads_views
def transmission(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(metavar="INPUT", help="A folder, an OME-Zarr, a project, or the files of the views."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for a .tif a view, made when it is missing.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    *,
    reading: SelectionOptions,
) -> None:
    """Find how much light each view lost in the specimen, and write it as files that a run can be given."""
    if out is None:
        raise typer.BadParameter("say where the files go, for example -o light", param_hint="--out")
    check_place(out)
    inputs = reading.inputs(sources or [])
    read = places_in(inputs.model_dump(mode="json"))
    if any(place.is_dir() and out.resolve() == place.resolve() for place in read):
        raise OutputError(
            f"{out} is the folder of the views, where these files would be taken for views: choose another"
        )
    views = open_inputs(inputs)
    for said in about_psfs_across(views):
        show.say_warning(said)
    refuse_overlap(transmission_files(out, views.names).values(), read)
    with stopped_by_signals() as cancel, show.working("transmission", quiet=as_json) as report:

        def follow(text: str, share: float) -> None:
            if cancel():
                raise Interrupted
            report(text, share)

        try:
            _scan(views, follow)
            files = save_transmissions(views, out, overwrite=overwrite, progress=lambda share: follow("writing", share))
        except Interrupted:
            raise typer.Exit(cancel.exit_code) from None
    for said in views.notes:
        show.say_warning(said)
    found = find_transmission(views)
    assert found is not None
    light = [np.percentile(values, (1, 99)) for values in found.values]
    if as_json:
        views_said = {
            name: {"file": str(path), "low": float(low), "high": float(high)}
            for (name, path), (low, high) in zip(files.items(), light, strict=True)
        }
        show.print_json({"views": views_said, "least_share": found.least_share})
        return
    rows = [
        [name, f"{low:.2f} to {high:.2f}", str(path)]
        for (name, path), (low, high) in zip(files.items(), light, strict=True)
    ]
    show.print_table("Transmission, relative to the mean of the views", ["view", "98 % of it", "file"], rows)
    show.say(
        f"where they differ most, one view got {found.least_share:.0%} of what another got; to fuse with these files:"
    )
    words = [word for name, path in files.items() for word in ("--transmission", f"{name}={path}")]
    show.say(shlex.join(["--set", "attenuation=given", *words]))


def _scan(views: RegisteredViews, follow: Callable[[str, float], None]) -> None:
    """Take the numbers of the views, of which all else follows."""
    for event in views.scan():
        follow("comparing the views", event.fraction)
