"""Two runs of one output that begin at the same moment: one works, the other says who does or what it finds."""

import random
import time
from pathlib import Path

import numpy as np
import pytest

from faults.command import Command
from faults.fusing import Fusing, voxels

PART = "simultaneous pairs"
PAIRS = 30
BATCH = 10
SAMPLE = 2
HOW = ([], ["--overwrite"], ["--resume"], ["--resume", "--overwrite"])


def batches():
    sample = pytest.param(range(SAMPLE), id="sample")
    rest = range(SAMPLE, PAIRS, BATCH)
    return [
        sample,
        *(pytest.param(range(n, min(PAIRS, n + BATCH)), id=f"from {n}", marks=pytest.mark.slow) for n in rest),
    ]


@pytest.mark.parametrize("seeds", batches())
def test_of_two_simultaneous_runs_one_works_and_neither_harms(campaign, seeds):
    fusings = {}
    for seed in seeds:
        rng = random.Random(seed)
        method, ending = rng.choice(["average", "cbif", "ebmd"]), rng.choice(["zarr", "tif"])
        if (method, ending) not in fusings:
            fusings[method, ending] = Fusing(campaign, method, ending, replaces=False)
        fusing = fusings[method, ending]
        fusing.restore()
        results = [fusing.new]
        lines = [[*fusing.arguments, *rng.choice(HOW)] for _ in range(2)]
        if rng.random() < 0.5:
            campaign.run(fusing.arguments, at=rng.randrange(2, fusing.steps))
        if rng.random() < 0.3 and not any("--resume" in line for line in lines):
            # Of two methods, whichever is there is whole.
            other = "cbif" if method == "average" else "average"
            lines[1][lines[1].index("--method") + 1 :] = [other, "--overwrite"]
            views = fusing.place.with_name("views")
            results.append(other_result(campaign, views, other))
        go = campaign.logs / "go"
        go.unlink(missing_ok=True)
        children = [
            Command(line, campaign.logs, number, folder=fusing.place, before=waits_for(go, number * rng.random() / 20))
            for number, line in enumerate(lines)
        ]
        go.touch()
        outcomes = [child.wait() for child in children]
        there = voxels(fusing.out)
        also = [] if any(np.array_equal(there, result) for result in results) else ["the volume differs"]
        if 0 not in (outcome.code for outcome in outcomes):
            also.append("neither came to its end")
        left = {path.name for path in fusing.place.iterdir()} - {fusing.out.name, f"{fusing.out.name}.recipe.json"}
        # A run that is turned away because of what it was to make may leave the unfinished one that it found.
        if left:
            also.append(f"left: {left}")
        for outcome in outcomes:
            campaign.took(outcome)
            campaign.judge(f"{method} {ending} {seed} {[o.code for o in outcomes]}", outcome, ("fused",), also)
        campaign.cases += 1
    campaign.settle()


def waits_for(go, seconds):
    """Let both come as far as their first step, then go."""

    def wait():
        while not go.exists():
            time.sleep(0.0005)
        time.sleep(seconds)

    return wait


def other_result(campaign, views: Path, method):
    """What another method gives."""
    out = views.with_name(f"{method}.zarr")
    if not out.exists():
        done = campaign.run(
            ["fuse", str(views), "-o", str(out), "-q", "--tile", "64", "--device", "cpu", "--method", method]
        )
        assert done.code == 0
    return voxels(out)
