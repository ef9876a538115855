"""How much brightness changes from time point to time point that did not change in the specimen, and at what error.

    python benchmarks/flicker.py --json flicker.json

An embryo that absorbs light is recorded from four sides at a few time points with new noise: as it is; with a cell that
lights up in the middle of the recording, five times as bright as all else, which absorbs nothing; bleaching to 40 % from one
time point to the next; and turning by 25 degrees about y. Each is fused as a series by every method, with lost light and
iterations found once (the default) and on each time point (`--per-timepoint`). Flicker is the range, over the time points,
of the light of the specimen in the fused volume over that in the truth, away from the cell. The error is that of the worst
time point there: root mean square over that of the truth, at the brightness that fits best.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from scipy import ndimage

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.engine.series_choice import choose_series
from napari_mvfusion.engine.series_run import fuse_chosen
from napari_mvfusion.io.tiff.writer import write_tiff
from napari_mvfusion.methods import make_method
from napari_mvfusion.simulation import embryo, light_sheet_psfs
from napari_mvfusion.simulation.recording import attenuate_at, blur_inside

ANGLES = (0.0, 90.0, 180.0, 270.0)
SIZE = 64
# Of the simulator, for a specimen of 289 voxels.
ATTENUATION = 0.01 * 289 / SIZE
SNR = 15.0
CASES = ("still", "a cell lights up", "bleaching", "turning")
CELL, RADIUS, BRIGHT, AWAY = (20, 20, 44), 3, 5, 24
BLEACHED_TO, TURN = 0.4, 25
PATTERN = "t{timepoint}_a{angle}.tif|psf_a{angle}.tif"


def distances() -> np.ndarray:
    """Voxels from the cell."""
    corner = np.reshape(CELL, (3, 1, 1, 1))
    return np.sqrt(np.square(np.indices((SIZE,) * 3) - corner).sum(axis=0))


def specimen_at(case: str, time: int, times: int) -> tuple[np.ndarray, np.ndarray]:
    """What shines and what absorbs, float32 (z, y, x)."""
    matter = embryo(SIZE, np.random.default_rng(3))
    if case == "turning":
        matter = ndimage.rotate(matter, TURN * time, axes=(0, 2), reshape=False, order=1).clip(0)
    shines = matter
    if case == "a cell lights up" and time == times // 2:
        shines = matter + np.float32(BRIGHT * matter.max()) * (distances() <= RADIUS)
    if case == "bleaching":
        shines = matter * np.float32(BLEACHED_TO**time)
    return shines.astype(np.float32), matter.astype(np.float32)


def record(case: str, times: int, folder: Path) -> list[np.ndarray]:
    """Write the views of all time points with their PSFs, and return the truths."""
    psfs = light_sheet_psfs(ANGLES, SIZE)
    first = embryo(SIZE, np.random.default_rng(3))
    photons = SNR**2 / 5 / first.mean()
    truths = []
    for time in range(times):
        shines, matter = specimen_at(case, time, times)
        matter = matter + np.float32(1e-3) * first.max()
        for view, (angle, psf) in enumerate(zip(ANGLES, psfs, strict=True)):
            light = attenuate_at(matter, angle, ATTENUATION / first.max()) / matter
            around = [(n // 2, n // 2) for n in psf.shape]
            inside = tuple(slice(n, n + SIZE) for n, _ in around)
            expected = photons * (blur_inside(np.pad(shines * light, around), psf)[inside] + 1e-4 * first.mean())
            pixels = np.random.default_rng([7, time, view]).poisson(expected).astype(np.float32)
            tifffile.imwrite(folder / f"t{time}_a{angle:g}.tif", pixels)
            write_tiff(folder / f"psf_a{angle:g}.tif", psf, Grid(psf.shape), overwrite=True)
        truths.append(shines)
    return truths


def judge(fused: np.ndarray, truths: list[np.ndarray]) -> dict[str, float]:
    """Flicker and error, both in parts of 1."""
    light, errors = [], []
    for volume, truth in zip(fused, truths, strict=True):
        smooth = ndimage.gaussian_filter(truth, 1)
        part = (smooth > 0.2 * smooth[distances() > AWAY].max()) & (distances() > AWAY)
        found, true = volume[part], truth[part]
        light.append(found.mean() / true.mean())
        fitted = found * (found @ true) / (found @ found)
        errors.append(float(np.sqrt(np.square(fitted - true).mean() / np.square(true).mean())))
    return {"flicker": float(np.ptp(light) / np.median(light)), "error": max(errors)}


def measure(case: str, methods: list[str], times: int) -> dict[str, Any]:
    """Figures of a case, by method and by where lost light and iterations were found."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        truths = record(case, times, folder)
        choice, _ = choose_series(Inputs(source=str(folder), pattern=PATTERN), "all", None)
        for method in methods:
            for words, alone in (("once", False), ("each", True)):
                out = folder / f"{method}-{words}.zarr"
                for _ in fuse_chosen(choice, make_method(method), out, device="cpu", per_timepoint=alone):
                    pass
                found.setdefault(method, {})[words] = judge(zarr.open_array(out / "0", mode="r")[:], truths)
            once, each = (found[method][words] for words in ("once", "each"))
            print(
                f"| {case} | {method} | {each['flicker']:.2%} | {once['flicker']:.2%} "
                f"| {each['error']:.3f} | {once['error']:.3f} |",
                flush=True,
            )
    return found


def main() -> None:
    """Measure all cases, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3, help="time points")
    parser.add_argument("--methods", nargs="*", default=["average", "wiener", "ebmd", "generator"])
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=CASES)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {case: measure(case, options.methods, options.times) for case in options.cases}
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
