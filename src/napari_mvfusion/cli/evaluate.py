"""`mvfusion evaluate`: a fused volume against a ground truth, or against its own views."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_mvfusion.cli import options, show
from napari_mvfusion.cli.fuse import describe_inputs, open_inputs
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.opening import open_volume, read_recipe
from napari_mvfusion.measures.quality import evaluate as measure
from napari_mvfusion.measures.residuals import reprojection
from napari_mvfusion.system.devices import pick_device


def evaluate(
    fused: Annotated[Path, typer.Argument(help="The fused volume, .tif or .zarr.")],
    truth: Annotated[Path | None, typer.Option(help="The ground truth, .tif or .zarr.")] = None,
    views: Annotated[Path | None, typer.Option(help="The views, for the reprojection residual.")] = None,
    tag: Annotated[str | None, typer.Option(help="Which sample, where the views are a folder of several.")] = None,
    psf_folder: Annotated[Path | None, typer.Option(help="Folder of psf_ANGLE.tif files that lie elsewhere.")] = None,
    offset: Annotated[
        float | None, typer.Option(help="Camera offset of the views. By default what FUSED was made with.")
    ] = None,
    timepoint: options.TimepointOption = None,
    channel: options.ChannelOption = None,
    no_data: options.NoDataOption = "auto",
    masks: options.MaskOption = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Measure a fused volume: against the truth, and by blurring it again and comparing it with its views."""
    if truth is None and views is None:
        raise typer.BadParameter("give --truth, --views, or both", param_hint="--truth")
    # What was fused of a series is one volume, and its truth may be.
    volume, grid = open_volume(fused, timepoint=timepoint, channel=channel, one_will_do=True)
    result: dict[str, Any] = {"fused": str(fused)}
    if truth is not None:
        reference, _ = open_volume(truth, timepoint=timepoint, channel=channel, one_will_do=True)
        if tuple(reference.shape) != tuple(volume.shape):
            raise InputError(
                f"{fused} has shape {tuple(volume.shape)}, but {truth} {tuple(reference.shape)}: compare equal volumes"
            )
        metrics = measure(volume, reference)
        result["metrics"] = metrics.as_dict()
        if not as_json:
            show.print_metrics("Against the truth (all voxels / foreground)", {fused.name: metrics})
    if views is not None:
        if offset is None:
            offset = _offset_of(fused)
            if offset:
                show.note(f"the camera offset {offset:g} that {fused.name} was made with is subtracted from the views")
        opened = open_inputs(
            describe_inputs(
                [views],
                None,
                tag,
                None,
                psf_folder,
                None,
                offset,
                no_data=no_data,
                masks=masks,
                timepoint=timepoint,
                channel=channel,
            )
        )
        if opened.grid.shape != grid.shape:
            raise InputError(
                f"{fused} has shape {grid.shape}, but its views {opened.grid.shape}: do they belong together?"
            )
        for note in opened.notes:
            show.say_warning(note)
        residuals = reprojection(volume, opened, pick_device(device))
        result["reprojection"] = [residual.as_dict() for residual in residuals]
        if not as_json:
            rows = [
                [one.view, f"{one.rms:.2f}", f"{one.shading.depth:.0%}" if one.shading else ""] for one in residuals
            ]
            title = "Reprojection residual (1 is the noise of the view; light that fades with depth is allowed for)"
            show.print_table(title, ["view", "residual", "light lost"], rows)
    if as_json:
        show.print_json(result)


def _offset_of(fused: Path) -> float:
    """The camera offset that all views of a fused volume were read with, as its recipe says; 0 where none says one."""
    views = (read_recipe(fused) or {}).get("views")
    said = {view.get("offset") for view in views if isinstance(view, dict)} if isinstance(views, list) else set()
    offset = said.pop() if len(said) == 1 else None
    return float(offset) if isinstance(offset, int | float) and math.isfinite(offset) else 0.0
