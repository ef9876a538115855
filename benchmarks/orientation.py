"""Whether the check of orientation is right: simulated cases of every kind, some with mirrored PSFs.

    python benchmarks/orientation.py --psfs FOLDER --cases 200 --json orientation.json

FOLDER holds the measured PSFs, as quad_view/psf_ANGLE.tif (0, 90, 180, 270) and two_view/psf_ANGLE.tif (0, 180). What a case
is stands in `orientation_cases.py`. For each kind of PSF: how many PSFs were mirrored, how many of these were found, how
many alarms were wrong, and the same for PSFs that were right. Of a symmetric PSF nothing can be said, and nothing must be.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path

from napari_mvfusion.psf import check_mirror
from orientation_cases import KINDS, case


def main() -> None:
    """Check every case, print each that is wrong, and a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--psfs", type=Path, required=True)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    found = []
    for number in range(options.first, options.first + options.cases):
        made = case(number, options.psfs)
        names = [f"{angle:g}" for angle in made.angles]
        start = time.process_time()
        verdicts = check_mirror(made.views, made.psfs, names)
        seconds = time.process_time() - start
        for verdict, mirrored in zip(verdicts, made.mirrored, strict=True):
            truth = "mirrored" if mirrored else "right"
            wrong = verdict.verdict not in (truth, "undecided")
            counts[str(made.about["psf"])].update([truth, f"{truth}, {verdict.verdict}"])
            found.append(
                made.about
                | {"case": number, "views": len(names), "truth": truth, "verdict": verdict.verdict, "seconds": seconds}
                | {"confidence": verdict.confidence, "standard_errors": verdict.standard_errors}
            )
            if wrong:
                print(f"case {number} {made.about}: {verdict} is wrong")
    print(
        f"{'PSFs':12}{'mirrored':>10}{'found':>8}{'missed':>8}{'wrong':>8}{'right':>10}{'said':>8}{'false alarms':>14}"
    )
    for kind, count in counts.items():
        missed, alarms = count["mirrored, undecided"], count["right, mirrored"]
        print(
            f"{kind:12}{count['mirrored']:10}{count['mirrored, mirrored']:8}{missed:8}{count['mirrored, right']:8}"
            f"{count['right']:10}{count['right, right']:8}{alarms:14}"
        )
    print(f"processor time of a check: {max(float(one['seconds']) for one in found):.1f} s at most")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
