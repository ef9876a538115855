"""Whether allowing for lost light helps, also where the transmission is wrong, and whether it harms where none is lost.

    python benchmarks/attenuation.py --psfs FOLDER --phantoms embryo nuclei --views 2 4 6 --size 64

FOLDER holds psf_ANGLE.tif of four views at 0, 90, 180 and 270 degrees; of other angles the PSF of view 0 is turned. The
specimen takes so much light that 0.70 of it is left on average, or none. Each method fuses with attenuation none, with the
estimated transmission, and with that wrong by 30 % in its exponent. NRMSE over all voxels / the foreground.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy import optimize

from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.io.psf_files import prepare_psf
from napari_mvfusion.measures.attenuation import find_transmission
from napari_mvfusion.measures.quality import evaluate
from napari_mvfusion.methods import make_method
from napari_mvfusion.psf import rotate_psf
from napari_mvfusion.simulation import PHANTOMS, sample
from napari_mvfusion.simulation.recording import attenuate_at

ANGLES = {2: (0, 180), 4: (0, 90, 180, 270), 6: (0, 60, 120, 180, 240, 300)}
PASSED = 0.70
PHOTONS = (1000, 100)
EXPONENTS = (1.0, 0.7, 1.3)
SEED = 1
# The simulator counts absorption for a specimen of this many voxels.
REFERENCE_SIZE = 289


def dose(truth: np.ndarray, angles: tuple[int, ...]) -> float:
    """The absorption that leaves `PASSED` of the light of a specimen, mean over the views."""
    unit = truth / truth.max()

    def passed(absorption: float) -> float:
        per_voxel = absorption * REFERENCE_SIZE / truth.shape[1]
        left = [attenuate_at(unit, angle, per_voxel).sum(dtype=np.float64) for angle in angles]
        return float(np.mean(left) / unit.sum(dtype=np.float64))

    return float(optimize.brentq(lambda absorption: passed(absorption) - PASSED, 0, 0.5))


def wrong_by(views: RegisteredViews, exponent: float) -> RegisteredViews:
    """The views with the estimated transmission to a power, as it is given."""
    found = find_transmission(views)
    if found is None:
        light = np.ones((len(views), *views.grid.shape), np.float32)
    else:
        light = found.over(views.grid.box, torch.device("cpu")).numpy() ** np.float32(exponent)
    given = [replace(view, transmission=one) for view, one in zip(views.views, light, strict=True)]
    return RegisteredViews(given, views.grid)


def main() -> None:
    """Print a row of a table for each case and method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--psfs", type=Path, required=True)
    parser.add_argument("--phantoms", nargs="+", default=["embryo", "nuclei"], choices=sorted(PHANTOMS))
    parser.add_argument("--views", nargs="+", type=int, default=[2, 4, 6], choices=sorted(ANGLES))
    parser.add_argument("--methods", nargs="+", default=["average", "cbif", "wiener", "ebmd"])
    parser.add_argument("--size", type=int, default=64)
    options = parser.parse_args()
    measured = {angle: prepare_psf(options.psfs / f"psf_{angle}.tif").psf for angle in ANGLES[4]}
    print("| specimen, views, absorption, photons | method | none | estimated | exponent 0.7 | exponent 1.3 |")
    print("|---|---|---|---|---|---|")
    for phantom in options.phantoms:
        for count in options.views:
            angles = ANGLES[count]
            psfs = [measured[a] if a in measured else rotate_psf(measured[0], a) for a in angles]
            absorbed = dose(sample(phantom, options.size, SEED, angles=angles, psfs=psfs).truth, angles)
            for absorption in (0.0, absorbed):
                for photons in PHOTONS:
                    made = sample(
                        phantom,
                        options.size,
                        SEED,
                        angles=angles,
                        psfs=psfs,
                        attenuation=absorption,
                        snr=photons**0.5,
                    )
                    made.views.statistics()
                    cases = [("none", made.views)]
                    cases += [("given", wrong_by(made.views, exponent)) for exponent in EXPONENTS]
                    for name in options.methods:
                        cells = []
                        for attenuation, views in cases:
                            fused = fuse(views, make_method(name, attenuation=attenuation), device="cpu").data
                            scores = evaluate(np.asarray(fused), made.truth)
                            cells.append(f"{scores.all.nrmse:.4f} / {scores.foreground.nrmse:.4f}")
                        about = f"{phantom}, {count}, {absorption:.4f}, {photons}"
                        print(f"| {about} | {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
