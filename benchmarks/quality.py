"""Quality of the methods on simulated specimens blurred with measured PSFs, and a picture of the first one.

    python benchmarks/quality.py --psfs FOLDER --size 128 --seeds 0 1 2 --json FILE --picture FILE.png

FOLDER holds psf_ANGLE.tif of the four views 0, 90, 180 and 270. The case is that of the published table: spacing 1,
SNR 25, EBMD with 48 iterations and lambda 0.004.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from napari_mvfusion.comparison import comparison_figure, save_comparison
from napari_mvfusion.fusion import fuse
from napari_mvfusion.geometry import Grid
from napari_mvfusion.methods import make_method
from napari_mvfusion.psf import prepare_psf
from napari_mvfusion.quality import Metrics, evaluate
from napari_mvfusion.simulation import PHANTOMS, simulate
from napari_mvfusion.views import VolumeLike

ANGLES = (0, 90, 180, 270)


def volumes_of(seed: int, size: int, options: argparse.Namespace) -> tuple[dict[str, VolumeLike], np.ndarray]:
    """The truth, view 0 and every method's result for one specimen."""
    rng = np.random.default_rng(seed)
    psfs = [prepare_psf(options.psfs / f"psf_{angle}.tif").psf for angle in ANGLES]
    made = simulate(PHANTOMS["embryo"](size, rng), ANGLES, psfs, snr=options.snr, spacing=options.spacing, rng=rng)
    results: dict[str, VolumeLike] = {
        f"view {made.views.names[v]}": made.views.read(made.views.grid.box, [v])[0] for v in (0, 1)
    }
    for name, parameters in {
        "average": {},
        "cbif": {},
        "ebmd": {"iterations": options.iterations, "lambda": options.lam},
    }.items():
        started = time.perf_counter()
        results[name] = fuse(made.views, make_method(name, **parameters)).data
        print(f"seed {seed}: {name} in {time.perf_counter() - started:.1f} s", flush=True)
    return results, made.truth


def main() -> None:
    """Simulate, fuse, measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--psfs", type=Path, required=True)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--snr", type=float, default=25.0)
    parser.add_argument("--spacing", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=48)
    parser.add_argument("--lam", type=float, default=0.004)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    scores: dict[str, list[Metrics]] = {}
    for number, seed in enumerate(options.seeds):
        results, truth = volumes_of(seed, options.size, options)
        for name, volume in results.items():
            scores.setdefault(name, []).append(evaluate(volume, truth))
        if number == 0 and options.picture:
            captions = {name: f"NRMSE {scores[name][0].all.nrmse:.3f}" for name in results}
            picture = comparison_figure({"truth": truth, **results}, Grid(truth.shape), captions=captions)
            save_comparison(picture, options.picture)
    figures = {}
    print("all / foreground, mean over the seeds")
    for name, metrics in scores.items():
        figures[name] = {
            part: {
                key: float(np.mean([getattr(getattr(m, part), key) for m in metrics]))
                for key in ("nrmse", "psnr", "ssim", "cc")
            }
            for part in ("all", "foreground")
        }
        cells = [
            f"{figures[name]['all'][key]:.3f} / {figures[name]['foreground'][key]:.3f}" for key in figures[name]["all"]
        ]
        print(f"{name:10}" + "".join(f"{cell:>18}" for cell in cells))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
