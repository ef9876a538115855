"""What a long series costs beside the fusing of its volumes: time, and memory.

    python benchmarks/scale.py --times 1000 --json scale.json

Two views of 32^3 voxels at many time points, uint16 in one OME-Zarr each, are fused by `average` into one OME-Zarr, as
`mvfusion fuse --timepoints all` does it. What the fusing itself takes is measured on some of the volumes, which are in
memory and stay there. The rest is opening, writing, journal, recipes, and moving each volume to its place. All seconds but
the first are those of the processor, which other programs do not change.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import napari_mvfusion as mv
from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.engine.series_choice import choose_series
from napari_mvfusion.engine.series_run import SeriesFinished, VolumeDone, fuse_chosen
from napari_mvfusion.io.ome_zarr.writer import write_zarr
from napari_mvfusion.io.streaming import LeadingAxis
from napari_mvfusion.methods import Average

SHAPE = (32, 32, 32)
GRID = Grid(SHAPE)
VIEWS = ("0", "90")
ALONE = 20


def pixels(view: int, times: int) -> np.ndarray:
    """Noise, uint16 (t, z, y, x)."""
    return np.random.default_rng(view).integers(100, 1000, (times, *SHAPE)).astype(np.uint16)


def fusing_alone(recorded: list[np.ndarray]) -> float:
    """Seconds of the processor that a volume takes that is in memory and stays there."""
    seconds = []
    for timepoint in range(min(ALONE, len(recorded[0]))):
        views = [View(view[timepoint], name) for name, view in zip(VIEWS, recorded, strict=True)]
        begun = time.process_time()
        mv.fuse(RegisteredViews(views, GRID), Average(), device="cpu")
        seconds.append(time.process_time() - begun)
    return median(seconds)


def peak_bytes() -> int:
    """The most memory that this process has had, resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(times: int, ending: str) -> dict[str, Any]:
    """Seconds and bytes of a series of so many time points."""
    recorded = [pixels(view, times) for view in range(len(VIEWS))]
    alone = fusing_alone(recorded)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        files = {name: str(folder / f"view{name}.zarr") for name in VIEWS}
        for name, view in zip(VIEWS, recorded, strict=True):
            write_zarr(Path(files[name]), view, GRID, leading=[LeadingAxis("t", times)])
        del recorded
        choice, _ = choose_series(Inputs(source=files), "all", None)
        seconds, memory = [], []
        begun, used = time.perf_counter(), time.process_time()
        for event in fuse_chosen(choice, Average(), folder / f"fused{ending}", device="cpu"):
            if isinstance(event, VolumeDone):
                seconds.append(time.process_time())
                memory.append(peak_bytes())
        assert isinstance(event, SeriesFinished)
        assert event.fused == times
        taken, computed = time.perf_counter() - begun, time.process_time() - used
        again = time.process_time()
        for _ in fuse_chosen(choice, Average(), folder / f"fused{ending}", device="cpu", resume=True):
            pass
        checking = time.process_time() - again
    part = max(1, times // 10)
    volumes = np.diff(seconds)
    return {
        "times": times,
        "seconds": taken,
        "of the processor": computed,
        "a volume alone": alone,
        "overhead": computed - times * alone,
        "a volume, first tenth": float(np.median(volumes[:part])),
        "a volume, last tenth": float(np.median(volumes[-part:])),
        "resumed when finished": checking,
        "memory after the first tenth": memory[part - 1],
        "memory at the end": memory[-1],
    }


def main() -> None:
    """Measure, print, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=1000, help="time points")
    parser.add_argument("--ending", default=".zarr", help="of the output, as .zarr or .tif")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = measure(options.times, options.ending)
    for what, value in found.items():
        print(f"{what}: {value / 2**20:.0f} MiB" if what.startswith("memory") else f"{what}: {value:.4g}")
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
