"""Time and memory of generators, against the published tiling with the same weights.

    python benchmarks/generator.py --size 256 --threads 2 --psfs FOLDER --json generator.json

FOLDER holds psf_ANGLE.tif of four views at 0, 90, 180 and 270 degrees. The network of the paper (for four views, with random
weights: they do not matter for the time) fuses the volume without seams, and as published: tiles of 64 voxels of which
the middle 32 count, one every 16. Of these tiles some are timed, and the time of all follows from their number. Every
measurement runs in a process of its own, so that peaks of memory do not mix.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

ANGLES = (0, 90, 180, 270)
SIDE, KEPT, STEP = 64, 32, 16


def views_of(size: int, folder: Path) -> Any:
    """Smooth views with little noise: the universal generator takes longest for such, and nothing else depends on it."""
    from napari_mvfusion.data.views import RegisteredViews, View
    from napari_mvfusion.io.psf_files import prepare_psf

    rng = np.random.default_rng(0)
    clear = ndimage.gaussian_filter(rng.gamma(0.1, 30000, (size,) * 3), 3)
    return RegisteredViews(
        View(
            rng.poisson(clear).astype(np.float32),
            str(angle),
            psf=prepare_psf(folder / f"psf_{angle}.tif").psf,
            angle=angle,
        )
        for angle in ANGLES
    )


def fused(options: argparse.Namespace, method: str, **parameters: Any) -> dict[str, Any]:
    """Time of a whole run of the engine, with the memory that it planned."""
    from napari_mvfusion.data.events import Finished, Prepared
    from napari_mvfusion.engine.fusion import fuse_events
    from napari_mvfusion.methods import make_method

    views = views_of(options.size, options.psfs)
    views.statistics()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures: dict[str, Any] = {}
    for event in fuse_events(views, make_method(method, **parameters), device=options.device):
        if isinstance(event, Prepared):
            figures |= {"tile": event.tile_shape, "bound_gib": event.memory_bound_bytes / 2**30}
        if isinstance(event, Finished):
            figures["seconds"] = event.seconds
    return figures | {"before_gib": before / 2**20}


def published(options: argparse.Namespace) -> dict[str, Any]:
    """Time of some of the published tiles, and what all of them would take."""
    import torch

    from napari_mvfusion.models import load_model

    network, _ = load_model(options.model, options.device)
    device = torch.device(options.device)
    block = torch.rand(1, 4, SIDE, SIDE, SIDE, device=device)
    times = []
    with torch.inference_mode():
        for _ in range(options.tiles):
            started = time.perf_counter()
            network(block).cpu()
            times.append(time.perf_counter() - started)
    tiles = ((options.size - KEPT) // STEP + 1) ** 3
    a_tile = float(np.median(times))
    return {"tiles": tiles, "a_tile_s": a_tile, "seconds": a_tile * tiles}


def measurements(options: argparse.Namespace) -> dict[str, Callable[[], dict[str, Any]]]:
    """What is measured, by name."""
    return {
        "published": lambda: published(options),
        "paper, no seams": lambda: fused(options, "generator", model=options.model),
        "paper, no seams, mixed": lambda: fused(options, "generator", model=options.model, precision="mixed"),
        "universal": lambda: fused(options, "generator"),
        "universal, mixed": lambda: fused(options, "generator", precision="mixed"),
        "EBMD, 48 iterations": lambda: fused(options, "ebmd", iterations=48, accelerated=False),
    }


def main() -> None:
    """Run every measurement in a process of its own, and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tiles", type=int, default=12, help="published tiles that are timed")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--maps", type=int, default=16, help="feature maps of the paper's network")
    parser.add_argument("--psfs", type=Path, required=True)
    parser.add_argument("--only", nargs="+", help="names of measurements")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        figures = measurements(options)[options.inside]()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps(figures | {"peak_gib": peak}))
        return
    found = {}
    with tempfile.TemporaryDirectory(prefix="mvfusion-generator-") as folder:
        model = Path(folder) / "paper.safetensors"
        make_model(model, options.maps)
        for name in options.only or measurements(options):
            words = [sys.executable, __file__, *sys.argv[1:], "--model", str(model), "--inside", name]
            threads = {"OMP_NUM_THREADS": str(options.threads)}
            done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | threads)
            found[name] = json.loads(done.stdout.splitlines()[-1])
            megavoxels = options.size**3 / 1e6
            seconds = found[name]["seconds"]
            print(f"{name:24} {seconds:8.1f} s  {seconds / megavoxels:6.2f} s/megavoxel  {found[name]}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(found | {"size": options.size, "threads": options.threads}, indent=1) + "\n")


def make_model(path: Path, maps: int) -> None:
    """The paper's network for four views, with random weights."""
    import torch

    from napari_mvfusion.models import ModelCard, build, save_model
    from napari_mvfusion.models.paper import PaperArchitecture

    torch.manual_seed(0)
    architecture = PaperArchitecture(views=4, feature_maps=maps)
    card = ModelCard(
        name=path.stem,
        architecture=architecture,
        least_views=4,
        most_views=4,
        angles=tuple(float(angle) for angle in ANGLES),
        normalisation="maximum",
    )
    save_model(path, build(architecture), card)


if __name__ == "__main__":
    main()
