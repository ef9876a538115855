"""What it gains to estimate how much light views lost, where half of it is lost on the far side, and costs where none is.

    python benchmarks/lost_light.py --psfs FOLDER --phantoms embryo nuclei --views 4 --size 64 --seeds 1 2 3

FOLDER holds psf_ANGLE.tif of four views at 0, 90, 180 and 270 degrees. The tenth of the light of a specimen that is dimmed
most keeps half of it, mean over the views; or nothing is lost. Each method fuses with attenuation none and estimated. NRMSE
over all voxels, mean over the seeds, and the change of the worst seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import optimize

from attenuation import ANGLES, REFERENCE_SIZE
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.io.psf_files import prepare_psf
from napari_mvfusion.measures.quality import evaluate
from napari_mvfusion.methods import make_method
from napari_mvfusion.simulation import PHANTOMS, sample
from napari_mvfusion.simulation.recording import attenuate_at

LEFT = 0.5
FAR = 0.1
CHOICES = ("none", "estimated")


def left_on_the_far_side(unit: np.ndarray, angle: float, per_voxel: float) -> float:
    """Share of the light that is left of the tenth of a specimen that is dimmed most, as a view at an angle sees it."""
    seen = attenuate_at(unit, angle, per_voxel)
    light, left = unit[unit > 0].astype(np.float64), seen[unit > 0].astype(np.float64)
    order = np.argsort(left / light)
    far = order[np.cumsum(light[order]) <= FAR * light.sum()]
    return float(left[far].sum() / light[far].sum())


def dose(truth: np.ndarray, angles: Sequence[float]) -> float:
    """The absorption that leaves `LEFT` of the light on the far side, mean over the views."""
    unit = truth / truth.max()

    def left(absorption: float) -> float:
        per_voxel = absorption * REFERENCE_SIZE / truth.shape[1]
        return float(np.mean([left_on_the_far_side(unit, angle, per_voxel) for angle in angles]))

    return float(optimize.brentq(lambda absorption: left(absorption) - LEFT, 0, 0.5, xtol=1e-4))


def main() -> None:
    """Print a row of a table for each specimen, light and method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--psfs", type=Path, required=True)
    parser.add_argument("--phantoms", nargs="+", default=["embryo", "nuclei"], choices=sorted(PHANTOMS))
    parser.add_argument("--views", type=int, default=4, choices=(2, 4))
    parser.add_argument("--methods", nargs="+", default=["ebmd", "wiener"])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--photons", type=float, nargs="+", default=[1000, 100])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options = parser.parse_args()
    angles = ANGLES[options.views]
    psfs = [prepare_psf(options.psfs / f"psf_{angle}.tif").psf for angle in angles]
    print("| specimen, size, views, photons, light | method | none | estimated | change | worst seed |")
    print("|---|---|---|---|---|---|")
    for phantom in options.phantoms:
        truths = [sample(phantom, options.size, seed, angles=angles, psfs=psfs).truth for seed in options.seeds]
        doses = [dose(truth, angles) for truth in truths]
        for lost in (True, False):
            for photons in options.photons:
                errors = np.zeros((len(options.methods), len(options.seeds), 2))
                for s, seed in enumerate(options.seeds):
                    absorption = doses[s] if lost else 0.0
                    how = {"angles": angles, "psfs": psfs, "attenuation": absorption, "snr": photons**0.5}
                    made = sample(phantom, options.size, seed, **how)
                    made.views.statistics()
                    for m, name in enumerate(options.methods):
                        for c, attenuation in enumerate(CHOICES):
                            fused = fuse(made.views, make_method(name, attenuation=attenuation), device="cpu").data
                            errors[m, s, c] = evaluate(np.asarray(fused), made.truth).all.nrmse
                case = (
                    f"{phantom}, {options.size}, {options.views}, {photons:g}, {'half lost' if lost else 'none lost'}"
                )
                for name, found in zip(options.methods, errors, strict=True):
                    none, estimated = found.mean(axis=0)
                    worst = (found[:, 1] / found[:, 0]).max() - 1
                    change = estimated / none - 1
                    print(
                        f"| {case} | {name} | {none:.4f} | {estimated:.4f} | {change:+.1%} | {worst:+.1%} |", flush=True
                    )


if __name__ == "__main__":
    main()
