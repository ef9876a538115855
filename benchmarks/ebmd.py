"""Time of an EBMD iteration against its bare FFTs and against multiview-stitcher.

    python benchmarks/ebmd.py --sizes 128 256 --threads 1 2 --json ebmd.json

Four views of random pixels with 25^3 PSFs. By default the PSFs fill their box, so that nothing of it can be left out;
`--psfs FOLDER` takes the middle of measured ones (psf_0.tif, psf_90.tif, ...), whose margins of zeros make the FFTs
smaller, and direct convolution quicker. For each size and number of threads, iterations and bare FFTs take turns in one
process, on warm caches:

- plain: the same iterations without acceleration
- bare: the 16 transforms of an iteration, 8 `torch.fft.rfftn` and 8 `irfftn`, at the padded sizes that EBMD uses
- multiview-stitcher: `multi_view_deconvolution`, one thread (it has no more), on two small volumes. What every iteration
  costs whatever the size, and what each voxel costs, follow from both; the sum is what the large volume would take.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from multiview_stitcher.fusion.mv_deconv import multi_view_deconvolution

from napari_mvfusion.data.geometry import Triple
from napari_mvfusion.data.views import RegisteredViews, View, drain
from napari_mvfusion.engine.estimate import DeviceBuffer, Estimate, VolumesInTurn
from napari_mvfusion.imaging import good_size, radius_of
from napari_mvfusion.io.psf_files import load_psf
from napari_mvfusion.methods import EBMD
from napari_mvfusion.methods.back_projection import back_projection_kernels
from napari_mvfusion.methods.base import BoundMethod, TileInput

ANGLES = (0, 90, 180, 270)
PSF_SIDE = 25
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Figures:
    """Milliseconds an iteration, the fastest and the median of all rounds."""

    size: int
    threads: int
    ours: tuple[float, float]
    plain: tuple[float, float]
    bare: tuple[float, float]

    @property
    def ratio(self) -> float:
        """Ours over the bare FFTs, of the medians."""
        return self.ours[1] / self.bare[1]


def filling_psfs() -> list[np.ndarray]:
    """Light-sheet-like PSFs, long along the axis of their view, with a little light in every voxel of the box."""
    offsets = np.arange(PSF_SIDE) - PSF_SIDE // 2
    along, across = np.exp(-0.5 * (offsets / 5.5) ** 2), np.exp(-0.5 * (offsets / 1.6) ** 2)
    psfs = []
    for angle in ANGLES:
        profiles = (along, across, across) if angle % 180 == 0 else (across, along, across)
        psf = np.einsum("i,j,k->ijk", *profiles) + 1e-4
        psfs.append(psf / psf.sum())
    return psfs


def measured_psfs(folder: Path) -> list[np.ndarray]:
    """The middle of measured PSFs."""
    psfs = []
    for angle in ANGLES:
        psf = load_psf(folder / f"psf_{angle}.tif").astype(float)
        psf = psf[tuple(slice((n - PSF_SIDE) // 2, (n + PSF_SIDE) // 2) for n in psf.shape)]
        psfs.append(psf / psf.sum())
    return psfs


def padded_sizes(size: int, psfs: list[np.ndarray]) -> list[Triple]:
    """The FFT sizes of the eight convolutions of an iteration."""
    kernels = [*psfs, *back_projection_kernels(psfs, "efficient_bayesian")]
    return [
        (good_size(size + 2 * z), good_size(size + 2 * y), good_size(size + 2 * x))
        for z, y, x in map(radius_of, kernels)
    ]


def views_of(size: int, psfs: list[np.ndarray]) -> RegisteredViews:
    """Views of random pixels: the time does not depend on the picture."""
    rng = np.random.default_rng(1)
    pixels = (100 + 10 * rng.random((size,) * 3, np.float32) for _ in psfs)
    return RegisteredViews([View(p, str(angle), psf=psf) for p, angle, psf in zip(pixels, ANGLES, psfs, strict=True)])


def one_iteration(views: RegisteredViews, bound: BoundMethod) -> Callable[[], None]:
    """An iteration on the whole volume, which goes on from the one before, with all that a run does to its estimate."""
    box = views.grid.box
    pixels = [torch.from_numpy(views.read(box, [v])) for v in range(len(views))]
    stages = bound.stages[1 : len(views) + 1]
    estimate = Estimate(VolumesInTurn(DeviceBuffer), bound.extrapolation_floor)
    for value in (105.0, 105.01):
        estimate.write(box, torch.full(box.shape, value))
        estimate.end_stage(mark=True)
    # Of steps that shrink slowly, so that every iteration begins beyond the last one.
    estimate.recall([1.0, 0.9])

    def iterate() -> None:
        for stage in stages:
            values = bound.run(stage, TileInput(box, box, pixels[stage.views[0]], None, box, estimate.read(box)))
            if stage.iteration:
                estimate.change(box, values)
            estimate.write(box, values)
            estimate.end_stage(mark=stage.iteration > 0)

    return iterate


def bare_transforms(sizes: list[Triple]) -> Callable[[], None]:
    """As many transforms, of the same sizes, and nothing else."""
    volumes = {shape: torch.rand(shape) for shape in set(sizes)}
    spectra = {shape: torch.fft.rfftn(volume) for shape, volume in volumes.items()}

    def transform() -> None:
        for shape in sizes:
            torch.fft.rfftn(volumes[shape])
            torch.fft.irfftn(spectra[shape], s=shape)

    return transform


def in_turns(works: Sequence[Callable[[], None]], rounds: int) -> list[list[float]]:
    """Milliseconds of each, measured in turns after one round to warm up."""
    times: list[list[float]] = [[] for _ in works]
    for turn in range(rounds + 1):
        for function, results in zip(works, times, strict=True):
            started = time.perf_counter()
            function()
            if turn:
                results.append(1000 * (time.perf_counter() - started))
    return times


def measure(size: int, threads: int, psfs: list[np.ndarray], rounds: int) -> Figures:
    """Time one size with one number of threads."""
    torch.set_num_threads(threads)
    views = views_of(size, psfs)
    ways = [
        one_iteration(views, drain(EBMD(iterations=1, accelerated=each).prepare(views, CPU))) for each in (True, False)
    ]
    times = in_turns([*ways, bare_transforms(padded_sizes(size, psfs))], rounds)
    ours, plain, bare = ((min(each), median(each)) for each in times)
    return Figures(size, threads, ours, plain, bare)


def stitcher_seconds(psfs: list[np.ndarray], sizes: list[int]) -> tuple[float, float]:
    """An iteration of multiview-stitcher: seconds whatever the size, and seconds a voxel.

    Making its kernels is left out by choosing the type that needs no convolutions. It skips zeros in a kernel, of which
    this type has as many as the default one.
    """
    torch.set_num_threads(1)
    seconds = []
    for size in sizes:
        views = views_of(size, psfs)
        images = views.read(views.grid.box)
        weights = np.full(images.shape, 1 / len(psfs), np.float32)
        started = time.perf_counter()
        multi_view_deconvolution(images, weights, psfs=psfs, psf_type="INDEPENDENT", n_iterations=1)
        seconds.append(time.perf_counter() - started)
    per_voxel = (seconds[1] - seconds[0]) / (sizes[1] ** 3 - sizes[0] ** 3)
    return seconds[0] - per_voxel * sizes[0] ** 3, per_voxel


def main() -> None:
    """Measure, print a table, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--psfs", type=Path, help="folder with psf_0.tif, psf_90.tif, psf_180.tif and psf_270.tif")
    parser.add_argument("--rounds", type=int, default=9, help="measurements of each, of which the median is taken")
    parser.add_argument("--stitcher-sizes", type=int, nargs=2, default=[24, 64], help="volumes of multiview-stitcher")
    parser.add_argument("--no-stitcher", action="store_true", help="leave out multiview-stitcher, which takes a minute")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()

    psfs = measured_psfs(options.psfs) if options.psfs else filling_psfs()
    print(f"{'size':>4} {'threads':>7} {'ours ms':>8} {'plain ms':>8} {'bare ms':>8} {'ours/bare':>9}   padded sizes")
    figures = []
    for size in options.sizes:
        for threads in options.threads:
            figures.append(measure(size, threads, psfs, options.rounds))
            row, sizes = figures[-1], sorted(set(padded_sizes(size, psfs)))
            times = " ".join(f"{each[1]:8.0f}" for each in (row.ours, row.plain, row.bare))
            print(f"{size:4} {threads:7} {times} {row.ratio:9.2f}   {sizes}", flush=True)

    fixed, per_voxel = (None, None) if options.no_stitcher else stitcher_seconds(psfs, options.stitcher_sizes)
    if fixed is not None and per_voxel is not None:
        print(f"\nmultiview-stitcher, an iteration: {fixed:.1f} s and {1e6 * per_voxel:.1f} us a voxel")
        for row in figures:
            theirs = fixed + per_voxel * row.size**3
            print(f"{row.size:4} {row.threads:7} {theirs:8.0f} s, {1000 * theirs / row.ours[1]:6.0f} times ours")
    if options.json:
        report = {
            "machine": platform.processor() or platform.machine(),
            "torch": torch.__version__,
            "psfs": str(options.psfs.name if options.psfs else "filling 25^3"),
            "rounds": options.rounds,
            "rows": [asdict(row) | {"ratio": row.ratio} for row in figures],
            "stitcher_fixed_seconds": fixed,
            "stitcher_seconds_per_voxel": per_voxel,
        }
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
