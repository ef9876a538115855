"""What sharing one volume among the workers of a cluster gains, and what it costs.

    python benchmarks/workers.py --side 256 --methods ebmd generator --json workers.json

Two simulated views with Gaussian PSFs are fused into an OME-Zarr, by one and by two workers with one thread each on this
computer, and by one process with two threads. Beside the seconds on the clock stand those of the processor, which other
programs hardly change: of the run itself, which plans, keeps the journal and writes the levels, and of the worker that
took the most. Their sum is what a run would take on a computer that has nothing else to do, if nobody waited.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch

from napari_mvfusion.engine.cluster.connecting import connected
from napari_mvfusion.engine.cluster.named_cluster import LocalWorkers, NamedCluster
from napari_mvfusion.engine.cluster.volume_on_workers import VolumeOnWorkers
from napari_mvfusion.engine.fusion import fuse_events
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.methods import make_method

PARAMETERS: dict[str, dict[str, Any]] = {"ebmd": {"iterations": 5}, "generator": {}, "wiener": {}, "average": {}}


def write_views(folder: Path, side: int) -> None:
    """Blobs with photon noise, as each of two views blurs them, and the PSFs."""
    rng = np.random.default_rng(3)
    light = np.zeros((side, side, side), np.float32)
    light[tuple(rng.integers(0, side, (3, side**3 // 2000)))] = 3000.0
    places = np.arange(-7, 8)
    for angle, sigmas in ((0, (3.0, 1.2, 1.2)), (90, (1.2, 3.0, 1.2))):
        psf = np.ones((1, 1, 1), np.float32)
        for axis, sigma in enumerate(sigmas):
            along = np.exp(-0.5 * (places / sigma) ** 2).astype(np.float32)
            psf = psf * along.reshape([-1 if i == axis else 1 for i in range(3)])
        psf /= psf.sum()
        transfer = np.fft.rfftn(np.roll(np.pad(psf, [(0, side - 15)] * 3), (-7, -7, -7), (0, 1, 2)))
        seen = np.fft.irfftn(np.fft.rfftn(light) * transfer, light.shape, (0, 1, 2)).clip(0) + 20
        tifffile.imwrite(folder / f"view_{angle}.tif", rng.poisson(seen).astype(np.uint16), photometric="minisblack")
        tifffile.imwrite(folder / f"psf_{angle}.tif", psf, photometric="minisblack")


def load() -> None:
    """Load what computes, so that it is not counted."""
    import napari_mvfusion.engine.cluster.tiles_on_worker  # noqa: F401


def measure(folder: Path, name: str, workers: int) -> dict[str, Any]:
    """Seconds of a run by so many workers; 0 for this process with two threads."""
    inputs = Inputs(source=str(folder))
    how = {"out": folder / f"{name}-{workers}.zarr", "inputs": inputs.model_dump(mode="json"), "device": "cpu"}
    method = make_method(name, **PARAMETERS[name])
    if not workers:
        torch.set_num_threads(2)
        begun, used = time.perf_counter(), time.process_time()
        for _ in fuse_events(inputs.open(), method, **how):
            pass
        torch.set_num_threads(1)
        return {"clock": time.perf_counter() - begun, "processor": time.process_time() - used}
    cluster = NamedCluster(local=LocalWorkers(n_workers=workers, threads_per_worker=1))
    with connected(cluster) as client:
        client.run(load)
        before = client.run(time.process_time)
        begun, used = time.perf_counter(), time.process_time()
        for _ in fuse_events(inputs.open(), method, runner=VolumeOnWorkers(client), **how):
            pass
        clock, mine = time.perf_counter() - begun, time.process_time() - used
        after = client.run(time.process_time)
    busiest = max(after[worker] - before[worker] for worker in after)
    return {"clock": clock, "run": mine, "busiest worker": busiest, "sum": mine + busiest}


def main() -> None:
    """Measure, print, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=256, help="voxels along each side")
    parser.add_argument("--methods", nargs="+", default=["ebmd", "generator"], choices=PARAMETERS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        write_views(Path(place), options.side)
        for name in options.methods:
            found[name] = {workers: measure(Path(place), name, workers) for workers in (0, 1, 2)}
            one, two = found[name][1]["sum"], found[name][2]["sum"]
            print(f"{name}: two workers are {one / two:.2f} times as fast as one, by seconds of the processor")
            for workers, seconds in found[name].items():
                words = ", ".join(f"{what} {value:.1f} s" for what, value in seconds.items())
                print(f"  {workers or 'no'} workers: {words}")
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
