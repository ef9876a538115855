"""Peak resident memory of an EBMD run on a large quad-view volume that lies in zarr.

    python benchmarks/memory.py --size 512 --iterations 1 --memory 3 --psfs FOLDER

Writes four uint16 views of the size into a temporary folder, fuses them in a process of its own, and reports the peak of
its resident memory, sampled every 5 ms and as the system accounts it.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import zarr

ANGLES = (0, 90, 180, 270)


def make_views(folder: Path, size: int) -> None:
    """Random blobs, slab by slab: the pictures do not matter here, their size does."""
    rng = np.random.default_rng(0)
    for angle in ANGLES:
        store = str(folder / f"view_{angle}.zarr")
        array = zarr.create_array(store=store, shape=(size,) * 3, chunks=(64,) * 3, dtype="uint16")
        for z in range(0, size, 64):
            array[z : z + 64] = rng.integers(100, 4000, (min(64, size - z), size, size), dtype=np.uint16)


def fuse_here(folder: Path, psf_folder: Path, iterations: int, memory: int) -> None:
    """The run itself; prints its figures as JSON."""
    from napari_mvfusion.data.events import Finished, Prepared
    from napari_mvfusion.data.views import RegisteredViews, View
    from napari_mvfusion.engine.fusion import fuse_events
    from napari_mvfusion.io.psf_files import load_psf
    from napari_mvfusion.methods import make_method

    process = psutil.Process()
    peak = 0

    def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, process.memory_info().rss)
            time.sleep(0.005)

    threading.Thread(target=watch, daemon=True).start()
    views = RegisteredViews(
        [
            View(
                zarr.open_array(folder / f"view_{angle}.zarr", mode="r"),
                str(angle),
                psf=load_psf(psf_folder / f"psf_{angle}.tif"),
                angle=angle,
            )
            for angle in ANGLES
        ]
    )
    figures: dict[str, object] = {}
    method = make_method("ebmd", iterations=iterations)
    for event in fuse_events(views, method, out=folder / "fused.zarr", memory_bytes=memory):
        if isinstance(event, Prepared):
            figures |= {"tile": event.tile_shape, "tiles": event.tiles, "bound_gib": event.memory_bound_bytes / 2**30}
            figures["before_tiles_gib"] = process.memory_info().rss / 2**30
        if isinstance(event, Finished):
            figures |= {"seconds": event.seconds, "storage": event.fused.recipe["run"]["storage"]}
    figures["peak_sampled_gib"] = peak / 2**30
    figures["peak_of_the_system_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps(figures))


def main() -> None:
    """Make the views, run the fusion in its own process, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--iterations", type=int, default=1)
    parser.add_argument("--memory", type=float, default=3.0, help="GiB that the run may take")
    parser.add_argument("--psfs", type=Path, required=True, help="folder with psf_0.tif ... psf_270.tif")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        fuse_here(options.inside, options.psfs, options.iterations, int(options.memory * 2**30))
        return
    with tempfile.TemporaryDirectory(prefix="mvfusion-memory-") as name:
        folder = Path(name)
        make_views(folder, options.size)
        done = subprocess.run(
            [sys.executable, __file__, *sys.argv[1:], "--inside", name], stdout=subprocess.PIPE, text=True, check=True
        )
    figures = json.loads(done.stdout.splitlines()[-1]) | {"size": options.size, "iterations": options.iterations}
    for key, value in figures.items():
        print(f"{key:24} {value}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
