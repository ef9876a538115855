"""What a GPU gives and takes: agreement with the CPU, times, memory that comes back.

    python benchmarks/gpu.py --psfs FOLDER --json gpu.json [--only agreement ebmd ...] [--device cuda]

FOLDER holds psf_ANGLE.tif of four views at 0, 90, 180 and 270 degrees. Parts run one after the other, each in a process
of its own, so that one that fails or is killed costs no other; what is known is written after each, and what there is no
time for is left out. `benchmarks/gpu.sh` runs the tests that need a GPU too. With `--device cpu --small` all of it runs,
slowly, where there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from napari_mvfusion.data.events import Cancelled, Finished, Prepared
from napari_mvfusion.data.geometry import Box, triple
from napari_mvfusion.data.views import RegisteredViews, View, drain
from napari_mvfusion.engine.fusion import fuse, fuse_events
from napari_mvfusion.engine.one_tile import stage_results
from napari_mvfusion.engine.preview import Previewer
from napari_mvfusion.engine.view_reader import ViewReader
from napari_mvfusion.io.psf_files import prepare_psf
from napari_mvfusion.measures.quality import evaluate
from napari_mvfusion.methods import EBMD, METHODS, make_method
from napari_mvfusion.methods.base import Method
from napari_mvfusion.models import ModelCard, build, save_model
from napari_mvfusion.models.paper import PaperArchitecture
from napari_mvfusion.simulation import PHANTOMS, simulate
from napari_mvfusion.training import TrainConfig, fine_tune_config, train_events

ANGLES = (0.0, 90.0, 180.0, 270.0)
SECONDS_A_PART = 150
_RUNS = ("average", "cbif", "ebmd", "ebmd, 12 iterations", "wiener", "paper's network", "universal", "universal, mixed")
_LARGE = ("ebmd, 12 iterations", "wiener", "universal")
# Iterations that are not counted, while caches fill.
_WARM = 3


def psfs_of(options: argparse.Namespace) -> list[np.ndarray]:
    """The measured PSFs of the four views, as a run makes them ready."""
    return [prepare_psf(options.psfs / f"psf_{angle:g}.tif").psf for angle in ANGLES]


def embryo(options: argparse.Namespace, size: int, seed: int = 0) -> tuple[RegisteredViews, np.ndarray]:
    """Views of a simulated embryo, and the truth."""
    rng = np.random.default_rng(seed)
    truth = PHANTOMS["embryo"](size, rng)
    made = simulate(truth, ANGLES, psfs_of(options), attenuation=0.01, rng=rng)
    return made.views, made.truth


def speckle(options: argparse.Namespace, size: int) -> RegisteredViews:
    """Views whose picture does not matter, made quickly at any size."""
    rng = np.random.default_rng(0)
    block = rng.gamma(2.0, 50.0, (64,) * 3).astype(np.float32)
    pixels = np.tile(block, (-(-size // 64),) * 3)[:size, :size, :size]
    return RegisteredViews(
        View(np.roll(pixels, turn, 0), f"{angle:g}", psf=psf, angle=angle)
        for turn, (angle, psf) in enumerate(zip(ANGLES, psfs_of(options), strict=True))
    )


def methods(folder: Path) -> dict[str, Method]:
    """Every method, as it comes and with parameters that lead another way."""
    torch.manual_seed(0)
    path = folder / "paper.safetensors"
    architecture = PaperArchitecture(views=4, feature_maps=16)
    card = ModelCard(
        name="paper", architecture=architecture, least_views=4, most_views=4, angles=ANGLES, normalisation="maximum"
    )
    save_model(path, build(architecture), card)
    return {
        **{name: make_method(name) for name in METHODS if name != "generator"},
        "cbif, entropy": make_method("cbif", weights="entropy"),
        "ebmd, 12 iterations": make_method("ebmd", iterations=12),
        "paper's network": make_method("generator", model=str(path)),
        "universal": make_method("generator"),
        "universal, mixed": make_method("generator", precision="mixed"),
    }


def agreement(options: argparse.Namespace) -> dict[str, Any]:
    """The largest difference between both devices in parts of the range, and the NRMSE on each, for every method."""
    views, truth = embryo(options, 64 if options.small else 96)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, method in methods(Path(folder)).items():
            there = np.asarray(fuse(views, method, device=options.device).data)
            here = np.asarray(fuse(views, method, device="cpu").data)
            errors = [evaluate(fused, truth).all.nrmse for fused in (there, here)]
            found[name] = {"largest": float(np.abs(there - here).max() / np.ptp(here)), "nrmse": errors}
    return found


def ebmd(options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of an iteration on whole volumes that lie on the device, as the engine iterates."""
    found: dict[str, Any] = {}
    device = torch.device(options.device)
    for size, rounds in ((32, 4),) if options.small else ((128, 30), (256, 30), (512, 8)):
        views = speckle(options, size)
        dimmed = RegisteredViews(replace(view, transmission=shade(size)) for view in views.views)
        for label, seen, parameters in (
            ("plain", views, {"accelerated": False, "attenuation": "none"}),
            ("accelerated", views, {"attenuation": "none"}),
            ("accelerated, lost light", dimmed, {"attenuation": "given"}),
        ):
            peak_bytes(device)
            taken = iteration_times(seen, EBMD(iterations=_WARM + rounds, **parameters), device)
            found[f"{size}, {label}"] = {"ms": [min(taken), median(taken)], "bytes": peak_bytes(device)}
    return found


def shade(size: int) -> np.ndarray:
    """A transmission that falls along z."""
    return np.broadcast_to(np.linspace(1, 0.5, size, dtype=np.float32)[:, None, None], (size,) * 3)


def iteration_times(views: RegisteredViews, method: EBMD, device: torch.device) -> list[float]:
    """Milliseconds of each iteration over all views but the first few."""
    bound = drain(method.prepare(views, device))
    reader = ViewReader(views, device, keep=True, whole=True)
    taken = []
    began = time.perf_counter()
    for step in stage_results(bound, views, reader, lambda: False):
        if step.iteration:
            wait_for(device)
            taken.append(1000 * (time.perf_counter() - began))
            began = time.perf_counter()
    return taken[_WARM:]


def wait_for(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_bytes(device: torch.device) -> int:
    """Most memory that tensors took on the device since the last call."""
    if device.type != "cuda":
        return 0
    most = int(torch.cuda.max_memory_allocated(device))
    torch.cuda.reset_peak_memory_stats(device)
    return most


def held_bytes(device: torch.device) -> int:
    """Memory that tensors hold on the device now."""
    return int(torch.cuda.memory_allocated(device)) if device.type == "cuda" else 0


def runs(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of whole runs of the engine, the first one and the next, with the memory that they planned and took."""
    found: dict[str, Any] = {}
    device = torch.device(options.device)
    with tempfile.TemporaryDirectory() as folder:
        of = methods(Path(folder))
        for size in (64,) if options.small else (256, 512):
            views = speckle(options, size)
            views.statistics()
            for name in _LARGE if size > 256 else _RUNS:
                figures: dict[str, Any] = {"seconds": []}
                for _ in range(2):
                    peak_bytes(device)
                    for event in fuse_events(views, of[name], device=options.device):
                        if isinstance(event, Prepared):
                            figures |= {"tile": event.tile_shape, "bound": event.memory_bound_bytes}
                        if isinstance(event, Finished):
                            figures["seconds"].append(event.seconds)
                            figures["storage"] = event.fused.recipe["run"]["storage"]
                    figures["peak"] = peak_bytes(device)
                    figures["left"] = held_bytes(device)
                found[f"{name} {size}"] = figures
                print(f"  {name} {size}: {figures}", flush=True)
    return found


def preview(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds until the first and until the full picture of a region: the first, the same again, and another one."""
    size, shape = (64, (32, 48, 48)) if options.small else (256, (32, 128, 128))
    views = speckle(options, size)
    boxes = [Box(triple(n // 4 + turn for n in shape), triple(n // 4 + turn + n for n in shape)) for turn in (0, 4)]
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, method in methods(Path(folder)).items():
            previewer = Previewer(views, torch.device(options.device))
            for turn, box in (("first", boxes[0]), ("again", boxes[0]), ("elsewhere", boxes[1])):
                steps = [(step.label, step.seconds) for step in previewer.run(method, box)]
                found[f"{name}, {turn}"] = {"first picture": steps[0], "full": steps[-1][1]}
    return found


def cancel(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds from the wish to cancel until the run has ended, and the memory of the device that is held then."""
    views = speckle(options, 48 if options.small else 384)
    device = torch.device(options.device)
    found: dict[str, Any] = {}
    for name in ("ebmd", "wiener", "generator"):
        found[name] = {"seconds": cancelled(views, make_method(name), options.device), "left": held_bytes(device)}
    return found


def cancelled(views: RegisteredViews, method: Method, device: str) -> float | None:
    """Seconds that a run goes on after the wish to cancel it, 0.3 s after its tiles have begun; None if it was over."""
    wished: float | None = None

    def wants() -> bool:
        return wished is not None and time.perf_counter() > wished

    for event in fuse_events(views, method, device=device, cancel=wants):
        if isinstance(event, Prepared):
            wished = time.perf_counter() + 0.3
        if isinstance(event, Cancelled):
            assert wished is not None
            return time.perf_counter() - wished
    return None


def training(options: argparse.Namespace) -> dict[str, Any]:
    """Steps a second, supervised from random weights and self-supervised on a view from the shipped ones."""
    found: dict[str, Any] = {}
    minutes = 0.05 if options.small else 0.3
    views, _ = embryo(options, 96 if options.small else 128)
    for name in ("supervised", "supervised, mixed", "self"):
        with tempfile.TemporaryDirectory() as folder:
            if name == "self":
                config = fine_tune_config("self", minutes=minutes, views=[views])
                events = train_events(
                    config,
                    Path(folder) / "run.safetensors",
                    views=[views],
                    start_from="universal",
                    device=options.device,
                )
            else:
                precision = "mixed" if "mixed" in name else "full"
                config = TrainConfig(
                    minutes=minutes, precision=precision, steps=10**6, validation=2, validate_every=10**6
                )
                events = train_events(config, Path(folder) / "run.safetensors", device=options.device)
            began = time.perf_counter()
            *_, last = events
            found[name] = {"steps": last.step, "seconds": last.seconds, "all": time.perf_counter() - began}
            print(f"  {name}: {found[name]}", flush=True)
    return found


PARTS = {part.__name__: part for part in (agreement, ebmd, preview, runs, training, cancel)}


def main() -> None:
    """Run the parts, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--psfs", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="sizes with which a CPU can try the script")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--minutes", type=float, default=60, help="after which no part goes on")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        options.json.write_text(json.dumps(PARTS[options.inside](options)))
        return
    where = torch.device(options.device)
    known: dict[str, Any] = {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(where) if where.type == "cuda" else "CPU",
    }
    end = time.perf_counter() + 60 * options.minutes
    for part in options.only:
        began = time.perf_counter()
        most = max(0.0, min(SECONDS_A_PART, end - began))
        with tempfile.TemporaryDirectory() as folder:
            one = Path(folder) / "part.json"
            words = [sys.executable, __file__, *sys.argv[1:], "--inside", part, "--json", str(one)]
            try:
                done = subprocess.run(words, stderr=subprocess.PIPE, text=True, check=False, timeout=most)
                failed = done.stderr[-3000:] if done.returncode else None
            except subprocess.TimeoutExpired:
                failed = f"not done after {most:.0f} s"
            known[part] = json.loads(one.read_text()) if failed is None else {"failed": failed}
        print(f"{part}, {time.perf_counter() - began:.0f} s: {json.dumps(known[part])}", flush=True)
        options.json.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
