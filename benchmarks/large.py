"""Volumes far larger than memory: peak resident memory, and the rate beside that of reading and writing alone.

    python benchmarks/large.py --shape 1024 2048 2048 --memory 3 --methods average cbif --folder /data --json large.json

Four uint16 views are written chunk by chunk into OME-Zarrs in the folder: an ellipsoid of noise, round which nothing is
stored. Each method fuses them in a process of its own into an OME-Zarr. With `--tiles N` a run is cancelled after N tiles;
what it would have taken is then told from its tiles, the slower the more they hold. "Alone" reads what the same tiles take
from the views, and writes as many float32 voxels, by the same readers and writers, without anything between. Seconds of
the processor count, which other programs do not change; those of the clock stand beside them.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import zarr

from napari_mvfusion.data.events import Finished, IterationDone, Prepared, Preparing, TileDone
from napari_mvfusion.data.geometry import Box, Grid, Triple, triple
from napari_mvfusion.data.tiles import TilePlan
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.io.formats import growing_format
from napari_mvfusion.io.ome_zarr.writer import create_zarr
from napari_mvfusion.io.opening import open_volume
from napari_mvfusion.io.streaming import blocks
from napari_mvfusion.methods import make_method

ANGLES = (0, 90, 180, 270)
CHUNK = (64, 64, 64)
# Semiaxes of the ellipsoid, as shares of the sides.
FILLED = 0.36
PSF_SIGMAS = 1.2, 3.0
PSF_SIDE = 21


def make_views(folder: Path, shape: Triple) -> None:
    """Write the views; one chunk of noise is enough, as only sizes matter here."""
    rng = np.random.default_rng(0)
    smooth = rng.random((8, 8, 8)).repeat(8, 0).repeat(8, 1).repeat(8, 2)
    noise = rng.poisson(200 + 800 * smooth).astype(np.uint16)
    middle = np.array(shape) / 2
    for angle in ANGLES:
        array = create_zarr(folder / f"view_{angle}.zarr", Grid(shape), dtype="uint16", chunks=CHUNK)
        for box in blocks(shape, CHUNK):
            away = (np.array(box.start) + 32 - middle) / (np.array(shape) * FILLED)
            if (away**2).sum() < 1:
                array[box.slices] = noise[tuple(slice(0, n) for n in box.shape)]


def psf(angle: float) -> np.ndarray:
    """A Gaussian, long along a detection axis that is turned about x."""
    z, y, x = np.indices((PSF_SIDE,) * 3) - PSF_SIDE // 2
    along = z * np.cos(np.radians(angle)) + y * np.sin(np.radians(angle))
    across2 = z**2 + y**2 - along**2 + x**2
    values = np.exp(-across2 / (2 * PSF_SIGMAS[0] ** 2) - along**2 / (2 * PSF_SIGMAS[1] ** 2))
    return (values / values.sum()).astype(np.float32)


def opened(folder: Path) -> RegisteredViews:
    """The views, as they lie in their files."""
    return RegisteredViews(
        [View(open_volume(folder / f"view_{a}.zarr")[0], str(a), psf=psf(a), angle=float(a)) for a in ANGLES]
    )


def watched() -> Iterator[int]:
    """The most resident memory, bytes, since it was asked last."""
    process, peak = psutil.Process(), 0

    def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, process.memory_info().rss)
            time.sleep(0.02)

    threading.Thread(target=watch, daemon=True).start()
    while True:
        yield peak
        peak = 0


def alone(folder: Path, boxes: list[Box], shape: Triple) -> float:
    """Seconds of the processor to read some tiles of all views, and to write their mean."""
    views = [open_volume(folder / f"view_{angle}.zarr")[0] for angle in ANGLES]
    growing = growing_format().grow(folder / "alone.zarr", Grid(shape), CHUNK, name="alone", known=None)
    begun = time.process_time()
    for box in boxes:
        read = [np.asarray(view[box.slices]) for view in views]
        growing.write(box, read[0].astype(np.float32))
    taken = time.process_time() - begun
    shutil.rmtree(folder / "alone.zarr")
    return taken


def run(folder: Path, name: str, iterations: int | None, memory: int, most_tiles: int | None) -> dict[str, Any]:
    """Fuse, all of it or some tiles, and say what that took."""
    views = opened(folder)
    method = make_method(name, **({} if iterations is None else {"iterations": iterations}))
    peaks, done = watched(), []
    next(peaks)
    found: dict[str, Any] = {"method": name}
    begun, clock = time.process_time(), time.perf_counter()

    def enough() -> bool:
        return most_tiles is not None and len(done) >= most_tiles

    how: dict[str, Any] = {"memory_bytes": memory, "device": "cpu", "overwrite": True}
    for event in fuse_events(views, method, out=folder / "fused.zarr", cancel=enough, **how):
        if isinstance(event, Preparing):
            print(f"{time.perf_counter() - clock:8.1f} s {event.label} {event.fraction:.0%}", end="\r", file=sys.stderr)
        if isinstance(event, Prepared):
            found |= {"tile": event.tile_shape, "tiles": event.tiles, "stages": event.passes}
            found |= {"bound GiB": event.memory_bound_bytes / 2**30, "preparing": time.process_time() - begun}
            found |= {"preparing, clock": time.perf_counter() - clock, "preparing GiB": next(peaks) / 2**30}
            tile = event.tile_shape
            last = time.process_time(), time.perf_counter()
        if isinstance(event, TileDone):
            now = time.process_time(), time.perf_counter()
            done.append((event.box, event.stage, now[0] - last[0], now[1] - last[1]))
            print(
                f"{now[1] - clock:8.1f} s tile {event.tile} of stage {event.stage}: {done[-1][2]:.1f} s",
                file=sys.stderr,
            )
            last = now
        if isinstance(event, IterationDone):
            last = time.process_time(), time.perf_counter()
    found |= {"tiles done": len(done), "tiles, seconds": sum(each[2] for each in done)}
    found |= {"tiles, clock": sum(each[3] for each in done), "tiles GiB": next(peaks) / 2**30}
    found |= {"in all": time.process_time() - begun, "in all, clock": time.perf_counter() - clock}
    found["end"] = type(event).__name__
    if isinstance(event, Finished):
        found["finishing, clock"] = time.perf_counter() - last[1]
        found["finishing"] = time.process_time() - last[0]
        found["files"] = sum(path.is_file() for path in (folder / "fused.zarr").rglob("*"))
    first = [box for box, stage, *_ in done if stage == 1]
    found["alone"] = alone(folder, first, views.grid.shape)
    found["whole volume, projected"] = projected(done, TilePlan(views.grid.shape, tile), found["stages"])
    found["peak of the system GiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return found


def projected(done: list[tuple[Box, int, float, float]], plan: TilePlan, stages: int) -> float:
    """Seconds of all tiles of all stages, if those that are not done take as long, voxel by voxel."""
    rate = sum(seconds for _, _, seconds, _ in done) / sum(box.size for box, *_ in done)
    return rate * sum(box.size for box in plan.boxes) * stages


def main() -> None:
    """Make the views, run each method in a process of its own, print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(1024, 2048, 2048))
    parser.add_argument("--memory", type=float, default=3.0, help="GiB that a run may take")
    parser.add_argument("--methods", nargs="+", default=["average", "cbif", "generator", "ebmd"])
    parser.add_argument("--iterations", type=int, default=2, help="of ebmd")
    parser.add_argument("--tiles", type=int, help="cancel after so many tiles")
    parser.add_argument("--folder", type=Path, required=True, help="where there is room for the views and the result")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder = options.folder / "mvfusion-large"
    if options.inside:
        iterations = options.iterations if options.inside == "ebmd" else None
        print(json.dumps(run(folder, options.inside, iterations, int(options.memory * 2**30), options.tiles)))
        return
    if not folder.exists():
        folder.mkdir()
        make_views(folder, triple(options.shape))
    stored = sum(path.stat().st_size for path in folder.glob("view_*/**/*") if path.is_file())
    found = [{"shape": options.shape, "stored GiB": stored / 2**30, "zarr": zarr.__version__}]
    for name in options.methods:
        again = [sys.executable, __file__, *sys.argv[1:], "--inside", name]
        found.append(json.loads(subprocess.run(again, stdout=subprocess.PIPE, text=True, check=True).stdout))
        for each in folder.glob("fused.zarr*"):
            shutil.rmtree(each) if each.is_dir() else each.unlink()
    for figures in found:
        print("\n".join(f"{key:24} {value}" for key, value in figures.items()), end="\n\n")
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
