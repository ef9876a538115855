"""`universal` against the other methods on families of scenes that it was never trained on.

    python benchmarks/families.py --size 64 --json families.json

A case is a microscope, a scene of it a specimen with PSFs of a family: all of `HELD_OUT` in `simulation/families.py`.
EBMD has, scene by scene, the iterations and the lambda with the least NRMSE over all voxels, found with the truth.
`NRMSE ratio` is the mean NRMSE of `universal` over that of the best classical method of each scene, all voxels /
foreground. `false` is the largest share of voxels that are brighter than a tenth of the specimen where nothing is within 3
voxels. Last, views of even light and its noise: the most extreme point of a result over that of a view.

With --model NAME another model takes the place of `universal`. A run that was stopped goes on with the same --json.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from napari_mvfusion.data.views import RegisteredViews, drain
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.engine.one_tile import stage_results
from napari_mvfusion.engine.view_reader import ViewReader
from napari_mvfusion.measures.quality import evaluate
from napari_mvfusion.methods import make_method
from napari_mvfusion.simulation.family_scenes import Microscope, SceneSetup, record_specimen
from napari_mvfusion.simulation.psf_families import Flaws

ITERATIONS = (6, 12, 24, 48, 96)
LAMBDAS = (0.004, 0.02, 0.1)
# A lambda is given up when its error is this much above its least: more iterations then only add noise.
WORSE = 1.02
QUAD = (0.0, 90.0, 180.0, 270.0)
WRONG = Flaws(width=1.1, tilt=(2.0, -2.0), off_centre=(0.3, -0.3, 0.3), noise=0.003, background=0.001)
DARK, BRIGHT, NEAR = 0.01, 0.1, 7
CLASSICAL = ("average", "CBIF", "EBMD", "wiener")
NOISE = "noise alone"


@dataclass(frozen=True)
class Scene:
    """A specimen and the PSFs it is seen with; `axial` and `lateral` are their full widths in voxels.

    Seeds are those of specimens that fill a good part of a small volume.
    """

    specimen: str
    psfs: str
    axial: float
    lateral: float
    seed: int


SCENES = (
    Scene("cysts", "lattice", 12, 3.5, 4),
    Scene("rods", "astigmatic", 5, 2.5, 15),
    Scene("cysts", "astigmatic", 8, 3, 7),
)


@dataclass(frozen=True)
class Case:
    """A microscope; `wrong` gives methods PSFs that were measured badly."""

    angles: tuple[float, ...] = QUAD
    wrong: bool = False
    microscope: dict[str, Any] = field(default_factory=dict)


CASES = {
    "four views": Case(),
    "two views": Case((0.0, 180.0)),
    "three views": Case((0.0, 120.0, 240.0)),
    "six views": Case(tuple(60.0 * n for n in range(6))),
    "wrong PSFs": Case(wrong=True),
    "spacing 3": Case(microscope={"spacing": 3}),
    "SNR 5": Case(microscope={"snr": 5.0}),
    "attenuation 0.02": Case(microscope={"attenuation": 0.02}),
    "registration 0.5": Case(microscope={"registration": 0.5}),
}


def record(case: Case, scene: Scene, size: int) -> tuple[RegisteredViews, np.ndarray]:
    """The views of a scene with the PSFs that methods get, and the truth."""
    usual = Microscope(
        case.angles,
        psfs=scene.psfs,
        axial=(scene.axial, scene.axial),
        lateral=(scene.lateral, scene.lateral),
        flaws=(WRONG,) * len(case.angles) if case.wrong else (),
        law="pigment",
        attenuation=0.01,
        snr=25.0,
        gain=2.0,
    )
    setup = SceneSetup(scene.specimen, False, replace(usual, **case.microscope))
    made = record_specimen(setup, size, np.random.default_rng(scene.seed))
    return made.views, made.truth


def best_ebmd(views: RegisteredViews, truth: np.ndarray, most: int) -> tuple[np.ndarray, dict[str, float]]:
    """EBMD's volume with the least NRMSE over all voxels, and the iterations and lambda that gave it."""
    device = torch.device("cpu")
    best: tuple[float, np.ndarray, dict[str, float]] = (np.inf, truth, {})
    for lam in LAMBDAS:
        bound = drain(make_method("ebmd", iterations=most, accelerated=False, **{"lambda": lam}).prepare(views, device))
        least = np.inf
        for step in stage_results(bound, views, ViewReader(views, device, keep=True, whole=True), lambda: False):
            if step.iteration in ITERATIONS:
                error = evaluate(step.values.numpy(), truth).all.nrmse
                if error < best[0]:
                    best = (error, step.values.numpy().copy(), {"iterations": step.iteration, "lambda": lam})
                least = min(least, error)
                if error > WORSE * least:
                    break
    return best[1], best[2]


def figures(fused: np.ndarray, truth: np.ndarray, views: RegisteredViews) -> dict[str, float]:
    """NRMSE, the share of light that is kept, and the share of voxels with structure where nothing is."""
    found = evaluate(fused, truth)
    light = float(np.mean([numbers.mean for numbers in views.statistics()]))
    bright = float(np.percentile(truth, 99.5))
    empty = ndimage.maximum_filter(truth, NEAR) <= DARK * bright
    scale = float((fused * truth).sum(dtype=np.float64) / np.square(fused).sum(dtype=np.float64))
    return {
        "all": found.all.nrmse,
        "foreground": found.foreground.nrmse,
        "light": float(fused.mean(dtype=np.float64)) / light,
        "false": float((empty & (fused * scale > BRIGHT * bright)).mean()),
    }


def compute(name: str, known: dict[str, Any], options: argparse.Namespace) -> None:
    """Add what is missing of a case."""
    found = known.setdefault(name, {})
    for scene in SCENES[: options.scenes]:
        key = f"{scene.specimen}, {scene.psfs} {scene.axial:g} x {scene.lateral:g}"
        entries = found.setdefault(key, {})
        wanted = [method for method in (*CLASSICAL, options.model) if method not in entries]
        if not wanted:
            continue
        views, truth = record(CASES[name], scene, options.size)
        for method in wanted:
            began = time.perf_counter()
            more: dict[str, float] = {}
            if method == "EBMD":
                fused, more = best_ebmd(views, truth, options.most_iterations)
            elif method in CLASSICAL:
                fused = np.asarray(fuse(views, make_method(method.lower())).data)
            else:
                fused = np.asarray(fuse(views, make_method("generator", model=method)).data)
            entries[method] = figures(fused, truth, views) | more
            seconds = time.perf_counter() - began
            nrmse = f"{entries[method]['all']:.4f} / {entries[method]['foreground']:.4f}"
            print(f"{name}, {key}, {method}: NRMSE {nrmse}, {seconds:.1f} s", flush=True)
            save(known, options)


def noise_alone(known: dict[str, Any], options: argparse.Namespace) -> None:
    """Views of even light: the most extreme point of the result over that of a view, for faint and for bright light."""
    found = known.setdefault(NOISE, {})
    for snr in (1.5, 4.5, 14.0):
        entries = found.setdefault(f"{snr**2:.0f} photons", {})
        if options.model in entries:
            continue
        microscope = Microscope(QUAD, psfs="lattice", axial=(8.0, 8.0), lateral=(3.0, 3.0), snr=snr)
        rng = np.random.default_rng(9)
        views = record_specimen(SceneSetup("background", True, microscope), options.size, rng).views
        fused = np.asarray(fuse(views, make_method("generator", model=options.model)).data)
        view = views.read(views.grid.box, [0])[0]
        entries[options.model] = float(np.abs(fused - fused.mean()).max() / np.abs(view - view.mean()).max())
        save(known, options)


def save(known: dict[str, Any], options: argparse.Namespace) -> None:
    """Write the figures aside, then into place."""
    aside = options.json.with_suffix(".writing")
    aside.write_text(json.dumps(known, indent=1) + "\n")
    aside.replace(options.json)


def table(known: dict[str, Any], model: str) -> str:
    """All figures as Markdown, means over the scenes."""
    lines = [
        f"| case | average | CBIF | EBMD | wiener | {model} | NRMSE ratio | worst scene | light | false |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, found in known.items():
        scenes = [entries for entries in found.values() if name != NOISE and model in entries]
        if not scenes:
            continue
        cells = [
            " / ".join(f"{np.mean([s[method][part] for s in scenes]):.4f}" for part in ("all", "foreground"))
            for method in (*CLASSICAL, model)
        ]
        ratios, worst = [], []
        for part in ("all", "foreground"):
            best = [min(s[method][part] for method in CLASSICAL) for s in scenes]
            own = [s[model][part] for s in scenes]
            ratios.append(f"{np.mean(own) / np.mean(best):.2f}")
            worst.append(f"{max(np.divide(own, best)):.2f}")
        light = ", ".join(f"{s[model]['light']:.3f}" for s in scenes)
        false = max(s[model]["false"] for s in scenes)
        lines.append(
            f"| {name} | {' | '.join(cells)} | {' / '.join(ratios)} | {' / '.join(worst)} | {light} | {false:.2%} |"
        )
    noise = [f"{name}: {entries[model]:.2f}" for name, entries in known.get(NOISE, {}).items() if model in entries]
    return "\n".join([*lines, "", f"Extremes on noise alone, over those of a view: {', '.join(noise)}."])


def main() -> None:
    """Simulate, fuse, measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--scenes", type=int, default=len(SCENES), help="of each case")
    parser.add_argument("--most-iterations", type=int, default=max(ITERATIONS), help="of EBMD")
    parser.add_argument("--model", default="universal")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--table", action="store_true", help="only print what is known as Markdown")
    options = parser.parse_args()
    known = json.loads(options.json.read_text()) if options.json.exists() else {}
    if not options.table:
        for name in options.cases:
            compute(name, known, options)
        noise_alone(known, options)
    print(table(known, options.model))


if __name__ == "__main__":
    main()
