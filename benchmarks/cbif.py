"""CBIF with Gaussian weights against multiview-stitcher's content-based weights, and the picture that both give.

    python benchmarks/cbif.py --size 256 --repeat 3 --json FILE

Ours is all of it: weights and the weighted mean. Theirs is the weights alone, with the same sigmas. Four views of smooth
noise; the same process, one after the other.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from multiview_stitcher.weights import content_based
from scipy import ndimage

from napari_mvfusion.data.geometry import Box
from napari_mvfusion.data.views import RegisteredViews, View, drain
from napari_mvfusion.methods import CBIF
from napari_mvfusion.methods.base import TileInput

SIGMA1, SIGMA2 = 20.0, 40.0


def median_seconds(work: Callable[[], object], repeat: int) -> float:
    """Median of the wall times of some runs."""
    times = []
    for _ in range(repeat):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    """Measure, compare, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rng = np.random.default_rng(0)
    shape = (options.size,) * 3
    ramp = np.linspace(0.2, 1, options.size, dtype=np.float32)
    pixels = np.stack(
        [ndimage.gaussian_filter(rng.random(shape, np.float32), 1 + v) * ramp for v in range(options.views)]
    )
    views = RegisteredViews([View(view, str(v)) for v, view in enumerate(pixels)])
    views.statistics()
    whole = Box.whole(shape)
    method = CBIF(sigma1=SIGMA1, sigma2=SIGMA2)
    stack = torch.from_numpy(pixels)

    def ours() -> np.ndarray:
        bound = drain(method.prepare(views, torch.device("cpu")))
        return bound.run(bound.stages[0], TileInput(whole, whole, stack, None, None, None)).numpy()

    ones = np.ones_like(pixels)

    def theirs() -> np.ndarray:
        return content_based(pixels.copy(), ones, sigma_1=SIGMA1, sigma_2=SIGMA2)

    ours()
    mine = median_seconds(ours, options.repeat)
    other = median_seconds(theirs, max(1, options.repeat // 3))
    weights = theirs()
    expected = (weights * pixels).sum(axis=0) / weights.sum(axis=0)
    inner = (slice(20, -20),) * 3
    difference = float(np.abs(ours() - expected)[inner].max() / np.ptp(expected))
    figures = {
        "size": options.size,
        "views": options.views,
        "threads": options.threads,
        "ours_seconds": mine,
        "multiview_stitcher_weights_seconds": other,
        "times_faster": other / mine,
        "largest_difference_over_range_away_from_borders": difference,
    }
    for key, value in figures.items():
        print(f"{key:50} {value:.4g}" if isinstance(value, float) else f"{key:50} {value}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
