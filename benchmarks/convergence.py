"""Error and resolution against wall time, for all methods: how soon each gets how far, and when more makes it worse.

    python benchmarks/convergence.py --psfs QUAD --two-view-psfs TWO --json FILE [--cases "embryo, 100 photons" ...]
    python benchmarks/convergence.py --psfs QUAD --two-view-psfs TWO --json FILE --table --picture convergence.png

QUAD and TWO hold measured PSFs, see quality.py. Every point is a run of its own, timed as a user would wait for it; the
resolution is that of `find_resolution`, the mean along z, y and x, and takes no truth. What stands in the JSON file is not
computed again.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from napari_mvfusion import find_resolution
from napari_mvfusion.engine.fusion import fuse
from napari_mvfusion.measures.fsc import AxisResolution
from napari_mvfusion.measures.quality import evaluate
from napari_mvfusion.methods import make_method
from quality import Case, record, save

SIZES = {"embryo": 64, "nuclei": 48}
TWO = (0.0, 180.0)
ABSORBED = 0.01
PLAIN = {"accelerated": False, "lambda": 0.004}
# Method, how it is called here, its parameters, and after how many iterations it is looked at; None where it has none.
RUNS: list[tuple[str, str, dict[str, Any], list[Any]]] = [
    ("average", "average", {}, [None]),
    ("cbif", "CBIF", {}, [None]),
    ("ebmd", "EBMD, plain", PLAIN, [12, 24, 48, 96]),
    ("ebmd", "EBMD", {}, [6, 12, 24, 48]),
    ("ebmd", "EBMD, as it comes", {}, [None]),
    ("wiener", "wiener", {}, [1, 2, 4, 8, 16]),
    ("wiener", "wiener, as it comes", {}, [None]),
    ("generator", "universal", {}, [None]),
]


def cases() -> dict[str, Case]:
    """Specimens in three strengths of light, with light lost and not, and with the right PSFs and ones 10 % too wide."""
    found = {}
    for phantom in SIZES:
        angles = {} if phantom == "embryo" else {"angles": TWO}
        for photons in (20, 100, 1000):
            for absorbed in (0.0, ABSORBED):
                for width in (1.0, 1.1):
                    words = [phantom, f"{photons} photons"]
                    words += ["light lost"] if absorbed else []
                    words += ["PSFs 10 % too wide"] if width != 1 else []
                    light = {"snr": photons**0.5, "attenuation": absorbed}
                    case = Case(phantom, SIZES[phantom], width=width, microscope=light, **angles)
                    found[", ".join(words)] = case
    return found


def compute(name: str, known: dict[str, Any], options: argparse.Namespace) -> None:
    """Add what is missing of a case."""
    case = cases()[name]
    views, truth = record(replace(case, size=options.size or case.size), options.seed, options)
    for method, called, parameters, counts in RUNS:
        if options.runs and called not in options.runs:
            continue
        for count in counts:
            key = called if count is None else f"{called}, {count}"
            if key in known.setdefault(name, {}):
                continue
            wanted = make_method(method, **parameters, **({} if count is None else {"iterations": count}))
            began = time.perf_counter()
            fused = np.asarray(fuse(views, wanted, device="cpu").data)
            seconds = time.perf_counter() - began
            error = evaluate(fused, truth)
            axes: list[float | None] = [None]
            if not options.no_resolution:
                axes = [reached(axis) for axis in find_resolution(views, wanted, device="cpu").axes]
            known[name][key] = {
                "seconds": seconds,
                "nrmse": [error.all.nrmse, error.foreground.nrmse],
                "resolution": None if None in axes else float(np.mean(axes)),
            }
            save(known, options)
            print(name, key, known[name][key], flush=True)


def reached(axis: AxisResolution) -> float | None:
    """The finest period in which halves agree, two voxels where that is finer; None where there is no signal."""
    return 2 * axis.voxel if axis.outcome.startswith("finer") else axis.period


def points(found: dict[str, Any], called: str, counts: list[Any]) -> list[dict[str, Any]]:
    """What is known of a method, in the order of its iterations."""
    keys = [called if count is None else f"{called}, {count}" for count in counts]
    return [found[key] for key in keys if key in found]


def table(known: dict[str, Any]) -> str:
    """Each method where its error over all voxels is least, as Markdown."""
    lines = ["| case | " + " | ".join(called for _, called, _, _ in RUNS) + " |", "|---" * (len(RUNS) + 1) + "|"]
    for name, found in known.items():
        cells = []
        for _, called, _, counts in RUNS:
            there = [
                (one["nrmse"][0], one, count) for one, count in zip(points(found, called, counts), counts, strict=False)
            ]
            if not there:
                cells.append("")
                continue
            _, best, count = min(there, key=lambda one: one[0])
            after = "" if count is None else f" after {count}"
            cells.append(f"{best['nrmse'][0]:.4f} / {best['nrmse'][1]:.4f}, {best['seconds']:.1f} s{after}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def picture(known: dict[str, Any], path: Path) -> None:
    """Curves against time of the cases with the right PSFs: the error of each specimen in a row, then the resolution."""
    shown = {phantom: [name for name in known if name.startswith(phantom) and "wide" not in name] for phantom in SIZES}
    rows = [(phantom, key) for key in ("nrmse", "resolution") for phantom in SIZES]
    figure = Figure(figsize=(2.3 * max(map(len, shown.values())), 2.2 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), max(map(len, shown.values())), squeeze=False)
    for (phantom, key), of_row in zip(rows, axes, strict=True):
        for ax, name in zip(of_row, shown[phantom], strict=False):
            for number, (_, called, _, counts) in enumerate(RUNS):
                there = [one for one in points(known[name], called, counts) if one[key] is not None]
                values = [one[key][0] if key == "nrmse" else one[key] for one in there]
                ax.plot([one["seconds"] for one in there], values, "o-", markersize=3, color=f"C{number}", label=called)
            ax.set_xscale("log")
            ax.set_title(name, fontsize=7)
            ax.tick_params(labelsize=7)
        of_row[0].set_ylabel("NRMSE, all voxels" if key == "nrmse" else "resolution, voxels", fontsize=8)
    for ax in axes[-1]:
        ax.set_xlabel("seconds", fontsize=8)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(RUNS), fontsize=7)
    figure.savefig(path, dpi=90)


def main() -> None:
    """Compute what is missing, or show what is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--psfs", type=Path, required=True, help="folder with measured PSFs of four views")
    parser.add_argument("--two-view-psfs", type=Path, required=True, help="folder with measured PSFs of two views")
    parser.add_argument("--json", type=Path, required=True, help="figures, kept from run to run")
    parser.add_argument("--cases", nargs="*", choices=cases(), default=list(cases()))
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--size", type=int, help="voxels along a side of all specimens")
    parser.add_argument("--runs", nargs="*", choices=[called for _, called, _, _ in RUNS], help="methods to run")
    parser.add_argument(
        "--no-resolution", action="store_true", help="leave out the resolution, which takes two more runs"
    )
    parser.add_argument("--table", action="store_true", help="only print what is known as Markdown")
    parser.add_argument("--picture", type=Path, help="draw what is known")
    options = parser.parse_args()
    known = json.loads(options.json.read_text()) if options.json.exists() else {}
    if not options.table:
        for name in options.cases:
            compute(name, known, options)
    print(table(known))
    if options.picture:
        picture(known, options.picture)


if __name__ == "__main__":
    main()
