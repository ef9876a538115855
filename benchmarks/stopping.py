"""Where EBMD stops by itself, against the iteration with the least error, which takes the truth to know.

    python benchmarks/stopping.py --psfs QUAD --two-view-psfs TWO --json stopping.json [--cases "embryo, SNR 10" ...]
    python benchmarks/stopping.py --psfs QUAD --two-view-psfs TWO --json stopping.json --table

QUAD and TWO hold measured PSFs, see quality.py. Every case is run to the most iterations that may be taken, and scored
after each; the trial says where it would have ended. What stands in the JSON file is not computed again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from napari_mvfusion.data.views import drain
from napari_mvfusion.engine.iteration_choice import Trial, choose_iterations
from napari_mvfusion.engine.one_tile import stage_results
from napari_mvfusion.engine.view_reader import ViewReader
from napari_mvfusion.measures.quality import evaluate
from napari_mvfusion.methods import EBMD
from napari_mvfusion.system.devices import free_bytes
from quality import QUAD, Case, record, save

FIXED = 24
SIZES = {"embryo": 80, "nuclei": 48}
TWO = (0.0, 180.0)
ACROSS = (0.0, 90.0)
# How names of cases end in which the lost light is allowed for.
ESTIMATED = ", estimated"
CPU = torch.device("cpu")


def cases() -> dict[str, Case]:
    """Specimens in much and little light, with lost light and without, and with PSFs that are too wide."""
    found = {}
    for snr in (4.5, 10.0, 31.6):
        for lost in (0.0, 0.01):
            light = {"snr": snr, "attenuation": lost}
            words = f"SNR {snr:g}, attenuation {lost:g}"
            found[f"embryo, {words}"] = Case("embryo", SIZES["embryo"], microscope=light)
            found[f"nuclei, two views, {words}"] = Case("nuclei", SIZES["nuclei"], TWO, microscope=light)
        light = {"snr": snr}
        found[f"embryo, two views, SNR {snr:g}"] = Case("embryo", SIZES["embryo"], ACROSS, microscope=light)
        found[f"embryo, PSFs 10 % too wide, SNR {snr:g}"] = Case("embryo", SIZES["embryo"], width=1.1, microscope=light)
        found[f"nuclei, four views, SNR {snr:g}"] = Case("nuclei", SIZES["nuclei"], microscope=light)
    for snr in (10.0, 31.6):
        apart = {"snr": snr, "spacing": 3}
        found[f"embryo, planes 3 apart, SNR {snr:g}"] = Case("embryo", SIZES["embryo"], microscope=apart)
        for specimen, angles in (("embryo", QUAD), ("nuclei", TWO)):
            lost = {"snr": snr, "attenuation": 0.02}
            found[f"{specimen} of 64, SNR {snr:g}"] = Case(specimen, 64, angles, microscope={"snr": snr})
            found[f"{specimen} of 64, planes 3 apart, SNR {snr:g}"] = Case(specimen, 64, angles, microscope=apart)
            found[f"{specimen} of 64, SNR {snr:g}, attenuation 0.02{ESTIMATED}"] = Case(
                specimen, 64, angles, microscope=lost
            )
    return found


def compute(name: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Errors after every iteration of a case, what the trial says of each, and where it ends."""
    views, truth = record(cases()[name], seed, options)
    drain(views.scan())
    method = EBMD(attenuation="estimated" if name.endswith(ESTIMATED) else "none")
    assert method.trial is not None
    began = time.perf_counter()
    choice = drain(choose_iterations(views, method, CPU, budget=free_bytes(CPU)))
    seconds = time.perf_counter() - began
    shares = list(Trial(views, method, CPU).structure_shares()) if options.curves else []
    bound = drain(method.trial.prepare(views, CPU))
    errors = []
    for step in stage_results(bound, views, ViewReader(views, CPU, keep=True, whole=True), lambda: False):
        if step.iteration:
            found = evaluate(step.values.numpy(), truth)
            errors.append([found.all.nrmse, found.foreground.nrmse])
    return {"number": choice.number, "trial_seconds": seconds, "errors": errors, "shares": shares}


def table(known: dict[str, dict[str, Any]]) -> str:
    """Means over the specimens as Markdown, all voxels / foreground."""
    lines = [
        "| case | stops after | best after | NRMSE | over the best | over 24 iterations |",
        "|---|---|---|---|---|---|",
    ]
    for name, seeds in known.items():
        rows = []
        for found in seeds.values():
            parts = [[one[part] for one in found["errors"]] for part in (0, 1)]
            mine = [errors[found["number"] - 1] for errors in parts]
            rows.append(
                (
                    mine,
                    [m / min(errors) for m, errors in zip(mine, parts, strict=True)],
                    [m / errors[FIXED - 1] for m, errors in zip(mine, parts, strict=True)],
                )
            )
        numbers = ", ".join(str(found["number"]) for found in seeds.values())
        best = ", ".join(
            str(1 + min(range(len(found["errors"])), key=lambda k, found=found: found["errors"][k][0]))
            for found in seeds.values()
        )
        error, least, fixed = ([sum(row[i][p] for row in rows) / len(rows) for p in (0, 1)] for i in range(3))
        cells = [f"{error[0]:.4f} / {error[1]:.4f}"]
        cells += [f"{100 * (a - 1):+.1f} / {100 * (b - 1):+.1f} %" for a, b in (least, fixed)]
        lines.append(f"| {name} | {numbers} | {best} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Compute what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--psfs", type=Path, required=True, help="folder with measured PSFs of four views")
    parser.add_argument("--two-view-psfs", type=Path, required=True, help="folder with measured PSFs of two views")
    parser.add_argument("--json", type=Path, required=True, help="figures, kept from run to run")
    parser.add_argument("--cases", nargs="*", default=list(cases()))
    parser.add_argument("--seeds", type=int, nargs="*", default=[5, 6])
    parser.add_argument("--curves", action="store_true", help="keep what the trial says of every iteration too")
    parser.add_argument("--table", action="store_true", help="print the figures as Markdown")
    options = parser.parse_args()
    known = json.loads(options.json.read_text()) if options.json.exists() else {}
    for name in () if options.table else options.cases:
        for seed in options.seeds:
            if str(seed) not in known.setdefault(name, {}):
                known[name][str(seed)] = compute(name, seed, options)
                save(known, options)
                print(table({f"{name}, seed {seed}": {"": known[name][str(seed)]}}).splitlines()[-1], flush=True)
    if options.table:
        print(table(known))


if __name__ == "__main__":
    main()
