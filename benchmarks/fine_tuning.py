"""What fine-tuning on one's own views does to the figures, with PSFs unlike those that the shipped generator knows.

    python benchmarks/fine_tuning.py --psfs QUAD --two-view-psfs TWO --json fine_tuning.json [--minutes 5]

QUAD holds psf_ANGLE.tif of four views (0, 90, 180 and 270 degrees), TWO those of two (0 and 180). A specimen is recorded
with them, turned or widened as the case says; the shipped generator is trained on these views alone, as the widget
does it; the specimen's truth is used for the figures only. With --sharp N, the truths of N other specimens are learned from
too (semi-supervised).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.methods import LearnedFusion
from napari_mvfusion.psf import crop_psf, resample_psf
from napari_mvfusion.simulation import PHANTOMS, simulate
from napari_mvfusion.training import train_events
from napari_mvfusion.training.presets import fine_tune_config
from napari_mvfusion.training.training_events import Started, StepDone, Trained, Validated
from napari_mvfusion.training.verdict import judge
from quality import FIGURES, QUAD, measured_psf, scores

ENERGY = 0.999
_OTHERS = 70


def out_of_plane(psf: np.ndarray) -> np.ndarray:
    """Turn a PSF by 45 degrees about y: its axis leaves the plane in which all training PSFs lie."""
    c = s = np.sqrt(0.5)
    return resample_psf(psf, np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]))


def wider(psf: np.ndarray) -> np.ndarray:
    """Widen a PSF 1.8 times: its axis is then longer than any in training."""
    return resample_psf(psf, np.eye(3) * 1.8)


def same(psf: np.ndarray) -> np.ndarray:
    """Leave a PSF as it was measured."""
    return psf


@dataclass(frozen=True)
class Case:
    """A specimen, and what is done to the measured PSFs that it is recorded with."""

    phantom: str = "embryo"
    size: int = 128
    angles: tuple[float, ...] = QUAD
    change: Callable[[np.ndarray], np.ndarray] = same
    microscope: dict[str, Any] = field(default_factory=dict)


CASES = {
    "tilted": Case(change=out_of_plane),
    "wide": Case(change=wider),
    "diagonal": Case(angles=(45.0, 135.0, 225.0, 315.0)),
    "noisy": Case(change=out_of_plane, microscope={"snr": 8}),
    "measured": Case(),
    "nuclei": Case("nuclei", 64, (0.0, 180.0)),
}


def record(case: Case, seed: int, size: int, options: argparse.Namespace) -> tuple[RegisteredViews, np.ndarray]:
    """The views of a specimen, and the truth."""
    psfs = []
    for angle in case.angles:
        psf = crop_psf(np.maximum(case.change(measured_psf(case.phantom, angle, options)), 0), ENERGY)
        psfs.append(np.asarray(psf / psf.sum(dtype=np.float64), np.float32))
    rng = np.random.default_rng(seed)
    made = simulate(PHANTOMS[case.phantom](size, rng), case.angles, psfs, rng=rng, **case.microscope)
    return made.views, made.truth


def figures(views: RegisteredViews, truth: np.ndarray, model: str) -> dict[str, Any]:
    """Figures of the volume that a model fuses."""
    return scores(np.asarray(fuse(views, LearnedFusion(model=model)).data), truth, views)


def others(case: Case, size: int, count: int) -> list[np.ndarray]:
    """Sharp volumes of other specimens of the kind."""
    return [PHANTOMS[case.phantom](size, np.random.default_rng(_OTHERS + n)) for n in range(count)]


def fine_tune(
    views: RegisteredViews, sharp: Sequence[np.ndarray], out: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Train as the widget does; what the run said of itself."""
    mode = "semi" if sharp else "self"
    config = fine_tune_config(mode, minutes=options.minutes, views=[views], seed=options.seed, **options.changes)
    began = time.perf_counter()
    found: dict[str, Any] = {"scores": []}
    for event in train_events(config, out, views=[views], sharp=sharp, start_from=options.model):
        match event:
            case Started():
                pass
            case StepDone(step=1):
                found["preparation"] = time.perf_counter() - began
            case Validated(step=step, figures=values, best=best):
                found["scores"].append({"step": step, **values, "best": best})
                if step == 0:
                    first = kept = values
                if best:
                    kept = values
                print(
                    f"  step {step}: {', '.join(f'{k} {v:.4f}' for k, v in values.items())} {'best' * best}", flush=True
                )
            case Trained(step, _, _, seconds):
                found |= {"steps": step, "seconds": seconds}
    return found | {"verdict": judge(first, kept).sentence}


def main() -> None:
    """Simulate, fuse, train, fuse again, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--psfs", type=Path, required=True)
    parser.add_argument("--two-view-psfs", type=Path, required=True)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--model", default="universal")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sharp", type=int, default=0, help="how many other specimens are known sharp")
    parser.add_argument("--size", type=int, help="of the volumes, instead of the case's own")
    parser.add_argument("--changes", type=json.loads, default={}, help="other parameters of the run, as JSON")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    known = json.loads(options.json.read_text()) if options.json.exists() else {}
    for name in options.cases:
        case = CASES[name]
        size = options.size or case.size
        views, truth = record(case, 7, size, options)
        sharp = others(case, size, options.sharp)
        print(f"{name}, {' x '.join(map(str, truth.shape))}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "tuned.safetensors"
            before = figures(views, truth, options.model)
            run = fine_tune(views, sharp, out, options)
            after = figures(views, truth, str(out))
        known[name] = {"before": before, "after": after, "run": run}
        for part in ("all", "foreground"):
            words = [f"{key} {before[part][key]:.4f} to {after[part][key]:.4f}" for key in FIGURES]
            print(f"  {part}: {', '.join(words)}")
        print(f"  light {before['light']:.3f} to {after['light']:.3f}; {run['verdict']}", flush=True)
        aside = options.json.with_suffix(".writing")
        aside.write_text(json.dumps(known, indent=1) + "\n")
        aside.replace(options.json)


if __name__ == "__main__":
    main()
