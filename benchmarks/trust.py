"""Whether methods invent anything: views of empty medium and of noise alone, fused with every method.

    python benchmarks/trust.py --psfs FOLDER --size 96 --json trust.json

FOLDER holds psf_ANGLE.tif of four views at 0, 90, 180 and 270 degrees. The views hold even light and its photon noise, at
several numbers of photons, or Gaussian noise about an even level. For each method: the standard deviation of the result and
its largest distance from the mean, both over those of a single view; and the light of the result over that of the views. A
number above 1 in the first two columns stands out of the noise.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.io.psf_files import prepare_psf
from napari_mvfusion.methods import EBMD, make_method
from napari_mvfusion.models import list_models

ANGLES = (0, 90, 180, 270)


def views_of(kind: str, level: float, size: int, psfs: list[np.ndarray], seed: int) -> RegisteredViews:
    """Four views of nothing."""
    rng = np.random.default_rng([seed, int(level)])
    shape = (size,) * 3
    views = []
    for angle, psf in zip(ANGLES, psfs, strict=True):
        pixels = rng.poisson(level, shape) if kind == "photons" else np.maximum(rng.normal(100, level, shape), 0)
        views.append(View(pixels.astype(np.float32), str(angle), psf=psf, angle=angle))
    return RegisteredViews(views)


def main() -> None:
    """Fuse nothing with every method, and say what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--psfs", type=Path, required=True)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    psfs = [prepare_psf(options.psfs / f"psf_{angle}.tif").psf for angle in ANGLES]
    methods = {"average": make_method("average"), "EBMD": make_method("ebmd", **EBMD.presets["Paper"])}
    for entry in list_models():
        if entry.card is not None and entry.card.least_views <= len(ANGLES) <= entry.card.most_views:
            methods[entry.name] = make_method("generator", model=entry.name)
    found = []
    for kind, level in (("photons", 2), ("photons", 20), ("photons", 200), ("gaussian", 10), ("gaussian", 50)):
        views = views_of(kind, level, options.size, psfs, options.seed)
        view = views.read(views.grid.box, [0])[0]
        light = float(np.mean([numbers.mean for numbers in views.statistics()]))
        for name, method in methods.items():
            fused = np.asarray(fuse(views, method).data)
            found.append(
                {
                    "views": f"{kind} {level}",
                    "method": name,
                    "deviation": float(fused.std() / view.std()),
                    "extreme": float(np.abs(fused - fused.mean()).max() / np.abs(view - view.mean()).max()),
                    "light": float(fused.mean(dtype=np.float64)) / light,
                }
            )
            print(
                "{views:14} {method:18} deviation {deviation:.3f}  extreme {extreme:.3f}  light {light:.4f}".format(
                    **found[-1]
                )
            )
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
