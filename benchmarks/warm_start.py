"""What it would bring to begin each volume of a series with the result of the time point before.

    python benchmarks/warm_start.py --json warm_start.json

Balls of all sizes and brightnesses move straight on, each in its own direction, by so many voxels from one time point to the
next, and are recorded from four sides. EBMD is run anew on every time point, from the result of the one before, and from
its geometric mean with the mean of the views, which forgets what is not there any more; `wiener` anew and from the result,
until it ends by itself. Errors are NRMSE of all voxels.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from napari_mvfusion.data.geometry import Box, Grid
from napari_mvfusion.data.views import RegisteredViews, View, drain
from napari_mvfusion.engine.estimate import DeviceBuffer, Estimate, VolumesInTurn, begins_iteration
from napari_mvfusion.measures.quality import evaluate
from napari_mvfusion.methods import EBMD
from napari_mvfusion.methods.base import TileInput, finished
from napari_mvfusion.methods.joint_updates import JointUpdates
from napari_mvfusion.simulation import light_sheet_psfs
from napari_mvfusion.simulation.recording import blur_inside

ANGLES = (0.0, 90.0, 180.0, 270.0)
SIZE, BALLS, MARGIN = 48, 40, 9
SNR = 15.0
CPU = torch.device("cpu")
WHOLE = Box.whole((SIZE,) * 3)
Start = Callable[[np.ndarray, np.ndarray], np.ndarray]


def moving(times: int, speed: float) -> list[np.ndarray]:
    """The specimen at all time points, float32 (z, y, x); balls turn round at the margin."""
    rng = np.random.default_rng(1)
    centres = rng.uniform(MARGIN, SIZE - MARGIN, (BALLS, 3))
    ways = rng.normal(size=(BALLS, 3))
    ways *= speed / np.linalg.norm(ways, axis=1)[:, None]
    radii, brightness = rng.uniform(2, 4.5, BALLS), rng.uniform(0.3, 1, BALLS)
    places = np.indices((SIZE,) * 3).astype(np.float32)
    inner = SIZE - 2 * MARGIN
    found = []
    for time in range(times):
        volume = np.zeros((SIZE,) * 3, np.float32)
        travelled = (centres + time * ways - MARGIN) % (2 * inner)
        for place, radius, bright in zip(
            MARGIN + np.minimum(travelled, 2 * inner - travelled), radii, brightness, strict=True
        ):
            away = np.sqrt(np.square(places - place[:, None, None, None]).sum(axis=0))
            np.maximum(volume, bright * np.clip(radius + 0.5 - away, 0, 1), out=volume)
        found.append(volume)
    return found


def record(truth: np.ndarray, seed: int) -> RegisteredViews:
    """Its views, with the noise of their light."""
    views = []
    for number, (angle, psf) in enumerate(zip(ANGLES, light_sheet_psfs(ANGLES, SIZE), strict=True)):
        expected = SNR**2 / 5 * blur_inside(truth, psf) / truth.mean()
        pixels = np.random.default_rng([seed, number]).poisson(expected + 1e-3).astype(np.float32)
        views.append(View(pixels, f"{angle:g}", psf, angle))
    return RegisteredViews(views, Grid(truth.shape))


def tile_of(views: RegisteredViews, which: tuple[int, ...], estimate: torch.Tensor | None = None) -> TileInput:
    """All of it as one tile."""
    pixels = torch.from_numpy(views.read(WHOLE, which))
    return TileInput(WHOLE, WHOLE, pixels, None, None if estimate is None else WHOLE, estimate)


def ebmd(views: RegisteredViews, iterations: int, start: np.ndarray | None = None) -> list[np.ndarray]:
    """The estimate after every iteration."""
    bound = drain(EBMD(attenuation="none", iterations=iterations).prepare(views, CPU))
    assert bound.extrapolation_floor is not None
    estimate = Estimate(VolumesInTurn(DeviceBuffer), bound.extrapolation_floor)
    found = []
    for index, stage in enumerate(bound.stages):
        if index == 0 and start is not None:
            values = torch.from_numpy(start).clamp(min=bound.extrapolation_floor)
        else:
            known = None if stage.estimate_halo is None else estimate.read(WHOLE)
            values = finished(bound.run(stage, tile_of(views, stage.views, known)))
        squares = estimate.change(WHOLE, values)[2] if stage.iteration else None
        estimate.write(WHOLE, values)
        estimate.end_stage(mark=begins_iteration(stage, index))
        if squares is not None:
            estimate.note_step(squares)
            found.append(values.numpy().copy())
    return found


def wiener(views: RegisteredViews, before: np.ndarray | None) -> tuple[np.ndarray, int]:
    """What it ends with, and after how many updates; begun with an image where there is one."""
    updates = JointUpdates(views, None, CPU)
    estimate = None if before is None else torch.from_numpy(before)
    _, image = drain(updates.updated(tile_of(views, tuple(range(len(views))), estimate), WHOLE))
    assert updates.outcome is not None
    return (image * updates.scale).numpy(), int(updates.outcome.split()[2])


def nrmse(fused: np.ndarray, truth: np.ndarray) -> float:
    """Of all voxels."""
    return evaluate(fused, truth).all.nrmse


def follow_ebmd(
    recorded: list[RegisteredViews], truths: list[np.ndarray], iterations: int, start: Start
) -> list[float]:
    """Errors of all time points but the first, each begun with what `start` makes of the last result and the mean."""
    result = ebmd(recorded[0], 20)[-1]
    errors = []
    for views, truth in zip(recorded[1:], truths[1:], strict=True):
        begun = start(result, views.read(WHOLE).mean(axis=0)).astype(np.float32)
        result = ebmd(views, iterations, begun)[-1]
        errors.append(nrmse(result, truth))
    return errors


def main() -> None:
    """Measure, print, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20, help="time points")
    parser.add_argument("--speeds", type=float, nargs="*", default=[0.3, 1.0], help="voxels from one to the next")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, object] = {}

    def keep(what: str, value: object) -> None:
        found[what] = value
        print(f"{what}: {value}", flush=True)
        if options.json is not None:
            options.json.write_text(json.dumps(found, indent=1) + "\n")

    for speed in options.speeds:
        truths = moving(options.times, speed)
        recorded = [record(truth, seed) for seed, truth in enumerate(truths)]
        where = f"{speed:g} voxels"
        last = [nrmse(image, truths[-1]) for image in ebmd(recorded[-1], 20)]
        keep(f"{where}, EBMD anew, by iterations", {n: round(last[n - 1], 4) for n in (2, 4, 8, 12, 14, 16, 20)})
        for words, iterations, start in (
            ("result", 4, lambda result, mean: result),
            ("result", 12, lambda result, mean: result),
            ("geometric mean", 12, lambda result, mean: np.sqrt(np.maximum(result, 0) * mean)),
        ):
            errors = [round(error, 4) for error in follow_ebmd(recorded, truths, iterations, start)]
            keep(f"{where}, EBMD from the {words}, {iterations} iterations", errors)
        for words, warm in (("anew", False), ("result", True)):
            image, rows = None, []
            for views, truth in zip(recorded, truths, strict=True):
                image, number = wiener(views, image if warm else None)
                rows.append((number, round(nrmse(image, truth), 4)))
            keep(f"{where}, wiener, {words}: updates and errors", rows)


if __name__ == "__main__":
    main()
