"""What it gains to estimate how much light views lost, where half of it is lost on the far side, and costs where none is.

    python benchmarks/lost_light.py --psfs FOLDER --phantoms embryo nuclei --views 4 --size 64 --seeds 1 2 3

FOLDER holds psf_ANGLE.tif of the views, four at 0, 90, 180 and 270 degrees or two at 0 and 180. The tenth of the light of a
specimen (`--far`) that is dimmed most keeps half of it, mean over the views; or nothing is lost. Each method fuses with
attenuation none, estimated, and given the true transmission, which is all that there is to be known. NRMSE over all voxels,
mean over the seeds, the change from none to estimated, and that of the worst seed.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import optimize

from attenuation import ANGLES, REFERENCE_SIZE
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.io.psf_files import prepare_psf
from napari_mvfusion.measures.quality import evaluate
from napari_mvfusion.methods import make_method
from napari_mvfusion.simulation import PHANTOMS, sample
from napari_mvfusion.simulation.recording import attenuate_at

LEFT = 0.5
CHOICES = ("none", "estimated", "given")
# Below the brightness of any structure: where there is no light, transmissions are told too.
FAINT = np.float32(1e-6)


def dimmed(unit: np.ndarray, angle: float, absorption: float) -> np.ndarray:
    """A specimen whose brightest voxel is 1 as a view at an angle gets its light."""
    return attenuate_at(unit, angle, absorption * REFERENCE_SIZE / unit.shape[1])


def left_on_the_far_side(unit: np.ndarray, angle: float, absorption: float, share: float) -> float:
    """Light that is left of the share of a specimen that is dimmed most, as a view at an angle sees it, 0 to 1."""
    seen = dimmed(unit, angle, absorption)
    light, left = unit[unit > 0].astype(np.float64), seen[unit > 0].astype(np.float64)
    order = np.argsort(left / light)
    far = order[np.cumsum(light[order]) <= share * light.sum()]
    return float(left[far].sum() / light[far].sum())


def dose(truth: np.ndarray, angles: Sequence[float], share: float) -> float:
    """The absorption that leaves `LEFT` of the light of the share of a specimen on the far side, mean over the views."""
    unit = truth / truth.max()

    def left(absorption: float) -> float:
        return float(np.mean([left_on_the_far_side(unit, angle, absorption, share) for angle in angles]))

    return float(optimize.brentq(lambda absorption: left(absorption) - LEFT, 0, 0.5, xtol=1e-4))


def with_true_transmission(views: RegisteredViews, truth: np.ndarray, absorption: float) -> RegisteredViews:
    """The views, each with the share of the light of each voxel that reached it."""
    unit = truth / truth.max() + FAINT
    light = [dimmed(unit, view.angle or 0.0, absorption) / unit for view in views.views]
    return RegisteredViews(
        [replace(v, transmission=one) for v, one in zip(views.views, light, strict=True)], views.grid
    )


def errors_of(views: RegisteredViews, truth: np.ndarray, method: str) -> list[float]:
    """NRMSE with each of `CHOICES`."""
    found = []
    for attenuation in CHOICES:
        with warnings.catch_warnings():
            # What is given is not used each time, which is meant here.
            warnings.filterwarnings("ignore", "transmissions were given", UserWarning)
            fused = fuse(views, make_method(method, attenuation=attenuation), device="cpu").data
        found.append(evaluate(np.asarray(fused), truth).all.nrmse)
    return found


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
    parser.add_argument("--far", type=float, default=0.1, help="share of the light of a specimen that keeps half")
    options = parser.parse_args()
    angles = ANGLES[options.views]
    how = {"angles": angles, "psfs": [prepare_psf(options.psfs / f"psf_{angle}.tif").psf for angle in angles]}
    print("| specimen, size, views, photons, light | method | none | estimated | true | change | worst seed |")
    print("|---|---|---|---|---|---|---|")
    for phantom in options.phantoms:
        truths = [sample(phantom, options.size, seed, **how).truth for seed in options.seeds]
        doses = [dose(truth, angles, options.far) for truth in truths]
        for light, absorptions in (("half lost", doses), ("none lost", [0.0] * len(doses))):
            for photons in options.photons:
                found = np.zeros((len(options.methods), len(options.seeds), len(CHOICES)))
                for s, (seed, absorption) in enumerate(zip(options.seeds, absorptions, strict=True)):
                    made = sample(phantom, options.size, seed, attenuation=absorption, snr=photons**0.5, **how)
                    views = with_true_transmission(made.views, made.truth, absorption)
                    views.statistics()
                    for m, name in enumerate(options.methods):
                        found[m, s] = errors_of(views, made.truth, name)
                for name, errors in zip(options.methods, found, strict=True):
                    none, estimated, true = errors.mean(axis=0)
                    worst = (errors[:, 1] / errors[:, 0]).max() - 1
                    case = f"{phantom}, {options.size}, {options.views}, {photons:g}, {light}"
                    numbers = f"{none:.4f} | {estimated:.4f} | {true:.4f} | {estimated / none - 1:+.1%} | {worst:+.1%}"
                    print(f"| {case} | {name} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
