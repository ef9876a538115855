"""`mvfusion demo`: the whole way, from a simulated embryo and its beads to fused volumes that are compared."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from napari_mvfusion.cli import show
from napari_mvfusion.cli.simulate import save_beads
from napari_mvfusion.cli.stopping import stopped_by_signals
from napari_mvfusion.data.geometry import Grid, triple
from napari_mvfusion.data.views import VolumeLike
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.errors import OutputError
from napari_mvfusion.io.formats import write_volume
from napari_mvfusion.io.opening import open_views
from napari_mvfusion.io.saved_views import write_views_folder
from napari_mvfusion.measures.comparison import comparison_figure, save_comparison
from napari_mvfusion.measures.metric import Measured, Values
from napari_mvfusion.measures.metrics import NRMSE, measure
from napari_mvfusion.methods import METHODS, make_method
from napari_mvfusion.psf import measure_psf
from napari_mvfusion.simulation import sample

_MARK = ".made-by-mvfusion-demo"


def demo(
    out: Annotated[Path, typer.Argument(help="Folder for the results; an earlier demo is replaced.")] = Path(
        "mvfusion-demo"
    ),
    size: Annotated[int, typer.Option(min=64, help="Voxels along the embryo's width.")] = 128,
    show_napari: Annotated[
        bool, typer.Option("--napari/--no-napari", help="Open napari where there is a display.")
    ] = True,
) -> None:
    """Simulate an embryo, measure its PSFs from beads, fuse it with every method, and compare the results."""
    started = time.perf_counter()
    _clear(out)
    show.say(f"1. An embryo of {size}^3 voxels, recorded from four sides, and beads of each")
    made = sample("embryo", size, beads=True)
    folder = out / "embryo"
    write_views_folder(folder, made.views, "embryo", truth=made.truth)
    beads = save_beads(made, out / "beads")

    show.say("2. PSFs, measured from the beads")
    for view, recorded in zip(made.views.views, made.beads, strict=True):
        measured = measure_psf(recorded.volume)
        widths = ", ".join(f"{w:.1f}" for w in measured.fwhm)
        show.say(f"   view {view.name}: {measured.summary}; FWHM {widths} voxels (z, y, x)")
        psf_grid = Grid(triple(measured.psf.shape), made.views.grid.voxel_size_um)
        # In place of the true PSFs of the simulation, which no real microscope knows.
        write_volume(folder / f"psf_{view.name}.tif", measured.psf, psf_grid, overwrite=True)

    show.say("3. Fused with every method")
    views = open_views(folder)
    first = views.read(views.grid.box, [0])[0]
    results: dict[str, VolumeLike] = {"view 0": first}
    found: dict[str, Mapping[str, Values]] = {"view 0": measure(Measured(first, truth=made.truth))}
    for name in METHODS:
        path = out / f"{name}.zarr"
        opening = Inputs(source=str(folder.resolve()), grid="isotropic").model_dump(mode="json")
        with stopped_by_signals() as cancel:
            fused = show.follow(
                fuse_events(views, make_method(name), out=path, inputs=opening, cancel=cancel), title=f"   {name}"
            )
        if fused is None:
            raise typer.Exit(cancel.exit_code)
        results[name] = np.asarray(fused.data[:])
        found[name] = measure(Measured(results[name], truth=made.truth))

    show.print_metrics("4. Against the truth (all voxels / foreground)", found)
    errors = {name: NRMSE.number(values[NRMSE.name]) for name, values in found.items()}
    best = min(METHODS, key=lambda name: errors[name])
    show.say(f"   Closest to the truth over all voxels: {best}")
    captions = {name: f"{NRMSE.title} {NRMSE.text(error)}" for name, error in errors.items()}
    picture = out / "comparison.png"
    save_comparison(comparison_figure({"truth": made.truth, **results}, views.grid, captions=captions), picture)
    show.say(f"Results: {out}/*.zarr with their recipes, {picture}, beads in {next(iter(beads.values())).parent}")
    show.say(f"Done in {time.perf_counter() - started:.0f} s")
    if show_napari:
        _open_napari(folder, [out / f"{name}.zarr" for name in METHODS])


def _clear(out: Path) -> None:
    """Make the folder anew, but never remove one that was not made here."""
    if out.exists():
        if not (out / _MARK).is_file():
            raise OutputError(f"{out} exists and was not made by a demo: choose another folder, or remove it")
        shutil.rmtree(out)
    out.mkdir(parents=True)
    (out / _MARK).touch()


def _open_napari(folder: Path, fused: list[Path]) -> None:
    """Start napari in a process of its own on the views and the results."""
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        show.say("There is no display here; elsewhere napari opens now on views and results.")
        return
    show.say("Opening napari; close its window to end the demo.")
    subprocess.run(
        [sys.executable, "-m", "napari", "--plugin", "napari-mvfusion", str(folder), *(str(path) for path in fused)],
        check=False,
    )
