"""Quality of the methods on simulated specimens that are blurred with measured PSFs.

    python benchmarks/quality.py --psfs QUAD --two-view-psfs TWO --json quality.json [--cases embryo nuclei ...]
    python benchmarks/quality.py --psfs QUAD --two-view-psfs TWO --json quality.json --as-they-come
    python benchmarks/quality.py --psfs QUAD --two-view-psfs TWO --json quality.json --table

QUAD holds psf_ANGLE.tif of four views (0, 90, 180 and 270 degrees), TWO those of two (0 and 180). Views at other angles
get the PSF of view 0, turned. EBMD runs with every lambda and number of iterations of a grid on the first specimen; the
combination with the least NRMSE over all voxels is used for all of them. With `--as-they-come` only EBMD, `wiener` and
`universal` run, with what they take by default, in a table of their own. What stands in the JSON file is not computed
again, so a run can be cut short and models can be added.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import RegisteredViews, drain
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.engine.one_tile import stage_results
from napari_mvfusion.engine.view_reader import ViewReader
from napari_mvfusion.io.psf_files import prepare_psf
from napari_mvfusion.measures.comparison import comparison_figure, save_comparison
from napari_mvfusion.measures.metric import Measured
from napari_mvfusion.measures.metrics import METRICS, PARTS, measure
from napari_mvfusion.measures.quality import evaluate
from napari_mvfusion.measures.residuals import reprojection
from napari_mvfusion.methods import EBMD, LearnedFusion, make_method
from napari_mvfusion.models import list_models
from napari_mvfusion.psf import resample_psf, rotate_psf
from napari_mvfusion.simulation import PHANTOMS, simulate
from napari_mvfusion.training.chi_square import reduced_chi_square

ITERATIONS = (6, 12, 24, 48, 96, 192)
LAMBDAS = (0.004, 0.02, 0.1)
# A lambda is given up when its error is this much above its least: more iterations then only add noise.
WORSE = 1.02
FIGURES = tuple(metric.name for metric in METRICS if metric.needs == "truth")
AS_THEY_COME = ("ebmd", "wiener", "generator")
QUAD = (0.0, 90.0, 180.0, 270.0)


@dataclass(frozen=True)
class Case:
    """A specimen and a microscope; `width` is how much too wide the PSFs are that methods get."""

    phantom: str = "embryo"
    size: int = 96
    angles: tuple[float, ...] = QUAD
    width: float = 1.0
    microscope: dict[str, Any] = field(default_factory=dict)


CASES = {
    "embryo": Case(size=128),
    "nuclei": Case("nuclei", 64, (0.0, 180.0)),
    "spacing 3": Case(microscope={"spacing": 3}),
    "SNR 5": Case(microscope={"snr": 5}),
    "SNR 50": Case(microscope={"snr": 50}),
    "attenuation 0": Case(microscope={"attenuation": 0.0}),
    "attenuation 0.02": Case(microscope={"attenuation": 0.02}),
    "PSFs 10 % too wide": Case(width=1.1),
    "PSFs 10 % too narrow": Case(width=0.9),
    "three views": Case(angles=(0.0, 120.0, 240.0)),
    "six views": Case(angles=(0.0, 60.0, 120.0, 180.0, 240.0, 300.0)),
}


def record(case: Case, seed: int, options: argparse.Namespace) -> tuple[RegisteredViews, np.ndarray]:
    """The views of a specimen with the PSFs that methods get, and the truth."""
    rng = np.random.default_rng(seed)
    psfs = [measured_psf(case.phantom, angle, options) for angle in case.angles]
    made = simulate(PHANTOMS[case.phantom](case.size, rng), case.angles, psfs, rng=rng, **case.microscope)
    if case.width == 1:
        return made.views, made.truth
    return made.views.with_psfs([resample_psf(psf, np.eye(3) * case.width) for psf in psfs]), made.truth


def measured_psf(phantom: str, angle: float, options: argparse.Namespace) -> np.ndarray:
    """The measured PSF of a view, or that of view 0 turned to its angle."""
    folder = options.two_view_psfs if phantom == "nuclei" else options.psfs
    path = folder / f"psf_{angle:g}.tif"
    if path.exists():
        return prepare_psf(path).psf
    return rotate_psf(prepare_psf(folder / "psf_0.tif").psf, angle)


def scores(fused: Any, truth: np.ndarray, views: RegisteredViews) -> dict[str, Any]:
    """Figures of a fused volume against the truth, and what needs none."""
    found = measure(Measured(fused, truth=truth), "truth")
    light = float(np.mean([numbers.mean for numbers in views.statistics()]))
    return {part: {key: found[key][part] for key in FIGURES} for part in PARTS} | {
        "residual": float(np.mean([one.rms for one in reprojection(fused, views, attenuation=False)])),
        "root_chi_square": reduced_chi_square([fused], views)[0].residual,
        "light": float(np.asarray(fused).mean(dtype=np.float64)) / light,
    }


def tune_ebmd(views: RegisteredViews, truth: np.ndarray, most: int) -> dict[str, float]:
    """The number of iterations, up to the most, and the lambda with the least NRMSE over all voxels."""
    device = torch.device("cpu")
    best: tuple[float, dict[str, float]] = (np.inf, {})
    for lam in LAMBDAS:
        method = make_method("ebmd", iterations=most, accelerated=False, **{"lambda": lam})
        bound = drain(method.prepare(views, device))
        least = np.inf
        for step in stage_results(bound, views, ViewReader(views, device, keep=True, whole=True), lambda: False):
            if step.iteration in ITERATIONS:
                error = evaluate(step.values.numpy(), truth).all.nrmse
                best = min(best, (error, {"iterations": step.iteration, "lambda": lam}), key=lambda found: found[0])
                least = min(least, error)
                if error > WORSE * least:
                    break
    return best[1]


def methods_of(case: Case, tuned: dict[str, float]) -> dict[str, Callable[[RegisteredViews], Any]]:
    """How every method is run."""

    def run(name: str, **parameters: Any) -> Callable[[RegisteredViews], Any]:
        return lambda views: np.asarray(fuse(views, make_method(name, **parameters)).data)

    methods = {
        "view 0": lambda views: views.read(views.grid.box, [0])[0],
        "average": run("average"),
        "CBIF": run("cbif"),
        "wiener": run("wiener"),
        "EBMD": run(EBMD.name, accelerated=False, **tuned),
        "EBMD, as it comes": run(EBMD.name),
    }
    for entry in list_models():
        card = entry.card
        if card is None or not card.least_views <= len(case.angles) <= card.most_views:
            continue
        if card.angles is None or set(card.angles) == set(case.angles):
            methods[entry.name] = run(LearnedFusion.name, model=entry.name)
    return methods


def compute_as_they_come(name: str, known: dict[str, Any], options: argparse.Namespace) -> None:
    """Add what is missing of a case of the methods that nobody tunes."""
    found = known.setdefault(f"{name}, as they come", {})
    for seed in options.seeds:
        views, truth = record(CASES[name], seed, options)
        for method in AS_THEY_COME:
            entries = found.setdefault(method, {})
            if str(seed) not in entries:
                started = time.perf_counter()
                error = evaluate(np.asarray(fuse(views, make_method(method), device="cpu").data), truth)
                seconds = time.perf_counter() - started
                entries[str(seed)] = {"all": error.all.nrmse, "foreground": error.foreground.nrmse, "seconds": seconds}
                for figure in ("psnr", "ssim", "cc"):
                    entries[str(seed)][figure] = [getattr(part, figure) for part in (error.all, error.foreground)]
                print(f"{name}, seed {seed}, {method}: {entries[str(seed)]}", flush=True)
                save(known, options)


def table_as_they_come(known: dict[str, Any]) -> str:
    """Means over the specimens, all voxels / foreground, as Markdown; ratios are those of the means."""
    lines = ["| case | EBMD | `wiener` | `universal` | `universal` / the better of both |", "|---|---|---|---|---|"]
    for case, found in known.items():
        if "tuned" in found:
            continue
        means = {
            method: [float(np.mean([one[part] for one in entries.values()])) for part in ("all", "foreground")]
            for method, entries in found.items()
        }
        best = [min(means["ebmd"][part], means["wiener"][part]) for part in (0, 1)]
        ratios = " / ".join(f"{own / other:.2f}" for own, other in zip(means["generator"], best, strict=True))
        cells = [f"{means[method][0]:.4f} / {means[method][1]:.4f}" for method in AS_THEY_COME]
        lines.append(f"| {case.removesuffix(', as they come')} | {' | '.join(cells)} | {ratios} |")
    return "\n".join(lines)


def compute(name: str, known: dict[str, Any], options: argparse.Namespace) -> None:
    """Add what is missing of a case to the known figures."""
    case = CASES[name]
    found = known.setdefault(name, {})
    for seed in options.seeds:
        views, truth = record(case, seed, options)
        if "tuned" not in found:
            found["tuned"] = tune_ebmd(views, truth, options.most_iterations)
            save(known, options)
        volumes = {}
        for method, run in methods_of(case, found["tuned"]).items():
            entries = found.setdefault(method, {})
            if str(seed) in entries and not (options.picture and seed == options.seeds[0]):
                continue
            started = time.perf_counter()
            volumes[method] = run(views)
            seconds = time.perf_counter() - started
            entries[str(seed)] = scores(volumes[method], truth, views) | {"seconds": seconds}
            nrmse = [entries[str(seed)][part]["nrmse"] for part in ("all", "foreground")]
            print(f"{name}, seed {seed}, {method}: NRMSE {nrmse[0]:.4f} / {nrmse[1]:.4f}, {seconds:.1f} s", flush=True)
            save(known, options)
        if options.picture and seed == options.seeds[0]:
            captions = {method: f"NRMSE {found[method][str(seed)]['all']['nrmse']:.3f}" for method in volumes}
            save_comparison(
                comparison_figure({"truth": truth, **volumes}, Grid(truth.shape), captions=captions), options.picture
            )


def save(known: dict[str, Any], options: argparse.Namespace) -> None:
    """Write the figures aside, then into place."""
    aside = options.json.with_suffix(".writing")
    aside.write_text(json.dumps(known, indent=1) + "\n")
    aside.replace(options.json)


def table(known: dict[str, Any]) -> str:
    """All figures as Markdown: means over the specimens, all voxels / foreground."""
    lines = []
    for case, found in known.items():
        if "tuned" not in found:
            continue
        tuned = found["tuned"]
        lines += [
            f"**{case}** (EBMD: {tuned['iterations']:g} iterations, lambda {tuned['lambda']:g})",
            "",
            "| | NRMSE | PSNR | SSIM | CC | NRMSE / EBMD's | residual | attenuation allowed for | light |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        reference = mean(found["EBMD"])
        for method, entries in found.items():
            if method == "tuned":
                continue
            m = mean(entries)
            cells = [f"{m['all'][key]:.3f} / {m['foreground'][key]:.3f}" for key in FIGURES]
            ratios = [m[part]["nrmse"] / reference[part]["nrmse"] for part in ("all", "foreground")]
            cells += [f"{ratios[0]:.2f} / {ratios[1]:.2f}", f"{m['residual']:.2f}"]
            cells += [f"{m['root_chi_square']:.2f}" if "root_chi_square" in m else "", f"{m['light']:.3f}"]
            lines.append(f"| {method} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def mean(entries: dict[str, Any]) -> dict[str, Any]:
    """Means over the specimens."""
    values = list(entries.values())
    return {
        part: {key: float(np.mean([value[part][key] for value in values])) for key in FIGURES}
        for part in ("all", "foreground")
    } | {
        key: float(np.mean([value[key] for value in values]))
        for key in ("residual", "root_chi_square", "light", "seconds")
        if all(key in value for value in values)
    }


def main() -> None:
    """Simulate, fuse, measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--psfs", type=Path, required=True)
    parser.add_argument("--two-view-psfs", type=Path, required=True)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--most-iterations", type=int, default=max(ITERATIONS), help="of EBMD, where it is tuned")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--picture", type=Path, help="slices of the first specimen of the first case")
    parser.add_argument("--as-they-come", action="store_true", help="EBMD, wiener and universal with their defaults")
    parser.add_argument("--table", action="store_true", help="only print what is known as Markdown")
    options = parser.parse_args()
    known = json.loads(options.json.read_text()) if options.json.exists() else {}
    if not options.table:
        for name in options.cases:
            (compute_as_they_come if options.as_they_come else compute)(name, known, options)
            options.picture = None
    print(table_as_they_come(known) if options.as_they_come else table(known))


if __name__ == "__main__":
    main()
